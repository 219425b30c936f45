//! Processes that a test starts, talks to line by line, and kills.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use framelane::{PublisherOptions, SubscriberOptions};

/// A channel directory of one test, on the tmpfs where channels live.
pub struct Place(tempfile::TempDir);

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// Makes an empty directory.
    ///
    /// # Panics
    /// When it cannot.
    pub fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let parent = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        Place(tempfile::Builder::new().prefix("framelane-test-").tempdir_in(parent).expect("a directory"))
    }

    /// Makes an empty directory in another one.
    ///
    /// # Panics
    /// When it cannot.
    pub fn under(directory: &Path) -> Self {
        Place(tempfile::tempdir_in(directory).expect("a directory"))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Options of a publisher in this directory.
    pub fn publisher(&self) -> PublisherOptions {
        PublisherOptions::new().directory(self.path())
    }

    /// Options of a subscriber in this directory that waits for the channel without limit.
    pub fn subscriber(&self) -> SubscriberOptions {
        SubscriberOptions::new().directory(self.path())
    }

    /// The names of the files in the directory.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("the directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Bytes that the files take up.
    ///
    /// # Panics
    /// When a file has gone meanwhile.
    pub fn used_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let files = self.files().into_iter().map(|name| self.path().join(name));
        files.map(|path| path.metadata().expect("a file").blocks() * 512).sum()
    }

    /// Starts a program with `FRAMELANE_DIR` set to this directory.
    pub fn start(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Child {
        let mut command = Command::new(program);
        command.args(arguments).env("FRAMELANE_DIR", self.path());
        Child::start(command)
    }

    /// Starts a script of `tests/python`, when `$FRAMELANE_PYTHON` names an interpreter to run it.
    pub fn start_python(&self, script: &str, arguments: &[&str]) -> Option<Child> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let mut command = Command::new(python()?);
        command.arg("-u").arg(path).args(arguments).env("FRAMELANE_DIR", self.path());
        Some(Child::start(command))
    }
}

/// The Python that has the package `framelane`; prints that a part of a test is skipped when there is none.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("FRAMELANE_PYTHON").filter(|path| !path.is_empty());
    if found.is_none() {
        println!("SKIPPED: the Python part; set FRAMELANE_PYTHON to a Python with framelane installed");
    }
    found.map(PathBuf::from)
}

/// A running program; killed and reaped when it is dropped.
pub struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts it with pipes to and from it; its errors go where the test's go.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        Child { process, stdin, stdout }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that it prints; `None` at its end.
    ///
    /// # Panics
    /// When the pipe fails.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stdout.read_line(&mut line).expect("a line of text");
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// Waits for a line that begins with `word` and gives the numbers in it.
    ///
    /// # Panics
    /// When the program ends before.
    pub fn wait_for(&mut self, word: &str) -> Vec<u64> {
        loop {
            let Some(line) = self.line() else {
                let status = self.process.wait();
                panic!("waited for {word:?}, but the program has ended: {status:?}");
            };
            let mut words = line.split(' ');
            if words.next() == Some(word) {
                return words.filter_map(|word| word.parse().ok()).collect();
            }
        }
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When the program has ended.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input was not closed");
        writeln!(stdin, "{line}").expect("the program reads");
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Kills it with `SIGKILL` and waits until the kernel has cleaned up behind it.
    ///
    /// # Panics
    /// When it was not there to be killed.
    pub fn kill(mut self) {
        use std::os::unix::process::ExitStatusExt;
        self.process.kill().expect("a process to kill");
        let status = self.process.wait().expect("its end");
        assert_eq!(status.signal(), Some(9), "the program had ended by itself: {status}");
    }

    /// Ends it with `SIGTERM`, which the program does not handle, and waits for its end.
    ///
    /// # Panics
    /// When it has ended in another way.
    pub fn terminate(mut self) {
        use std::os::unix::process::ExitStatusExt;
        // SAFETY: the process is a child that has not been waited for, so the id is still its own.
        let result = unsafe { libc::kill(self.id() as libc::pid_t, libc::SIGTERM) };
        assert_eq!(result, 0, "a process to end");
        let status = self.process.wait().expect("its end");
        assert_eq!(status.signal(), Some(libc::SIGTERM), "the program had ended by itself: {status}");
    }

    /// Waits until it has been killed: by itself, at a step that a test has chosen.
    ///
    /// # Panics
    /// When it has ended in another way.
    pub fn wait_for_kill(mut self) {
        use std::os::unix::process::ExitStatusExt;
        let status = self.process.wait().expect("its end");
        assert_eq!(status.signal(), Some(9), "it was not killed where it should have been: {status}");
    }

    /// Goes on after a stop.
    ///
    /// # Panics
    /// When it has ended.
    pub fn go_on(&self) {
        // SAFETY: the process is a child that has not been waited for, so the id is still its own.
        let result = unsafe { libc::kill(self.id() as libc::pid_t, libc::SIGCONT) };
        assert_eq!(result, 0, "a process to continue");
    }

    /// Kills it as [`Child::kill`]; does `meanwhile` before its children, which share its standard input, end.
    ///
    /// # Panics
    /// As [`Child::kill`].
    pub fn kill_but_not_its_children(mut self, meanwhile: impl FnOnce()) {
        let input = self.stdin.take();
        self.kill();
        meanwhile();
        drop(input);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When waiting fails.
    pub fn end(mut self) -> ExitStatus {
        self.stdin = None;
        self.process.wait().expect("its end")
    }

    /// How many times its threads have gone to sleep.
    ///
    /// # Panics
    /// When `/proc` does not tell.
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

    /// Whether its main thread sleeps.
    ///
    /// # Panics
    /// When `/proc` does not tell.
    pub fn sleeps(&self) -> bool {
        self.state() == Some('S')
    }

    /// Whether a signal has stopped it.
    ///
    /// # Panics
    /// When `/proc` does not tell.
    pub fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("/proc");
        stat.rsplit(") ").next()?.chars().next()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Looks again and again, for what other processes do without saying so.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}
