//! Publishers.

mod create;
mod drain;
mod error;
mod loan;
mod own;
mod report;
mod slots;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::cancel::CancelToken;
use crate::descriptor;
use crate::directory::Directory;
use crate::error::{Error, ErrorKind};
use crate::files::{self, ControlFile, DataFile, ReadersFile};
use crate::frame::{FrameInfo, Layout, Origin};
use crate::observer::Observer;
use crate::os::{self, Woken};
use crate::ring::{self, Backpressure, Ordering::Relaxed, State};
use crate::status::{self, SlotHolder};
use crate::step::{Step, step};
use crate::urls::{self, Link};

pub use create::PublisherOptions;
pub use error::LoanError;
pub use loan::{Loan, OwnedLoan};
use slots::Slots;

/// Interval at which a blocked publisher checks whether the reader that blocks it has died.
const DEATH_CHECK: Duration = Duration::from_millis(100);
/// The same while an owned loan exists: its drop wakes no thread.
const HOLD_CHECK: Duration = Duration::from_millis(2);
/// Interval at which an active publisher checks that the channel's files still have their names.
const PRESENCE_CHECK_NS: u64 = 1_000_000_000;

/// Publishes the frames of a channel.
///
/// A channel has at most one live publisher. It never waits for a subscriber, unless it was created with
/// [`Backpressure::Block`]. Dropping it closes the channel and removes its files. Subscribers then receive
/// the frames that are left in the ring that they have mapped, and after them
/// [`RecvError::Closed`](crate::RecvError::Closed). They map the ring when they open the channel and when
/// they receive. If no frame may be lost at the end, use [`Backpressure::Block`] and call
/// [`Publisher::drain`] first.
///
/// ```
/// use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions};
/// # let directory = tempfile::tempdir().unwrap();
/// # let options = PublisherOptions::new().directory(directory.path());
/// # /*
/// let options = PublisherOptions::new();
/// # */
/// let mut publisher = options.create("cam0")?;
/// let layout = Layout::packed(PixelFormat::Bgr8, 640, 480)?;
/// let mut loan = publisher.loan(&layout)?; // no copy: write where the readers read
/// loan.bytes_mut().fill(128);
/// assert_eq!(loan.publish(&FrameInfo::default()), 1);
/// # Ok::<(), framelane::Error>(())
/// ```
pub struct Publisher {
    channel: String,
    directory: Directory,
    permissions: u32,
    slot_count: usize,
    backpressure: Backpressure,
    /// Minimum size of a slot.
    frame_bytes: usize,
    control: ControlFile,
    readers: ReadersFile,
    /// The generation that readers know, and the one that the next frame announces.
    current: Option<Slots>,
    next: Option<Slots>,
    /// The number of the last generation made.
    generation: u64,
    epoch: u64,
    sequence: u64,
    /// Sequence of the newest frame in the ring, which readers can be expected to have received. `sequence`
    /// counts dropped frames too.
    published: u64,
    dropped: u64,
    forks: u64,
    inherited: Option<Origin>,
    /// Link that sends the frames when the channel was named by a URL. Dropped after the channel is closed:
    /// the frames left in the ring are still sent.
    link: Option<urls::HeldLink>,
    /// Cancels waits.
    cancel: CancelToken,
    /// True if another program has removed the channel's files.
    removed: bool,
    /// Time of the next such check, on the monotonic clock.
    presence_check_ns: u64,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("channel", &self.channel)
            .field("epoch", &self.epoch)
            .field("sequence", &self.sequence)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    /// Creates, or takes over, a channel with the default options.
    ///
    /// # Errors
    /// The errors of [`PublisherOptions::create`].
    pub fn create(channel: &str) -> Result<Self, Error> {
        PublisherOptions::new().create(channel)
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The epoch: a number of this publisher that no other publisher of this channel has.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The sequence of the last frame, published or dropped; 0 before the first. The next frame gets the next
    /// number.
    ///
    /// After a take-over it continues from that of the dead publisher, so that readers can count skipped
    /// frames.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Frames dropped because no slot was free.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Slots of the ring.
    pub fn slots(&self) -> usize {
        self.slot_count
    }

    /// Shared memory of the slots, in bytes. After a take-over, that of the dead publisher's ring.
    #[doc(hidden)]
    pub fn ring_bytes(&self) -> u64 {
        [&self.current, &self.next].into_iter().flatten().map(|slots| slots.ring_bytes() as u64).sum()
    }

    /// Returns the behaviour when no slot is free.
    pub fn backpressure(&self) -> Backpressure {
        self.backpressure
    }

    /// The processes that hold slots of the ring, those with the most first. Reads `/proc`.
    pub fn slot_holders(&self) -> Vec<SlotHolder> {
        status::holders(self.control.words(), &self.readers, None)
    }

    /// Returns the error with its reason: for [`LoanError::NoFreeSlot`], the processes that hold the slots.
    pub fn explain(&self, error: LoanError) -> Error {
        match error {
            LoanError::NoFreeSlot => status::all_held(&self.channel, self.slot_count, &self.slot_holders()),
            error => error.into(),
        }
    }

    /// Returns an observer, which answers while another thread has the publisher.
    pub fn observer(&self) -> Observer {
        Observer::new(&self.channel, &self.directory, false)
    }

    /// Number of subscribers attached now. Makes a system call for each.
    pub fn subscribers(&self) -> usize {
        let active = self.readers.words().active.load(Relaxed);
        (0..ring::READERS as u64)
            .filter(|&reader| {
                active >> reader & 1 == 1 && self.readers.lock.is_locked(reader).unwrap_or(false)
            })
            .count()
    }

    /// Copies a frame into a slot and publishes it. Returns its sequence, or `None` when it was dropped.
    ///
    /// `bytes` have the layout `layout` and at least [`Layout::size_bytes`] bytes. One copy. Blocks only with
    /// [`Backpressure::Block`].
    ///
    /// # Errors
    /// [`LoanError::Other`] of kind [`ErrorKind::InvalidFrame`] when `bytes` are too few; else as
    /// [`Publisher::loan`].
    pub fn send(
        &mut self,
        layout: &Layout,
        info: &FrameInfo,
        bytes: &[u8],
    ) -> Result<Option<u64>, LoanError> {
        let Some(bytes) = bytes.get(..layout.size_bytes()) else {
            return Err(LoanError::Other(Error::new(
                ErrorKind::InvalidFrame,
                format!(
                    "{}x{} {} needs {} bytes, found {}",
                    layout.width(),
                    layout.height(),
                    layout.format(),
                    layout.size_bytes(),
                    bytes.len()
                ),
            )));
        };
        match self.loan(layout) {
            Ok(mut loan) => {
                loan.bytes_mut().copy_from_slice(bytes);
                Ok(Some(loan.publish(info)))
            }
            Err(LoanError::NoFreeSlot) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lends a slot to write in place. It contains an older frame at first.
    ///
    /// Blocks only with [`Backpressure::Block`], until a reader releases a slot.
    ///
    /// # Errors
    /// [`LoanError::Interrupted`] when the token of [`PublisherOptions::cancel`] ends the wait;
    /// [`LoanError::NoFreeSlot`] with [`Backpressure::Drop`] when every slot is leased or on loan;
    /// [`LoanError::Other`] of kind [`ErrorKind::NoSpace`] when larger slots do not fit in the file system.
    pub fn loan(&mut self, layout: &Layout) -> Result<Loan<'_>, LoanError> {
        let slot = self.slot(layout.size_bytes())?;
        Ok(Loan::new(self, slot, layout.clone()))
    }

    /// Same as [`Publisher::loan_owned`], but never blocks, with either [`Backpressure`], and counts no drop.
    ///
    /// For callbacks that must not wait, such as those of decoders.
    ///
    /// # Errors
    /// [`LoanError::NoFreeSlot`]; [`LoanError::Other`] as for [`Publisher::loan`].
    pub fn try_loan_owned(&mut self, layout: &Layout) -> Result<OwnedLoan, LoanError> {
        let slot = self.take(layout.size_bytes())?;
        Ok(OwnedLoan::new(self.writing_to().generation(), slot))
    }

    /// Lends a slot that does not borrow the publisher. Otherwise the same as [`Publisher::loan`].
    ///
    /// # Errors
    /// As [`Publisher::loan`].
    pub fn loan_owned(&mut self, layout: &Layout) -> Result<OwnedLoan, LoanError> {
        let slot = self.slot(layout.size_bytes())?;
        Ok(OwnedLoan::new(self.writing_to().generation(), slot))
    }

    /// Publishes the bytes that were written to an owned loan. The slot is not reused before the loan is
    /// dropped.
    ///
    /// No code may write to the slot afterwards. A loan that is published again is copied. `layout` must fit
    /// into [`OwnedLoan::capacity`]. If the ring has larger slots now, the frame is copied. Blocks only with
    /// [`Backpressure::Block`].
    ///
    /// # Errors
    /// [`ErrorKind::FrameTooLarge`] when the layout does not fit; else as [`Publisher::loan`].
    pub fn publish_owned(
        &mut self,
        loan: &OwnedLoan,
        layout: &Layout,
        info: &FrameInfo,
    ) -> Result<u64, LoanError> {
        self.check()?;
        if layout.size_bytes() > loan.capacity() {
            return Err(LoanError::Other(Error::new(
                ErrorKind::FrameTooLarge,
                format!("the slot holds {} bytes, the frame has {}", loan.capacity(), layout.size_bytes()),
            )));
        }
        if loan.was_published() {
            // Readers may hold it: what they see must not change, nor its number.
            let mut copy = self.loan(layout)?;
            loan.copy_to(copy.bytes_mut());
            return Ok(copy.publish(info));
        }
        let of_ring =
            |slots: &Option<Slots>| slots.as_ref().is_some_and(|slots| loan.is_of(slots.generation()));
        if of_ring(&self.current) {
            // Also while the first frame of a new size is being written: readers still know this ring.
            loan.set_published();
            return Ok(self.publish_in_current(loan.slot(), layout, info));
        }
        if of_ring(&self.next) {
            if self.backpressure == Backpressure::Block && !self.consumed() {
                self.wait_until(None, |publisher| publisher.consumed_or_none_free())?;
            }
            loan.set_published();
            return Ok(self.publish_slot(loan.slot(), layout, info));
        }
        let mut copy = self.loan(layout)?;
        loan.copy_to(copy.bytes_mut());
        Ok(copy.publish(info))
    }

    /// Returns the [`Origin`] of the newest frame of the dead publisher whose channel this one has taken
    /// over: for links, which continue after it.
    pub fn inherited(&self) -> Option<Origin> {
        self.inherited
    }

    /// Returns the error that ended the link of a channel that was named by a URL; `None` while the link
    /// runs, and without a link. Calls for a slot return the error too.
    pub fn link_fault(&self) -> Option<Error> {
        self.link.as_ref()?.fault()
    }

    /// Assigns a sequence to a frame that will not be published, so that readers see the gap and count it.
    ///
    /// Does nothing in a forked child.
    pub fn skip(&mut self) -> u64 {
        self.skip_many(1)
    }

    /// Skips up to 2³² frames at once, as [`Publisher::skip`] does for one. Beyond 2⁵⁴, which no publisher
    /// can have counted to, gaps are counted as dropped and no sequences assigned: the count may come from an
    /// untrusted peer of a link.
    pub fn skip_many(&mut self, count: u32) -> u64 {
        if self.check_fork().is_err() {
            return self.sequence;
        }
        let sequence = self.sequence + u64::from(count);
        if sequence <= create::MAX_SEQUENCE / 2 {
            self.sequence = sequence;
        }
        self.dropped = self.dropped.saturating_add(count.into());
        let control = self.control.words();
        control.given.store(self.sequence, Relaxed);
        step(Step::NumberSkipped);
        control.dropped.store(self.dropped, Relaxed);
        self.sequence
    }

    /// Replaces the token that cancels waits, for example after the old one was cancelled.
    pub fn set_cancel_token(&mut self, cancel: CancelToken) {
        self.cancel = cancel;
    }

    /// Returns the token that cancels waits.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Closes the channel, as dropping the publisher does. Never waits for a subscriber. Subscribers that
    /// have not received all frames may miss the rest. [`Publisher::drain`] waits for them.
    pub fn close(self) {}

    fn control_words(&self) -> &ring::Control {
        self.control.words()
    }

    fn source_words(&self) -> &ring::SourceWords {
        self.control.source()
    }

    pub(crate) fn with_link(mut self, link: Box<dyn Link>) -> Self {
        self.link = Some(urls::HeldLink::new(link));
        self
    }

    fn check_fork(&self) -> Result<(), LoanError> {
        if self.is_forked() { Err(LoanError::Forked) } else { Ok(()) }
    }

    pub(crate) fn is_forked(&self) -> bool {
        os::fork_count() != self.forks
    }

    /// Checks that the channel belongs to this process and that its files are whole.
    fn check(&mut self) -> Result<(), LoanError> {
        self.check_fork()?;
        if let Some(fault) = self.link_fault() {
            return Err(fault.into());
        }
        self.control.check(&self.channel)?;
        self.readers.check(&self.channel)?;
        if self.removed || os::monotonic_ns() >= self.presence_check_ns {
            self.check_presence()?;
        }
        Ok(())
    }

    /// Checks that the channel's files still have their names. Once they do not, the channel is closed.
    fn check_presence(&mut self) -> Result<(), Error> {
        if self.removed {
            return Err(files::removed(&self.channel, &self.directory));
        }
        let here = self.directory.is_here()
            && self.control.lock.is_at(&self.directory.control(&self.channel))
            && self.readers.lock.is_at(&self.directory.readers(&self.channel));
        if here {
            if let Some(current) = &mut self.current {
                let data = &current.generation().data;
                if !data.is_at(&self.directory.data(&self.channel, data.generation)) {
                    // Late subscribers do not find it: the next frame is in another ring.
                    current.retire();
                }
            }
            self.presence_check_ns = os::monotonic_ns() + PRESENCE_CHECK_NS;
            return Ok(());
        }
        self.removed = true;
        let control = self.control.words();
        control.closed_by.store(ring::CLOSED_BY_REMOVAL, Relaxed);
        control.state.store(State::Closed as u32, std::sync::atomic::Ordering::Release);
        self.notify();
        Err(files::removed(&self.channel, &self.directory))
    }

    /// Returns true if every reader with delivery `Every` has all frames so far.
    fn consumed(&self) -> bool {
        ring::blocked(self.readers.words(), self.published) == 0
    }

    fn consumed_or_none_free(&mut self) -> Result<(), LoanError> {
        self.reclaim(ring::blocked(self.readers.words(), self.published));
        if self.consumed() { Ok(()) } else { Err(LoanError::NoFreeSlot) }
    }

    /// Waits until a slot for `layout` is free, and returns whether one is. A loan then gets it at once. With
    /// [`Backpressure::Drop`] there is no wait, and the result is true.
    ///
    /// For links, which have other work while they wait.
    ///
    /// # Errors
    /// As [`Publisher::loan`].
    #[doc(hidden)]
    pub fn wait_for_slot(&mut self, layout: &Layout, timeout: Duration) -> Result<bool, LoanError> {
        if self.backpressure == Backpressure::Drop {
            return Ok(true);
        }
        let size_bytes = layout.size_bytes();
        match self.take(size_bytes) {
            Err(LoanError::NoFreeSlot) => {}
            // The slot is the first to be claimed again.
            taken => return taken.map(|_| true),
        }
        let taken = self.wait_until(os::deadline(Some(timeout)), |publisher| publisher.take(size_bytes))?;
        Ok(taken.is_some())
    }

    /// Claims a slot. When none is free, waits or counts a drop, depending on `backpressure`.
    fn slot(&mut self, size_bytes: usize) -> Result<usize, LoanError> {
        match self.take(size_bytes) {
            Err(LoanError::NoFreeSlot) if self.backpressure == Backpressure::Block => {
                let taken = self.wait_until(None, |publisher| publisher.take(size_bytes))?;
                taken.ok_or(LoanError::NoFreeSlot)
            }
            Err(LoanError::NoFreeSlot) => {
                self.skip();
                Err(LoanError::NoFreeSlot)
            }
            taken => taken,
        }
    }

    /// Sleeps and tries again until `attempt` returns anything but `NoFreeSlot`. Returns `None` after
    /// `deadline`.
    fn wait_until<T>(
        &mut self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut Self) -> Result<T, LoanError>,
    ) -> Result<Option<T>, LoanError> {
        loop {
            let freed = ring::prepare_block(self.control.words(), self.readers.words());
            let result = attempt(self);
            let cancelled = self.cancel.is_cancelled();
            if cancelled || !matches!(result, Err(LoanError::NoFreeSlot)) {
                ring::unblock(self.control.words());
                return match result {
                    Err(LoanError::NoFreeSlot) => Err(LoanError::Interrupted),
                    result => result.map(Some),
                };
            }
            let any_owned = self.current.iter().chain(&self.next).any(Slots::any_owned);
            let nap = if any_owned { HOLD_CHECK } else { DEATH_CHECK };
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let nap = left.map_or(nap, |left| left.min(nap));
            let woken = self.readers.sleep(freed, nap);
            ring::unblock(self.control.words());
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            if woken != Woken::Changed && self.cancel.ends_wait() {
                return Err(LoanError::Interrupted);
            }
        }
    }

    /// Claims a slot of at least `size_bytes`, in a new generation if the present one has smaller slots.
    fn take(&mut self, size_bytes: usize) -> Result<usize, LoanError> {
        self.check()?;
        let bytes = size_bytes.max(self.frame_bytes);
        let newest = self.next.as_ref().or(self.current.as_ref());
        if newest.is_none_or(|slots| !slots.fits(self.slot_count, bytes)) {
            let slots = self.new_generation(bytes)?;
            // A generation that was never announced has no readers: it goes.
            if let Some(unused) = self.next.replace(slots) {
                self.remove_data(&unused);
            }
        }
        // Two attempts: the second follows after the pins of dead readers were cleared.
        for last in [false, true] {
            let lossless = (self.backpressure == Backpressure::Block).then_some(self.published);
            let readable = self.current.as_ref().is_some_and(|slots| !slots.is_lost());
            let pinned = if lossless.is_some() && self.next.is_some() && readable && !self.consumed() {
                // The old ring goes when a frame in the new one is published: first it must be read.
                ring::blocked(self.readers.words(), self.published)
            } else {
                let readers = self.readers.words();
                let slots =
                    self.next.as_mut().or(self.current.as_mut()).expect("made above if there was none");
                match slots.claim(readers, lossless) {
                    Ok(slot) => {
                        // If the readers file was cut short, its zeros have just been read as slots without a
                        // lease.
                        self.readers.check(&self.channel)?;
                        return Ok(slot);
                    }
                    Err(pinned) => pinned,
                }
            };
            if last || !self.reclaim(pinned) {
                break;
            }
        }
        Err(LoanError::NoFreeSlot)
    }

    /// Makes a ring of larger slots, or of another number of them. Where room is short, the one before makes
    /// way.
    fn new_generation(&mut self, frame_bytes: usize) -> Result<Slots, LoanError> {
        // Files of these names may be a successor's.
        self.check_presence()?;
        let no_space = match self.make_generation(frame_bytes) {
            Err(error) if error.kind() == ErrorKind::NoSpace => error,
            made => return Ok(made?),
        };
        if !self.room_can_be_made(frame_bytes) {
            return Err(no_space.into());
        }
        if self.backpressure == Backpressure::Block {
            // Readers first receive what the old ring holds.
            self.consumed_or_none_free()?;
        }
        if let Some(unused) = self.next.take() {
            self.remove_data(&unused);
        }
        let mut last = no_space;
        for newest in [false, true] {
            if let Some(current) = &mut self.current {
                let path = self.directory.data(&self.channel, current.generation().data.generation);
                // What cannot be returned is missing when the ring is made.
                let _ = current.release(&path, self.readers.words(), newest);
                step(Step::RingReleased);
            }
            match self.make_generation(frame_bytes) {
                Err(error) if error.kind() == ErrorKind::NoSpace => last = error,
                made => return Ok(made?),
            }
        }
        Err(last.into())
    }

    /// Returns true if a ring would fit in the room that is free together with that of the rings which it
    /// replaces.
    fn room_can_be_made(&self, frame_bytes: usize) -> bool {
        let used = self.current.iter().chain(&self.next).map(|slots| {
            os::releasable_bytes(&self.directory.data(&self.channel, slots.generation().data.generation))
        });
        let (free, _) = self.directory.room().unwrap_or_default();
        free + used.sum::<u64>()
            >= DataFile::len_for(self.slot_count, frame_bytes).unwrap_or(usize::MAX) as u64
    }

    fn make_generation(&mut self, frame_bytes: usize) -> Result<Slots, Error> {
        let channel_id = self.control.words().channel_id.load(Relaxed);
        let (directory, channel) = (&self.directory, &self.channel);
        for generation in self.generation + 1..create::MAX_GENERATION {
            let ids = (channel_id, self.epoch, generation);
            match Slots::create(directory, channel, self.permissions, ids, self.slot_count, frame_bytes) {
                Ok(slots) => {
                    self.generation = generation;
                    step(Step::DataMade);
                    return Ok(slots);
                }
                // Something else has the name, and another user may not even let it be removed.
                Err(_) if directory.data(channel, generation).exists() => {}
                Err(error) => return Err(error),
            }
        }
        Err(create::out_of_range("generation", create::MAX_GENERATION))
    }

    /// Frees what dead readers among `suspects` (a bit for each) hold; true when there was one.
    fn reclaim(&self, suspects: u64) -> bool {
        let mut found = false;
        for reader in (0..ring::READERS).filter(|reader| suspects >> reader & 1 == 1) {
            // Holding the lock is the proof: a new subscriber passes over a record whose lock is taken.
            if self.readers.lock.try_lock(reader as u64).unwrap_or(false) {
                step(Step::ReclaimLocked);
                ring::reclaim(self.readers.words(), reader);
                step(Step::Reclaimed);
                let _ = self.readers.lock.unlock(reader as u64);
                found = true;
            }
        }
        found
    }

    /// The generation that slots are taken from.
    fn writing_to(&self) -> &Slots {
        self.next.as_ref().or(self.current.as_ref()).expect("a slot has been taken")
    }

    /// Publishes a slot of [`Publisher::writing_to`].
    fn publish_slot(&mut self, slot: usize, layout: &Layout, info: &FrameInfo) -> u64 {
        if self.check_fork().is_err() {
            // A loan that a fork has carried into a child: the channel is the parent's.
            return self.sequence;
        }
        let Some(next) = self.next.take() else {
            return self.publish_in_current(slot, layout, info);
        };
        let old = self.current.replace(next);
        let sequence = self.publish_in_current(slot, layout, info);
        step(Step::OldDataLeft);
        if let Some(old) = old {
            self.remove_data(&old);
        }
        sequence
    }

    fn publish_in_current(&mut self, slot: usize, layout: &Layout, info: &FrameInfo) -> u64 {
        self.sequence += 1;
        self.control.words().given.store(self.sequence, Relaxed);
        step(Step::NumberGiven);
        let slots = self.current.as_mut().expect("the ring of the slot");
        slots.published(slot, self.sequence);
        let data = &slots.generation().data;
        let entry = data.entry(slot).expect("a slot of this ring");
        let timestamp_ns = info.timestamp_ns.unwrap_or_else(os::realtime_ns);
        descriptor::write(entry, layout, info, self.epoch, (timestamp_ns, os::monotonic_ns()));
        step(Step::DescriptorWritten);
        let control = self.control.words();
        let frame = (self.sequence, slot);
        let sleepers = ring::publish(control, self.readers.words(), &entry.version, data.generation, frame);
        self.control.wake(sleepers);
        self.published = self.sequence;
        self.sequence
    }

    /// Wakes all sleepers, regardless of the value that they wait for: a publisher that was killed may have
    /// changed `wake` without waking them.
    fn notify(&self) {
        let readers = self.readers.words();
        ring::notify(self.control.words(), readers);
        // After the fence in `notify`: a reader whose bit is not seen sees the change before it sleeps.
        self.control.wake(readers.active.load(Relaxed));
    }

    fn remove_data(&self, slots: &Slots) {
        let data = &slots.generation().data;
        data.remove(&self.directory.data(&self.channel, data.generation));
    }

    /// Returns the memory of slots that no subscriber can receive any more, before processes that have mapped
    /// them unmap: the next publisher may need the room at once.
    fn release_received(&mut self) {
        let readers = self.readers.words();
        let any_every = ring::blocked(readers, u64::MAX) != 0;
        if self.link.is_some() || any_every || readers.active.load(Relaxed) == 0 {
            return;
        }
        if let Some(current) = &mut self.current {
            let path = self.directory.data(&self.channel, current.generation().data.generation);
            let _ = current.release(&path, readers, false);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.check_fork().is_err() {
            // A forked child has a copy of the handle; the channel is the parent's.
            return;
        }
        own::remove(self.epoch);
        self.wait_for_closing_link();
        self.control.words().state.store(State::Closed as u32, std::sync::atomic::Ordering::Release);
        step(Step::ClosedStored);
        self.notify();
        step(Step::CloseNotified);
        self.release_received();
        for slots in self.current.iter().chain(&self.next) {
            self.remove_data(slots);
        }
        step(Step::DataRemoved);
        self.readers.lock.remove(&self.directory.readers(&self.channel));
        step(Step::ReadersRemoved);
        self.control.lock.remove(&self.directory.control(&self.channel));
        step(Step::ControlRemoved);
    }
}
