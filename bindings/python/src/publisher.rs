//! `Publisher`: sends arrays as frames.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use framelane::{Error, FrameInfo, Layout, LoanError, PixelFormat};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::array::{self, Source};
use crate::batch::Detections;
use crate::cancel::{CancelToken, Tokens};
use crate::describe::Color;
use crate::detection_subscriber::{self, DetectionSubscriber};
use crate::error::{raise, raise_new};
use crate::frame::{Frame, parse_format};
use crate::handle::{Handle, close_at_exit};
use crate::loan::Loan;
use crate::options::{frame_info, publisher_options};
use crate::publishing::{Failure, Shared};
use crate::subscriber::call_async;
use crate::{copy, shape};

/// Publishes the frames of a channel. Creates the channel, or takes it over from a publisher that died. A
/// channel has one publisher. Does not wait for subscribers. Calls from several threads are serialised.
///
/// `channel` is a name, or the URL of a channel on another machine, as for Subscriber. To a URL, the link
/// sends the newest frame whenever it has room for one. `close` waits up to 5 s for the remaining frames.
///
/// - `slots`: frames that the ring holds, 2 to 128, by default 6. One is the newest, one is being written.
///   Each frame that a subscriber keeps, or an array of it, occupies another. Use at least 2 + the frames
///   that all subscribers hold at once.
/// - `backpressure`: without a free slot, "drop" (the default) counts the frame as dropped, and `send`
///   returns None. "block" waits for a free slot, and never overwrites a frame that a subscriber with
///   delivery "every" has not received.
/// - `directory`: directory of the channel's files, the same for subscribers. Default: `$FRAMELANE_DIR`, else
///   `/dev/shm/framelane-<uid>`. Use a tmpfs. On a disk, frames are written to that disk.
/// - `permissions`: permissions of the files as for chmod. 0o600 (the default) is for this user only, and
///   0o660 also for the group, in a `directory` that it can access. Only the owner can write frames.
/// - `urls`: URLs that `channel` may be, "safe" (the default), "trusted" or "refuse", as for Subscriber.
/// - `cancel`: a CancelToken that ends waits, by default None.
///
/// Raises InvalidName, ChannelBusy (another live publisher has the channel), InvalidOption (slots,
/// permissions), PermissionDenied, and ValueError for an unknown `backpressure`. Ctrl-C ends every wait.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
}

