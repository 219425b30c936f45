//! Directory of the channels, rules for their names, and names of their files.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::os::{self, DirectoryFault, OpenDirectory, Place};

/// The longest channel name.
const MAX_NAME_BYTES: usize = 200;
/// Stands for `/` in file names; it may not occur in channel names.
const SEPARATOR: char = '@';

/// Checks a channel's name: `/`-separated parts of `[A-Za-z0-9._-]`, 200 bytes at most. A URL is no name.
///
/// # Errors
/// [`ErrorKind::InvalidName`], with the reason.
pub fn check_name(channel: &str) -> Result<(), Error> {
    let fault = if channel.is_empty() {
        "it is empty".to_owned()
    } else if channel.len() > MAX_NAME_BYTES {
        format!("it has {} bytes, {MAX_NAME_BYTES} are allowed", channel.len())
    } else if let Some(bad) =
        channel.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/')))
    {
        format!("it contains {bad:?}")
    } else if channel.split('/').any(|part| part.is_empty() || part.chars().all(|c| c == '.')) {
        "a part between slashes is empty, or only dots".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidName, format!("the channel name {channel:?} is not valid: {fault}"))
        .with_hint("use letters, digits, '.', '_' and '-', with '/' between parts, as in cam0/detections"))
}

/// Returns the directory where channels are looked for: the given one, else `$FRAMELANE_DIR`, else
/// `/dev/shm/framelane-UID`. It need not exist: the first publisher makes it.
pub fn directory(given: Option<&Path>) -> PathBuf {
    Directory::path_of(given)
}

