//! Making a channel, or taking over one whose publisher died.

use std::path::PathBuf;

use super::slots::Slots;
use super::{Publisher, own};
use crate::cancel::CancelToken;
use crate::descriptor;
use crate::directory::{Directory, Part, check_name};
use crate::error::{Error, ErrorKind};
use crate::files::{
    self, Adopted, AdoptedState, ControlFile, DataFile, PUBLISHER_LOCK, ReadersFile, TAKE_OVER_LOCK,
};
use crate::frame::{MAX_FRAME_BYTES, Origin};
use crate::link;
use crate::os::{self, FileId, LockFile, Place, User};
use crate::ring::{self, Backpressure, MAX_SLOTS, Ordering, State};
use crate::source;
use crate::step::{Step, step};
use crate::urls::{self, Memory, Urls};

/// Limits that no publisher reaches: a thousand years at a million frames a second.
pub(super) const MAX_SEQUENCE: u64 = 1 << 55;
pub(super) const MAX_GENERATION: u64 = 1 << 48;

/// Returns whether a publisher that begins at `number` has numbers left before `limit`, a sixteenth of all.
fn has_numbers_left(number: u64, limit: u64) -> bool {
    number < limit / 16 * 15
}

/// Options of a publisher.
#[derive(Clone, Debug)]
pub struct PublisherOptions {
    slots: usize,
    backpressure: Backpressure,
    directory: Option<PathBuf>,
    permissions: u32,
    frame_bytes: usize,
    urls: Urls,
    cancel: CancelToken,
    memory: Option<Memory>,
}

impl Default for PublisherOptions {
    fn default() -> Self {
        PublisherOptions {
            slots: Self::DEFAULT_SLOTS,
            backpressure: Backpressure::Drop,
            directory: None,
            permissions: Self::DEFAULT_PERMISSIONS,
            frame_bytes: 0,
            urls: Urls::Safe,
            cancel: CancelToken::new(),
            memory: None,
        }
    }
}

impl PublisherOptions {
    /// Frames that the ring holds by default.
    pub const DEFAULT_SLOTS: usize = 6;
    /// Permissions of the files by default: this user only.
    pub const DEFAULT_PERMISSIONS: u32 = 0o600;

    /// Returns the defaults: six slots, [`Backpressure::Drop`], and files with permissions 0600 in the user's
    /// own directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of frames in the ring, 2 to 128. One is the newest, one is being written, and the
    /// others are for leases: about one for each subscriber that works on other frames than the rest. A
    /// subscriber holds at most the slots less two, at least 2. In a ring of 2 or 3 slots, a subscriber that
    /// holds two frames can stop the channel.
    #[must_use]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Sets the behaviour when every slot is leased.
    #[must_use]
    pub fn backpressure(mut self, backpressure: Backpressure) -> Self {
        self.backpressure = backpressure;
        self
    }

    /// Sets the directory of the channel's files. Default: `$FRAMELANE_DIR`, or `/dev/shm/framelane-<uid>`.
    /// It should be on a tmpfs, or frames are written to a disk.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets the permissions of the files, as for `chmod`. Only the owner can have write access to frames.
    #[must_use]
    pub fn permissions(mut self, permissions: u32) -> Self {
        self.permissions = permissions;
        self
    }

    /// Sets the minimum size of a slot, so that frames up to this size need no new ring.
    #[must_use]
    pub fn frame_bytes(mut self, frame_bytes: usize) -> Self {
        self.frame_bytes = frame_bytes;
        self
    }

    /// Sets the URLs that [`create`](PublisherOptions::create) accepts instead of a name; default
    /// [`Urls::Safe`].
    #[must_use]
    pub fn urls(mut self, urls: Urls) -> Self {
        self.urls = urls;
        self
    }

    /// Sets the token that cancels waits; default none. See [`CancelToken`].
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// Returns the token of [`cancel`](Self::cancel).
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// Makes the channel in memory. For links.
    #[doc(hidden)]
    #[must_use]
    pub fn memory(mut self, memory: &Memory) -> Self {
        self.memory = Some(memory.clone());
        self
    }

