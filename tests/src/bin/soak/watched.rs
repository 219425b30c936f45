//! A process of the soak: what it says is taken in as it comes.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::Duration;

use framelane_tests::Place;

/// Sums of the reports of all processes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub published: u64,
    /// Frames that found no slot free.
    pub unplaced: u64,
    pub checked: u64,
    pub torn: u64,
    pub rings: u64,
}

pub struct Watched {
    process: Option<Child>,
    stdin: Option<ChildStdin>,
    lines: Option<Receiver<String>>,
    killed: bool,
    fault: Option<String>,
    name: String,
}

impl Watched {
    pub fn nobody() -> Self {
        Watched { process: None, stdin: None, lines: None, killed: false, fault: None, name: String::new() }
    }

    pub fn publisher(place: &Place, seed: u64) -> std::io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["publisher", &seed.to_string()]);
        let mut started = Self::start(place, command, "the publisher")?;
        started.wait_until_ready();
        Ok(started)
    }

    pub fn reader(
        place: &Place,
        python: Option<&Path>,
        delivery: &str,
        frames: u64,
    ) -> std::io::Result<Self> {
        let mut command = match python {
            Some(python) => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/soak_reader.py");
                let mut command = Command::new(python);
                command.arg("-u").arg(script);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("reader");
                command
            }
        };
        command.args([delivery, &frames.to_string()]);
        let language = if python.is_some() { "Python" } else { "Rust" };
        Self::start(place, command, &format!("the reader in {language}, delivery {delivery}"))
    }

    fn start(place: &Place, mut command: Command, name: &str) -> std::io::Result<Self> {
        // A separate group: Ctrl-C is for the soak, which then ends the others in order.
        command
            .env("FRAMELANE_DIR", place.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0);
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Watched {
            process: Some(process),
            stdin,
            lines: Some(lines),
            killed: false,
            fault: None,
            name: name.to_owned(),
        })
    }

    fn wait_until_ready(&mut self) {
        while let Some(Ok(line)) = self.lines.as_ref().map(Receiver::recv) {
            if line == "ready" {
                return;
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// Kills the process. Returns false if it had ended by itself: its end has yet to be checked.
    pub fn kill(&mut self) -> bool {
        let Some(process) = &mut self.process else { return false };
        let now = !self.killed && matches!(process.try_wait(), Ok(None)) && process.kill().is_ok();
        self.killed |= now;
        now
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Reads its reports since the last call. Returns true if there will be no more.
    pub fn listen(&mut self, counts: &mut Counts) -> bool {
        loop {
            match self.lines.as_ref().map(Receiver::try_recv) {
                Some(Ok(line)) => self.take(&line, counts),
                Some(Err(TryRecvError::Empty)) => return false,
                Some(Err(TryRecvError::Disconnected)) | None => return true,
            }
        }
    }

    fn take(&mut self, line: &str, counts: &mut Counts) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = || rest.parse().unwrap_or(0);
        match word {
            "published" => counts.published += number(),
            "unplaced" => counts.unplaced += number(),
            "checked" => counts.checked += number(),
            "ring" => counts.rings += 1,
            "torn" => {
                counts.torn += 1;
                self.fault = Some(format!("{}: {rest}", self.name));
            }
            "wrong" => self.fault = Some(format!("{}: {rest}", self.name)),
            _ => {}
        }
    }

    /// Returns its end, if it has ended. An unexpected end is an error.
    pub fn ended(&mut self, counts: &mut Counts) -> Option<Result<(), String>> {
        // Does not read the output here: a line that arrives just now must not be lost.
        self.listen(counts).then(|| self.wait(counts))
    }

    /// Waits for its end, taking in its last words.
    pub fn wait(&mut self, counts: &mut Counts) -> Result<(), String> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        loop {
            let line = self.lines.as_ref().map(|lines| lines.recv_timeout(Duration::from_millis(100)));
            match line {
                Some(Ok(line)) => self.take(&line, counts),
                Some(Err(RecvTimeoutError::Timeout)) => {}
                _ => break,
            }
        }
        let status = process.wait().map_err(|error| error.to_string())?;
        match self.fault.take() {
            Some(fault) => Err(fault),
            None if status.success() || (self.killed && status.signal() == Some(libc::SIGKILL)) => Ok(()),
            None => Err(format!("{} has ended: {status}", self.name)),
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
