//! `Frame`: a leased frame and its arrays.

use std::sync::{Arc, Mutex};

use framelane::{Layout, PixelFormat};
use numpy::{PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::describe::{Color, FrameId, Info};
use crate::handle::lock;
use crate::{array, copy, dlpack, shape};

/// Keeps a lease; the base of every array over a frame.
#[pyclass(frozen, module = "framelane._framelane", name = "_Lease")]
pub(crate) struct Lease {
    _frame: Arc<framelane::Frame>,
}

/// A frame in shared memory, leased: its bytes do not change while this object, or an array made from
/// it, lives.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct Frame {
    /// `None` once released. Taken under the interpreter for a moment only.
    lease: Mutex<Option<Arc<framelane::Frame>>>,
    info: Info,
}

impl Frame {
    /// `skipped` frames are added to those that the core counts as dropped just before this one.
    pub(crate) fn new(frame: Arc<framelane::Frame>, skipped: u64) -> Self {
        let info = Info::of(&frame, skipped);
        Frame { lease: Mutex::new(Some(frame)), info }
    }

    /// The lease.
    ///
    /// # Errors
    /// `ValueError` once released; Forked in a child of the process that received it.
    pub(crate) fn leased(&self) -> PyResult<Arc<framelane::Frame>> {
        let frame = lock(&self.lease).clone().ok_or_else(|| {
            PyValueError::new_err(format!(
                "frame {} of {} was released. Hint: take frame.array or frame.copy() before release()",
                self.info.id.sequence, self.info.id.channel
            ))
        })?;
        frame.check_fork().map_err(|error| Python::attach(|py| crate::error::raise(py, error)))?;
        Ok(frame)
    }

    pub(crate) fn info(&self) -> &Info {
        &self.info
    }

    /// The whole image as one view.
    ///
    /// # Errors
    /// `ValueError` when its planes do not lie as one array, and when they are no image.
    pub(crate) fn image_view(layout: &Layout) -> PyResult<shape::View> {
        check_image(layout)?;
        shape::image_view(layout).ok_or_else(|| {
            PyValueError::new_err(format!(
                "the planes of this {}x{} {} frame do not lie in memory as one array. \
                 Hint: frame.planes for views of each, frame.copy() for a packed copy",
                layout.width(),
                layout.height(),
                layout.format()
            ))
        })
    }

    fn view<'py>(
        py: Python<'py>,
        frame: Arc<framelane::Frame>,
        view: &shape::View,
    ) -> PyResult<Bound<'py, PyAny>> {
        let own = frame.as_mut_ptr();
        let payload = own.map_or_else(|| frame.bytes().as_ptr(), |own| own.cast_const());
        let owner = Bound::new(py, Lease { _frame: frame })?.into_any();
        // SAFETY: a checked `Layout` keeps every plane, hence the view, inside the payload; the owner holds
        // the lease, under which the payload stays mapped and unchanged, and the view is read-only; or it
        // holds the copy that was made to be written to.
        unsafe { array::over(py, payload, view, owner, own.is_some()) }
    }
}

