//! Standard input and FIFOs, read so that a wait ends when the source is stopped.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use crate::interrupt::Interrupt;

/// Interval at which a wait polls the interrupt.
const POLL: Duration = Duration::from_millis(100);

/// Observations about the producer of a pipe. Written by the thread that reads, read by it and by others.
#[derive(Debug, Default)]
pub(crate) struct Producer {
    began: OnceLock<Instant>,
    waited_ns: AtomicU64,
}

impl Producer {
    /// Arrival of the first byte.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.began.get().copied()
    }

    /// Returns the time that reads have waited for bytes since the first one.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_nanos(self.waited_ns.load(Ordering::Relaxed))
    }
}

/// Reads file descriptor 0, past Rust's buffer for it, or a FIFO.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// `None`: standard input.
    fifo: Option<OwnedFd>,
    interrupt: Interrupt,
    producer: Arc<Producer>,
}

impl Pipe {
    pub(crate) fn stdin(interrupt: Interrupt) -> Self {
        Pipe { fifo: None, interrupt, producer: Arc::default() }
    }

    /// Opens a FIFO. A program that writes into it may open it later.
    pub(crate) fn open(path: &str, interrupt: Interrupt) -> io::Result<Self> {
        // Not blocking: the wait for a writer is in `read`, which can be interrupted.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Pipe { fifo: Some(fifo), interrupt, producer: Arc::default() })
    }

    pub(crate) fn producer(&self) -> Arc<Producer> {
        self.producer.clone()
    }
}

impl io::Read for Pipe {
    /// Blocks until there are bytes or the end; [`io::ErrorKind::Other`] with "interrupted" when the source
    /// is stopped.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let input = self.fifo.as_ref().map_or_else(stdin, AsFd::as_fd);
        let asked = Instant::now();
        loop {
            if self.interrupt.is_set() {
                // Not ErrorKind::Interrupted: read_exact would try again.
                return Err(io::Error::other("interrupted"));
            }
            if self.interrupt.is_late() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: POLL.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => match rustix::io::read(input, &mut *bytes) {
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                    Ok(count) => {
                        if self.producer.began.set(Instant::now()).is_err() {
                            let waited_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
                            self.producer.waited_ns.fetch_add(waited_ns, Ordering::Relaxed);
                        }
                        return Ok(count);
                    }
                    Err(error) => return Err(error.into()),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn stdin<'f>() -> BorrowedFd<'f> {
    rustix::stdio::stdin()
}
