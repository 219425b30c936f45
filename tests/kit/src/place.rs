//! The channel directory of one test.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::{Limit, Running};

/// A channel directory of one test, on the tmpfs where channels are. The test gets a [`Limit`].
pub struct Place {
    directory: tempfile::TempDir,
    _limit: Limit,
}

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
        Self::under(if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() })
    }

    /// Makes an empty directory in another one.
    ///
    /// # Panics
    /// When it cannot.
    pub fn under(directory: impl AsRef<Path>) -> Self {
        let directory = tempfile::Builder::new().prefix("framelane-test-").tempdir_in(directory);
        Place { directory: directory.expect("a directory"), _limit: Limit::new() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The names of the files in the directory, sorted.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn files(&self) -> Vec<String> {
        files_in(self.path())
    }

    /// Bytes that the files take up.
    ///
    /// # Panics
    /// When a file has gone meanwhile.
    pub fn used_bytes(&self) -> u64 {
        #[cfg(unix)]
        let used =
            |path: PathBuf| std::os::unix::fs::MetadataExt::blocks(&path.metadata().expect("a file")) * 512;
        #[cfg(windows)]
        let used = |path: PathBuf| crate::Memory::open(&path).map_or(0, |memory| memory.len());
        self.files().into_iter().map(|name| used(self.path().join(name))).sum()
    }

    /// Starts a program with `FRAMELANE_DIR` set to this directory, and with pipes to and from it.
    pub fn start_program(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Running {
        let mut command = Command::new(program);
        command.args(arguments);
        self.start_command(command)
    }

    /// Starts a command with `FRAMELANE_DIR` set to this directory, and with pipes to and from it.
    pub fn start_command(&self, mut command: Command) -> Running {
        command.env("FRAMELANE_DIR", self.path());
        Running::start(command)
    }

    /// The command `framelane LINE` for the channels of this directory.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program());
        command.args(line.split_whitespace()).env("FRAMELANE_DIR", self.path());
        command
    }

    /// Runs `framelane LINE` to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).stdin(Stdio::null()).output().expect("the command framelane")
    }

    /// The JSON that `framelane LINE` prints.
    ///
    /// # Panics
    /// When the command fails.
    pub fn json(&self, line: &str) -> Value {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Starts `framelane LINE`, whose output is JSON events.
    pub fn start(&self, line: &str) -> Running {
        Running::spawn(self.command(line).stdin(Stdio::null()))
    }
}

/// The names of the files in a directory, sorted.
///
/// # Panics
/// When it cannot be read.
pub fn files_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Removes a file that other processes may have open.
///
/// # Panics
/// If it cannot be removed.
pub fn remove_file(path: &Path) {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    // Wine keeps the name until all have closed the file, and Windows 10 does not.
    let removed = if cfg!(windows) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let hidden = path.with_file_name(format!(".removed.{}.new", COUNT.fetch_add(1, Relaxed)));
        std::fs::rename(path, &hidden).expect("a file that can be renamed");
        hidden
    } else {
        path.to_owned()
    };
    std::fs::remove_file(removed).expect("a file");
}

/// The command `framelane`: `$FRAMELANE_COMMAND`, else the one that was built with the tests.
///
/// # Panics
/// When there is none.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("FRAMELANE_COMMAND") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this test");
    let folders = test.ancestors().skip(1).take(2).map(|folder| folder.join("framelane"));
    let found = folders.into_iter().find(|path| path.is_file());
    found.expect("the command framelane: build it with `cargo build --package framelane-cli`")
}
