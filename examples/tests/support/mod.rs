//! Shared by the tests of the examples: the same example in each language.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use framelane_test_kit::skip;

/// The directory of this test's Rust examples.
pub type Rust = fn(&str) -> &'static str;

/// The command of `FOLDER/NAME` in a language; `None`, and a skip, when that language is not here.
pub fn example(language: &str, folder: &str, name: &str, rust: Rust) -> Option<Command> {
    match language {
        "rust" => Some(Command::new(rust(name))),
        "python" => {
            let python = python()?;
            let mut command = Command::new(python);
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{name}.py")));
            Some(command)
        }
        _ => {
            let Some(built) = std::env::var_os("FRAMELANE_CPP_EXAMPLES").map(PathBuf::from) else {
                skip("examples", "FRAMELANE_CPP_EXAMPLES does not name the folder of the C and C++ examples");
                return None;
            };
            let suffix = if language == "c" { "-c" } else { "" };
            Some(Command::new(built.join(format!("{folder}-{name}{suffix}"))))
        }
    }
}

/// The Python that has the package `framelane`.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("FRAMELANE_PYTHON").map(PathBuf::from);
    if python.is_none() {
        skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
    }
    python
}

/// A program with arguments.
pub fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}
