//! Whole frames from memory that an old program overwrites at any time.
//!
//! The format has no counter and no lock. A change shows in the bytes only: a poll compares the header and
//! every 16th row with the last frame, other rows each time, so that any change is found within 16 polls. A
//! change is copied, and the copy is a frame only when one of these shows that it is whole:
//!
//! - **Asleep.** No thread that may write ran from before the copy until after it, and each was outside a
//!   write (`writers.rs`).
//! - **Outside.** The memory has not changed since the copy, and each of those threads was outside a write
//!   meanwhile.
//! - **Begun again.** The memory did not change while it was copied, and the next change is at the top while
//!   the lower half is as it was. Programs write from top to bottom: one in the middle of a frame would have
//!   changed the lower half first.
//! - **Still.** No thread is known, and nothing has changed for the settle time.
//!
//! Two equal reads alone show nothing: a writer that is preempted in the middle of a frame leaves them equal.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Layout};

use super::address::Address;
use super::header::{HEADER_BYTES, Header};
use super::writers::Writers;
use super::{NO_SURPRISE, is_same};

/// One row in this many is compared at a poll.
const ROW_STEP: usize = 16;
/// Places that are compared to see whether the memory changed while it was copied.
const PROBES: usize = 64;
const PROBE_BYTES: usize = 64;
/// Some copies, as those of the C library, write the first bytes of a large block last.
const HEAD_BYTES: usize = 64;
/// Differences between frames that must have been seen before a change at the top is evidence.
const LEAST_DIFFERENCES: u32 = 4;
/// One change in this many is copied although a thread may be writing.
const COPY_STEP: usize = 4;
/// Memory without a change for so long is still.
const STILL: Duration = Duration::from_millis(500);
const CHUNK_BYTES: usize = 64 << 10;

/// The result of a poll.
#[derive(Debug, PartialEq, Eq)]
pub enum Poll {
    /// There is no such mapping (any more).
    Missing,
    /// Nothing that could be a frame: all zeros, a text, or nonsense.
    NoFrame(Header),
    /// The last frame is still there, as far as this poll goes.
    Same,
    /// Something has changed, but is not known to be a whole frame. Poll again soon.
    Changed,
    /// A new frame: [`Reader::pixels`].
    Frame(Layout),
}

/// A copy that is not known to be whole yet.
#[derive(Debug)]
struct Pending {
    header: Header,
    layout: Layout,
    /// End of the copy.
    since: Instant,
    /// The memory did not change while it was copied, as far as the probes show.
    is_of_one_instant: bool,
}

/// Reads the frames in an area of a mapping.
#[derive(Debug)]
pub struct Reader {
    address: Address,
    settle: Duration,
    file: Option<File>,
    writers: Writers,
    /// The last frame.
    last: Option<Header>,
    last_pixels: Vec<u8>,
    pending: Option<Pending>,
    copied: Vec<u8>,
    /// The copy before, whole or not.
    former: Vec<u8>,
    /// The first byte in which copies have differed, in the head and behind it, and how often one was
    /// compared.
    first_in_head: usize,
    first_difference: usize,
    differences: u32,
    polls: usize,
    discarded: u64,
    /// This file was copied before: a change shows that a program has written.
    is_watched: bool,
    /// A change was found, and is not copied yet.
    is_changed: bool,
    attempts: usize,
}

impl Reader {
    /// Makes a reader of the mapping at `address`, which may appear later. Without other evidence, a frame
    /// counts as whole when nothing has changed for `settle`.
    pub fn new(address: &Address, settle: Duration) -> Self {
        Reader {
            address: address.clone(),
            settle,
            file: None,
            writers: Writers::default(),
            last: None,
            last_pixels: Vec::new(),
            pending: None,
            copied: Vec::new(),
            former: Vec::new(),
            first_in_head: usize::MAX,
            first_difference: usize::MAX,
            differences: 0,
            polls: 0,
            discarded: 0,
            is_watched: false,
            is_changed: false,
            attempts: 0,
        }
    }

    /// The pixels of the last frame, without padding.
    pub fn pixels(&self) -> &[u8] {
        &self.last_pixels
    }

    /// Copies that were discarded because they are torn, or may be.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// A process that may write to the mapping, if one is known.
    pub fn writer_process(&self) -> Option<u32> {
        self.writers.process()
    }

