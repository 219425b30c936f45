//! What the tests of the examples share: the same example in each language.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where this test's Rust examples are.
pub type Rust = fn(&str) -> &'static str;

/// The command of `FOLDER/NAME` in a language; `None`, and a word, when that language is not here.
pub fn example(language: &str, folder: &str, name: &str, rust: Rust) -> Option<Command> {
    match language {
        "rust" => Some(Command::new(rust(name))),
        "python" => {
            let Some(python) = std::env::var_os("FRAMELANE_PYTHON") else {
                println!("skipped: FRAMELANE_PYTHON does not name a Python with the framelane package");
                return None;
            };
            let mut command = Command::new(python);
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.py")));
            Some(command)
        }
        _ => {
            let Some(built) = std::env::var_os("FRAMELANE_CPP_EXAMPLES").map(PathBuf::from) else {
                println!(
                    "skipped: FRAMELANE_CPP_EXAMPLES does not name the folder of the C and C++ examples"
                );
                return None;
            };
            let suffix = if language == "c" { "-c" } else { "" };
            Some(Command::new(built.join(format!("{folder}-{name}{suffix}"))))
        }
    }
}

/// Channels of one test.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    pub fn start(&self, mut command: Command, arguments: &[&str]) -> Child {
        command.args(arguments).env("FRAMELANE_DIR", self.0.path());
        command.stdout(Stdio::piped()).spawn().unwrap()
    }
}

/// What a program has printed; it must have ended well.
pub fn output(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
