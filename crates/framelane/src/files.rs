//! The three files of a channel: made, opened, and checked before anything in them is used.

use std::time::Duration;

use crate::directory::Directory;
use crate::error::{Error, ErrorKind};
use crate::frame::MAX_FRAME_BYTES;
use crate::os::{self, File, FileId, LockFile, Map, Place, Woken};
use crate::ring::{
    AtomicU32, AtomicU64, Control, DATA_MAGIC, DataHeader, Entry, LAYOUT_MAJOR, LAYOUT_MINOR, MAGIC,
    MAX_SLOTS, Ordering::Relaxed, READERS, READERS_MAGIC, Readers, SOURCE_OFFSET, Shared, SourceWords, State,
};

/// Bytes of a `control` file.
pub(crate) const CONTROL_BYTES: usize = 4096;
/// Slots begin at a multiple of this.
pub(crate) const PAGE_BYTES: usize = 4096;
/// No file is longer: all slots of the largest ring, and some room for what is in front of them.
const LONGEST_BYTES: usize = MAX_SLOTS * MAX_FRAME_BYTES + (1 << 20);
/// The lock byte of the publisher in `control`.
pub(crate) const PUBLISHER_LOCK: u64 = 0;
/// The lock byte of a publisher that takes a channel over in `control`, taken before [`PUBLISHER_LOCK`].
pub(crate) const TAKE_OVER_LOCK: u64 = 1;

fn damaged(path: &Place, what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Damaged, format!("{} is damaged: {what}", path.display()))
        .with_hint("end the channel's publisher, then run `framelane doctor --fix`")
}

/// Returns the error for a file that was truncated while it was in use.
fn cut_short(channel: &str, part: &str) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!("the {part} file of channel {channel} was cut short by another process while it was in use"),
    )
    .with_hint(
        "restart the channel's publisher; share its directory only with users who may stop the service \
         anyway",
    )
}

/// The error for a channel whose files were removed while its publisher was alive.
pub(crate) fn removed(channel: &str, directory: &Directory) -> Error {
    let directory = directory.path().display();
    let fault = format!("channel {channel} is gone: another program removed its files from {directory}");
    Error::new(ErrorKind::ChannelRemoved, fault).with_hint(
        "open the channel again; keep clean-up programs away from the directory (for logind: RemoveIPC=no, or \
         `loginctl enable-linger`), or set FRAMELANE_DIR to a directory of your own",
    )
}

/// Returns the error for an object that has the name of a channel's file and is no regular file.
pub(crate) fn not_a_file(path: &Place) -> Option<Error> {
    let found = os::irregular(path)?;
    let fault = format!("expected {} to be a regular file, found {found}", path.display());
    Some(
        Error::new(ErrorKind::Damaged, fault)
            .with_hint("remove it: framelane has not made it, and does not follow or open it"),
    )
}

/// Opens a file of a channel.
fn open(path: &Place, writable: bool) -> Result<File, Error> {
    os::open(path, writable).map_err(|error| {
        if let Some(error) = not_a_file(path) {
            return error;
        }
        let made = Error::from_io(format!("opening {}", path.display()), error);
        if made.kind() == ErrorKind::PermissionDenied {
            made.with_hint(
                "run as the same user as the publisher, or have it publish with --permissions 660 in a directory \
                 (FRAMELANE_DIR) of a group that you share",
            )
        } else {
            made
        }
    })
}

/// Opens a separate descriptor for locks. A map keeps its descriptor alive, with all locks, for as long as a
/// forked child has the map. The separate one ends when the child closes it.
fn lock_file(path: &Place, file: &File, writable: bool) -> Result<LockFile, Error> {
    let lock = LockFile::new(open(path, writable)?);
    if lock.is_same(file) {
        Ok(lock)
    } else {
        Err(Error::new(ErrorKind::NotFound, format!("{} has just been replaced", path.display())))
    }
}

