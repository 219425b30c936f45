//! Publishers, subscribers and Python programs in a test's directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use framelane::{PublisherOptions, SubscriberOptions};
use framelane_test_kit::{Place, Running, skip};

/// Operations of tests on the channels of a [`Place`].
pub trait Channels {
    /// Options of a publisher in this directory.
    fn publisher(&self) -> PublisherOptions;
    /// Options of a subscriber in this directory that waits for the channel without limit.
    fn subscriber(&self) -> SubscriberOptions;
    /// Starts a script of `tests/python`, when `$FRAMELANE_PYTHON` names an interpreter to run it.
    fn start_python(&self, script: &str, arguments: &[&str]) -> Option<Running>;
}

impl Channels for Place {
    fn publisher(&self) -> PublisherOptions {
        PublisherOptions::new().directory(self.path())
    }

    fn subscriber(&self) -> SubscriberOptions {
        SubscriberOptions::new().directory(self.path())
    }

    fn start_python(&self, script: &str, arguments: &[&str]) -> Option<Running> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        let mut command = Command::new(python()?);
        command.arg("-u").arg(path).args(arguments);
        Some(self.start_command(command))
    }
}

/// The Python that has the package `framelane`. Without one, a part of the test is skipped.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("FRAMELANE_PYTHON").filter(|path| !path.is_empty());
    if found.is_none() {
        skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
    }
    found.map(PathBuf::from)
}
