//! The first bytes of every frame, for all peers alike.

use std::time::Duration;

/// Purpose of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// Not counted.
    WarmUp = 1,
    /// Counted.
    Measured = 2,
    /// The run is over.
    End = 3,
}

/// Number, time and kind, at the start of the payload; the number once more at its end.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// From 1.
    pub number: u64,
    /// `CLOCK_MONOTONIC` just before the frame was published.
    pub sent_ns: u64,
    /// Purpose of the frame, as a number.
    pub kind: u64,
}

impl Stamp {
    /// Writes the stamp. `whole`: also at the end of the frame, to notice torn ones.
    pub fn write(self, frame: &mut [u8], whole: bool) {
        frame[..8].copy_from_slice(&self.number.to_le_bytes());
        frame[8..16].copy_from_slice(&self.sent_ns.to_le_bytes());
        frame[16..24].copy_from_slice(&self.kind.to_le_bytes());
        frame[24..32].copy_from_slice(&self.number.to_le_bytes());
        if whole {
            let end = frame.len() - 8;
            frame[end..].copy_from_slice(&self.number.to_le_bytes());
        }
    }

    /// Reads the stamp; `None` when its numbers differ.
    pub fn read(frame: &[u8], whole: bool) -> Option<Self> {
        let word = |at: usize| u64::from_le_bytes(frame[at..at + 8].try_into().expect("eight bytes"));
        let stamp = Stamp { number: word(0), sent_ns: word(8), kind: word(16) };
        let intact = word(24) == stamp.number && (!whole || word(frame.len() - 8) == stamp.number);
        intact.then_some(stamp)
    }
}

/// `CLOCK_MONOTONIC`, the same in every process.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid `timespec` to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps until the moment on `CLOCK_MONOTONIC`.
pub fn sleep_until(moment_ns: u64) {
    let left = moment_ns.saturating_sub(now_ns());
    std::thread::sleep(Duration::from_nanos(left));
}