    /// Returns true if the memory has not changed for a while, although its content is not known to be whole.
    pub fn is_still(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.since.elapsed() >= STILL)
    }

    /// The owner and permissions of the mapping that is open.
    pub fn owner(&self) -> Option<super::Owner> {
        self.file.as_ref().and_then(|file| super::Owner::of(file).ok())
    }

    /// Looks for a new frame. Never blocks; takes the time of two copies of a frame at most.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`], and other errors of opening and reading the mapping.
    pub fn poll(&mut self) -> Result<Poll, Error> {
        if !self.is_current()? {
            self.forget();
            return Ok(Poll::Missing);
        }
        let Some(header) = self.read_header()? else {
            self.forget();
            return Ok(Poll::Missing);
        };
        let area = self.address.area_bytes();
        let Some(layout) = header.layout(area, self.address.opencv()) else {
            self.pending = None;
            return Ok(Poll::NoFrame(header));
        };
        match self.pending.take() {
            None if !self.is_changed && self.last == Some(header) && self.rows_are_same(&layout)? => {
                Ok(Poll::Same)
            }
            None => {
                if self.is_watched && !self.is_changed {
                    self.writers.explain();
                }
                self.copy(header, layout)
            }
            Some(pending) if pending.header == header && self.probes_are_same()? => self.wait(pending),
            Some(pending) => {
                self.writers.explain();
                if pending.header == header && self.has_begun_again(&pending)? {
                    return Ok(self.accept(pending));
                }
                self.discard();
                self.copy(header, layout)
            }
        }
    }

    /// Copies the present content, and waits for evidence that it is whole.
    fn copy(&mut self, header: Header, layout: Layout) -> Result<Poll, Error> {
        let are_outside = self.writers.mark();
        self.attempts = self.attempts.wrapping_add(1);
        if self.writers.is_known() && !are_outside && !self.attempts.is_multiple_of(COPY_STEP) {
            // A copy now would most likely be torn.
            self.is_changed = true;
            return Ok(Poll::Changed);
        }
        let mut pixels = std::mem::take(&mut self.copied);
        pixels.resize(layout.size_bytes(), 0);
        let read = self.read_at(&mut pixels, HEADER_BYTES);
        self.copied = pixels;
        if !read? {
            return Ok(Poll::Missing);
        }
        (self.is_watched, self.is_changed) = (true, false);
        // After the pixels: a writer begins with the header.
        if self.read_header()? != Some(header) {
            self.discard();
            return Ok(Poll::Changed);
        }
        let is_of_one_instant = self.probes_are_same()?;
        let pending = Pending { header, layout, since: Instant::now(), is_of_one_instant };
        self.learn();
        if are_outside && self.writers.is_known() && self.writers.have_not_run() {
            return Ok(self.accept(pending));
        }
        self.writers.begin();
        self.pending = Some(pending);
        Ok(Poll::Changed)
    }

    /// Nothing has changed since the copy, as far as the probes show.
    fn wait(&mut self, pending: Pending) -> Result<Poll, Error> {
        let is_whole = if self.writers.is_known() {
            self.writers.are_outside(self.copied.len())
        } else {
            pending.since.elapsed() >= self.settle
        };
        if !is_whole {
            self.pending = Some(pending);
            return Ok(Poll::Changed);
        }
        if !self.is_same_from(0)? {
            self.discard();
            return Ok(Poll::Changed);
        }
        Ok(self.accept(pending))
    }

    /// Returns true if the next frame has begun at the top, and has not reached the lower half.
    fn has_begun_again(&mut self, pending: &Pending) -> Result<bool, Error> {
        let half = self.copied.len() / 2;
        let start = self.first_difference;
        if !pending.is_of_one_instant || self.differences < LEAST_DIFFERENCES || start >= half {
            return Ok(false);
        }
        // Frames that are equal in the lower half could not show that it was rewritten.
        let differs = |other: &[u8]| other.len() == self.copied.len() && other[half..] != self.copied[half..];
        if !differs(&self.former) && !differs(&self.last_pixels) {
            return Ok(false);
        }
        // The first byte that differs from frame to frame: a writer that continues in the middle does not
        // reach it.
        let mut first = [0; HEAD_BYTES + 1];
        if !self.read_at(&mut first[..HEAD_BYTES], HEADER_BYTES)?
            || !self.read_at(&mut first[HEAD_BYTES..], HEADER_BYTES + start)?
        {
            return Ok(false);
        }
        let differs = |now: u8, at: usize| self.copied.get(at).is_some_and(|&then| then != now);
        let head = &first[..HEAD_BYTES];
        let is_head_last = self.copied.get(..HEAD_BYTES) == Some(head);
        let is_head_first = head.get(self.first_in_head).is_some_and(|&now| differs(now, self.first_in_head));
        if !differs(first[HEAD_BYTES], start) || !(is_head_last || is_head_first) {
            return Ok(false);
        }
        self.is_same_from(half)
    }

    /// Returns true if the memory is that of the copy from byte `start` on, read from the end, where a writer
    /// comes last.
    fn is_same_from(&self, start: usize) -> Result<bool, Error> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut end = self.copied.len();
        while end > start {
            let from = end.saturating_sub(CHUNK_BYTES).max(start);
            let chunk = &mut chunk[..end - from];
            if !self.read_at(chunk, HEADER_BYTES + from)? || chunk[..] != self.copied[from..end] {
                return Ok(false);
            }
            end = from;
        }
        Ok(true)
    }

    fn accept(&mut self, pending: Pending) -> Poll {
        let is_last = self.last == Some(pending.header) && self.last_pixels == self.copied;
        self.last = Some(pending.header);
        std::mem::swap(&mut self.last_pixels, &mut self.copied);
        if is_last { Poll::Same } else { Poll::Frame(pending.layout) }
    }

    fn discard(&mut self) {
        self.discarded += 1;
        std::mem::swap(&mut self.former, &mut self.copied);
    }

    /// Learns the positions where frames differ from each other.
    fn learn(&mut self) {
        for other in [&self.former, &self.last_pixels] {
            if other.len() != self.copied.len() {
                continue;
            }
            let head = HEAD_BYTES.min(self.copied.len());
            let first = |from: usize, to: usize| {
                let pairs = other[from..to].iter().zip(&self.copied[from..to]);
                pairs.enumerate().find(|(_, (a, b))| a != b).map_or(usize::MAX, |(at, _)| from + at)
            };
            let (in_head, behind) = (first(0, head), first(head, self.copied.len()));
            if in_head.min(behind) != usize::MAX {
                self.first_in_head = self.first_in_head.min(in_head);
                self.first_difference = self.first_difference.min(behind);
                self.differences += 1;
                return;
            }
        }
    }

    fn forget(&mut self) {
        self.pending = None;
        (self.is_watched, self.is_changed) = (false, false);
        (self.first_in_head, self.first_difference, self.differences) = (usize::MAX, usize::MAX, 0);
    }

    /// Returns true if the file is open, and still the one of that name; opens it if not.
    fn is_current(&mut self) -> Result<bool, Error> {
        let path = self.address.path();
        let failed = |error| {
            let what = format!("opening the mapping {} ({})", self.address.name(), path.display());
            Error::from_io(what, error)
        };
        let there = match std::fs::symlink_metadata(&path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.file = None;
                return Ok(false);
            }
            Err(error) => return Err(failed(error)),
        };
        if !there.is_file() {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("expected a mapping at {}, found something else", path.display()),
            ));
        }
        if let Some(file) = &self.file
            && is_same(&file.metadata().map_err(failed)?, &there)
        {
            self.writers.follow(&path, &there);
            return Ok(true);
        }
        match File::options().read(true).custom_flags(NO_SURPRISE).open(&path) {
            Ok(file) => {
                let there = file.metadata().map_err(failed)?;
                if let Some(owner) = self.address.owner() {
                    super::Owner::of(&file).map_err(failed)?.check(&self.address, "read", owner)?;
                }
                self.writers.follow(&path, &there);
                self.file = Some(file);
                self.forget();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        }
        Ok(true)
    }

    fn read_header(&self) -> Result<Option<Header>, Error> {
        let mut bytes = [0; HEADER_BYTES];
        Ok(self.read_at(&mut bytes, 0)?.then(|| Header::from_bytes(bytes)))
    }

    /// Reads from the area; false when the mapping ends before.
    fn read_at(&self, bytes: &mut [u8], at: usize) -> Result<bool, Error> {
        let Some(file) = &self.file else { return Ok(false) };
        match file.read_exact_at(bytes, self.address.offset_bytes() + at as u64) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(Error::from_io(format!("reading the mapping {}", self.address.name()), error)),
        }
    }

    /// Returns true if the probes are those of the copy.
    fn probes_are_same(&self) -> Result<bool, Error> {
        let bytes = self.copied.len();
        let step = (bytes / PROBES).max(1);
        let end = bytes.saturating_sub(PROBE_BYTES);
        let mut now = [0; PROBE_BYTES];
        for at in (0..end).step_by(step).chain([end]) {
            let length = PROBE_BYTES.min(bytes - at);
            let now = &mut now[..length];
            if !self.read_at(now, HEADER_BYTES + at)? || now[..] != self.copied[at..at + length] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns true if this poll's rows are those of the last frame.
    fn rows_are_same(&mut self, layout: &Layout) -> Result<bool, Error> {
        let (rows, row_bytes) = layout.format().plane_shape(0, layout.width(), layout.height());
        self.polls = self.polls.wrapping_add(1);
        let mut row_now = vec![0; row_bytes];
        for row in (self.polls % ROW_STEP..rows as usize).step_by(ROW_STEP) {
            let at = row * row_bytes;
            let same = self.read_at(&mut row_now, HEADER_BYTES + at)?
                && self.last_pixels.get(at..at + row_bytes) == Some(&row_now[..]);
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