#[pymethods]
impl Frame {
    /// The image as a read-only view of shared memory, without a copy. The lease ends when this frame is
    /// released or collected and the last view is deleted.
    ///
    /// If the subscriber was opened with `writable=True`, it is a view of a copy that was made for this
    /// frame, which can be written to and occupies no slot.
    #[getter]
    fn array<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let frame = self.leased()?;
        let view = Self::image_view(frame.layout())?;
        Self::view(py, frame, &view)
    }

    /// Views of the planes, read-only as `array` is: one, three for i420, two for nv12 and p010.
    #[getter]
    fn planes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let frame = self.leased()?;
        let planes = PyList::empty(py);
        for plane in 0..frame.layout().planes().len() {
            let view = shape::plane_view(frame.layout(), plane);
            planes.append(Self::view(py, Arc::clone(&frame), &view)?)?;
        }
        Ok(planes)
    }

    /// A writable, packed copy without a lease, in the shape of `array`. Planar frames of odd size have one
    /// axis: all planes, one after the other.
    #[pyo3(text_signature = "($self)")]
    pub(crate) fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyUntypedArray>> {
        let frame = self.leased()?;
        check_image(frame.layout())?;
        let (packed, view) = shape::packed_copy(frame.layout()).map_err(|e| crate::error::raise(py, e))?;
        let target = array::empty(py, view.depth, view.shape())?;
        copy_frame(py, &frame, &packed, array::data_of(&target));
        Ok(target)
    }

    /// Releases the frame. Arrays made before keep the lease until they are deleted. `sequence` and the other
    /// descriptions stay readable.
    fn release(&self) {
        let lease = lock(&self.lease).take();
        drop(lease);
    }

    /// True after `release`.
    #[getter]
    fn released(&self) -> bool {
        lock(&self.lease).is_none()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) {
        self.release();
    }

    #[pyo3(signature = (dtype=None, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let image = match copy {
            Some(true) => self.copy(py)?.into_any(),
            _ => self.array(py)?,
        };
        let Some(dtype) = dtype else {
            return Ok(image);
        };
        let same: bool =
            image.getattr("dtype")?.eq(py.import("numpy")?.call_method1("dtype", (dtype,))?)?;
        match (same, copy) {
            (true, _) => Ok(image),
            (false, Some(false)) => Err(PyValueError::new_err(format!(
                "copy=False: a view cannot have another dtype, found {} and {dtype}",
                image.getattr("dtype")?
            ))),
            (false, _) => image.call_method1("astype", (dtype,)),
        }
    }

    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if stream.is_some() {
            return Err(PyBufferError::new_err("stream: expected None for memory of the CPU"));
        }
        if dl_device.is_some_and(|device| device != dlpack::CPU) {
            return Err(PyBufferError::new_err(format!(
                "dl_device: expected {:?}, the CPU, found {dl_device:?}. Hint: import first, then move it \
                 to the device",
                dlpack::CPU
            )));
        }
        let versioned = max_version.is_some_and(|(major, _)| major >= 1);
        if copy == Some(true) {
            let copied = self.copy(py)?;
            let depth = array::depth_of(&copied)?;
            return dlpack::export_copy(py, copied, depth, versioned);
        }
        let frame = self.leased()?;
        if !versioned && !frame.is_writable() {
            return Err(PyBufferError::new_err(
                "a leased frame is read-only, which DLPack before 1.0 cannot say. \
                 Hint: from_dlpack(frame.copy()), or an importer that asks for max_version=(1, 0)",
            ));
        }
        let view = Self::image_view(frame.layout())?;
        dlpack::export_lease(py, frame, &view, versioned)
    }

    fn __dlpack_device__(&self) -> (i32, i32) {
        dlpack::CPU
    }

    /// The id of this frame. It is sufficient to send detections after the release of the frame.
    #[getter]
    fn id(&self) -> FrameId {
        self.info.id.clone()
    }

    /// The frame's number, from 1, as its publisher counts: the same in every process, also over links.
    #[getter]
    fn sequence(&self) -> u64 {
        self.info.id.sequence
    }

    /// The life of the frame's publisher: `Publisher.epoch` there, also over links.
    #[getter]
    fn epoch(&self) -> u64 {
        self.info.id.epoch
    }

    /// The channel's name.
    #[getter]
    fn channel(&self) -> &str {
        &self.info.id.channel
    }

    /// Capture time in nanoseconds since 1970, as `time.time_ns()`.
    #[getter]
    fn timestamp_ns(&self) -> u64 {
        self.info.id.timestamp_ns
    }

    /// Time of publication, as `time.monotonic_ns()`.
    #[getter]
    fn published_ns(&self) -> u64 {
        self.info.id.published_ns
    }

    /// Nanoseconds since it was published.
    #[getter]
    fn age_ns(&self, py: Python<'_>) -> PyResult<u64> {
        let now: u64 = py.import("time")?.call_method0("monotonic_ns")?.extract()?;
        Ok(now.saturating_sub(self.info.id.published_ns))
    }

    /// Position in the media in nanoseconds, if the publisher specified it.
    #[getter]
    fn pts_ns(&self) -> Option<i64> {
        self.info.frame.pts_ns
    }

    /// Duration of the frame in nanoseconds, if the publisher specified it.
    #[getter]
    fn duration_ns(&self) -> Option<u64> {
        self.info.frame.duration_ns
    }

    /// Pixels in a row.
    #[getter]
    fn width(&self) -> u32 {
        self.info.id.width
    }

    /// Rows.
    #[getter]
    fn height(&self) -> u32 {
        self.info.id.height
    }

    /// The pixel format's name, as in "bgr8" or "matrix:f32:3".
    #[getter]
    fn format(&self) -> String {
        self.info.layout.format().name().into_owned()
    }

    /// Frames that this subscriber missed just before this one.
    #[getter]
    fn dropped(&self) -> u64 {
        self.info.dropped
    }

    /// True if all bytes that were read before this were those of the frame. Always true in a directory that
    /// is not shared with other users. In one that is shared with untrusted users, copy the image, then
    /// check. False in a forked child: the frame belongs to the parent, and its arrays change in the child
    /// when the parent releases it. Copy a frame before a fork.
    ///
    /// Raises ValueError once released.
    #[getter]
    fn intact(&self) -> PyResult<bool> {
        Ok(self.leased()?.is_intact())
    }

    /// Colour space and range.
    #[getter]
    fn color(&self) -> Color {
        Color(self.info.frame.color)
    }

    /// Clockwise rotation that a viewer still has to apply: 0, 90, 180 or 270.
    #[getter]
    fn rotation_degrees(&self) -> u16 {
        self.info.frame.rotation_degrees
    }

    /// True if the frame was coded without reference to others.
    #[getter]
    fn keyframe(&self) -> bool {
        self.info.frame.keyframe
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(crate::error::not_picklable(
            "Frame",
            "its pixels are a lease on shared memory of this process",
            "pass frame.copy() and frame.id, or open a Subscriber in the other process",
        ))
    }

    fn __repr__(&self) -> String {
        format!(
            "<framelane.Frame {} of {}: {}x{} {}{}>",
            self.info.id.sequence,
            self.info.id.channel,
            self.info.id.width,
            self.info.id.height,
            self.info.layout.format(),
            if self.released() { ", released" } else { "" }
        )
    }
}

