//! `DetectionPublisher`: sends the boxes found in a frame.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use framelane::{Detection, DetectionFlags, Error, LoanError};
use numpy::{PyArray1, PyArray2, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyTuple};

use crate::cancel::{CancelToken, Tokens};
use crate::describe::FrameId;
use crate::error::raise;
use crate::frame::Frame;
use crate::handle::{Handle, close_at_exit, lock};
use crate::options::publisher_options;
use crate::publishing::unless_interrupted;
use crate::shape::shape_text;
use crate::subscriber::call_async;

/// `numpy.asarray(values, dtype)`.
fn as_array<'py>(values: &Bound<'py, PyAny>, dtype: Option<&str>) -> PyResult<Bound<'py, PyUntypedArray>> {
    static AS_ARRAY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = values.py();
    let as_array =
        AS_ARRAY.get_or_try_init(py, || Ok::<_, PyErr>(py.import("numpy")?.getattr("asarray")?.unbind()))?;
    Ok(as_array.bind(py).call1((values, dtype))?.cast_into::<PyUntypedArray>()?)
}

fn wrong_shape(name: &str, expected: &str, array: &Bound<'_, PyUntypedArray>) -> PyErr {
    PyValueError::new_err(format!("{name}: expected shape {expected}, found {}", shape_text(array.shape())))
}

fn numbers(name: &str, array: &Bound<'_, PyUntypedArray>) -> PyResult<()> {
    use numpy::PyArrayDescrMethods;
    let kind = array.dtype().kind();
    // Booleans, strings and objects would be turned into numbers silently.
    if matches!(kind, b'f' | b'i' | b'u') || array.is_empty() {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("{name}: expected numbers, found dtype {}", array.dtype())))
}

/// Values for each of `count` boxes as f32, or as many defaults.
fn floats(name: &str, values: Option<&Bound<'_, PyAny>>, count: usize, default: f32) -> PyResult<Vec<f32>> {
    let Some(values) = values else {
        return Ok(vec![default; count]);
    };
    let array = as_array(values, None)?;
    numbers(name, &array)?;
    if array.shape() != [count] {
        return Err(wrong_shape(name, &format!("({count},), one for each box"), &array));
    }
    let array = as_array(array.as_any(), Some("float32"))?.cast_into::<PyArray1<f32>>()?;
    Ok(array.to_vec().unwrap_or_else(|_| array.readonly().as_array().to_vec()))
}

/// Whole numbers for each of `count` boxes, each at most `limit`, or as many zeros.
fn integers(name: &str, values: Option<&Bound<'_, PyAny>>, count: usize, limit: u64) -> PyResult<Vec<u64>> {
    use numpy::PyArrayDescrMethods;
    let Some(values) = values else {
        return Ok(vec![0; count]);
    };
    let refuse = |found: String| {
        PyValueError::new_err(format!("{name}: expected whole numbers from 0 to {limit}, found {found}"))
    };
    // numpy makes floats of a list of large and small integers, which would round them.
    if (values.is_instance_of::<PyList>() || values.is_instance_of::<PyTuple>())
        && let Ok(values) = values.extract::<Vec<u64>>()
        && values.len() == count
    {
        return match values.iter().find(|&&value| value > limit) {
            Some(value) => Err(refuse(value.to_string())),
            None => Ok(values),
        };
    }
    let array = as_array(values, None)?;
    numbers(name, &array)?;
    if array.shape() != [count] {
        return Err(wrong_shape(name, &format!("({count},), one for each box"), &array));
    }
    match array.dtype().kind() {
        b'u' => {
            let array = as_array(array.as_any(), Some("uint64"))?.cast_into::<PyArray1<u64>>()?;
            let values = array.readonly().as_array().to_vec();
            match values.iter().find(|&&value| value > limit) {
                Some(value) => Err(refuse(value.to_string())),
                None => Ok(values),
            }
        }
        b'i' => {
            let array = as_array(array.as_any(), Some("int64"))?.cast_into::<PyArray1<i64>>()?;
            let check = |&value: &i64| {
                u64::try_from(value)
                    .ok()
                    .filter(|&value| value <= limit)
                    .ok_or_else(|| refuse(value.to_string()))
            };
            array.readonly().as_array().iter().map(check).collect()
        }
        // Detectors often give class numbers as floats.
        _ => {
            let array = as_array(array.as_any(), Some("float64"))?.cast_into::<PyArray1<f64>>()?;
            let check = |&value: &f64| {
                let whole =
                    value.fract() == 0.0 && value >= 0.0 && value <= limit as f64 && value < 2_f64.powi(63);
                if whole { Ok(value as u64) } else { Err(refuse(value.to_string())) }
            };
            array.readonly().as_array().iter().map(check).collect()
        }
    }
}

