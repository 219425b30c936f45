//! The commands that make links, on the hosts of a test, and readers that look at what they bring.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};

use framelane::{Frame, Origin, RecvError, Subscriber};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Host, Pattern, Place};

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
pub struct Running {
    process: std::process::Child,
    /// What it prints is always read, so that it never waits for us.
    lines: Receiver<String>,
}

impl Running {
    /// Starts `framelane ARGUMENTS --json`.
    pub fn start(host: &Host, place: &Place, arguments: &[&str]) -> Self {
        Self::of(command(host, place, arguments))
    }

    /// Starts what was prepared, with `--json`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn of(mut command: Command) -> Self {
        command.arg("--json").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Also when nobody listens any more.
            stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Running { process, lines }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next event of this name; those before it are passed over.
    ///
    /// # Panics
    /// When it ends before.
    pub fn event(&mut self, name: &str) -> Value {
        self.event_that(|event| event["event"] == name)
    }

    /// The next event that is such; those before it are passed over.
    ///
    /// # Panics
    /// When it ends before.
    pub fn event_that(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let line = self.lines.recv().expect("it has ended before it told of what was waited for");
            let event: Value = serde_json::from_str(&line).expect("events are JSON");
            if is_wanted(&event) {
                return event;
            }
        }
    }

    /// Kills it, as a crash would.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill(mut self) {
        self.process.kill().expect("a process to kill");
        let status = self.process.wait().expect("its end");
        assert_eq!(status.signal(), Some(9), "it had ended by itself: {status}");
    }

    /// Ends it as a service manager does; gives its last event.
    ///
    /// # Panics
    /// When it does not end as it should.
    pub fn terminate(mut self) -> Value {
        let pid = Pid::from_child(&self.process);
        kill_process(pid, Signal::TERM).expect("a process");
        let last = self.lines.iter().last();
        let status = self.process.wait().expect("its end");
        assert_eq!(status.code(), Some(143), "{status}, after {last:?}");
        last.map_or(Value::Null, |line| serde_json::from_str(&line).expect("events are JSON"))
    }

    /// Waits for its end; gives its exit code.
    ///
    /// # Panics
    /// When waiting fails.
    pub fn end(mut self) -> Option<i32> {
        self.process.wait().expect("its end").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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
