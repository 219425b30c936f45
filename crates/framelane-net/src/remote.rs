//! URLs instead of channel names: a thread carries frames between a channel in memory and the link.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use framelane::internals::{self, Attach, Link, LinkRequest, Links, Memory};
use framelane::{
    Backpressure, CancelToken, Delivery, Error, ErrorKind, Publisher, PublisherOptions, Subscriber,
    SubscriberOptions, Urls,
};

use crate::link::incoming::ReceiveStatistics;
use crate::link::outgoing::SendStatistics;
use crate::link::reconnect::{self, LinkEvent, ReceiveOptions, SendOptions, WhenClosed};
use crate::url::{LinkUrl, given};

/// Time for which a dropped publisher may still send its last frames.
const DRAIN: Duration = Duration::from_secs(5);
/// The same when the first connection is still under way.
const CONNECTING: Duration = Duration::from_secs(2);
/// The same when there is none.
const UNCONNECTED: Duration = Duration::from_millis(500);
/// The longest wait for a link between two checks whether to continue.
const CALLER_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Registers the URL schemes `tls`, `tcp` and `unix` with this process. Afterwards a URL can replace a
/// channel name: `Subscriber::open("tls://host:7420/cam0")`.
///
/// Further calls have no effect. The bindings of the other languages call it themselves.
pub fn register_url_schemes() {
    internals::register_url_schemes(&REMOTE);
}

/// Subscribes to the channel of a URL, with the default [`SubscriberOptions`].
///
/// Waits without limit until the server is connected and the channel is published. For other options, call
/// [`register_url_schemes`] once and then [`SubscriberOptions::open`] with the URL.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] if `url` is not the URL of a channel. [`ErrorKind::PermissionDenied`] if the
/// server refuses the client, or is not the server that the URL names.
///
/// ```no_run
/// let mut subscriber = framelane_net::subscribe("unix:/run/framelane.sock/cam0")?;
/// let frame = subscriber.recv();
/// # Ok::<(), framelane::Error>(())
/// ```
pub fn subscribe(url: &str) -> Result<Subscriber, Error> {
    register_url_schemes();
    // A name would open a local channel.
    LinkUrl::parse(url, Urls::Safe)?;
    SubscriberOptions::new().open(url)
}

static REMOTE: Remote = Remote;

struct Remote;

/// State that the thread and the owner of the link share.
#[derive(Default)]
struct Shared {
    cancel: CancelToken,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The channel was seen live, or frames have arrived.
    live: bool,
    connected: bool,
    /// Result of the last attempt.
    trouble: Option<String>,
    fault: Option<Error>,
    ended: bool,
    /// Since when its end is waited for.
    closing: Option<Instant>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn end(&self, result: Result<(), Error>) {
        self.change(|state| {
            state.fault = result.err();
            state.ended = true;
        });
    }
}

struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Time for which the thread may continue after this is dropped.
    grace: Duration,
}

impl Running {
    /// Returns the time that the thread which ends the link may wait for frames in flight.
    fn grace(&self, state: &mut State) -> Duration {
        let begun = *state.closing.get_or_insert_with(Instant::now);
        let grace = match state {
            State { ended: true, .. } => Duration::ZERO,
            State { connected: true, .. } => self.grace,
            // No peer is there to receive the rest: an attempt in progress may still succeed.
            State { trouble: Some(_), .. } => self.grace.min(UNCONNECTED),
            State { trouble: None, .. } => self.grace.min(CONNECTING),
        };
        grace.saturating_sub(begun.elapsed())
    }
}

impl Link for Running {
    fn grace(&self) -> Duration {
        Running::grace(self, &mut self.shared.state())
    }

    fn fault(&self) -> Option<Error> {
        self.shared.state().fault.as_ref().map(copy_of)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        loop {
            let left = self.grace(&mut state);
            if left.is_zero() {
                break;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.shared.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn copy_of(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.message());
    match error.hint() {
        Some(hint) => copy.with_hint(hint),
        None => copy,
    }
}

fn spawn(
    shared: Arc<Shared>,
    grace: Duration,
    run: impl FnOnce(&Shared) -> Result<(), Error> + Send + 'static,
) -> Result<Running, Error> {
    let theirs = shared.clone();
    let thread = std::thread::Builder::new().name("framelane-link".to_owned()).spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&theirs)));
        theirs.end(result.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::InternalFailure, "the thread of a link has panicked"))
        }));
    });
    let thread = thread.map_err(|error| Error::from_io("starting the thread of a link", error))?;
    Ok(Running { shared, thread: Some(thread), grace })
}

/// Nothing is lost here either when every frame is wanted.
pub(crate) fn backpressure_of(delivery: Delivery) -> Backpressure {
    if delivery == Delivery::Every { Backpressure::Block } else { Backpressure::Drop }
}