    /// Creates the channel, or takes it over, with its subscribers, if its publisher has died.
    ///
    /// A URL instead of a name sends the frames to a channel on another machine (see `framelane-net`).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidName`]; [`ErrorKind::InvalidOption`]; [`ErrorKind::ChannelBusy`] when another
    /// publisher lives, naming its process; [`ErrorKind::PermissionDenied`]; [`ErrorKind::NoSpace`];
    /// [`ErrorKind::IncompatibleVersion`] and [`ErrorKind::Damaged`] for files that another version
    /// or a fault left.
    pub fn create(&self, channel: &str) -> Result<Publisher, Error> {
        self.check()?;
        if urls::is_url(channel) {
            let mut made = None;
            let mut attach = |memory: &Memory, name: &str| {
                made = Some(self.clone().memory(memory).create(name)?);
                Ok(())
            };
            let link = urls::links(channel, self.urls)?.publish(channel, self.urls, &mut attach)?;
            let publisher = made.expect("a link attaches before it begins");
            return Ok(publisher.with_link(link));
        }
        check_name(channel)?;
        let directory = match &self.memory {
            Some(memory) => memory.0.clone(),
            None => Directory::resolve(self.directory.as_deref())?,
        };
        loop {
            if let Some(publisher) = self.take_over(&directory, channel)? {
                return Ok(publisher);
            }
            if let Some(publisher) = self.make(&directory, channel)? {
                return Ok(publisher);
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let (fault, hint) = if !(2..=MAX_SLOTS).contains(&self.slots) {
            let fault = format!("a ring has 2 to {MAX_SLOTS} slots, found {}", self.slots);
            (fault, "use 2 slots and one more for each frame that subscribers hold at a time")
        } else if self.permissions & !0o777 != 0 || self.permissions & 0o600 != 0o600 {
            let fault =
                format!("the permissions must let the owner read and write, found {:o}", self.permissions);
            (fault, "use 600 for yourself alone, 660 for a group")
        } else if self.frame_bytes > MAX_FRAME_BYTES {
            return Err(Error::new(
                ErrorKind::FrameTooLarge,
                format!("a frame has at most {MAX_FRAME_BYTES} bytes, found {}", self.frame_bytes),
            )
            .with_hint("send a smaller picture, or in tiles on several channels"));
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidOption, fault).with_hint(hint))
    }

    /// Takes over an existing channel whose publisher has died; `None` when the channel no longer exists.
    fn take_over(&self, directory: &Directory, channel: &str) -> Result<Option<Publisher>, Error> {
        let path = directory.control(channel);
        let control = match ControlFile::open(&path, true) {
            Ok(control) => control,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let locked = lock_abandoned(&path, &control);
        if !locked.map_err(|error| Error::from_io(format!("locking {}", path.display()), error))? {
            let pid = control.words().publisher_pid.load(Ordering::Relaxed);
            if own::has(control.words().epoch.load(Ordering::Relaxed)) && pid == std::process::id() {
                return Err(Error::new(
                    ErrorKind::ChannelBusy,
                    format!("channel {channel} already has a publisher in this very process ({pid})"),
                )
                .with_hint(
                    "close that publisher first, or go on using it (a notebook cell that is run twice makes \
                     two)",
                ));
            }
            return Err(Error::new(
                ErrorKind::ChannelBusy,
                format!("channel {channel} already has a live publisher, process {pid}"),
            )
            .with_hint(format!("end process {pid}, or publish under another name")));
        }
        step(Step::TakeOverLocked);
        check_owner(&path, &control.lock)?;
        if !control.lock.is_at(&path) {
            // Closed and removed between our opening and our locking.
            return Ok(None);
        }
        let words = control.words();
        let channel_id = words.channel_id.load(Ordering::Relaxed);
        let path_of_readers = directory.readers(channel);
        let readers = ReadersFile::open(&path_of_readers, channel_id).and_then(|readers| {
            check_owner(&path_of_readers, &readers.lock)?;
            Ok(readers)
        });
        match readers {
            Ok(readers) if words.state.load(Ordering::Relaxed) != State::Closed as u32 => {
                let publisher = self.start(directory, channel, control, readers)?;
                let context =
                    |error| Error::from_io(format!("setting the mode of {}", path.display()), error);
                // The dead publisher may have been for other users.
                os::set_mode(&publisher.control.lock, self.permissions & !0o022).map_err(context)?;
                os::set_mode(&publisher.readers.lock, self.permissions).map_err(context)?;
                Ok(Some(publisher))
            }
            // Its publisher was killed while it closed the channel, or before it had made all files. Attached
            // subscribers learn that the channel is closed, and a new channel takes its name.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::SystemFailure | ErrorKind::PermissionDenied | ErrorKind::NoSpace
                ) =>
            {
                Err(error)
            }
            _ => {
                words.state.store(State::Closed as u32, Ordering::Release);
                step(Step::TakeOverClosed);
                words.wake.fetch_add(1, Ordering::Release);
                // Its readers file says nothing of who sleeps.
                control.wake(u64::MAX);
                FileId::open(&control.lock)
                    .and_then(|file| file.try_remove(&path))
                    .map_err(|error| Error::from_io(format!("removing {}", path.display()), error))?;
                Ok(None)
            }
        }
    }

    /// Makes a new channel; `None` when another publisher has just done so.
    fn make(&self, directory: &Directory, channel: &str) -> Result<Option<Publisher>, Error> {
        // Complete and locked before it has its name, so that no process sees half a control file.
        let unfinished = directory.unfinished(channel);
        let control = ControlFile::create(&unfinished, self.permissions)?;
        step(Step::ControlMade);
        let path = directory.control(channel);
        if let Err(error) = unfinished.rename_new(&path) {
            control.lock.remove(&unfinished);
            if error.kind() == std::io::ErrorKind::AlreadyExists {
                return Ok(None);
            }
            return Err(Error::from_io(format!("naming {}", path.display()), error));
        }
        step(Step::ControlNamed);
        let channel_id = control.words().channel_id.load(Ordering::Relaxed);
        let readers = match self.make_readers(directory, channel, channel_id) {
            Ok(readers) => readers,
            Err(error) => {
                // While `control` still has the lock: afterwards the name could belong to another publisher.
                control.lock.remove(&path);
                return Err(error);
            }
        };
        self.start(directory, channel, control, readers).map(Some)
    }

    fn make_readers(
        &self,
        directory: &Directory,
        channel: &str,
        channel_id: u64,
    ) -> Result<ReadersFile, Error> {
        let unfinished = directory.unfinished(channel);
        let readers = ReadersFile::create(&unfinished, self.permissions, channel_id)?;
        step(Step::ReadersMade);
        let path = directory.readers(channel);
        // A leftover of the same name has no control file, so no subscriber is attached to it.
        if let Err(error) = unfinished.rename(&path) {
            readers.lock.remove(&unfinished);
            if let Some(owner) = path.protected_by() {
                return Err(foreign(&path, &owner));
            }
            return Err(files::not_a_file(&path)
                .unwrap_or_else(|| Error::from_io(format!("naming {}", path.display()), error)));
        }
        step(Step::ReadersNamed);
        Ok(readers)
    }

    /// Begins a new epoch on a channel whose lock we hold.
    fn start(
        &self,
        directory: &Directory,
        channel: &str,
        control: ControlFile,
        readers: ReadersFile,
    ) -> Result<Publisher, Error> {
        let words = control.words();
        // The clock makes epochs of channels that were removed in between differ as well.
        let epoch = os::realtime_ns().max(words.epoch.load(Ordering::Relaxed).wrapping_add(1));
        // `given` is stored before a slot has the number. So no number is used twice, even if the dead
        // publisher did not announce it. A frame that it was writing is a gap of one.
        let (newest, _) = ring::newest(words);
        let sequence = newest.max(words.given.load(Ordering::Relaxed).min(newest.saturating_add(1 << 40)));
        if !has_numbers_left(sequence, MAX_SEQUENCE) {
            return Err(out_of_range("frame", sequence));
        }
        let announced = words.generation.load(Ordering::Relaxed);
        // Files of other users mean nothing: every user with write access to the directory can make them.
        let mut data = data_files(directory, channel)?;
        data.retain(|(_, place)| place.is_own());
        // The highest generation in use: pins on files of the dead must never match those of ours. No
        // publisher has made one beyond the range.
        let made = data.iter().map(|&(generation, _)| generation);
        let generation = made.filter(|&generation| generation < MAX_GENERATION).fold(announced, u64::max);
        if !has_numbers_left(generation, MAX_GENERATION) {
            return Err(out_of_range("generation", generation));
        }
        let ids = (words.channel_id.load(Ordering::Relaxed), epoch, announced);
        let adopted = match DataFile::adopt(directory, channel, self.permissions, ids) {
            Err(error) if error.is_exhaustion() => return Err(error),
            adopted => adopted.ok(),
        };
        let inherited = adopted.as_ref().and_then(newest_origin);
        let current = adopted
            .filter(|adopted| adopted.state != AdoptedState::OtherUsers)
            .map(|adopted| Slots::adopt(adopted, ring::newest(words), sequence));
        step(Step::RingAdopted);
        // The others: of a change of size that the dead publisher did not finish, or of a channel that it did
        // not close.
        let kept = current.as_ref().map(|slots| slots.generation().data.generation);
        for (_, place) in data.iter().filter(|&&(generation, _)| Some(generation) != kept) {
            let _ = place.remove();
        }
        words.epoch_after.store(sequence, Ordering::Relaxed);
        words.closed_by.store(0, Ordering::Relaxed);
        // Release: pairs with the acquire in `Control::epoch_now`.
        words.epoch.store(epoch, Ordering::Release);
        step(Step::EpochStored);
        link::clear(words);
        source::clear(control.source());
        words.backpressure.store(self.backpressure as u32, Ordering::Relaxed);
        words.slots.store(self.slots as u32, Ordering::Relaxed);
        words.publisher_pid.store(std::process::id(), Ordering::Relaxed);
        words.started_ns.store(os::realtime_ns(), Ordering::Relaxed);
        words.dropped.store(0, Ordering::Relaxed);
        words.publisher_waiting.store(0, Ordering::Relaxed);
        words.state.store(State::Live as u32, Ordering::Release);
        step(Step::Live);
        let publisher = Publisher {
            channel: channel.to_owned(),
            directory: directory.clone(),
            permissions: self.permissions,
            slot_count: self.slots,
            backpressure: self.backpressure,
            frame_bytes: self.frame_bytes,
            control,
            readers,
            current,
            next: None,
            generation,
            epoch,
            sequence,
            published: newest,
            dropped: 0,
            forks: os::fork_count(),
            inherited,
            link: None,
            cancel: self.cancel.clone(),
            removed: false,
            presence_check_ns: os::monotonic_ns() + super::PRESENCE_CHECK_NS,
        };
        own::add(epoch);
        publisher.reclaim(u64::MAX);
        publisher.notify();
        Ok(publisher)
    }
}

/// Locks a channel that has no publisher. The channel is not live between its publishers: a subscriber that
/// finds [`PUBLISHER_LOCK`] taken and the channel live has found a publisher of the epoch that it reads.
fn lock_abandoned(path: &Place, control: &ControlFile) -> std::io::Result<bool> {
    let publisher = control.words().publisher_pid.load(Ordering::Relaxed);
    if !control.lock.try_lock(TAKE_OVER_LOCK)? || control.lock.is_held(PUBLISHER_LOCK, publisher)? {
        return Ok(false);
    }
    if os::foreign_owner(&control.lock)?.is_none() && control.lock.is_at(path) {
        let (live, starting) = (State::Live as u32, State::Starting as u32);
        let _ = control.words().state.compare_exchange(live, starting, Ordering::Release, Ordering::Relaxed);
    }
    step(Step::TakeOverAnnounced);
    control.lock.try_lock(PUBLISHER_LOCK)
}

/// Refuses a file of another owner: the owner could change what subscribers trust this publisher to have
/// written.
fn check_owner(path: &Place, file: &LockFile) -> Result<(), Error> {
    let owner = os::foreign_owner(file).map_err(|error| Error::from_io(path.display(), error))?;
    owner.map_or(Ok(()), |owner| Err(foreign(path, &owner)))
}

fn foreign(path: &Place, owner: &User) -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        format!("expected {} to be a file of yours, found that user {owner} owns it", path.display()),
    )
    .with_hint("publish under another name, run as that user, or remove the file")
}

/// The data files of a channel, with their generations.
fn data_files(directory: &Directory, channel: &str) -> Result<Vec<(u64, Place)>, Error> {
    let files = directory.files()?.into_iter().filter(|file| file.channel == channel);
    let data = files.filter_map(|file| match file.part {
        Part::Data(generation) => Some((generation, file.place)),
        _ => None,
    });
    Ok(data.collect())
}

/// Returns the origin of the newest frame in the adopted ring, announced or not: no reader gets it twice.
fn newest_origin(Adopted { data, .. }: &Adopted) -> Option<Origin> {
    let newest = data.entries().max_by_key(|entry| {
        let version = entry.version.load(Ordering::Acquire);
        if ring::is_frame(version) { version } else { 0 }
    })?;
    if !ring::is_frame(newest.version.load(Ordering::Acquire)) {
        return None;
    }
    descriptor::read(newest, data.slot_bytes).ok()?.info.origin
}

pub(super) fn out_of_range(what: &str, number: u64) -> Error {
    let fault = format!("the control file is damaged: {what} number {number} is out of range");
    Error::new(ErrorKind::Damaged, fault).with_hint("run `framelane doctor --fix`")
}
