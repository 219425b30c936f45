//! Standard input, read so that a wait for it ends when the source is told to stop.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::interrupt::Interrupt;

/// How often a wait looks at the interrupt.
const LOOK: Duration = Duration::from_millis(100);

/// Reads file descriptor 0, past Rust's buffer for it.
#[derive(Debug)]
pub(crate) struct Stdin {
    interrupt: Interrupt,
}

impl Stdin {
    pub(crate) fn new(interrupt: Interrupt) -> Self {
        Stdin { interrupt }
    }
}

impl io::Read for Stdin {
    /// Blocks until there are bytes or the end; [`io::ErrorKind::Other`] with "interrupted" when told to stop.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let stdin = rustix::stdio::stdin();
        loop {
            if self.interrupt.is_set() {
                // Not ErrorKind::Interrupted: read_exact would try again.
                return Err(io::Error::other("interrupted"));
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => match rustix::io::read(stdin, &mut *bytes) {
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    other => return other.map_err(io::Error::from),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}
