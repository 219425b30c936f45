//! The commands that make links, on the hosts of a test, and readers that look at what they bring.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use framelane::{Frame, Origin, RecvError, Subscriber};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Child, Host, Pattern, Place};

/// Where servers listen unless they are told another port.
pub const PORT: u16 = 7420;

/// `framelane`: `$FRAMELANE_COMMAND`, else what was built with the tests.
///
/// # Panics
/// When there is none.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("FRAMELANE_COMMAND") {
        return path.into();
    }
    let test = std::env::current_exe().expect("our own path");
    let beside = test.ancestors().skip(1).take(2).map(|directory| directory.join("framelane"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.expect("the command framelane: build it with `cargo build --package framelane-cli`")
}

/// `framelane` with these arguments, in the channel directory of a place on a host.
pub fn command(host: &Host, place: &Place, arguments: &[&str]) -> Command {
    let mut command = host.command(program(), arguments);
    command.env("FRAMELANE_DIR", place.path()).env_remove("FRAMELANE_TOKEN");
    command
}

/// A command that runs and tells events in JSON; killed when it is dropped.
pub struct Running(Child);

impl Running {
    /// Starts `framelane ARGUMENTS --json`.
    pub fn start(host: &Host, place: &Place, arguments: &[&str]) -> Self {
        Self::of(command(host, place, arguments))
    }

    /// Starts what was prepared, with `--json`.
    pub fn of(mut command: Command) -> Self {
        command.arg("--json");
        Running(Child::start(command))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The next event of this name; those before it are passed over.
    ///
    /// # Panics
    /// When it ends before.
    pub fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.0.line().unwrap_or_else(|| panic!("it has ended before it told of {name:?}"));
            let event: Value = serde_json::from_str(&line).expect("events are JSON");
            if event["event"] == name {
                return event;
            }
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(self) {
        self.0.kill();
    }

    /// Ends it as a service manager does; gives its last event.
    ///
    /// # Panics
    /// When it does not end as it should.
    pub fn terminate(mut self) -> Value {
        self.signal(Signal::TERM);
        let mut last = Value::Null;
        while let Some(line) = self.0.line() {
            last = serde_json::from_str(&line).expect("events are JSON");
        }
        let status = self.0.end();
        assert_eq!(status.code(), Some(143), "{status}, after {last}");
        last
    }

    /// Waits until it ends by itself; gives its exit code.
    pub fn end(self) -> Option<i32> {
        self.0.end().code()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id() as i32).expect("the id of a process");
        kill_process(pid, signal).expect("a process");
    }
}

/// Starts a server for everybody over TCP on a host, which listens when this returns.
pub fn serve(host: &Host, place: &Place, more: &[&str]) -> Running {
    let listen = format!("tcp://{}", host.address());
    let arguments = [&["serve", "--listen", &listen, "--insecure", "--anonymous"], more].concat();
    let mut server = Running::start(host, place, &arguments);
    server.event("listening");
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
            // A publisher that takes a dead one's channel over goes on with its numbers; a new channel begins anew.
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