/// Maps a file whose length must be at least `least` and, if given, exactly `exact`.
fn map(path: &Place, file: &File, least: usize, exact: bool, writable: bool) -> Result<Map, Error> {
    let len = checked_len(path, file, least, exact)?;
    Map::new(file, len, writable).map_err(|error| cannot_map(path, len, error))
}

fn cannot_map(path: &Place, len: usize, error: std::io::Error) -> Error {
    Error::from_io(format!("mapping {len} bytes of {}", path.display()), error)
}

/// The length of a file, which must be at least `least` and, if given, exactly `exact`.
fn checked_len(path: &Place, file: &File, least: usize, exact: bool) -> Result<usize, Error> {
    let found = file.len().map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => damaged(path, error),
        _ => Error::from_io(path.display(), error),
    })?;
    if found < least as u64 || (exact && found != least as u64) {
        return Err(damaged(path, format!("expected {least} bytes, found {found}")));
    }
    // Too long is the file's fault; an error from mapping the rest is for want of addresses.
    let len = usize::try_from(found).ok().filter(|&len| len <= LONGEST_BYTES);
    len.ok_or_else(|| damaged(path, format!("no file of a channel has {found} bytes")))
}

/// The words of type `T` at `offset` of a map whose length was checked.
fn words<'m, T: Shared>(path: &Place, map: &'m Map, offset: usize) -> Result<&'m T, Error> {
    map.words(offset).ok_or_else(|| damaged(path, "its header ends behind the file"))
}

fn check_header(path: &Place, magic: u64, found: (&AtomicU64, &AtomicU32, &AtomicU32)) -> Result<(), Error> {
    if found.0.load(Relaxed) != magic {
        return Err(damaged(path, format!("it does not begin with {:?}", magic_text(magic))));
    }
    let (major, minor) = (found.1.load(Relaxed), found.2.load(Relaxed));
    if major != LAYOUT_MAJOR {
        return Err(Error::new(
            ErrorKind::IncompatibleVersion,
            format!(
                "{} has layout version {major}.{minor}, this framelane speaks {LAYOUT_MAJOR}.{LAYOUT_MINOR}",
                path.display()
            ),
        )
        .with_hint(
            "use the same major version on both sides; if its publisher is gone, `framelane doctor --fix` \
             removes the channel",
        ));
    }
    Ok(())
}

fn magic_text(magic: u64) -> String {
    String::from_utf8_lossy(&magic.to_le_bytes()).into_owned()
}

/// A mapped `control` file with the descriptor that the publisher's lock is taken, or tested, through.
pub(crate) struct ControlFile {
    map: Map,
    pub lock: LockFile,
}

impl ControlFile {
    /// Makes the file under an unfinished name, with the publisher's lock already taken.
    pub(crate) fn create(path: &Place, mode: u32) -> Result<Self, Error> {
        let (map, lock) = make(path, CONTROL_BYTES, mode & !0o022, |file| {
            Ok((map(path, file, CONTROL_BYTES, true, true)?, lock_file(path, file, true)?))
        })?;
        let locked = lock.try_lock(PUBLISHER_LOCK);
        if !locked.map_err(|error| Error::from_io(format!("locking {}", path.display()), error))? {
            return Err(Error::new(
                ErrorKind::SystemFailure,
                format!("{} is locked by another process", path.display()),
            ));
        }
        let made = ControlFile { map, lock };
        let control = made.words();
        control.layout_major.store(LAYOUT_MAJOR, Relaxed);
        control.layout_minor.store(LAYOUT_MINOR, Relaxed);
        control.header_bytes.store(size_of::<Control>() as u64, Relaxed);
        control.channel_id.store(os::random_u64(), Relaxed);
        control.state.store(State::Starting as u32, Relaxed);
        control.magic.store(MAGIC, Relaxed);
        Ok(made)
    }

