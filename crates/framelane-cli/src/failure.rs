//! Errors of commands, and their output.

use std::io::{self, Write};
use std::process::ExitCode;

use framelane::{Error, LoanError, RecvError};
use serde::Serialize;

/// The early end of a command.
#[derive(Debug)]
pub enum Failure {
    /// An error, reported to the user.
    Error(Error),
    /// The reader of standard output closed it: a clean end.
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
    /// An error of writing to standard output. Other errors have a context already.
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

/// Reports a failure on standard error. Returns the exit code.
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
    // An error here cannot be reported.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}