/// # Errors
/// `ValueError` for a batch of detections, which travels as a frame of bytes.
fn check_image(layout: &Layout) -> PyResult<()> {
    if layout.format() == PixelFormat::Detections {
        return Err(PyValueError::new_err(
            "expected a frame with an image, found a batch of detections. \
             Hint: receive this channel with framelane.DetectionSubscriber",
        ));
    }
    Ok(())
}

/// Copies every plane of `frame` to `target`, laid out as `packed`, without the interpreter.
fn copy_frame(py: Python<'_>, frame: &framelane::Frame, packed: &Layout, target: *mut u8) {
    struct Target(*mut u8);
    // SAFETY: an address only; the caller keeps the array behind it alive during the copy.
    unsafe impl Send for Target {}
    impl Target {
        /// # Safety
        /// `offset` lies within the array.
        unsafe fn at(&self, offset: usize) -> *mut u8 {
            // SAFETY: the caller's promise.
            unsafe { self.0.add(offset) }
        }
    }
    let target = Target(target);
    py.detach(move || {
        let target = target;
        for (plane, place) in packed.planes().iter().enumerate() {
            let view = shape::plane_view(frame.layout(), plane);
            // SAFETY: `packed` has `size_bytes`, the size of the array, and its planes lie within.
            let start = unsafe { target.at(place.offset_bytes) };
            // SAFETY: the plane of the packed layout has room for the same rows without padding; the array is
            // new, or `copy_into` has checked that it does not overlap the frame.
            unsafe { copy::pack_view(frame.bytes(), &view, start) };
        }
    });
}

/// Copies `image` into the array `target` of the user, as `cv2.VideoCapture.read(image)` does.
///
/// # Errors
/// `TypeError` or `ValueError` when dtype, shape or flags of `target` do not fit.
pub(crate) fn copy_into<'py>(
    py: Python<'py>,
    frame: &framelane::Frame,
    target: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let array = target
        .cast::<PyUntypedArray>()
        .map_err(|_| PyTypeError::new_err("image: expected a numpy array to write to"))?;
    check_image(frame.layout())?;
    let (packed, view) = shape::packed_copy(frame.layout()).map_err(|e| crate::error::raise(py, e))?;
    let depth = array::depth_of(array)?;
    let writable: bool = array.getattr("flags")?.getattr("writeable")?.extract()?;
    if depth != view.depth || array.shape() != view.shape() || !array.is_c_contiguous() || !writable {
        return Err(PyValueError::new_err(format!(
            "image: expected a writable, contiguous {} array of shape {}, found {} of shape {}. \
             Hint: sub.read() makes a new one",
            shape::dtype_name(view.depth),
            shape::shape_text(view.shape()),
            shape::dtype_name(depth),
            shape::shape_text(array.shape()),
        )));
    }
    // Only an array over this very frame, if it is writable, can overlap it: then everything is in place.
    let (from, to) = (frame.bytes().as_ptr_range(), array::data_of(array).cast_const());
    if !from.contains(&to) {
        copy_frame(py, frame, &packed, array::data_of(array));
    }
    Ok(())
}

/// Parses `format=`.
///
/// # Errors
/// `ValueError` naming the known formats.
pub(crate) fn parse_format(py: Python<'_>, name: Option<&str>) -> PyResult<Option<PixelFormat>> {
    name.map(|name| name.parse::<PixelFormat>().map_err(|e| crate::error::raise(py, e))).transpose()
}
