//! Ctrl-C, SIGTERM and SIGHUP end a command as its own end would.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use crate::failure::Failure;

/// A second signal this long after the first ends the process at once. Not earlier: `timeout` and shells send
/// the same signal to a process and to its group, which is one wish, not two.
const SECOND_SIGNAL_AFTER: Duration = Duration::from_secs(1);

/// The request to end, by a signal or by the command.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Set by the signal handler or [`Stop::set`], read by waiting threads. Carries no data.
    flag: Arc<AtomicBool>,
    /// The signal, 0 for none. Written by the signal handler before `flag`.
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Takes the signals over.
    ///
    /// With `grace`, the process ends that long after the first signal even if something blocks it: for
    /// commands that leave nothing behind and may hang in a write to a pipe.
    pub fn install(grace: Option<Duration>) -> Result<Self, Failure> {
        let stop = Stop { flag: Arc::default(), signal: Arc::default() };
        let mut taken = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            taken.push(SIGHUP);
        }
        let failed = |error| Error::from_io("taking over Ctrl-C", error);
        // Handled, so that a write beyond `ulimit -f` is an error. The flag is not used.
        signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(failed)?;
        for &signal in &taken {
            // In the handler itself, so that a wait that the signal interrupts sees the flag.
            signal_hook::flag::register_usize(signal, stop.signal.clone(), signal as usize)
                .map_err(failed)?;
            signal_hook::flag::register(signal, stop.flag.clone()).map_err(failed)?;
        }
        let mut signals = Signals::new(taken).map_err(failed)?;
        let watched = stop.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let mut first = None;
                for signal in signals.forever() {
                    let since = first.get_or_insert_with(Instant::now).elapsed();
                    if let Some(grace) = grace {
                        std::thread::sleep(grace);
                        std::process::exit(watched.exit_code().unwrap_or(1).into());
                    }
                    if since >= SECOND_SIGNAL_AFTER {
                        std::process::exit(128 + signal);
                    }
                }
            })
            .map_err(failed)?;
        Ok(stop)
    }

    /// True if the command has to end.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Requests the end without a signal.
    pub fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Returns a token that ends waits when it is time to end.
    pub fn token(&self) -> CancelToken {
        let stop = self.clone();
        CancelToken::with_check(move || stop.is_set())
    }

    /// 128 + the signal, if there was one.
    pub fn exit_code(&self) -> Option<u8> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => u8::try_from(128 + signal).ok(),
        }
    }

    /// Sleeps for `time`, or until the end (checked every 50 ms). Returns false at the end.
    pub fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }
}

/// True if the parent process ignored this signal, as `nohup` ignores SIGHUP.
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
