//! The detector's process and the lines of its standard output.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use framelane::Error;
use serde::Deserialize;

use crate::Shared;

/// A line that the detector prints.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// A frame arrived.
    Arrived { handoff_ns: u64 },
    /// The detector processed a frame after it skipped some.
    Processed { skipped: u64 },
}

/// A running detector. Dropping it ends the process.
pub(crate) struct Detector {
    child: Child,
    reading: Option<JoinHandle<()>>,
}

impl Detector {
    pub(crate) fn start(command: &[String], shared: Arc<Shared>) -> Result<Self, Error> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Error::from_io(format!("cannot start the detector {:?}", command[0]), error))?;
        let output = child.stdout.take().expect("the output is piped");
        let reading = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                match serde_json::from_str::<Line>(&line) {
                    Ok(line) => shared.report.lock().expect("no thread panics").detector_printed(&line),
                    Err(_) => println!("detector: {line}"),
                }
            }
        });
        Ok(Detector { child, reading: Some(reading) })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the process exits. Returns whether it succeeded.
    pub(crate) fn join(&mut self) -> bool {
        let status = self.child.wait();
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
        status.is_ok_and(|status| status.success())
    }
}

impl Drop for Detector {
    fn drop(&mut self) {
        // The process still runs only after an error: no more frames will be published.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
