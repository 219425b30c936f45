//! The hello examples: any publisher works with any subscriber.

use std::path::Path;
use std::process::{Command, Stdio};

/// The command of one example, in Rust or in Python.
fn example(language: &str, name: &str) -> Option<Command> {
    if language == "rust" {
        let path = if name == "publish" {
            env!("CARGO_BIN_EXE_hello-publish")
        } else {
            env!("CARGO_BIN_EXE_hello-subscribe")
        };
        return Some(Command::new(path));
    }
    let Some(python) = std::env::var_os("FRAMELANE_PYTHON") else {
        println!("skipped: FRAMELANE_PYTHON does not name a Python with the framelane package");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("hello").join(format!("{name}.py")));
    Some(command)
}

fn run(publisher: &str, subscriber: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (Some(mut publish), Some(mut subscribe)) =
        (example(publisher, "publish"), example(subscriber, "subscribe"))
    else {
        return;
    };
    let subscribe = subscribe.env("FRAMELANE_DIR", directory.path()).stdout(Stdio::piped()).spawn().unwrap();
    let publish = publish.env("FRAMELANE_DIR", directory.path()).status().unwrap();
    assert!(publish.success());
    let output = subscribe.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        let (sequence, rest) = line.split_once(": 640x480 brightness ").unwrap();
        assert_eq!(sequence.parse::<u32>().unwrap(), rest.parse::<u32>().unwrap() + 1, "{line}");
    }
    assert_eq!(text.lines().last(), Some("100: 640x480 brightness 99"));
}

#[test]
fn rust_to_rust() {
    run("rust", "rust");
}

#[test]
fn rust_to_python() {
    run("rust", "python");
}

#[test]
fn python_to_rust() {
    run("python", "rust");
}

#[test]
fn python_to_python() {
    run("python", "python");
}
