//! Finds and removes the leftovers of a crash.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::directory::{ChannelFile, Directory, Part, compare_names};
use crate::error::Error;
use crate::files::{ControlFile, PUBLISHER_LOCK};
use crate::os::{self, FileId, LockFile, Place, User};
use crate::ring::State;
use crate::step::{Step, step};

use super::{ChannelStatus, look, readable};

/// An incomplete file that is older than this is a leftover: making a file takes milliseconds.
const UNFINISHED_AGE: Duration = Duration::from_secs(10);

/// Result of [`doctor`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The directory of the channels. It may not exist yet.
    pub directory: PathBuf,
    /// Free bytes of its file system.
    pub free_bytes: u64,
    /// All bytes of its file system.
    pub total_bytes: u64,
    /// Channels with a live publisher.
    pub live_channels: usize,
    /// Live channels without a free slot.
    pub starved: Vec<Starved>,
    /// Unused files and objects.
    pub leftovers: Vec<Leftover>,
}

/// A live channel without a free slot: subscribers hold all of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Starved {
    /// The channel.
    pub channel: String,
    /// Processes, with the number of slots that each holds.
    pub reason: String,
    /// Action for the user.
    pub hint: String,
}

/// Files of a channel that has no publisher.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Leftover {
    /// The channel.
    pub channel: String,
    /// Cause, informational.
    pub reason: String,
    /// The files.
    pub files: Vec<PathBuf>,
    /// Bytes that they take up.
    pub bytes: u64,
    /// True if they have been removed.
    pub removed: bool,
    /// True if framelane can remove them: it never removes a directory or FIFO with the name of a file.
    pub removable: bool,
}

/// Treatment of the files that dead publishers have left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leftovers {
    /// Reports them. The default.
    #[default]
    Report,
    /// Removes them, and reports the removed files.
    Remove,
}

/// Looks for channels whose publisher has died and for stray files, and reports or removes them.
///
/// Live channels are never touched. Subscribers that wait on a removed channel learn that it is closed.
///
/// Files that another user protects (the directory is sticky, as /tmp is) are reported, not removed.
///
/// # Errors
/// When the directory cannot be read, or a file cannot be removed (other files are still removed).
/// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) with [`Leftovers::Remove`] if the
/// directory belongs to another user and is not shared, or if a symbolic link of another user leads to it.
/// For root, every directory of another user is refused.
pub fn doctor(directory: Option<&Path>, leftovers: Leftovers) -> Result<Diagnosis, Error> {
    let remove = leftovers == Leftovers::Remove;
    let opened = if remove { Directory::trusted(directory)? } else { Directory::existing(directory)? };
    let Some(directory) = opened else {
        return without_directory(Directory::path_of(directory));
    };
    let (free_bytes, total_bytes) = directory
        .room()
        .map_err(|error| Error::from_io(format!("the room in {}", directory.path().display()), error))?;
    let mut channels: BTreeMap<String, Vec<ChannelFile>> = BTreeMap::new();
    for file in directory.files()? {
        channels.entry(file.channel.clone()).or_default().push(file);
    }
    let mut diagnosis = Diagnosis {
        directory: directory.path().to_owned(),
        free_bytes,
        total_bytes,
        live_channels: 0,
        starved: Vec::new(),
        leftovers: Vec::new(),
    };
    let mut failed = None;
    for (channel, files) in channels {
        match look_at(&directory, channel, files, remove, &mut diagnosis) {
            // It would be met at the others too.
            Err(error) if error.is_exhaustion() => return Err(error),
            // A leftover that cannot be examined, or removed, does not prevent the others.
            Err(error) => _ = failed.get_or_insert(error),
            Ok(()) => {}
        }
    }
    diagnosis.leftovers.sort_by(|a, b| compare_names(&a.channel, &b.channel));
    failed.map_or(Ok(diagnosis), Err)
}

/// Of a directory that no publisher has made yet: the room where it will be.
fn without_directory(directory: PathBuf) -> Result<Diagnosis, Error> {
    let exists = directory.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    let (free_bytes, total_bytes) = os::room(exists)
        .map_err(|error| Error::from_io(format!("the room in {}", exists.display()), error))?;
    Ok(Diagnosis {
        directory,
        free_bytes,
        total_bytes,
        live_channels: 0,
        leftovers: Vec::new(),
        starved: Vec::new(),
    })
}

