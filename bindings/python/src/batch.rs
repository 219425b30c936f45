//! `Detections`: a batch of boxes.

use numpy::{PyArray1, PyArray2, ndarray};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::describe::FrameId;
use crate::error::raise;

/// The boxes found in one frame. Each property makes a new array.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct Detections {
    pub(crate) batch: framelane::Detections,
    pub(crate) dropped: u64,
}

impl Detections {
    fn column<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        value: impl Fn(&framelane::Detection) -> T,
    ) -> Bound<'py, PyArray1<T>> {
        PyArray1::from_iter(py, self.batch.boxes.iter().map(value))
    }

    fn rows<'py>(
        &self,
        py: Python<'py>,
        value: impl Fn(&framelane::Detection) -> [f32; 4],
    ) -> Bound<'py, PyArray2<f32>> {
        let flat: Vec<f32> = self.batch.boxes.iter().flat_map(value).collect();
        let rows = ndarray::Array2::from_shape_vec((self.batch.boxes.len(), 4), flat);
        PyArray2::from_owned_array(py, rows.unwrap_or_else(|_| ndarray::Array2::zeros((0, 4))))
    }
}

#[pymethods]
impl Detections {
    /// Reads a batch from its bytes, as specified in `spec/detections.md`.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let batch = framelane::Detections::decode(data).map_err(|error| raise(py, error))?;
        Ok(Detections { dropped: batch.dropped, batch })
    }

    /// The bytes of the batch, as specified in `spec/detections.md`.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let mut bytes = Vec::new();
        self.batch.encode(&mut bytes).map_err(|error| raise(py, error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(crate::error::not_picklable(
            "Detections",
            "its numbers on this channel mean nothing elsewhere",
            "pass detections.to_bytes(), and use Detections.from_bytes() in the other process",
        ))
    }

    fn __len__(&self) -> usize {
        self.batch.boxes.len()
    }

    /// float32 (N, 4): left, top, right, bottom in pixels of the frame.
    #[getter]
    fn boxes_xyxy<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        self.rows(py, |b| [b.x, b.y, b.x + b.width, b.y + b.height])
    }

    /// float32 (N, 4): left, top, width, height in pixels of the frame.
    #[getter]
    fn boxes_xywh<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<f32>> {
        self.rows(py, |b| [b.x, b.y, b.width, b.height])
    }

    /// float32 (N,): radians.
    #[getter]
    fn rotations<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.column(py, |b| b.rotation)
    }

    /// float32 (N,).
    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.column(py, |b| b.score)
    }

    /// uint32 (N,): indices into `labels`.
    #[getter]
    fn class_ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.column(py, |b| b.class_id)
    }

    /// uint64 (N,): 0 where there is no track.
    #[getter]
    fn track_ids<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.column(py, |b| b.track_id)
    }

    /// uint32 (N,): bits LOST and PREDICTED.
    #[getter]
    fn flags<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        self.column(py, |b| b.flags.0)
    }

    /// The names of the classes.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.batch.labels.clone()
    }

    /// The id of the model.
    #[getter]
    fn model(&self) -> &str {
        &self.batch.model
    }

    /// The frame that the boxes were found in.
    #[getter]
    fn frame(&self) -> FrameId {
        FrameId(self.batch.frame.clone())
    }

    /// The sequence of that frame in its channel.
    #[getter]
    fn frame_sequence(&self) -> u64 {
        self.batch.frame.sequence
    }

    /// The epoch of that frame.
    #[getter]
    fn epoch(&self) -> u64 {
        self.batch.frame.epoch
    }

    /// Capture time of that frame in nanoseconds since 1970.
    #[getter]
    fn timestamp_ns(&self) -> u64 {
        self.batch.frame.timestamp_ns
    }

    /// From the publication of the frame to that of the batch, in nanoseconds.
    #[getter]
    fn latency_ns(&self) -> u64 {
        self.batch.latency_ns()
    }

    /// Time of publication of the batch, as `time.monotonic_ns()`.
    #[getter]
    fn published_ns(&self) -> u64 {
        self.batch.published_ns
    }

    /// The number of the batch in the detections' channel.
    #[getter]
    fn sequence(&self) -> u64 {
        self.batch.sequence
    }

    /// Batches that this subscriber missed just before this one.
    #[getter]
    fn dropped(&self) -> u64 {
        self.dropped
    }

    fn __repr__(&self) -> String {
        let frame = &self.batch.frame;
        format!(
            "<framelane.Detections: {} boxes in frame {} of {}>",
            self.batch.boxes.len(),
            frame.sequence,
            frame.channel
        )
    }
}
