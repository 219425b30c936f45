//! The Python process of `framelane run`, and the files that it is made of.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime};

use framelane::{Error, ErrorKind};
use serde::Deserialize;

/// Time for a worker to finish its frame.
const GRACE: Duration = Duration::from_secs(2);

/// Options of a worker.
pub struct WorkerOptions {
    pub python: Option<PathBuf>,
    pub directory: Option<PathBuf>,
    pub arguments: Vec<String>,
}

/// A report of a worker, a line of JSON: see `framelane/worker.py`.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Report {
    Loaded,
    Started,
    /// The channel has no publisher.
    Waiting,
    /// Readers hold all slots of the channel.
    Starved {
        error: String,
        hint: String,
    },
    /// It has one again.
    Resumed,
    Statistics {
        frames: u64,
        boxes: u64,
        detect_ms: f64,
    },
    Failed {
        traceback: String,
        sequence: Option<u64>,
        frames: u64,
    },
    Finished {
        frames: u64,
        boxes: u64,
    },
    Refused {
        code: u32,
        error: String,
        hint: String,
    },
    /// Of a later version of the package.
    #[serde(other)]
    Unknown,
}

/// The result of [`Worker::poll`].
pub enum Polled {
    Nothing,
    Reported {
        line: String,
        report: Report,
    },
    /// The worker has closed its output.
    Gone,
}

/// A Python process. It ends when its standard input closes, also when this process is killed.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    python: PathBuf,
}

impl Worker {
    pub fn start(options: &WorkerOptions) -> Result<Self, Error> {
        let python = options.python.clone().unwrap_or_else(default_python);
        let mut command = Command::new(&python);
        command.args(["-u", "-m", "framelane.worker"]).args(&options.arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // The terminal sends Ctrl-C to its group. This process ends the worker through its standard input.
        command.process_group(0);
        if let Some(directory) = &options.directory {
            command.env("FRAMELANE_DIR", directory);
        }
        let mut child = command.spawn().map_err(|error| {
            Error::from_io(format!("starting {}", python.display()), error)
                .with_hint("install Python, or name one with --python")
        })?;
        let input = child.stdin.take();
        let output = child.stdout.take();
        let (sender, lines) = channel();
        let reading = std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
            let Some(output) = output else { return };
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        reading.map_err(|error| Error::from_io("starting a thread", error))?;
        Ok(Worker { child, input, lines, python })
    }

    /// Waits up to `wait` for a report.
    pub fn poll(&mut self, wait: Duration) -> Polled {
        match self.lines.recv_timeout(wait) {
            Ok(line) => {
                let report = serde_json::from_str(&line).unwrap_or(Report::Unknown);
                Polled::Reported { line, report }
            }
            Err(RecvTimeoutError::Timeout) => Polled::Nothing,
            Err(RecvTimeoutError::Disconnected) => Polled::Gone,
        }
    }

    pub fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().map_err(|error| Error::from_io("waiting for the worker", error))
    }

    /// Ends it, and waits until it has ended.
    pub fn end(&mut self) {
        self.input.take();
        let until = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The error of a worker that ended before it loaded the function.
    pub fn could_not_start(&self, status: ExitStatus) -> Error {
        let python = self.python.display();
        let message = format!("{python} could not start framelane's worker ({status}), see above");
        Error::new(ErrorKind::NotFound, message)
            .with_hint(format!(
                "install the framelane package for it ({python} -m pip install ./bindings/python, in a clone), or name \
                 another with --python"
            ))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.input.is_some() {
            self.end();
        }
    }
}

fn default_python() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("FRAMELANE_PYTHON")
        .or_else(|| set("VIRTUAL_ENV").map(|folder| folder.join("bin/python")))
        .unwrap_or_else(|| PathBuf::from("python3"))
}

/// The Python files of a folder, and when each was changed.
pub struct Watched {
    folder: PathBuf,
    files: BTreeMap<PathBuf, SystemTime>,
}

impl Watched {
    /// The Python files in the folder of a target, or in the current folder for a module.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the target is a file that is not there.
    pub fn new(target: &str) -> Result<Self, Error> {
        let place = target.split(':').next().unwrap_or_default();
        let mut folder = PathBuf::from(".");
        if place.ends_with(".py") {
            let path = Path::new(place);
            if !path.is_file() {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    format!("expected a Python file at {place}, found none"),
                )
                .with_hint("use FILE.py:FUNCTION, from the current folder, or MODULE:FUNCTION"));
            }
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                folder = parent.to_owned();
            }
        }
        let files = modified(&folder);
        Ok(Watched { folder, files })
    }

    /// Returns a file that was changed, added or removed since the last call.
    pub fn changed(&mut self) -> Option<String> {
        let now = modified(&self.folder);
        let differs = |(path, time): (&PathBuf, &SystemTime), other: &BTreeMap<PathBuf, SystemTime>| {
            other.get(path) != Some(time)
        };
        let changed = now.iter().find(|&file| differs(file, &self.files));
        let gone = self.files.iter().find(|&file| differs(file, &now));
        let name = changed.or(gone).map(|(path, _)| path.display().to_string());
        self.files = now;
        name
    }
}

/// The Python files of a folder, with their times.
fn modified(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let python = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "py"));
    python.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?))).collect()
}