fn look_at(
    directory: &Directory,
    channel: String,
    files: Vec<ChannelFile>,
    remove: bool,
    diagnosis: &mut Diagnosis,
) -> Result<(), Error> {
    // What has the names now: only that is removed, and no file that takes a name in the meantime.
    let seen = seen(&files);
    let (unfinished, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.part == Part::Unfinished);
    let strange = strange(&channel, &files);
    let skip = strange.is_some();
    diagnosis.leftovers.extend(strange);
    let control = files.iter().find(|file| file.part == Part::Control);
    let (owner, protector) =
        control.map_or((None, None), |file| (file.place.owner(), file.place.protected_by()));
    // Other users' files under names of this channel mean nothing to it.
    let (strays, files): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| file.place.protected_by().is_some() && file.place.owner() != owner);
    if !files.is_empty() && !skip {
        match examine(directory, &channel, &files, remove && protector.is_none())? {
            Some((reason, lock)) => {
                step(Step::DoctorLocked);
                let leftover = match protector {
                    Some(user) => protected(channel.clone(), format!("{reason}, and"), &user, files),
                    None => {
                        let seen = if remove { Some((&seen, lock.as_ref())) } else { None };
                        leftover(directory, channel.clone(), reason, files, seen)?
                    }
                };
                diagnosis.leftovers.push(leftover);
                drop(lock);
            }
            None => {
                diagnosis.live_channels += 1;
                let status = readable(look(directory, &channel, &files))?;
                diagnosis.starved.extend(status.and_then(|status| starved(&status)));
            }
        }
    }
    if let (Some(user), false) = (strays.first().and_then(|file| file.place.owner()), skip) {
        let reason = "no publisher of the channel made them:".to_owned();
        diagnosis.leftovers.push(protected(channel.clone(), reason, &user, strays));
    }
    let old =
        |file: &ChannelFile| os::is_older(&file.place, UNFINISHED_AGE) && file.place.protected_by().is_none();
    let old: Vec<_> = unfinished.into_iter().filter(old).collect();
    if !old.is_empty() {
        let reason = "a publisher was killed while it made the channel".to_owned();
        diagnosis.leftovers.push(leftover(directory, channel, reason, old, remove.then_some((&seen, None)))?);
    }
    Ok(())
}

/// Files that only another user may remove.
fn protected(channel: String, reason: String, user: &User, files: Vec<ChannelFile>) -> Leftover {
    let bytes = files.iter().map(|file| os::used_bytes(&file.place)).sum();
    let reason = format!("{reason} only user {user} or root may remove the files");
    let files = files.into_iter().map(|file| file.place.path()).collect();
    Leftover { channel, reason, files, bytes, removed: false, removable: false }
}

fn starved(status: &ChannelStatus) -> Option<Starved> {
    let fault = status.starvation()?;
    let hint = fault.hint().unwrap_or_default().to_owned();
    Some(Starved { channel: status.name.clone(), reason: fault.message().to_owned(), hint })
}

/// Reports an object that has the name of a channel's file and cannot be one. The user has to remove it.
fn strange(channel: &str, files: &[ChannelFile]) -> Option<Leftover> {
    let strange: Vec<_> =
        files.iter().filter_map(|file| Some((&file.place, os::irregular(&file.place)?))).collect();
    let (place, found) = strange.first()?;
    let name = place.name();
    let reason = format!("{name} is {found}, which framelane has not made: remove it yourself");
    let files = strange.iter().map(|(place, _)| place.path()).collect();
    Some(Leftover { channel: channel.to_owned(), reason, files, bytes: 0, removed: false, removable: false })
}

/// Returns the reason that the channel's files are left over, with the lock that prevents new publishers;
/// `None` when it lives.
fn examine(
    directory: &Directory,
    channel: &str,
    files: &[ChannelFile],
    remove: bool,
) -> Result<Option<(String, Option<LockFile>)>, Error> {
    let path = directory.control(channel);
    if !files.iter().any(|file| file.part == Part::Control) {
        let reason = "its control file is gone".to_owned();
        if !remove {
            return Ok(Some((reason, None)));
        }
        // The name is taken while the strays go: otherwise they could be a new publisher's by then.
        let unfinished = directory.unfinished(channel);
        let Some(control) = readable(ControlFile::create(&unfinished, 0o600))? else { return Ok(None) };
        if unfinished.rename_new(&path).is_err() {
            control.lock.remove(&unfinished);
            return Ok(None);
        }
        return Ok(Some((reason, Some(control.lock))));
    }
    // Opened without a check of what it holds: damaged files and those of other versions are left over too.
    let opened =
        os::open(&path, remove).map_err(|error| Error::from_io(format!("opening {}", path.display()), error));
    let Some(file) = readable(opened)? else { return Ok(None) };
    let lock = LockFile::new(file);
    let abandoned = if remove {
        lock.try_lock(PUBLISHER_LOCK).unwrap_or(false)
    } else {
        // Only looking: a publisher that starts now must not find the lock taken.
        !lock.is_locked(PUBLISHER_LOCK).unwrap_or(true)
    };
    if !abandoned || !lock.is_at(&path) {
        return Ok(None);
    }
    let reason = match ControlFile::open(&path, false) {
        Ok(control) => {
            format!(
                "its publisher, process {}, has died",
                control.words().publisher_pid.load(Ordering::Relaxed)
            )
        }
        Err(error) if error.is_exhaustion() => return Err(error),
        Err(error) => error.message().to_owned(),
    };
    Ok(Some((reason, Some(lock))))
}

