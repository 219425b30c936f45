//! How a command ends when it does not end well, and how that is told.

use std::io::{self, Write};
use std::process::ExitCode;

use framelane::{Error, LoanError, RecvError};
use serde::Serialize;

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell the user.
    Error(Error),
    /// Whoever reads our standard output has had enough: a clean end.
    OutputClosed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Self {
        Failure::Error(error.into())
    }
}

impl From<LoanError> for Failure {
    fn from(error: LoanError) -> Self {
        Failure::Error(error.into())
    }
}

impl From<io::Error> for Failure {
    /// Of writing to standard output; other errors come with a context of their own.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::OutputClosed;
        }
        Failure::Error(Error::from_io("writing to standard output", error))
    }
}

/// Prints a line to standard output.
pub fn print_line(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

/// Prints a value as one line of JSON to standard output.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print_line(&json(value))
}

/// One line of JSON.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("reports have string keys only")
}

#[derive(Serialize)]
struct ErrorReport<'e> {
    error: ErrorFields<'e>,
}

#[derive(Serialize)]
struct ErrorFields<'e> {
    code: u32,
    kind: &'static str,
    message: &'e str,
    hint: &'e str,
}

/// Tells the user on standard error and gives the exit code.
pub fn report(failure: &Failure, as_json: bool) -> ExitCode {
    let error = match failure {
        Failure::OutputClosed => return ExitCode::SUCCESS,
        Failure::Error(error) => error,
    };
    let (message, hint) = (error.message(), error.advice());
    let text = if as_json {
        json(&ErrorReport {
            error: ErrorFields { code: error.code(), kind: error.kind().name(), message, hint },
        })
    } else {
        format!("error: {message}\n  hint: {hint}")
    };
    // Nobody is left to be told when this fails.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}