/// The arguments of `send` other than the frame.
struct Columns<'a, 'py> {
    boxes_xyxy: &'a Bound<'py, PyAny>,
    scores: Option<&'a Bound<'py, PyAny>>,
    class_ids: Option<&'a Bound<'py, PyAny>>,
    track_ids: Option<&'a Bound<'py, PyAny>>,
    rotations: Option<&'a Bound<'py, PyAny>>,
    flags: Option<&'a Bound<'py, PyAny>>,
    /// Number of classes with names. 0: without labels.
    labels: usize,
}

impl Columns<'_, '_> {
    fn to_boxes(&self) -> PyResult<Vec<Detection>> {
        let array = as_array(self.boxes_xyxy, None)?;
        numbers("boxes_xyxy", &array)?;
        let count = match *array.shape() {
            // `[]` has no second axis.
            [count, 4] => count,
            [0] => 0,
            _ => return Err(wrong_shape("boxes_xyxy", "(N, 4)", &array)),
        };
        let corners = as_array(array.as_any(), Some("float32"))?.call_method1("reshape", (count, 4))?;
        let corners = corners.cast_into::<PyArray2<f32>>()?;
        let scores = floats("scores", self.scores, count, 1.0)?;
        let rotations = floats("rotations", self.rotations, count, 0.0)?;
        let class_ids = integers("class_ids", self.class_ids, count, u64::from(u32::MAX))?;
        check_classes(&class_ids, self.labels)?;
        let track_ids = integers("track_ids", self.track_ids, count, u64::MAX)?;
        let flags = integers("flags", self.flags, count, u64::from(u32::MAX))?;
        let corners = corners.readonly();
        let rows = corners.as_array();
        Ok((0..count)
            .map(|index| {
                let (x, y) = (rows[[index, 0]], rows[[index, 1]]);
                Detection {
                    x,
                    y,
                    width: rows[[index, 2]] - x,
                    height: rows[[index, 3]] - y,
                    rotation: rotations[index],
                    score: scores[index],
                    class_id: class_ids[index] as u32,
                    track_id: track_ids[index],
                    flags: DetectionFlags(flags[index] as u32),
                }
            })
            .collect())
    }
}

/// # Errors
/// `ValueError` for a class without a name, where names were given.
fn check_classes(class_ids: &[u64], labels: usize) -> PyResult<()> {
    match class_ids.iter().find(|&&id| labels > 0 && id >= labels as u64) {
        None => Ok(()),
        Some(id) => Err(PyValueError::new_err(format!(
            "class_ids: expected 0 to {} for the {labels} labels of this publisher, found {id}. \
             Hint: give DetectionPublisher a label for every class of the model, or none at all",
            labels - 1
        ))),
    }
}

/// `frame` as the id that detections carry.
pub(crate) fn frame_id(frame: &Bound<'_, PyAny>) -> PyResult<framelane::FrameId> {
    if let Ok(frame) = frame.cast::<Frame>() {
        return Ok(frame.get().info().id.0.clone());
    }
    if let Ok(id) = frame.cast::<FrameId>() {
        return Ok(id.get().0.clone());
    }
    Err(PyTypeError::new_err(format!(
        "frame: expected a framelane.Frame or FrameId, found {}",
        frame.get_type().name()?
    )))
}

/// Sends the boxes found in frames, on a separate channel, by convention `CHANNEL/detections`. Calls from
/// several threads are serialised.
///
/// - `labels`: names of the classes. Class id 0 is the first. With labels, `send` refuses larger ids.
/// - `model`: the id of the model, for subscribers.
/// - `slots`: batches that the ring holds for late subscribers, 2 to 128, by default 32. Subscribers copy
///   batches, so a batch that they keep occupies no slot.
/// - `backpressure`: without a free slot, "drop" (the default) counts the batch as dropped, and `send`
///   returns None. "block" waits for a free slot, and never overwrites a batch that a subscriber with
///   delivery "every" has not received.
/// - `directory`: directory of the channel's files, the same for subscribers. Default: `$FRAMELANE_DIR`, else
///   `/dev/shm/framelane-<uid>`. Use a tmpfs. On a disk, batches are written to that disk.
/// - `permissions`: permissions of the files as for chmod. 0o600 (the default) is for this user only, and
///   0o660 also for the group, in a `directory` that it can access. Only the owner can write batches.
/// - `cancel`: a CancelToken that ends waits, by default None.
///
/// Raises InvalidName, ChannelBusy (another live publisher has the channel), InvalidOption (slots,
/// permissions), PermissionDenied, and ValueError for an unknown `backpressure`. Ctrl-C ends every wait.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct DetectionPublisher {
    handle: Arc<Handle<framelane::DetectionPublisher>>,
    channel: String,
    labels: Vec<String>,
    model: String,
    waits: bool,
    last: Mutex<u64>,
}