/// Compares channel names in natural order: numbers in them by value, so cam2 precedes cam10.
///
/// Names that differ in leading zeros only compare by their bytes.
pub fn compare_names(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (a_digits, b_digits) = (digits(left), digits(right));
        let order = if a_digits > 0 && b_digits > 0 {
            let (one, other) =
                (left[..a_digits].trim_start_matches('0'), right[..b_digits].trim_start_matches('0'));
            (left, right) = (&left[a_digits..], &right[b_digits..]);
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        } else {
            let (mut one, mut other) = (left.chars(), right.chars());
            let order = one.next().cmp(&other.next());
            if order.is_eq() && left.is_empty() {
                return a.cmp(b);
            }
            (left, right) = (one.as_str(), other.as_str());
            order
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Returns the number of digits at the start of a text.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The directory that holds the files of channels. It stays the same one until it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Directory(OpenDirectory);

impl Directory {
    /// The given directory, else `$FRAMELANE_DIR`, else this user's own; created if it is missing.
    pub(crate) fn resolve(given: Option<&Path>) -> Result<Self, Error> {
        let path = Self::path_of(given);
        if path == os::default_directory() { Self::private(&path) } else { Self::shared(&path) }
    }

    /// A directory in memory, which only this process can open.
    pub(crate) fn in_memory() -> Result<Self, Error> {
        OpenDirectory::in_memory()
            .map(Directory)
            .map_err(|error| Error::from_io(os::MEMORY_NEEDS, error).with_hint(os::MEMORY_HINT))
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.0.is_in_memory()
    }

    /// The path that [`Directory::resolve`] would use.
    pub(crate) fn path_of(given: Option<&Path>) -> PathBuf {
        let named = given.map(Path::to_owned);
        named
            .or_else(|| std::env::var_os("FRAMELANE_DIR").filter(|path| !path.is_empty()).map(PathBuf::from))
            .unwrap_or_else(os::default_directory)
    }

    /// A directory that the user named. If it exists, its owner has decided its access; else only this user
    /// has access.
    fn shared(path: &Path) -> Result<Self, Error> {
        let error = match OpenDirectory::make(path) {
            Ok(opened) => return Ok(Directory(opened)),
            Err(DirectoryFault::ForeignLink(link)) => {
                let (path, link) = (path.display(), link.display());
                let message = format!(
                    "cannot use the channel directory {path}: {link} is a symbolic link of another user"
                );
                return Err(Error::new(ErrorKind::PermissionDenied, message)
                    .with_hint("check the target of the link, then use the path that `realpath` prints"));
            }
            Err(DirectoryFault::Io(error)) => error,
            Err(_) => os::not_a_directory(),
        };
        let shortage = os::hint(&error);
        Err(Error::from_io(format!("the channel directory {}", path.display()), error)
            .with_hint(shortage.unwrap_or(os::SHARED_DIRECTORY_HINT)))
    }

    /// Resolves the directory as [`Directory::resolve`] does, without creating it. Returns `None` when it
    /// does not exist yet: there are no channels, as before the first publisher has started.
    pub(crate) fn existing(given: Option<&Path>) -> Result<Option<Self>, Error> {
        let path = Self::path_of(given);
        match OpenDirectory::open(&path) {
            Ok(_) if path == os::default_directory() => Self::private(&path).map(Some),
            Ok(opened) => Ok(Some(Directory(opened))),
            Err(error) => cannot_open(&path, error),
        }
    }

    /// Opens the directory as [`Directory::existing`] does, to remove files that other users may have left.
    /// Refuses a directory that another user can replace through its path.
    pub(crate) fn trusted(given: Option<&Path>) -> Result<Option<Self>, Error> {
        let path = Self::path_of(given);
        if path == os::default_directory() {
            return Self::existing(given);
        }
        let refused = |found: String| {
            Error::new(
                ErrorKind::PermissionDenied,
                format!("cannot remove files in {}: {found}", path.display()),
            )
        };
        match OpenDirectory::open_trusted(&path) {
            Ok(opened) => Ok(Some(Directory(opened))),
            Err(DirectoryFault::ForeignOwner(user)) => {
                Err(refused(format!("user {user} owns the directory"))
                    .with_hint(user.hint_to_run("framelane doctor --fix")))
            }
            Err(DirectoryFault::ForeignLink(link)) => {
                Err(refused(format!("{} is a symbolic link of another user", link.display()))
                    .with_hint("check the target of the link, then use the path that `realpath` prints"))
            }
            Err(DirectoryFault::Io(error)) => cannot_open(&path, error),
            Err(DirectoryFault::NotDirectory | DirectoryFault::OpenToOthers(_)) => {
                cannot_open(&path, os::not_a_directory())
            }
        }
    }

    fn private(path: &Path) -> Result<Self, Error> {
        let found = match OpenDirectory::private(path) {
            Ok(opened) => return Ok(Directory(opened)),
            Err(DirectoryFault::Io(error)) => {
                let shortage = os::hint(&error);
                return Err(Error::from_io(format!("the channel directory {}", path.display()), error)
                    .with_hint(shortage.unwrap_or(os::OWN_DIRECTORY_HINT)));
            }
            Err(DirectoryFault::NotDirectory | DirectoryFault::ForeignLink(_)) => {
                "something that is not a directory".to_owned()
            }
            Err(DirectoryFault::ForeignOwner(user)) => format!("a directory of user {user}"),
            Err(DirectoryFault::OpenToOthers(mode)) => {
                format!("a directory that others can write to (mode {mode:04o})")
            }
        };
        Err(Error::new(
            ErrorKind::PermissionDenied,
            format!("expected {} to be {}, found {found}", path.display(), os::OWN_DIRECTORY),
        )
        .with_hint("remove it, or set FRAMELANE_DIR to a directory that you trust"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns true if its path still leads to it.
    pub(crate) fn is_here(&self) -> bool {
        self.0.is_here()
    }

    /// Free and total bytes of its file system.
    pub(crate) fn room(&self) -> std::io::Result<(u64, u64)> {
        self.0.room()
    }

    pub(crate) fn control(&self, channel: &str) -> Place {
        self.0.place(file_name(channel, Part::Control))
    }

    pub(crate) fn readers(&self, channel: &str) -> Place {
        self.0.place(file_name(channel, Part::Readers))
    }

    pub(crate) fn data(&self, channel: &str, generation: u64) -> Place {
        self.0.place(file_name(channel, Part::Data(generation)))
    }

    /// Returns an unused name, for a file that is not complete yet.
    pub(crate) fn unfinished(&self, channel: &str) -> Place {
        self.0.place(file_name(channel, Part::Unfinished))
    }

    /// Every file in the directory that belongs to framelane.
    pub(crate) fn files(&self) -> Result<Vec<ChannelFile>, Error> {
        let names = self.0.names().map_err(|error| {
            Error::from_io(format!("the channel directory {}", self.path().display()), error)
        })?;
        Ok(names
            .iter()
            .filter_map(|name| name.to_str())
            .filter_map(|name| {
                let (channel, part) = parse_file_name(name)?;
                Some(ChannelFile { channel, part, place: self.0.place(name.to_owned()) })
            })
            .collect())
    }
}

/// `None` when there is no such directory.
fn cannot_open(path: &Path, error: std::io::Error) -> Result<Option<Directory>, Error> {
    let hint = "name the directory that the publishers use (--dir, FRAMELANE_DIR)";
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(None),
        std::io::ErrorKind::NotADirectory => Err(Error::new(
            ErrorKind::NotFound,
            format!("the channel directory {} is not a directory", path.display()),
        )
        .with_hint(hint)),
        _ => {
            let shortage = os::hint(&error);
            Err(Error::from_io(format!("the channel directory {}", path.display()), error)
                .with_hint(shortage.unwrap_or(hint)))
        }
    }
}

/// The name of a channel's file; another one each time for [`Part::Unfinished`].
pub(crate) fn file_name(channel: &str, part: Part) -> String {
    let stem = channel.replace('/', "@");
    match part {
        Part::Control => format!("{stem}.control"),
        Part::Readers => format!("{stem}.readers"),
        Part::Data(generation) => format!("{stem}.data.{generation}"),
        Part::Unfinished => format!(".{stem}.{:016x}.new", os::random_u64()),
    }
}

/// Kind of a channel's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Control,
    Readers,
    Data(u64),
    Unfinished,
}

/// A file of a channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelFile {
    pub channel: String,
    pub part: Part,
    pub place: Place,
}

pub(crate) fn parse_file_name(name: &str) -> Option<(String, Part)> {
    // What is unfinished ends in `.new`, which no other file does; so a channel's name may begin with a dot.
    let (stem, part) = if let Some(stem) = name.strip_suffix(".control") {
        (stem, Part::Control)
    } else if let Some(stem) = name.strip_suffix(".readers") {
        (stem, Part::Readers)
    } else if let Some(rest) = name.strip_suffix(".new") {
        let (stem, random) = rest.strip_prefix('.')?.rsplit_once('.')?;
        u64::from_str_radix(random, 16).ok()?;
        (stem, Part::Unfinished)
    } else {
        let (rest, generation) = name.rsplit_once('.')?;
        (rest.strip_suffix(".data")?, Part::Data(generation.parse().ok()?))
    };
    let channel = stem.replace(SEPARATOR, "/");
    check_name(&channel).is_ok().then_some((channel, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compare_names_sorts_numbers_by_value() {
        let sorted = [
            "cam",
            "cam/detections",
            "cam1",
            "cam01",
            "cam2",
            "cam2/left",
            "cam10",
            "cam10/x2",
            "cam10/x10",
            "cam99999999999999999999998",
            "cam99999999999999999999999",
            "camera",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                let expected = match (i, j) {
                    // Equal but for a zero: by their bytes.
                    (2, 3) => Ordering::Greater,
                    (3, 2) => Ordering::Less,
                    _ => i.cmp(&j),
                };
                assert_eq!(compare_names(a, b), expected, "{a} {b}");
            }
        }
    }

    #[test]
    fn names_that_break_the_rules_are_refused_with_a_hint() {
        let long = "x".repeat(201);
        for name in ["", "/", "a//b", "/a", "a/", "a b", "ä", "..", "a/../b", ".", "a@b", "a\0b", &long] {
            let error = check_name(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}");
            assert!(error.hint().is_some());
        }
        for name in ["a", "cam0/detections", "A.b_c-9", "cam0.data.3", "x..y"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn file_names_lead_back_to_their_channel() {
        for channel in
            ["cam0", "cam0/detections", "cam0.data.3", "x.control", ".hidden", "x.new", ".x.00.new"]
        {
            for part in [Part::Control, Part::Readers, Part::Data(17), Part::Unfinished] {
                let name = file_name(channel, part);
                assert_eq!(parse_file_name(&name), Some((channel.to_owned(), part)), "{name}");
            }
        }
        for name in ["x", ".x", "x.data", "x.data.y", "a b.control", ".x.new"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }
}
