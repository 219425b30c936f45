//! Programs that a test starts, talks to line by line, and ends.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;

#[cfg(unix)]
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Deadline, deadline};

/// A running program. It is killed and reaped when this is dropped.
///
/// Its output is always read, so that a full pipe never blocks it, except after [`Running::hold_output`].
/// Each wait has the [`deadline`].
pub struct Running {
    /// The process.
    pub child: Child,
    /// The command line, for messages.
    name: String,
    lines: Receiver<String>,
    /// The newest lines, for messages.
    seen: VecDeque<String>,
    output: Arc<Output>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a program with pipes to and from it. Its errors are printed with the test's.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Self {
        Self::spawn(command.stdin(Stdio::piped()))
    }

    /// Starts a program with a pipe from it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        let output = Arc::new(Output::default());
        let theirs = output.clone();
        let reader = std::thread::spawn(move || read(stdout, &sender, &theirs));
        let name = format!("{command:?}");
        Running { child, name, lines, seen: VecDeque::new(), output, reader: Some(reader) }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints, or `None` at its end.
    ///
    /// # Panics
    /// At the deadline.
    pub fn line(&mut self) -> Option<String> {
        self.line_for(&"a line")
    }

    #[track_caller]
    fn line_for(&mut self, awaited: &dyn std::fmt::Display) -> Option<String> {
        match self.lines.recv_timeout(deadline()) {
            Ok(line) => {
                self.seen.truncate(4);
                self.seen.push_front(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("waited {} s for {awaited} from {self}", deadline().as_secs_f64())
            }
        }
    }

    /// Waits for a line that begins with `word`, and returns the numbers in it.
    ///
    /// # Panics
    /// When the program ends before, and at the deadline.
    #[track_caller]
    pub fn numbers(&mut self, word: &str) -> Vec<u64> {
        loop {
            let Some(line) = self.line_for(&format_args!("the line {word:?}")) else {
                let status = self.child.wait();
                panic!("expected the line {word:?}, found the end of {self}: {status:?}");
            };
            let mut words = line.split(' ');
            if words.next() == Some(word) {
                return words.filter_map(|word| word.parse().ok()).collect();
            }
        }
    }

    #[track_caller]
    fn event_for(&mut self, awaited: &dyn std::fmt::Display) -> Option<Value> {
        let line = self.line_for(awaited)?;
        Some(
            serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("expected JSON, found {line:?}: {error}")),
        )
    }

    /// The next event of this name. Events before it are skipped.
    ///
    /// # Panics
    /// When the output ends before, and at the deadline.
    #[track_caller]
    pub fn wait_for(&mut self, event: &str) -> Value {
        self.wait_for_that(event, |found| found["event"] == event)
    }

    /// The next event for which a condition holds. Events before it are skipped.
    ///
    /// # Panics
    /// When the output ends before, and at the deadline.
    #[track_caller]
    pub fn wait_for_that(&mut self, awaited: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let Some(event) = self.event_for(&format_args!("the event {awaited:?}")) else {
                panic!("expected the event {awaited:?}, found the end of {self}");
            };
            if is_wanted(&event) {
                return event;
            }
        }
    }

    /// Every event to the end of the output.
    pub fn rest(&mut self) -> Vec<Value> {
        self.collect()
    }

    /// Stops reading its output, so that the pipe fills.
    pub fn hold_output(&self) {
        self.output.held.store(true, Ordering::Relaxed);
    }

    /// Reads its output again.
    pub fn read_output(&self) {
        self.output.held.store(false, Ordering::Relaxed);
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("an open standard input");
        writeln!(stdin, "{line}").expect("the program reads");
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// When it has ended.
    #[cfg(unix)]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a process");
    }

    /// Closes its standard input and waits for its end.
    ///
    /// # Panics
    /// At the deadline.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.close_input();
        let deadline = Deadline::new();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            deadline.next_poll(format_args!("the end of {self}"));
        }
    }

    /// Closes the reading end of its standard output, and waits for its end.
    ///
    /// # Panics
    /// At the deadline.
    #[track_caller]
    pub fn end_without_reader(mut self) -> ExitStatus {
        self.output.closed.store(true, Ordering::Relaxed);
        self.reader.take().map(JoinHandle::join);
        self.end()
    }

    /// Kills it with `SIGKILL` and waits until the kernel has cleaned up after it.
    ///
    /// # Panics
    /// When it had ended before.
    #[track_caller]
    pub fn kill(mut self) {
        self.child.kill().expect("a process to kill");
        let status = self.end();
        assert!(was_killed(status), "{self} had ended by itself: {status}");
    }

    /// Kills it as [`Running::kill`] does. Does `meanwhile` before its children, which share its standard
    /// input, end.
    ///
    /// # Panics
    /// As [`Running::kill`].
    #[track_caller]
    pub fn kill_but_not_its_children(mut self, meanwhile: impl FnOnce()) {
        let input = self.child.stdin.take();
        self.kill();
        meanwhile();
        drop(input);
    }

    /// Waits until a signal has ended it.
    ///
    /// # Panics
    /// When it has ended in another way, and at the deadline.
    #[cfg(unix)]
    #[track_caller]
    pub fn end_by(mut self, signal: Signal) {
        use std::os::unix::process::ExitStatusExt;
        let status = self.wait(format_args!("signal {signal:?}"));
        assert_eq!(status.signal(), Some(signal.as_raw()), "expected {signal:?}, found {status}: {self}");
    }

    /// Waits until it has killed itself at a chosen step.
    ///
    /// # Panics
    /// When it has ended in another way, and at the deadline.
    #[track_caller]
    pub fn end_killed(mut self) {
        let status = self.wait(format_args!("a kill"));
        assert!(was_killed(status), "expected a kill, found {status}: {self}");
    }

    #[track_caller]
    fn wait(&mut self, cause: std::fmt::Arguments<'_>) -> ExitStatus {
        let deadline = Deadline::new();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            deadline.next_poll(format_args!("{cause} ended {self}"));
        }
    }

    /// Ends it as a service manager does, and returns its last event.
    ///
    /// # Panics
    /// When its exit code is not 143, and at the deadline.
    #[cfg(unix)]
    #[track_caller]
    pub fn terminate(mut self) -> Value {
        self.signal(Signal::TERM);
        let last = self.rest().pop();
        let status = self.end();
        assert_eq!(status.code(), Some(143), "{status}, after {last:?}");
        last.unwrap_or(Value::Null)
    }

    /// The number of times that its threads have gone to sleep.
    ///
    /// # Panics
    /// If `/proc` is not readable.
    #[cfg(target_os = "linux")]
    pub fn sleeps_so_far(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.id())).expect("/proc");
        tasks
            .map(|task| {
                let path = task.expect("a thread").path().join("status");
                let text = std::fs::read_to_string(path).expect("status");
                let count = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                count.and_then(|count| count.trim().parse::<u64>().ok()).expect("a number")
            })
            .sum()
    }

    /// Returns true if its main thread sleeps.
    ///
    /// # Panics
    /// If `/proc` is not readable.
    #[cfg(target_os = "linux")]
    pub fn sleeps(&self) -> bool {
        self.state() == Some('S')
    }

    /// Returns true if a signal stopped it.
    ///
    /// # Panics
    /// If `/proc` is not readable.
    #[cfg(target_os = "linux")]
    pub fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    #[cfg(target_os = "linux")]
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("/proc");
        stat.rsplit(") ").next()?.chars().next()
    }
}

