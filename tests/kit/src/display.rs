//! X servers without a screen.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::skip;

/// A separate X server, without a screen.
pub struct Display {
    server: Child,
    name: String,
}

impl Display {
    /// Starts a server with one screen of this size. Skips the test and returns `None` without Xvfb.
    ///
    /// # Panics
    /// When the server ends at once.
    #[track_caller]
    pub fn start(width: u32, height: u32) -> Option<Self> {
        // The server writes the number that it has found free.
        let server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{width}x{height}x24"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut server) = server else {
            skip("xvfb", "there is no Xvfb for the windows");
            return None;
        };
        let mut number = String::new();
        BufReader::new(server.stdout.take().expect("a pipe")).read_line(&mut number).expect("a pipe");
        assert!(!number.is_empty(), "Xvfb did not start");
        Some(Display { server, name: format!(":{}", number.trim()) })
    }

    /// The value of `DISPLAY`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
