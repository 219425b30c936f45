//! Descriptions of frames, readable also after their release: `FrameId`, `Color`.

use framelane::{FrameInfo, Layout};
use pyo3::prelude::*;

/// The description of a received frame, copied out of it.
pub(crate) struct Info {
    pub(crate) id: FrameId,
    pub(crate) layout: Layout,
    pub(crate) frame: FrameInfo,
    pub(crate) dropped: u64,
}

impl Info {
    pub(crate) fn of(frame: &framelane::Frame, skipped: u64) -> Self {
        Info {
            id: FrameId(frame.id()),
            layout: frame.layout().clone(),
            frame: frame.info().clone(),
            dropped: frame.dropped() + skipped,
        }
    }
}

/// The id of one frame of one channel.
#[pyclass(frozen, eq, module = "framelane")]
#[derive(Clone, PartialEq)]
pub(crate) struct FrameId(pub(crate) framelane::FrameId);

impl std::ops::Deref for FrameId {
    type Target = framelane::FrameId;

    fn deref(&self) -> &framelane::FrameId {
        &self.0
    }
}

#[pymethods]
impl FrameId {
    #[new]
    #[pyo3(signature = (channel, epoch, sequence, timestamp_ns=0, published_ns=0, width=0, height=0))]
    fn new(
        channel: String,
        epoch: u64,
        sequence: u64,
        timestamp_ns: u64,
        published_ns: u64,
        width: u32,
        height: u32,
    ) -> Self {
        FrameId(
            framelane::FrameId::new(channel, (epoch, sequence))
                .with_times_ns(timestamp_ns, published_ns)
                .with_size(width, height),
        )
    }

    /// The channel's name.
    #[getter]
    fn channel(&self) -> &str {
        &self.0.channel
    }

    /// The life of the publisher that sent it.
    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// The frame's number in its channel, from 1.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// Capture time in nanoseconds since 1970.
    #[getter]
    fn timestamp_ns(&self) -> u64 {
        self.0.timestamp_ns
    }

    /// Time of publication, as `time.monotonic_ns()` of the publishing machine.
    #[getter]
    fn published_ns(&self) -> u64 {
        self.0.published_ns
    }

    /// Pixels in a row.
    #[getter]
    fn width(&self) -> u32 {
        self.0.width
    }

    /// Rows.
    #[getter]
    fn height(&self) -> u32 {
        self.0.height
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (&self.0.channel, self.0.epoch, self.0.sequence).hash(&mut hasher);
        hasher.finish()
    }

    fn __getnewargs__(&self) -> (&str, u64, u64, u64, u64, u32, u32) {
        let id = &self.0;
        (&id.channel, id.epoch, id.sequence, id.timestamp_ns, id.published_ns, id.width, id.height)
    }

    fn __repr__(&self) -> String {
        let id = &self.0;
        format!(
            "FrameId(channel={:?}, epoch={}, sequence={}, timestamp_ns={}, published_ns={}, width={}, \
             height={})",
            id.channel, id.epoch, id.sequence, id.timestamp_ns, id.published_ns, id.width, id.height
        )
    }
}

/// Colour space and range, in the code points of ITU-T H.273 (2: unspecified; matrix 1: BT.709).
#[pyclass(frozen, eq, module = "framelane")]
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Color(pub(crate) framelane::Color);

#[pymethods]
impl Color {
    #[new]
    #[pyo3(signature = (matrix=2, primaries=2, transfer=2, range="unspecified"))]
    fn new(matrix: u8, primaries: u8, transfer: u8, range: &str) -> PyResult<Self> {
        let range = crate::error::named(range)?;
        Ok(Color(framelane::Color { matrix, primaries, transfer, range }))
    }

    /// `MatrixCoefficients`.
    #[getter]
    fn matrix(&self) -> u8 {
        self.0.matrix
    }

    /// `ColourPrimaries`.
    #[getter]
    fn primaries(&self) -> u8 {
        self.0.primaries
    }

    /// `TransferCharacteristics`.
    #[getter]
    fn transfer(&self) -> u8 {
        self.0.transfer
    }

    /// "unspecified", "limited" or "full".
    #[getter]
    fn range(&self) -> &'static str {
        self.0.range.name()
    }

    fn __hash__(&self) -> u64 {
        u64::from(self.0.matrix)
            | u64::from(self.0.primaries) << 8
            | u64::from(self.0.transfer) << 16
            | (self.0.range as u64) << 24
    }

    fn __getnewargs__(&self) -> (u8, u8, u8, &'static str) {
        (self.0.matrix, self.0.primaries, self.0.transfer, self.0.range.name())
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        let color = &self.0;
        format!(
            "Color(matrix={}, primaries={}, transfer={}, range={:?})",
            color.matrix,
            color.primaries,
            color.transfer,
            color.range.name()
        )
    }
}
