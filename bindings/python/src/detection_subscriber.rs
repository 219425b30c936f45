//! `DetectionSubscriber`: receives batches of boxes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framelane::{MatchError, RecvError};
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::batch::Detections;
use crate::cancel::CancelToken;
use crate::detection::frame_id;
use crate::options::subscriber_options;
use crate::receiver::{Received, Receiver, Source};
use crate::subscriber::{call_async, coroutine, open_waiting, until_closed};
use crate::waiting::{deadline, remaining};

/// The core's subscriber, and the epoch of the frames that it last heard of.
pub(crate) struct Batches {
    subscriber: framelane::DetectionSubscriber,
    epoch: Option<u64>,
}

impl Batches {
    fn note(
        &mut self,
        result: Result<framelane::Detections, RecvError>,
    ) -> Result<framelane::Detections, RecvError> {
        result.inspect(|batch| self.epoch = Some(batch.frame.epoch))
    }

    /// The detections of a frame; without an epoch, of that of the last batch, or of the next one.
    fn for_frame(
        &mut self,
        epoch: Option<u64>,
        sequence: u64,
        timeout: Option<Duration>,
    ) -> Result<framelane::Detections, MatchError> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let epoch = match epoch.or(self.epoch) {
            Some(epoch) => epoch,
            None => {
                let waited = timeout.unwrap_or(Duration::MAX);
                match self.recv(remaining(deadline)) {
                    Ok(batch) => batch.frame.epoch,
                    Err(RecvError::Timeout) => return Err(self.subscriber.missing(None, sequence, waited)),
                    Err(error) => return Err(MatchError::Recv(error)),
                }
            }
        };
        let left = remaining(deadline).unwrap_or(Duration::MAX);
        let batch = self.subscriber.for_frame((epoch, sequence), left)?;
        self.epoch = Some(epoch);
        Ok(batch)
    }
}

/// The boxes of a frame that was sent, from any detector.
pub(crate) fn answer(
    py: Python<'_>,
    subscriber: &DetectionSubscriber,
    frame: (u64, u64),
    timeout: Option<f64>,
) -> PyResult<Detections> {
    let deadline = deadline("timeout", timeout)?;
    let (epoch, sequence) = frame;
    let batch = subscriber.receiver.with_source(py, deadline, |source| {
        let left = remaining(deadline).unwrap_or(Duration::MAX);
        let batch = source.subscriber.answer((epoch, sequence), left)?;
        source.epoch = Some(epoch);
        Ok::<_, MatchError>(batch)
    })?;
    Ok(Detections { dropped: batch.dropped, batch })
}

impl Source for Batches {
    type Item = framelane::Detections;

    fn recv(&mut self, timeout: Option<Duration>) -> Result<framelane::Detections, RecvError> {
        let result = self.subscriber.recv_timeout(timeout);
        self.note(result)
    }

    fn set_cancel_token(&mut self, cancel: framelane::CancelToken) {
        self.subscriber.set_cancel_token(cancel);
    }

    fn dropped(item: &framelane::Detections) -> u64 {
        item.dropped
    }

    fn observer(&self) -> framelane::Observer {
        self.subscriber.subscriber().observer()
    }

    fn explain(&self, error: RecvError, waited: Option<Duration>) -> framelane::Error {
        self.subscriber.subscriber().explain(error, waited)
    }

    fn total_dropped(&self) -> u64 {
        self.subscriber.subscriber().dropped()
    }

    fn total_received(&self) -> u64 {
        self.subscriber.subscriber().received()
    }

    fn publisher_alive(&self) -> bool {
        self.subscriber.subscriber().publisher_alive()
    }
}

fn to_batch(received: Received<framelane::Detections>) -> Detections {
    Detections { dropped: received.item.dropped + received.skipped, batch: received.item }
}