    /// Opens and checks an existing file.
    pub(crate) fn open(path: &Place, writable: bool) -> Result<Self, Error> {
        let file = open(path, writable)?;
        let map = map(path, &file, CONTROL_BYTES, true, writable)?;
        let control: &Control = words(path, &map, 0)?;
        check_header(path, MAGIC, (&control.magic, &control.layout_major, &control.layout_minor))?;
        let lock = lock_file(path, &file, writable)?;
        Ok(ControlFile { map, lock })
    }

    /// Says so when the file was cut short.
    pub(crate) fn check(&self, channel: &str) -> Result<(), Error> {
        if self.map.is_lost() { Err(cut_short(channel, "control")) } else { Ok(()) }
    }

    /// Returns an error when the file was cut short, also in a part that was not read since. One system call.
    pub(crate) fn check_len(&self, channel: &str) -> Result<(), Error> {
        self.check(channel)?;
        if self.lock.has(CONTROL_BYTES) { Ok(()) } else { Err(cut_short(channel, "control")) }
    }

    pub(crate) fn words(&self) -> &Control {
        self.map.words(0).expect("the length was checked when the file was mapped")
    }

    /// Sleeps while the futex word is `seen`, for at most `nap`. `reader` is the caller's record.
    pub(crate) fn sleep(&self, seen: u32, reader: usize, nap: Duration) -> Woken {
        self.map.wait_on(&self.words().wake, seen, reader, nap)
    }

    /// Wakes readers that sleep, a bit for each.
    pub(crate) fn wake(&self, readers: u64) {
        self.map.wake(&self.words().wake, readers);
    }

    pub(crate) fn source(&self) -> &SourceWords {
        self.map.words(SOURCE_OFFSET).expect("the length was checked when the file was mapped")
    }
}

/// A mapped `readers` file with the descriptor of its records' locks.
pub(crate) struct ReadersFile {
    map: Map,
    pub lock: LockFile,
}

impl ReadersFile {
    /// Makes the file under an unfinished name.
    pub(crate) fn create(path: &Place, mode: u32, channel_id: u64) -> Result<Self, Error> {
        let made = make(path, size_of::<Readers>(), mode, |file| {
            let map = map(path, file, size_of::<Readers>(), true, true)?;
            Ok(ReadersFile { map, lock: lock_file(path, file, true)? })
        })?;
        let readers = made.words();
        readers.layout_major.store(LAYOUT_MAJOR, Relaxed);
        readers.layout_minor.store(LAYOUT_MINOR, Relaxed);
        readers.channel_id.store(channel_id, Relaxed);
        readers.record_count.store(READERS as u32, Relaxed);
        readers.record_bytes.store(size_of_val(&readers.records[0]) as u32, Relaxed);
        readers.magic.store(READERS_MAGIC, Relaxed);
        Ok(made)
    }

    /// Opens and checks an existing file of the channel with this id.
    pub(crate) fn open(path: &Place, channel_id: u64) -> Result<Self, Error> {
        let file = open(path, true)?;
        let map = map(path, &file, size_of::<Readers>(), true, true)?;
        let readers: &Readers = words(path, &map, 0)?;
        check_header(path, READERS_MAGIC, (&readers.magic, &readers.layout_major, &readers.layout_minor))?;
        if readers.channel_id.load(Relaxed) != channel_id {
            return Err(damaged(path, "it belongs to another channel than the control file"));
        }
        let lock = lock_file(path, &file, true)?;
        Ok(ReadersFile { map, lock })
    }

    /// Returns an error when the file was cut short: its pins are lost.
    pub(crate) fn check(&self, channel: &str) -> Result<(), Error> {
        if self.map.is_lost() { Err(cut_short(channel, "readers")) } else { Ok(()) }
    }

    /// Returns an error when the file was cut short, also in a part that was not read since. One system call.
    pub(crate) fn check_len(&self, channel: &str) -> Result<(), Error> {
        self.check(channel)?;
        if self.lock.has(size_of::<Readers>()) { Ok(()) } else { Err(cut_short(channel, "readers")) }
    }

