//! `Subscriber`: receives frames.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use framelane::{Error, ErrorKind, RecvError, SubscriberOptions};
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::cancel::{CancelToken, Tokens};
use crate::error::{is_kind, raise};
use crate::frame::{Frame, copy_into};
use crate::options::subscriber_options;
use crate::receiver::{Received, Receiver, Source};
use crate::waiting::{Raised, deadline, remaining, signals_end_wait, take};

impl Source for framelane::Subscriber {
    type Item = framelane::Frame;

    fn recv(&mut self, timeout: Option<Duration>) -> Result<framelane::Frame, RecvError> {
        self.recv_timeout(timeout)
    }

    fn set_cancel_token(&mut self, cancel: framelane::CancelToken) {
        framelane::Subscriber::set_cancel_token(self, cancel);
    }

    fn dropped(item: &framelane::Frame) -> u64 {
        item.dropped()
    }

    fn total_dropped(&self) -> u64 {
        self.dropped()
    }

    fn total_received(&self) -> u64 {
        self.received()
    }

    fn observer(&self) -> framelane::Observer {
        framelane::Subscriber::observer(self)
    }

    fn explain(&self, error: RecvError, waited: Option<Duration>) -> Error {
        framelane::Subscriber::explain(self, error, waited)
    }

    fn publisher_alive(&self) -> bool {
        framelane::Subscriber::publisher_alive(self)
    }
}

/// Opens the channel. Waits without the interpreter up to `open_timeout` seconds for it, until `unwanted` or
/// the user's token is cancelled. Returns the subscriber and its tokens.
pub(crate) fn open_waiting(
    py: Python<'_>,
    options: SubscriberOptions,
    channel: &str,
    open_timeout: Option<f64>,
    (cancel, unwanted): (Option<&Bound<'_, CancelToken>>, Option<&Bound<'_, CancelToken>>),
) -> PyResult<(framelane::Subscriber, Tokens)> {
    let tokens = Tokens::new(cancel);
    let raised = Arc::new(Raised::default());
    // The thread of a coroutine runs no signal handlers.
    let waiting = match unwanted {
        Some(unwanted) => tokens.or(unwanted),
        None => {
            let noted = Arc::clone(&raised);
            tokens.with_check(move || signals_end_wait(&noted))
        }
    };
    let open_timeout_left = remaining(deadline("open_timeout", open_timeout)?);
    let options = options.open_timeout(open_timeout_left).cancel(waiting);
    let opened = py.detach(|| options.open(channel));
    let raised = take(&raised);
    match (opened, raised) {
        (_, Some(raised)) => Err(raised),
        (Ok(mut opened), None) => {
            opened.set_cancel_token(tokens.slices());
            Ok((opened, tokens))
        }
        // The channel is missing after the timeout: the same exception for every timeout.
        (Err(error), None) if error.kind() == ErrorKind::NotFound && open_timeout.is_some() => {
            let mut timeout = Error::new(ErrorKind::Timeout, error.message());
            if let Some(hint) = error.hint() {
                timeout = timeout.with_hint(hint);
            }
            Err(raise(py, timeout))
        }
        (Err(error), None) => Err(raise(py, error)),
    }
}

/// The coroutines of `framelane._async`.
pub(crate) fn coroutine<'py>(
    py: Python<'py>,
    name: &str,
    subscriber: Bound<'py, PyAny>,
    timeout: Option<f64>,
) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("framelane._async")?.unbind()))?;
    module.bind(py).call_method1(name, (subscriber, timeout))
}

/// A function of `framelane._async`, called.
pub(crate) fn call_async<'py>(
    py: Python<'py>,
    name: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("framelane._async")?.call_method1(name, arguments)
}