impl Links for Remote {
    fn subscribe(
        &self,
        url: &str,
        request: &LinkRequest,
        attach: &mut Attach<'_>,
    ) -> Result<Box<dyn Link>, Error> {
        let mut link = LinkUrl::parse(url, request.urls)?;
        if request.delivery == Delivery::Every {
            if given(url, "delivery").is_some_and(|delivery| delivery != "every") {
                return Err(Error::new(
                    ErrorKind::InvalidOption,
                    "expected one delivery, found the delivery every and delivery=newest in the URL",
                )
                .with_hint("remove delivery=newest from the URL, or subscribe with the delivery newest"));
            }
            link.options.delivery = Delivery::Every;
        }
        let memory = Memory::new()?;
        let publisher = PublisherOptions::new()
            .memory(&memory)
            .slots(link.options.slots)
            .backpressure(backpressure_of(link.options.delivery))
            .create(&link.channel)?;
        attach(&memory, &link.channel)?;
        let shared = Arc::new(Shared::default());
        let peer = link.to_string();
        let when_closed = if request.reconnect { WhenClosed::Wait } else { WhenClosed::Return };
        let running =
            spawn(shared.clone(), Duration::ZERO, move |shared| pull(&link, publisher, when_closed, shared))?;
        wait_until_live(&shared, &peer, request.open_timeout, &request.cancel)?;
        Ok(Box::new(running))
    }

    fn publish(&self, url: &str, urls: Urls, attach: &mut Attach<'_>) -> Result<Box<dyn Link>, Error> {
        let link = LinkUrl::parse(url, urls)?;
        let memory = Memory::new()?;
        attach(&memory, &link.channel)?;
        let again = SubscriberOptions::new().memory(&memory);
        // Before the first frame is published.
        let subscriber = again
            .clone()
            .delivery(link.options.delivery)
            .open_timeout(Some(Duration::ZERO))
            .open(&link.channel)?;
        let running = spawn(Arc::default(), DRAIN, move |shared| push(&link, subscriber, again, shared))?;
        Ok(Box::new(running))
    }
}

/// Receives until the link ends. With [`WhenClosed::Return`] it ends when the channel closes on the other
/// machine.
fn pull(
    link: &LinkUrl,
    mut publisher: Publisher,
    when_closed: WhenClosed,
    shared: &Shared,
) -> Result<(), Error> {
    let options = ReceiveOptions::new().when_closed(when_closed).cancel(shared.cancel.clone());
    let mut live = false;
    let mut events = |event: LinkEvent<'_, ReceiveStatistics>| match event {
        LinkEvent::Progress(received) => {
            if received.live && !std::mem::replace(&mut live, true) {
                shared.change(|state| state.live = true);
            }
        }
        other => note(shared, &other),
    };
    let result = reconnect::receive(link, &mut publisher, &options, &mut events).map(drop);
    if let Err(fault) = &result {
        // Before the channel is closed, which is what its subscriber sees: it then asks why.
        shared.change(|state| state.fault = Some(copy_of(fault)));
    }
    result
}

/// Records the state of the connection, with the reason if there is none.
fn note<P>(shared: &Shared, event: &LinkEvent<'_, P>) {
    match event {
        LinkEvent::Connected => shared.change(|state| (state.connected, state.trouble) = (true, None)),
        LinkEvent::Lost { error, .. } => {
            shared
                .change(|state| (state.connected, state.trouble) = (false, Some(error.message().to_owned())));
        }
        LinkEvent::Progress(_) => {}
    }
}

fn push(
    link: &LinkUrl,
    subscriber: Subscriber,
    again: SubscriberOptions,
    shared: &Shared,
) -> Result<(), Error> {
    let events = |event: LinkEvent<'_, SendStatistics>| note(shared, &event);
    let options = SendOptions::new(again).cancel(shared.cancel.clone());
    reconnect::send(link, subscriber, &options, &events).map(drop)
}

fn interrupted(peer: &str) -> Error {
    Error::new(ErrorKind::Interrupted, format!("interrupted while waiting for {peer}"))
}

fn wait_until_live(
    shared: &Shared,
    peer: &str,
    wait: Option<Duration>,
    cancel: &CancelToken,
) -> Result<(), Error> {
    let deadline = wait.and_then(|wait| Instant::now().checked_add(wait));
    let mut state = shared.state();
    loop {
        if let Some(fault) = &state.fault {
            return Err(copy_of(fault));
        }
        if state.live || state.ended {
            return Ok(());
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            let waited = match wait {
                Some(wait) if !wait.is_zero() => format!(" (waited {wait:?})"),
                _ => String::new(),
            };
            let trouble = state.trouble.clone().unwrap_or_else(|| "it is not published there now".to_owned());
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no channel {peer}{waited}: {trouble}"),
            )
            .with_hint(
                "start its publisher, and check that `framelane serve` runs there and offers the channel",
            ));
        }
        if cancel.is_cancelled() {
            return Err(interrupted(peer));
        }
        let nap = left.map_or(CALLER_POLL_INTERVAL, |left| left.min(CALLER_POLL_INTERVAL));
        state = shared.changed.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
        drop(state);
        if cancel.ends_wait() {
            return Err(interrupted(peer));
        }
        state = shared.state();
    }
}