    /// The publisher sleeps while its futex word is `freed`, for at most `nap`.
    pub(crate) fn sleep(&self, freed: u32, nap: Duration) -> Woken {
        self.map.wait_on(&self.words().freed, freed, 0, nap)
    }

    /// Wakes the publisher. It is the only one that sleeps on its word.
    pub(crate) fn wake_publisher(&self) {
        self.map.wake(&self.words().freed, 1);
    }

    pub(crate) fn words(&self) -> &Readers {
        self.map.words(0).expect("the length was checked when the file was mapped")
    }
}

/// A mapped `data` file: the slot table and the slots of one generation.
pub(crate) struct DataFile {
    map: Map,
    pub generation: u64,
    pub epoch: u64,
    pub slots: usize,
    pub slot_bytes: usize,
    payload_offset: usize,
    id: FileId,
}

/// The ring of a dead publisher.
pub(crate) struct Adopted {
    pub data: DataFile,
    pub state: AdoptedState,
}

/// Use of a dead publisher's ring for the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdoptedState {
    /// Mapped for writing.
    Usable,
    /// Its file has no room for all of its slots: none may be written to.
    NoRoom,
    /// Mapped read-only. Other users may read its file than the files of the next publisher. No frame of one
    /// may be in a ring of the other.
    OtherUsers,
}

/// Offset of the slot table.
const TABLE_OFFSET: usize = 4096;

/// Returns the offset of the first slot.
fn payload_offset(slots: usize) -> usize {
    (TABLE_OFFSET + slots * size_of::<Entry>()).next_multiple_of(PAGE_BYTES)
}

impl DataFile {
    /// Makes the file under its final name; readers do not look for it before it is announced.
    pub(crate) fn create(
        directory: &Directory,
        channel: &str,
        mode: u32,
        ids: (u64, u64, u64),
        slots: usize,
        frame_bytes: usize,
    ) -> Result<Self, Error> {
        let (channel_id, epoch, generation) = ids;
        let slot_bytes = frame_bytes.max(1).next_multiple_of(PAGE_BYTES);
        let payload_offset = payload_offset(slots);
        let len = Self::len_for(slots, frame_bytes).ok_or_else(|| {
            Error::new(ErrorKind::FrameTooLarge, format!("{slots} slots of {slot_bytes} bytes overflow"))
        })?;
        let path = directory.data(channel, generation);
        // Not a publisher's: the channel is locked, and this generation was never made.
        if path.is_own() {
            let _ = path.remove();
        }
        let made = make(&path, len, mode & !0o022, |file| {
            let id = FileId::open(file).map_err(|error| Error::from_io(path.display(), error))?;
            Ok((map(&path, file, len, true, true)?, id))
        });
        let (map, id) = made.map_err(|error| {
            if error.kind() == ErrorKind::NoSpace {
                no_room(directory, channel, slots, slot_bytes, len)
            } else {
                error
            }
        })?;
        let header: &DataHeader = words(&path, &map, 0)?;
        header.layout_major.store(LAYOUT_MAJOR, Relaxed);
        header.layout_minor.store(LAYOUT_MINOR, Relaxed);
        header.channel_id.store(channel_id, Relaxed);
        header.generation.store(generation, Relaxed);
        header.epoch.store(epoch, Relaxed);
        header.slots.store(slots as u32, Relaxed);
        header.entry_bytes.store(size_of::<Entry>() as u32, Relaxed);
        header.table_offset.store(TABLE_OFFSET as u64, Relaxed);
        header.payload_offset.store(payload_offset as u64, Relaxed);
        header.slot_bytes.store(slot_bytes as u64, Relaxed);
        header.magic.store(DATA_MAGIC, Relaxed);
        Ok(DataFile { map, generation, epoch, slots, slot_bytes, payload_offset, id })
    }

    /// Bytes of a file with so many slots for such frames.
    pub(crate) fn len_for(slots: usize, frame_bytes: usize) -> Option<usize> {
        let slot_bytes = frame_bytes.max(1).next_multiple_of(PAGE_BYTES);
        slot_bytes.checked_mul(slots)?.checked_add(payload_offset(slots))
    }