/// The events, until the end of the output. Panics when a line is not JSON, and at the deadline.
impl Iterator for Running {
    type Item = Value;

    #[track_caller]
    fn next(&mut self) -> Option<Value> {
        self.event_for(&"an event")
    }
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, whose newest lines are {:?}", self.name, self.seen)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until all programs have ended well, and returns the text that each has printed.
///
/// # Panics
/// As soon as one fails, since its partners may wait for it indefinitely. Also at the deadline.
#[track_caller]
pub fn finish_all(mut programs: Vec<Running>) -> Vec<String> {
    let deadline = Deadline::new();
    let mut left: Vec<usize> = (0..programs.len()).collect();
    while !left.is_empty() {
        left.retain(|&at| {
            let program = &mut programs[at];
            let status = program.child.try_wait().expect("a child");
            assert!(status.is_none_or(|status| status.success()), "{} failed: {status:?}", program.name);
            status.is_none()
        });
        if let Some(&first) = left.first() {
            deadline.next_poll(format_args!("the end of {}", programs[first]));
        }
    }
    let text =
        |program: &mut Running| std::iter::from_fn(|| program.line()).map(|line| line + "\n").collect();
    programs.iter_mut().map(text).collect()
}

/// Request of a test to the reading thread. Written by the test.
#[derive(Default)]
struct Output {
    held: AtomicBool,
    closed: AtomicBool,
}

/// Returns whether a program did not end by itself.
fn was_killed(status: ExitStatus) -> bool {
    #[cfg(unix)]
    return std::os::unix::process::ExitStatusExt::signal(&status) == Some(libc::SIGKILL);
    // The code of `Child::kill`. A panic has another one.
    #[cfg(windows)]
    return status.code() == Some(1);
}

/// Reads lines until the end of the output, or until no reader is wanted.
fn read(stdout: ChildStdout, lines: &Sender<String>, output: &Output) {
    let mut stdout = BufReader::new(stdout);
    while !output.closed.load(Ordering::Relaxed) {
        if !has_bytes(&stdout, output) {
            continue;
        }
        let mut line = Vec::new();
        if !stdout.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            return;
        }
        // Also when the test takes no more lines: the program must not block.
        drop(lines.send(String::from_utf8_lossy(&line).trim_end().to_owned()));
    }
}

/// Waits for output for a short time, unless it is held.
#[cfg(unix)]
fn has_bytes(stdout: &BufReader<ChildStdout>, output: &Output) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let interval = std::time::Duration::from_millis(20);
    if output.held.load(Ordering::Relaxed) {
        std::thread::sleep(interval);
        return false;
    }
    let timeout = Timespec::try_from(interval).expect("a short time");
    let mut files = [PollFd::new(stdout.get_ref(), PollFlags::IN)];
    !stdout.buffer().is_empty() || poll(&mut files, Some(&timeout)) != Ok(0)
}

/// The system has no such wait for pipes: tests of held output do not run here.
#[cfg(windows)]
fn has_bytes(_stdout: &BufReader<ChildStdout>, output: &Output) -> bool {
    assert!(!output.held.load(Ordering::Relaxed), "held output needs another system");
    true
}