/// `None` instead of ChannelClosed: the end of an iteration.
pub(crate) fn until_closed<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<Option<T>> {
    match result {
        Ok(item) => Ok(Some(item)),
        Err(error) if is_kind(py, &error, ErrorKind::ChannelClosed) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Receives the frames of a channel. Calls from several threads are serialised.
///
/// `channel` is a name, or the URL of a channel on another machine, as in
/// "tls://camera:7420/cam0?fingerprint=sha256:...&codec=jpeg:80". Frames of a URL arrive over a link, which
/// reconnects after an outage. The token is in `$FRAMELANE_TOKEN`, or, with urls="trusted", in a file
/// (`token-file=`).
///
/// Opening waits for the channel up to `open_timeout` seconds, then raises Timeout. None, the default, waits
/// indefinitely, and 0 does not wait. `recv` has a separate timeout.
///
/// - `delivery`: "newest" (the default) returns the newest frame and skips older ones. "every" returns all
///   frames that are still in the ring, in order. With a publisher of backpressure "block" these are all.
/// - `directory`: directory of the channel's files, the same as the publisher's. Default: `$FRAMELANE_DIR`,
///   else `/dev/shm/framelane-<uid>`.
/// - `spin_us`: microseconds to poll for a frame before sleeping. Saves the wake-up (about 25 us) and
///   occupies a core meanwhile. Default: 0.
/// - `writable`: makes `frame.array` writable, for `cv2.rectangle(frame.array, ...)`. By default it is
///   read-only, because all subscribers share it. When true, `recv` copies each frame (about 1 ms at 1080p)
///   into private memory, which is reused. Other subscribers do not see the changes, and the frame occupies
///   no slot.
/// - `reconnect`: when the publisher closes the channel, waits until it is published again. By default False:
///   `recv` raises ChannelClosed and loops end. Leased frames stay valid. Frames of the new publisher have
///   another epoch.
/// - `urls`: URLs that `channel` may be. "safe" (the default): without options that weaken the link, name
///   files with secrets or raise a limit (`insecure`, `token-file`, `certificate`, `server-uid`, and
///   `max-bytes`, `max-memory` and `max-pixels` above their defaults). "trusted": with every option, for URLs
///   that you wrote. "refuse": channel names only, for names from an untrusted place.
/// - `cancel`: a CancelToken that ends waits, by default None.
///
/// The publisher cannot use the slot of a frame while the frame, or an array of it, is kept: release or copy
/// it. A subscriber holds at most the slots of the channel less two, from 2 to 8: 4 with the default of 6
/// slots. At this limit `recv` raises TooManyLeases at once.
///
/// Raises InvalidName, PermissionDenied, IncompatibleVersion, TooManySubscribers, and ValueError for an
/// unknown delivery. Ctrl-C ends every wait.
#[pyclass(frozen, module = "framelane")]
pub(crate) struct Subscriber {
    receiver: Arc<Receiver<framelane::Subscriber>>,
    delivery: &'static str,
}

fn lend(received: Received<framelane::Frame>) -> Frame {
    Frame::new(Arc::new(received.item), received.skipped)
}

#[pymethods]
impl Subscriber {
    /// Opens a channel, waiting for it up to `open_timeout` seconds (None: indefinitely).
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    #[pyo3(signature = (
        channel, delivery="newest", open_timeout=None, *, directory=None, spin_us=0, writable=false, reconnect=false, urls="safe",
        cancel=None
    ))]
    fn new(
        py: Python<'_>,
        channel: &str,
        delivery: &str,
        open_timeout: Option<f64>,
        directory: Option<PathBuf>,
        spin_us: u64,
        writable: bool,
        reconnect: bool,
        urls: &str,
        cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<Self> {
        Self::open(
            py,
            None,
            channel,
            delivery,
            open_timeout,
            directory,
            spin_us,
            writable,
            reconnect,
            urls,
            cancel,
        )
    }

    /// Opens a channel without blocking the event loop: `sub = await Subscriber.open_async(...)`, or `async
    /// with Subscriber.open_async(...) as sub`. The arguments are those of Subscriber. Cancelling ends the
    /// wait.
    #[staticmethod]
    #[expect(clippy::too_many_arguments, reason = "those of the constructor")]
    #[pyo3(signature = (
        channel, delivery="newest", open_timeout=None, *, directory=None, spin_us=0, writable=false, reconnect=false, urls="safe",
        cancel=None
    ))]
    fn open_async<'py>(
        py: Python<'py>,
        channel: &str,
        delivery: &str,
        open_timeout: Option<f64>,
        directory: Option<PathBuf>,
        spin_us: u64,
        writable: bool,
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
            (open, channel, delivery, open_timeout, directory, spin_us, writable, reconnect, urls, cancel),
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
        writable: bool,
        reconnect: bool,
        urls: &str,
        cancel: Option<Bound<'_, CancelToken>>,
    ) -> PyResult<Self> {
        let (options, newest_only) = subscriber_options(delivery, directory, spin_us, reconnect, urls)?;
        let options = options.writable(writable);
        let cancel = (cancel.as_ref(), unwanted.as_ref());
        let opened = open_waiting(py, options, channel, open_timeout, cancel)?;
        Ok(Subscriber {
            receiver: Arc::new(Receiver::new("subscriber", channel, newest_only, writable, opened)),
            delivery: if newest_only { "newest" } else { "every" },
        })
    }

    /// Returns the next frame, waiting up to `timeout` seconds (None: indefinitely, 0: not at all).
    ///
    /// Raises Timeout with the reason (the publisher ended, is idle, or finds no free slot), ChannelClosed at
    /// the end of the channel, and TooManyLeases when this subscriber holds as many frames as it may.
    #[pyo3(signature = (timeout=None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Frame> {
        self.receiver.recv(py, timeout).map(lend)
    }

    /// The same as `cv2.VideoCapture.read`: (True, a writable copy of the next frame), (False, None) at the
    /// end.
    ///
    /// The copy has the frame's format. With `image`, an array of the right shape and dtype, the copy
    /// goes there and no memory is allocated.
    #[pyo3(signature = (image=None, timeout=None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        image: Option<Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<(bool, Option<Bound<'py, PyAny>>)> {
        let Some(frame) = until_closed(py, self.recv(py, timeout))? else {
            return Ok((false, None));
        };
        match image {
            None => Ok((true, Some(frame.copy(py)?.into_any()))),
            Some(image) => {
                copy_into(py, &*frame.leased()?, &image)?;
                Ok((true, Some(image)))
            }
        }
    }

    /// `recv` as a coroutine of asyncio. Cancelling it loses no frame.
    #[pyo3(signature = (timeout=None))]
    fn recv_async<'py>(slf: Bound<'py, Self>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        coroutine(slf.py(), "receive", slf.into_any(), timeout)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
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
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        Ok(self.receiver.poll(py)?.map(lend))
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

    /// Detaches from the channel. Frames and arrays taken from it stay valid. A call that waits in another
    /// thread ends with ChannelClosed within half a second.
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
            "Subscriber",
            "it belongs to the process that has opened it",
            "pass the channel's name, and open a Subscriber in the other process",
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

    /// "newest" or "every".
    #[getter]
    fn delivery(&self) -> &'static str {
        self.delivery
    }

    /// True while a publisher holds the channel. Waits for a call that another thread is in.
    #[getter]
    fn publisher_alive(&self, py: Python<'_>) -> PyResult<bool> {
        self.receiver.publisher_alive(py)
    }

    /// Frames received.
    #[getter]
    fn received(&self) -> u64 {
        self.receiver.received()
    }

    /// Frames missed.
    #[getter]
    fn dropped(&self) -> u64 {
        self.receiver.dropped()
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { ", closed" } else { "" };
        format!("<framelane.Subscriber {}, {}{state}>", self.receiver.channel, self.delivery)
    }
}