#[pymethods]
impl Publisher {
    /// Creates the channel, or takes it over from a publisher that died.
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    #[pyo3(signature = (channel, *, slots=None, backpressure="drop", directory=None, permissions=None, urls="safe", cancel=None))]
    fn new(
        py: Python<'_>,
        channel: &str,
        slots: Option<usize>,
        backpressure: &str,
        directory: Option<PathBuf>,
        permissions: Option<u32>,
        urls: &str,
        cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<Self> {
        let tokens = Tokens::new(cancel.as_ref());
        let options = publisher_options(slots, backpressure, directory, permissions, urls)?;
        let options = options.cancel(tokens.slices());
        let publisher = py.detach(|| options.create(channel)).map_err(|error| raise(py, error))?;
        let shared = Arc::new(Shared {
            channel: publisher.channel().to_owned(),
            epoch: publisher.epoch(),
            slots: publisher.slots(),
            waits: backpressure == "block",
            sequence: AtomicU64::new(publisher.sequence()),
            dropped: AtomicU64::new(publisher.dropped()),
            subscribers: AtomicUsize::new(0),
            handle: Arc::new(Handle::new("publisher", publisher, tokens)),
        });
        close_at_exit(&shared.handle);
        Ok(Publisher { shared })
    }

    /// Copies an image into a free slot and publishes it: one copy, for any strides of the array.
    ///
    /// `image` is a numpy array, a Frame, or anything with `__array__`. An array (H, W, 3) is bgr8, as in
    /// OpenCV, unless `format` names another ("rgb8"). A PIL image of mode RGB or RGBA is rgb8 or rgba8.
    ///
    /// Returns its sequence, or None if it was dropped because no slot was free (backpressure "drop"). Raises
    /// InvalidFrame for shapes that are no image, TypeError for other dtypes, NoSpace when larger slots do
    /// not fit in the file system, and ChannelClosed after `close`.
    #[pyo3(signature = (image, timestamp_ns=None, format=None, pts_ns=None, *, duration_ns=None, color=None,
                        rotation_degrees=0, keyframe=false))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn send(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        timestamp_ns: Option<u64>,
        format: Option<&str>,
        pts_ns: Option<i64>,
        duration_ns: Option<u64>,
        color: Option<Bound<'_, Color>>,
        rotation_degrees: u16,
        keyframe: bool,
    ) -> PyResult<Option<u64>> {
        self.shared.handle.check_fork(py)?;
        let color = color.as_ref().map(|color| color.get());
        let info = frame_info(timestamp_ns, pts_ns, duration_ns, color, rotation_degrees, keyframe)?;
        let format = parse_format(py, format)?;
        let sent = match image.cast::<Frame>() {
            Ok(frame) => self.relay(py, frame.get(), info, format)?,
            Err(_) => {
                let format = match format {
                    None => array::format_of_pil(image)?,
                    given => given,
                };
                let array = array::from_user(image)?;
                let depth = array::depth_of(&array)?;
                let layout = {
                    use numpy::PyUntypedArrayMethods;
                    shape::layout_for(depth, array.shape(), format).map_err(|error| raise(py, error))?
                };
                let source = Source::of(&array, depth)?;
                if source.size_bytes() != layout.size_bytes() {
                    return Err(PyValueError::new_err(format!(
                        "image: expected {} bytes for {}, found {}",
                        layout.size_bytes(),
                        layout.format(),
                        source.size_bytes()
                    )));
                }
                self.shared.publish_copy(py, &layout, &info, |target| {
                    // SAFETY: `array`, alive until the end of this function, says that its elements lie
                    // there; the slot has `size_bytes` of the layout, checked above to be those of the
                    // source; a slot on loan overlaps no array of the user, for those in it are read-only or
                    // another slot.
                    unsafe { copy::pack(&source, target) };
                })
            }
        };
        match sent {
            Ok(sequence) => Ok(Some(sequence)),
            Err(Failure::NoFreeSlot) => Ok(None),
            Err(Failure::Raised(error)) => Err(error),
        }
    }

    /// Sends an image as `send` does and waits up to `timeout` seconds for the boxes found in it: calls a
    /// detector like a function.
    ///
    /// `detections` is a DetectionSubscriber of the detector's channel. If the detector ends, waits for the
    /// next one. Raises NoFreeSlot if the frame was dropped, Timeout, and the exceptions of `send` and
    /// `recv`.
    #[pyo3(signature = (image, detections, timeout=None, *, timestamp_ns=None, format=None))]
    fn send_and_wait(
        &self,
        py: Python<'_>,
        image: &Bound<'_, PyAny>,
        detections: &Bound<'_, DetectionSubscriber>,
        timeout: Option<f64>,
        timestamp_ns: Option<u64>,
        format: Option<&str>,
    ) -> PyResult<Detections> {
        crate::waiting::deadline("timeout", timeout)?;
        let sent = self.send(py, image, timestamp_ns, format, None, None, None, 0, false)?;
        let sequence = match sent {
            Some(sequence) => sequence,
            None => {
                let explain =
                    |publisher: &mut framelane::Publisher| Some(publisher.explain(LoanError::NoFreeSlot));
                let reason = self.shared.handle.call_briefly(py, explain)?;
                return Err(raise(py, reason));
            }
        };
        detection_subscriber::answer(py, detections.get(), (self.shared.epoch, sequence), timeout)
    }

    /// Lends a slot to write in place: a context manager whose `array` is published on exit.
    #[pyo3(signature = (shape, dtype=None, format=None, *, timestamp_ns=None, pts_ns=None, duration_ns=None,
                        color=None, rotation_degrees=0, keyframe=false),
           text_signature = "($self, shape, dtype='uint8', format=None, *, timestamp_ns=None, pts_ns=None, \
                             duration_ns=None, color=None, rotation_degrees=0, keyframe=False)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn loan(
        &self,
        py: Python<'_>,
        shape: Vec<usize>,
        dtype: Option<&Bound<'_, PyAny>>,
        format: Option<&str>,
        timestamp_ns: Option<u64>,
        pts_ns: Option<i64>,
        duration_ns: Option<u64>,
        color: Option<Bound<'_, Color>>,
        rotation_degrees: u16,
        keyframe: bool,
    ) -> PyResult<Loan> {
        self.shared.handle.check_fork(py)?;
        let depth = match dtype {
            Some(dtype) => array::depth_named(py, dtype)?,
            None => framelane::Depth::U8,
        };
        let format = parse_format(py, format)?;
        let layout = shape::layout_for(depth, &shape, format).map_err(|error| raise(py, error))?;
        let color = color.as_ref().map(|color| color.get());
        let info = frame_info(timestamp_ns, pts_ns, duration_ns, color, rotation_degrees, keyframe)?;
        Ok(Loan::new(Arc::clone(&self.shared), layout, shape::View::contiguous(depth, &shape), info))
    }

    /// Sends bytes with planes of any offset and stride; for the tests.
    #[pyo3(name = "_send_layout")]
    fn send_layout(
        &self,
        py: Python<'_>,
        format: &str,
        width: u32,
        height: u32,
        planes: Vec<(usize, usize)>,
        payload: &[u8],
    ) -> PyResult<Option<u64>> {
        let format: PixelFormat = format.parse().map_err(|error: Error| raise(py, error))?;
        let place = |(offset_bytes, stride_bytes)| framelane::Plane { offset_bytes, stride_bytes };
        let planes: Vec<_> = planes.into_iter().map(place).collect();
        let layout = Layout::with_planes(format, width, height, &planes, payload.len());
        let layout = layout.map_err(|error| raise(py, error))?;
        let sent =
            self.shared.call(py, false, |publisher| publisher.send(&layout, &FrameInfo::default(), payload));
        match sent {
            Ok(sent) => Ok(sent),
            Err(Failure::NoFreeSlot) => Ok(None),
            Err(Failure::Raised(error)) => Err(error),
        }
    }

    /// Ends the channel: subscribers get ChannelClosed, its files are removed. May be called again.
    ///
    /// When it returns, the channel is closed and its name is free. Calls that wait in other threads end with
    /// ChannelClosed. A call that copies finishes first.
    ///
    /// Never waits for a subscriber, also with backpressure "block". If no frame may be lost, call `drain`
    /// first. The end of a `with` block does the same as `close`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.handle.close(py)
    }

    /// Waits until every subscriber with delivery "every" has received all frames. For a URL, also waits
    /// until the link has taken the newest frame. `timeout` is in seconds (None: no limit, 0: no wait).
    ///
    /// Works with either backpressure. Ctrl-C ends the wait. Raises Timeout, ChannelClosed when `close` is
    /// called meanwhile, and the error of a link that has ended. In asyncio, use
    /// `await asyncio.to_thread(pub.drain)`.
    #[pyo3(signature = (timeout=None))]
    fn drain(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let deadline = crate::waiting::deadline("timeout", timeout)?;
        self.shared.handle.drain(py, deadline, framelane::Publisher::drain)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Closes, without waiting for any subscriber.
    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __aenter__<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        call_async(slf.py(), "enter", (slf,))
    }

    #[pyo3(signature = (*args))]
    fn __aexit__<'py>(slf: Bound<'py, Self>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        call_async(slf.py(), "leave_publisher", (slf, args))
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(crate::error::not_picklable(
            "Publisher",
            "it belongs to the process that has opened it",
            "pass the channel's name, and open a Publisher in the other process",
        ))
    }

    /// True after `close`.
    #[getter]
    fn closed(&self) -> bool {
        self.shared.handle.is_closed()
    }

    /// The channel's name.
    #[getter]
    fn channel(&self) -> &str {
        &self.shared.channel
    }

    /// This life of the channel.
    #[getter]
    fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The slots of the ring.
    #[getter]
    fn slots(&self) -> usize {
        self.shared.slots
    }

    /// The last sequence given; 0 before the first frame.
    #[getter]
    fn sequence(&self) -> u64 {
        self.shared.sequence.load(Ordering::Relaxed)
    }

    /// Frames dropped because no slot was free.
    #[getter]
    fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Subscribers attached now; 0 once closed.
    #[getter]
    fn subscribers(&self, py: Python<'_>) -> PyResult<usize> {
        self.shared.handle.check_fork(py)?;
        if self.shared.handle.is_closed() {
            return Ok(0);
        }
        if let Some(publisher) = self.shared.handle.try_take() {
            self.shared.subscribers.store(publisher.subscribers(), Ordering::Relaxed);
        }
        Ok(self.shared.subscribers.load(Ordering::Relaxed))
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { ", closed" } else { "" };
        format!("<framelane.Publisher {}, sequence {}{state}>", self.shared.channel, self.sequence())
    }
}