/// Receives the boxes found in the frames of a channel. Calls from several threads are serialised.
///
/// `channel` is a name or a URL, as for Subscriber.
///
/// Opening waits for the channel up to `open_timeout` seconds, then raises Timeout. None, the default, waits
/// indefinitely, and 0 does not wait. `recv` has a separate timeout.
///
/// - `delivery`: "every" (the default) returns all batches that are still in the ring, in order. "newest"
///   returns the newest batch and skips older ones.
/// - `directory`: directory of the channel's files, the same as the publisher's. Default: `$FRAMELANE_DIR`,
///   else `/dev/shm/framelane-<uid>`.
/// - `spin_us`: microseconds to poll for a batch before sleeping. Saves the wake-up (about 25 us) and
///   occupies a core meanwhile. Default: 0.
/// - `reconnect`: when the publisher closes the channel, waits until it is published again. By default False:
///   `recv` raises ChannelClosed and loops end.
/// - `cancel`: a CancelToken that ends waits, by default None.
///
/// Raises InvalidName, PermissionDenied, IncompatibleVersion, TooManySubscribers, and ValueError for an
/// unknown delivery. Ctrl-C ends every wait.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct DetectionSubscriber {
    receiver: Arc<Receiver<Batches>>,
}

#[pymethods]
impl DetectionSubscriber {
    /// Opens a channel of detections, waiting for it up to `open_timeout` seconds (None: indefinitely).
    #[new]
    #[pyo3(signature = (channel, delivery="every", open_timeout=None, *, directory=None, spin_us=0, reconnect=false, urls="safe", cancel=None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        py: Python<'_>,
        channel: &str,
        delivery: &str,
        open_timeout: Option<f64>,
        directory: Option<PathBuf>,
        spin_us: u64,
        reconnect: bool,
        urls: &str,
        cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<Self> {
        Self::open(py, None, channel, delivery, open_timeout, directory, spin_us, reconnect, urls, cancel)
    }