#[pymethods]
impl DetectionPublisher {
    /// Creates the channel. `labels` names the classes: class id 0 is the first.
    #[new]
    #[pyo3(signature = (channel, labels=Vec::new(), model="", *, slots=None, backpressure="drop", directory=None, permissions=None,
                        urls="safe", cancel=None),
           text_signature = "(channel, labels=(), model='', *, slots=None, backpressure='drop', \
                             directory=None, permissions=None, urls='safe', cancel=None)")]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        channel: &str,
        labels: Vec<String>,
        model: &str,
        slots: Option<usize>,
        backpressure: &str,
        directory: Option<PathBuf>,
        permissions: Option<u32>,
        urls: &str,
        cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<Self> {
        let tokens = Tokens::new(cancel.as_ref());
        let options = publisher_options(
            Some(slots.unwrap_or(framelane::DetectionPublisher::DEFAULT_SLOTS)),
            backpressure,
            directory,
            permissions,
            urls,
        )?;
        let options = options.cancel(tokens.slices());
        let names: Vec<&str> = labels.iter().map(String::as_str).collect();
        let publisher = py
            .detach(|| framelane::DetectionPublisher::with_options(options, channel, &names, model))
            .map_err(|error| raise(py, error))?;
        let handle = Arc::new(Handle::new("detection publisher", publisher, tokens));
        close_at_exit(&handle);
        Ok(DetectionPublisher {
            handle,
            channel: channel.to_owned(),
            labels,
            model: model.to_owned(),
            waits: backpressure == "block",
            last: Mutex::new(0),
        })
    }

    /// Sends the boxes of one frame: arrays (N, 4), (N,), (N,), (N,); N may be 0.
    ///
    /// Returns the sequence of the batch, or None when it was dropped. Boxes are pixels (x1, y1, x2, y2)
    /// from the top left. Without scores each is 1, without class or track ids each is 0.
    ///
    /// Raises ValueError when shapes do not fit, and for a class id without a label when the publisher was
    /// given labels; TypeError for columns that are not numbers and for something else than a frame. With
    /// backpressure "block" it blocks while every slot is in use.
    #[pyo3(signature = (frame, boxes_xyxy, scores=None, class_ids=None, track_ids=None, *, rotations=None, flags=None))]
    #[expect(clippy::too_many_arguments, reason = "one argument for each column")]
    fn send(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        boxes_xyxy: &Bound<'_, PyAny>,
        scores: Option<&Bound<'_, PyAny>>,
        class_ids: Option<&Bound<'_, PyAny>>,
        track_ids: Option<&Bound<'_, PyAny>>,
        rotations: Option<&Bound<'_, PyAny>>,
        flags: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<u64>> {
        self.handle.check_fork(py)?;
        let id = frame_id(frame)?;
        let labels = self.labels.len();
        let boxes =
            Columns { boxes_xyxy, scores, class_ids, track_ids, rotations, flags, labels }.to_boxes()?;
        let attempt =
            |publisher: &mut framelane::DetectionPublisher| unless_interrupted(publisher.send(&id, &boxes));
        let result = if self.waits {
            self.handle.call(py, None, attempt)?
        } else {
            self.handle.call_briefly(py, attempt)?
        };
        match result {
            Ok(sequence) => {
                if let Some(sequence) = sequence {
                    *lock(&self.last) = sequence;
                }
                Ok(sequence)
            }
            Err(LoanError::NoFreeSlot) => Ok(None),
            Err(error) => Err(raise(py, Error::from(error))),
        }
    }

    /// Closes the channel. When it returns, the channel is closed and its name is free. Never waits for a
    /// subscriber. If no batch may be lost, call `drain` first.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.handle.close(py)
    }

    /// Waits until every subscriber with delivery "every" has received all batches, as `Publisher.drain`
    /// does.
    #[pyo3(signature = (timeout=None))]
    fn drain(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let deadline = crate::waiting::deadline("timeout", timeout)?;
        self.handle.drain(py, deadline, framelane::DetectionPublisher::drain)
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
            "DetectionPublisher",
            "it belongs to the process that has opened it",
            "pass the channel's name, and open a DetectionPublisher in the other process",
        ))
    }

    /// True after `close`.
    #[getter]
    fn closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// The channel's name.
    #[getter]
    fn channel(&self) -> &str {
        &self.channel
    }

    /// The names of the classes.
    #[getter]
    fn labels(&self) -> Vec<String> {
        self.labels.clone()
    }

    /// The id of the model.
    #[getter]
    fn model(&self) -> &str {
        &self.model
    }

    /// The sequence of the last batch published; 0 before the first.
    #[getter]
    fn sequence(&self) -> u64 {
        *lock(&self.last)
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { ", closed" } else { "" };
        format!("<framelane.DetectionPublisher {}{state}>", self.channel)
    }
}