    /// Opens the file of `generation` to write to it: its publisher is dead, and the caller has the
    /// publisher's lock.
    pub(crate) fn adopt(
        directory: &Directory,
        channel: &str,
        mode: u32,
        (channel_id, epoch, generation): (u64, u64, u64),
    ) -> Result<Adopted, Error> {
        let path = directory.data(channel, generation);
        let context = |error| Error::from_io(path.display(), error);
        let file = open(&path, true)?;
        if let Some(owner) = os::foreign_owner(&file).map_err(context)? {
            return Err(damaged(&path, format!("user {owner} owns it")));
        }
        let len = checked_len(&path, &file, TABLE_OFFSET, false)?;
        let sparse =
            |writable| Map::sparse(&file, len, writable).map_err(|error| cannot_map(&path, len, error));
        let found = Self::checked(&path, sparse(false)?, &file, (channel_id, generation))?;
        if found.slot_bytes % PAGE_BYTES != 0 || found.payload_offset != payload_offset(found.slots) {
            return Err(damaged(&path, "its slots are not where they should be"));
        }
        if !os::has_access_of(&file, &path, mode & !0o022).map_err(context)? {
            return Ok(Adopted { data: found, state: AdoptedState::OtherUsers });
        }
        let has_room = os::take_room(&file, len as u64).is_ok();
        let map = if has_room { map(&path, &file, len, true, true)? } else { sparse(true)? };
        let mut data = Self::checked(&path, map, &file, (channel_id, generation))?;
        let header: &DataHeader = words(&path, &data.map, 0)?;
        header.layout_minor.store(LAYOUT_MINOR, Relaxed);
        header.epoch.store(epoch, Relaxed);
        data.epoch = epoch;
        let state = if has_room { AdoptedState::Usable } else { AdoptedState::NoRoom };
        Ok(Adopted { data, state })
    }

    /// Opens the file of `generation` read-only, and checks that all it promises lies within it.
    pub(crate) fn open(
        directory: &Directory,
        channel: &str,
        channel_id: u64,
        generation: u64,
    ) -> Result<Self, Error> {
        let path = directory.data(channel, generation);
        let file = open(&path, false)?;
        let map = map(&path, &file, TABLE_OFFSET, false, false)?;
        map.set_channel(channel);
        Self::checked(&path, map, &file, (channel_id, generation))
    }

    fn checked(
        path: &Place,
        map: Map,
        file: &File,
        (channel_id, generation): (u64, u64),
    ) -> Result<Self, Error> {
        let id = FileId::open(file).map_err(|error| Error::from_io(path.display(), error))?;
        let header: &DataHeader = words(path, &map, 0)?;
        check_header(path, DATA_MAGIC, (&header.magic, &header.layout_major, &header.layout_minor))?;
        if header.channel_id.load(Relaxed) != channel_id || header.generation.load(Relaxed) != generation {
            return Err(damaged(path, "it belongs to another channel or generation"));
        }
        // Copied once, then checked, then used: the file could change meanwhile.
        let slots = header.slots.load(Relaxed) as usize;
        let entry_bytes = header.entry_bytes.load(Relaxed) as usize;
        let table_offset = header.table_offset.load(Relaxed);
        let payload_offset = usize::try_from(header.payload_offset.load(Relaxed)).unwrap_or(usize::MAX);
        let slot_bytes = usize::try_from(header.slot_bytes.load(Relaxed)).unwrap_or(usize::MAX);
        let table_end = TABLE_OFFSET + slots.min(MAX_SLOTS) * size_of::<Entry>();
        let end = slot_bytes.checked_mul(slots).and_then(|bytes| bytes.checked_add(payload_offset));
        if slots == 0
            || slots > MAX_SLOTS
            || entry_bytes != size_of::<Entry>()
            || table_offset != TABLE_OFFSET as u64
            || payload_offset < table_end
            || end.is_none_or(|end| end > map.len())
        {
            return Err(damaged(
                path,
                format!("{slots} slots of {slot_bytes} bytes do not fit in {}", map.len()),
            ));
        }
        let epoch = header.epoch.load(Relaxed);
        Ok(DataFile { map, generation, epoch, slots, slot_bytes, payload_offset, id })
    }