/// The files that have the names.
type Seen = HashMap<String, FileId>;

fn seen(files: &[ChannelFile]) -> Seen {
    let id = |file: &ChannelFile| Some((file.place.name().to_owned(), FileId::at(&file.place)?));
    files.iter().filter_map(id).collect()
}

/// Reports the files. Removes those that `remove` names, and the control file of its lock.
fn leftover(
    directory: &Directory,
    channel: String,
    reason: String,
    files: Vec<ChannelFile>,
    remove: Option<(&Seen, Option<&LockFile>)>,
) -> Result<Leftover, Error> {
    let bytes = files.iter().map(|file| os::used_bytes(&file.place)).sum();
    if let Some((seen, lock)) = remove {
        if let Some(control) = readable(ControlFile::open(&directory.control(&channel), true))?
            && files.iter().any(|file| file.part == Part::Control)
            && lock.is_some_and(|lock| is_same(lock, &control.lock))
        {
            // Subscribers that still wait for a new publisher learn that the channel has ended.
            let words = control.words();
            words.state.store(State::Closed as u32, Ordering::Release);
            words.wake.fetch_add(1, Ordering::Release);
            control.wake(u64::MAX);
            step(Step::DoctorClosed);
        }
        // The control file last: its lock keeps new publishers, and their files of the same names, away until
        // then.
        let others = files.iter().filter(|file| file.part != Part::Control).map(|file| file.place.clone());
        let mut failed = None;
        for place in others {
            failed = failed.or(remove_file(seen.get(place.name()).copied(), &place).err());
        }
        if let Some(lock) = lock {
            step(Step::DoctorRemoved);
            failed = failed.or(remove_file(FileId::open(lock).ok(), &directory.control(&channel)).err());
        }
        if let Some(failed) = failed {
            return Err(failed);
        }
    }
    let files = files.into_iter().map(|file| file.place.path()).collect();
    Ok(Leftover { channel, reason, files, bytes, removed: remove.is_some(), removable: true })
}

/// Returns whether both locks are openings of the same file.
fn is_same(one: &LockFile, other: &LockFile) -> bool {
    matches!((FileId::open(one), FileId::open(other)), (Ok(one), Ok(other)) if one == other)
}

/// Removes a file's name, unless another file has it by now.
fn remove_file(file: Option<FileId>, place: &Place) -> Result<(), Error> {
    match file.map_or(Ok(()), |file| file.try_remove(place)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from_io(format!("removing {}", place.display()), error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftover_spares_files_that_took_a_name() {
        let root = tempfile::tempdir().unwrap();
        let names = ["c.control", "c.readers", "c.data.1", ".c.0000000000000001.new"];
        for name in names {
            std::fs::write(root.path().join(name), b"dead").unwrap();
        }
        let directory = Directory::existing(Some(root.path())).unwrap().unwrap();
        let files = directory.files().unwrap();
        let seen = seen(&files);
        let lock = LockFile::new(os::open(&directory.control("c"), true).unwrap());
        for name in names.into_iter().skip(1).chain(["c.control"]) {
            std::fs::write(root.path().join("new"), b"alive").unwrap();
            let taken = files.iter().find(|file| file.place.name() == name).unwrap();
            taken.place.remove().unwrap();
            std::fs::rename(root.path().join("new"), root.path().join(name)).unwrap();
        }
        leftover(&directory, "c".to_owned(), String::new(), files, Some((&seen, Some(&lock)))).unwrap();
        for name in names {
            assert_eq!(std::fs::read(root.path().join(name)).unwrap(), b"alive", "{name}");
        }
    }
}