    /// Opens a channel without blocking the event loop: `sub = await DetectionSubscriber.open_async(...)`, or
    /// `async with DetectionSubscriber.open_async(...) as sub`. The arguments are those of
    /// DetectionSubscriber. Cancelling ends the wait.
    #[staticmethod]
    #[pyo3(signature = (channel, delivery="every", open_timeout=None, *, directory=None, spin_us=0, reconnect=false, urls="safe", cancel=None))]
    #[expect(clippy::too_many_arguments, reason = "those of the constructor")]
    fn open_async<'py>(
        py: Python<'py>,
        channel: &str,
        delivery: &str,
        open_timeout: Option<f64>,
        directory: Option<PathBuf>,
        spin_us: u64,
        reconnect: bool,
        urls: &str,
        cancel: Option<Bound<'py, CancelToken>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        subscriber_options(delivery, None, spin_us, reconnect, urls)?;
        deadline("open_timeout", open_timeout)?;
        let open = py.get_type::<Self>().getattr("_open")?;
        call_async(
            py,
            "opening",
            (open, channel, delivery, open_timeout, directory, spin_us, reconnect, urls, cancel),
        )
    }

    /// Opens until `unwanted` is cancelled.
    #[staticmethod]
    #[pyo3(name = "_open")]
    #[expect(clippy::too_many_arguments, reason = "those of the constructor")]
    fn open(
        py: Python<'_>,
        unwanted: Option<Bound<'_, CancelToken>>,
        channel: &str,
        delivery: &str,
        open_timeout: Option<f64>,
        directory: Option<PathBuf>,
        spin_us: u64,
        reconnect: bool,
        urls: &str,
        cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<Self> {
        let (options, newest_only) = subscriber_options(delivery, directory, spin_us, reconnect, urls)?;
        let cancel = (cancel.as_ref(), unwanted.as_ref());
        let (subscriber, tokens) = open_waiting(py, options, channel, open_timeout, cancel)?;
        let subscriber = framelane::DetectionSubscriber::new(subscriber);
        let batches = (Batches { subscriber, epoch: None }, tokens);
        Ok(DetectionSubscriber {
            receiver: Arc::new(Receiver::new("detection subscriber", channel, newest_only, false, batches)),
        })
    }

    /// Returns the next batch, waiting up to `timeout` seconds (None: indefinitely, 0: not at all).
    #[pyo3(signature = (timeout=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Detections> {
        self.receiver.recv(py, timeout).map(to_batch)
    }

    /// Returns the boxes of one frame, waiting up to `timeout` seconds (None: indefinitely, 0: not at all).
    ///
    /// `frame` is a Frame, a FrameId or a sequence. A sequence belongs to `epoch`, or else to the epoch of
    /// the last batch. A publisher passes the result of `send`, and `Publisher.epoch`. All name the same
    /// frame on every machine. Frames may be requested in any order among the last 256. Batches of other
    /// frames that arrive during the call are kept for later calls of `for_frame`, and are not received again
    /// by `recv`.
    #[pyo3(signature = (frame, timeout=None, *, epoch=None))]
    fn for_frame(
        &self,
        py: Python<'_>,
        frame: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        epoch: Option<u64>,
    ) -> PyResult<Detections> {
        let (epoch, sequence) = match frame.extract::<u64>() {
            Ok(sequence) => (epoch, sequence),
            Err(_) => {
                let id = frame_id(frame)?;
                (Some(id.epoch), id.sequence)
            }
        };
        let deadline = deadline("timeout", timeout)?;
        let item = self
            .receiver
            .with_source(py, deadline, |source| source.for_frame(epoch, sequence, remaining(deadline)))?;
        Ok(Detections { dropped: item.dropped, batch: item })
    }

    /// `recv` as a coroutine of asyncio. Cancelling it loses no batch.
    #[pyo3(signature = (timeout=None))]
    fn recv_async<'py>(slf: Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        coroutine(slf.py(), "receive", slf.into_any(), timeout)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Detections>> {
        until_closed(py, self.recv(py, None))
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if slf.get().closed() {
            return Err(PyStopAsyncIteration::new_err(()));
        }
        coroutine(slf.py(), "receive_or_stop", slf.into_any(), None)
    }

    #[pyo3(name = "_poll")]
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Detections>> {
        Ok(self.receiver.poll(py)?.map(to_batch))
    }

    #[pyo3(name = "_notify")]
    fn notify(&self, callback: Py<PyAny>) -> PyResult<u64> {
        Ok(self.receiver.notify(callback)?)
    }

    /// The exception of `recv` after `timeout`.
    #[pyo3(name = "_timed_out")]
    fn timed_out(&self, py: Python<'_>, timeout: f64) -> PyErr {
        self.receiver.timeout_error(py, Some(timeout))
    }

    #[pyo3(name = "_forget")]
    fn forget(&self, token: u64) {
        self.receiver.forget(token);
    }

    /// Ends the subscription.
    fn close(&self) {
        self.receiver.handle.close_soon();
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) {
        self.close();
    }

    fn __aenter__<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        call_async(slf.py(), "enter", (slf,))
    }

    #[pyo3(signature = (*args))]
    fn __aexit__<'py>(slf: Bound<'py, Self>, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        call_async(slf.py(), "leave", (slf, args))
    }

    fn __reduce_ex__(&self, _protocol: i32) -> PyResult<()> {
        Err(crate::error::not_picklable(
            "DetectionSubscriber",
            "it belongs to the process that has opened it",
            "pass the channel's name, and open a DetectionSubscriber in the other process",
        ))
    }

    /// True after `close`.
    #[getter]
    fn closed(&self) -> bool {
        self.receiver.handle.is_closed()
    }

    /// The channel's name.
    #[getter]
    fn channel(&self) -> &str {
        &self.receiver.channel
    }

    /// True while a publisher holds the channel. Waits for a call that another thread is in.
    #[getter]
    fn publisher_alive(&self, py: Python<'_>) -> PyResult<bool> {
        self.receiver.publisher_alive(py)
    }

    /// Batches received.
    #[getter]
    fn received(&self) -> u64 {
        self.receiver.received()
    }

    /// Batches missed.
    #[getter]
    fn dropped(&self) -> u64 {
        self.receiver.dropped()
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { ", closed" } else { "" };
        format!("<framelane.DetectionSubscriber {}{state}>", self.receiver.channel)
    }
}