    /// Returns true if `path` names this file.
    pub(crate) fn is_at(&self, path: &Place) -> bool {
        self.id.is_at(path)
    }

    /// Removes the file's name, unless another file has it by now.
    pub(crate) fn remove(&self, path: &Place) {
        self.id.remove(path);
    }

    /// Returns the memory of some slots to the file system. The caller has claimed them and writes to them no
    /// more.
    pub(crate) fn release(&self, path: &Place, slots: impl Iterator<Item = usize>) -> Result<(), Error> {
        let context = |error| Error::from_io(format!("releasing slots of {}", path.display()), error);
        let file = open(path, true)?;
        if FileId::open(&file).map_err(context)? != self.id {
            return Err(Error::new(ErrorKind::NotFound, format!("{} was replaced", path.display())));
        }
        for slot in slots {
            let offset = self.payload_offset + slot * self.slot_bytes;
            os::release_room(&file, offset as u64, self.slot_bytes as u64).map_err(context)?;
        }
        Ok(())
    }

    /// Returns true if the file was cut short, which makes the rest of it useless.
    pub(crate) fn is_lost(&self) -> bool {
        self.map.is_lost()
    }

    /// Says so when the file was cut short.
    pub(crate) fn check(&self, channel: &str) -> Result<(), Error> {
        if self.is_lost() { Err(cut_short(channel, "data")) } else { Ok(()) }
    }

    /// The entry of a slot; `None` when the ring has no such slot.
    pub(crate) fn entry(&self, slot: usize) -> Option<&Entry> {
        if slot >= self.slots {
            return None;
        }
        self.map.words(TABLE_OFFSET + slot * size_of::<Entry>())
    }

    /// Every slot's entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        (0..self.slots).filter_map(|slot| self.entry(slot))
    }

    /// The address of a slot's payload, `slot_bytes` long.
    pub(crate) fn payload(&self, slot: usize) -> std::ptr::NonNull<u8> {
        assert!(slot < self.slots, "slot numbers are checked where they are read");
        self.map
            .address(self.payload_offset + slot * self.slot_bytes, self.slot_bytes)
            .expect("the length was checked when the file was mapped")
    }
}

/// Makes a file of `len` bytes, and what `build` makes of it; leaves nothing behind when either fails.
fn make<T>(
    path: &Place,
    len: usize,
    mode: u32,
    build: impl FnOnce(&File) -> Result<T, Error>,
) -> Result<T, Error> {
    let file = os::create(path, len as u64, mode).map_err(|error| {
        if let Some(error) = not_a_file(path) {
            return error;
        }
        let made = Error::from_io(format!("creating {} with {len} bytes", path.display()), error);
        match made.kind() {
            ErrorKind::NoSpace => made.with_hint("free room in the file system of the channel directory"),
            ErrorKind::PermissionDenied => {
                made.with_hint("set FRAMELANE_DIR to a directory that you may write to")
            }
            _ => made,
        }
    })?;
    build(&file).inspect_err(|_| os::remove(&file, path))
}

fn no_room(directory: &Directory, channel: &str, slots: usize, slot_bytes: usize, need: usize) -> Error {
    let (free, total) = directory.room().unwrap_or((0, 0));
    let path = directory.path();
    let enlarge = os::room_hint(path);
    Error::new(
        ErrorKind::NoSpace,
        format!(
            "channel {channel} needs {need} bytes ({slots} slots of {slot_bytes}) in {}, found {free} free \
             of {total}",
            path.display()
        ),
    )
    .with_hint(format!(
        "use fewer slots or smaller frames, run `framelane doctor --fix` to remove what crashed publishers left, \
         or {enlarge}"
    ))
}