impl Publisher {
    /// Sends a frame unchanged, with planes and padding. Arguments of the caller take precedence.
    fn relay(
        &self,
        py: Python<'_>,
        frame: &Frame,
        mut info: FrameInfo,
        format: Option<PixelFormat>,
    ) -> PyResult<Result<u64, Failure>> {
        let leased = frame.leased()?;
        let layout = leased.layout();
        if let Some(format) = format.filter(|&format| format != layout.format()) {
            return Err(raise_new(
                py,
                framelane::ErrorKind::InvalidFrame,
                &format!(
                    "a frame is passed on in its own format, {}, found format={format}",
                    layout.format()
                ),
                Some("send frame.array to give the same bytes another format"),
            ));
        }
        let original = leased.info();
        info.timestamp_ns = info.timestamp_ns.or(original.timestamp_ns);
        info.pts_ns = info.pts_ns.or(original.pts_ns);
        info.duration_ns = info.duration_ns.or(original.duration_ns);
        if info.color == framelane::Color::default() {
            info.color = original.color;
        }
        if info.rotation_degrees == 0 {
            info.rotation_degrees = original.rotation_degrees;
        }
        info.keyframe |= original.keyframe;
        Ok(self.shared.publish_copy(py, layout, &info, |target| {
            let bytes = &leased.bytes()[..layout.size_bytes()];
            // SAFETY: the slot has `size_bytes` of the same layout; it is on loan, so no frame lies in it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        }))
    }
}
