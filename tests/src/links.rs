//! The commands that make links, on the hosts of a test, and readers of their channels.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

use framelane::{Frame, Origin, RecvError, Subscriber};
use framelane_test_kit::Place;
pub use framelane_test_kit::{Running, program};

use crate::{Host, Pattern};

/// The default port of servers.
pub const PORT: u16 = 7420;

/// `framelane` with these arguments, in the channel directory of a place on a host.
pub fn command(host: &Host, place: &Place, arguments: &[&str]) -> Command {
    let mut command = host.command(program(), arguments);
    command.env("FRAMELANE_DIR", place.path()).env_remove("FRAMELANE_TOKEN");
    command
}

/// Starts `framelane ARGUMENTS --json` on a host.
pub fn start(host: &Host, place: &Place, arguments: &[&str]) -> Running {
    start_command(command(host, place, arguments))
}

/// Starts a prepared command with `--json`.
pub fn start_command(mut command: Command) -> Running {
    Running::spawn(command.arg("--json").stdin(Stdio::null()))
}

/// Starts a server for all clients over TCP on a host, which listens when this returns.
pub fn serve(host: &Host, place: &Place, more: &[&str]) -> Running {
    let listen = format!("tcp://{}", host.address());
    let arguments = [&["serve", "--listen", &listen, "--insecure", "--anonymous"], more].concat();
    let mut server = start(host, place, &arguments);
    server.wait_for("listening");
    server
}

/// The URL of a channel at a server that [`serve`] has started, with such options.
pub fn url(host: &Host, channel: &str, options: &str) -> String {
    format!("tcp://{}/{channel}?insecure&{options}", host.address())
}

/// A reader that looks at each byte and at the order.
pub struct Reader {
    subscriber: Subscriber,
    first: Option<Origin>,
    last: Option<Origin>,
    /// Epochs that have gone by.
    gone: Vec<u64>,
    /// Frames received.
    pub seen: u64,
    /// Numbers between frames that did not come.
    pub gaps: u64,
}

static PATTERN: LazyLock<Pattern> = LazyLock::new(Pattern::new);

impl Reader {
    /// Reads from this.
    pub fn new(subscriber: Subscriber) -> Self {
        Reader { subscriber, first: None, last: None, gone: Vec::new(), seen: 0, gaps: 0 }
    }

    /// The next frame; blocks.
    ///
    /// # Errors
    /// Those of [`Subscriber::recv`].
    ///
    /// # Panics
    /// When the frame is torn, or came before, or after a later one.
    pub fn recv(&mut self) -> Result<Frame, RecvError> {
        let frame = self.subscriber.recv()?;
        self.look(&frame);
        Ok(frame)
    }

    fn look(&mut self, frame: &Frame) {
        let origin = frame.origin();
        PATTERN.check(frame.bytes(), origin.sequence).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(!self.gone.contains(&origin.epoch), "{origin:?} is of a life that was over");
        match self.last {
            // A publisher that takes over a channel continues its numbers. A new channel starts at 1.
            Some(last) if last.epoch != origin.epoch => self.gone.push(last.epoch),
            Some(last) => assert!(origin.sequence > last.sequence, "{origin:?} after {last:?}"),
            None => {}
        }
        self.gaps += self
            .last
            .filter(|last| origin.sequence > last.sequence)
            .map_or(0, |last| origin.sequence - last.sequence - 1);
        self.first.get_or_insert(origin);
        self.last = Some(origin);
        self.seen += 1;
    }

    /// Reads until a frame of at least this number has come, or one of another life.
    ///
    /// # Panics
    /// As [`Reader::recv`], and when the channel ends.
    pub fn reach(&mut self, number: u64) -> Frame {
        loop {
            let frame = self.recv().expect("frames go on");
            if frame.origin().sequence >= number {
                return frame;
            }
        }
    }

    /// Reads so many frames.
    ///
    /// # Panics
    /// As [`Reader::reach`].
    pub fn take(&mut self, count: u64) -> Frame {
        let mut last = self.recv().expect("frames go on");
        for _ in 1..count {
            // Let go before the next: a reader that holds frames takes slots away.
            drop(last);
            last = self.recv().expect("frames go on");
        }
        last
    }

    /// The first frame that came.
    ///
    /// # Panics
    /// When none has.
    pub fn first(&self) -> Origin {
        self.first.expect("a frame")
    }

    /// The frame that came last.
    ///
    /// # Panics
    /// When none has.
    pub fn last(&self) -> Origin {
        self.last.expect("a frame")
    }
}
