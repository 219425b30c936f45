//! System calls on a socket that wait for the peer, with a time limit, and only until the caller cancels.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error};

/// Time that one system call waits before the token is checked.
const SLICE: Duration = Duration::from_millis(200);

/// Makes a socket ready for [`until_idle`].
pub fn prepare(stream: &TcpStream, idle_timeout: Duration) -> Result<(), Error> {
    // A time of zero would mean no limit.
    let slice = Some(SLICE.min(idle_timeout).max(Duration::from_millis(1)));
    let failed = |error| Error::from_io("setting up a connection", error);
    // What is sent waits for an answer: waiting for more to send would be in vain.
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(slice).map_err(failed)?;
    stream.set_write_timeout(slice).map_err(failed)
}

/// Repeats a system call until it has moved bytes or met the end.
///
/// # Errors
/// `TimedOut` when no byte has moved for `idle_timeout`; `Interrupted` when `cancel` ends the wait, which is
/// checked only while no byte moves; all other errors.
pub fn until_idle(
    idle_timeout: Duration,
    cancel: &CancelToken,
    mut call: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    let began = Instant::now();
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if began.elapsed() >= idle_timeout {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
            done => return done,
        }
        if cancel.ends_wait() {
            return Err(ErrorKind::Interrupted.into());
        }
    }
}

/// Returns the error of a lost peer, while `doing` something with it.
pub fn lost(error: &io::Error, idle_timeout: Duration, peer: &str, doing: &str) -> Error {
    let kind = match error.kind() {
        ErrorKind::TimedOut => framelane::ErrorKind::Timeout,
        ErrorKind::Interrupted => framelane::ErrorKind::Interrupted,
        _ => framelane::ErrorKind::SystemFailure,
    };
    let what = match error.kind() {
        ErrorKind::TimedOut => format!("no byte for {} s", idle_timeout.as_secs_f64()),
        ErrorKind::Interrupted => "the end was asked for".to_owned(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            "it has closed the connection".to_owned()
        }
        _ => error.to_string(),
    };
    Error::new(kind, format!("{peer} was lost {doing}: {what}"))
        .with_hint(format!("check the program at {peer}, and the network between"))
}
