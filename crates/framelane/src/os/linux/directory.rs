//! An open directory, and names in it. Every call is relative to the open directory: a link or a directory
//! that is replaced on the way to it changes nothing.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::file_id::{FileId, retry};
use super::memory::Memory;
use super::users::User;

/// Symbolic links that the way to a directory may have, as in the kernel.
const MOST_LINKS: usize = 40;
/// Opens a directory for calls that are relative to it. Needs no permission to list it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The directory of this user's channels.
pub(crate) fn default_directory() -> PathBuf {
    format!("/dev/shm/framelane-{}", rustix::process::geteuid().as_raw()).into()
}

/// The needs of [`OpenDirectory::in_memory`], for messages.
pub(crate) const MEMORY_NEEDS: &str = "/proc/self/fd, which the memory of a link needs";
/// The hint for when they are not met.
pub(crate) const MEMORY_HINT: &str = "mount /proc";
/// The directory of [`OpenDirectory::private`], for messages.
pub(crate) const OWN_DIRECTORY: &str = "a directory of your own with mode 0700";
/// The hint for when it cannot be used.
pub(crate) const OWN_DIRECTORY_HINT: &str = "mount /dev/shm, or set FRAMELANE_DIR to a directory on a tmpfs";
/// The hint for a named directory that cannot be used.
pub(crate) const SHARED_DIRECTORY_HINT: &str =
    "use a directory that you can write to, preferably on tmpfs (/dev/shm)";

/// The hint for a directory with too little room.
pub(crate) fn room_hint(directory: &Path) -> String {
    if directory.starts_with("/dev/shm") {
        "enlarge /dev/shm (docker run --shm-size=1g; mount -o remount,size=1g /dev/shm)".to_owned()
    } else {
        let directory = directory.display();
        format!("free or add room in the file system of {directory} (`df -h {directory}`)")
    }
}

/// A directory that is not as expected.
pub(crate) enum DirectoryFault {
    NotDirectory,
    ForeignOwner(User),
    OpenToOthers(u32),
    /// A symbolic link of another user is on the way to it.
    ForeignLink(PathBuf),
    Io(io::Error),
}

/// The system's error for a path that is no directory, with its number.
pub(crate) fn not_a_directory() -> io::Error {
    Errno::NOTDIR.into()
}

impl From<io::Error> for DirectoryFault {
    fn from(error: io::Error) -> Self {
        DirectoryFault::Io(error)
    }
}

impl From<Errno> for DirectoryFault {
    fn from(errno: Errno) -> Self {
        DirectoryFault::Io(errno.into())
    }
}

/// A directory that stays the same one, also after a change of its name.
#[derive(Clone, Debug)]
pub(crate) struct OpenDirectory {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
    /// The files, if they are in memory. `fd` is then the directory of this process's descriptors.
    memory: Option<Arc<Memory>>,
}

impl OpenDirectory {
    fn new(fd: OwnedFd, path: Arc<Path>) -> Self {
        OpenDirectory { fd: Arc::new(fd), path, memory: None }
    }

    /// Makes a directory of files that are in memory and end with the last reference to it.
    pub(crate) fn in_memory() -> io::Result<Self> {
        let fd = retry(|| rustix::fs::open(c"/proc/self/fd", DIRECTORY, Mode::empty()))?;
        Ok(OpenDirectory { memory: Some(Arc::default()), ..Self::new(fd, Path::new("memory").into()) })
    }

    /// Returns true if its files are in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Opens an existing directory. Follows symbolic links.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Absolute: the process may change its working directory.
        let path = std::path::absolute(path)?;
        let fd = retry(|| rustix::fs::open(&path, DIRECTORY, Mode::empty()))?;
        Ok(Self::new(fd, path.into()))
    }

    /// Opens an existing directory to remove files in it, one name after the other.
    ///
    /// Symbolic links are followed only if root or this user made them. The directory must belong to this
    /// user, or to root, or be shared with this user by its mode. Root takes no directory of another user.
    pub(crate) fn open_trusted(path: &Path) -> Result<Self, DirectoryFault> {
        let opened = Self::walk(&std::path::absolute(path)?, false)?;
        let stat = rustix::fs::fstat(&opened.fd)?;
        let shared = stat.st_mode & 0o022 != 0 && euid() != 0;
        if stat.st_uid != 0 && stat.st_uid != euid() && !shared {
            return Err(DirectoryFault::ForeignOwner(User::new(stat.st_uid)));
        }
        Ok(opened)
    }

    /// Opens a directory, or creates it and its missing parents with mode 0700.
    ///
    /// Root follows only symbolic links of root. Other users follow all of them, but create nothing behind a
    /// link of another user.
    pub(crate) fn make(path: &Path) -> Result<Self, DirectoryFault> {
        Self::walk_by(&std::path::absolute(path)?, true, euid() != 0)
    }

    /// Opens a directory name by name. Symbolic links are followed only if root or this user made them.
    ///
    /// With `create`, missing directories on the way are made with mode 0700.
    pub(crate) fn walk(path: &Path, create: bool) -> Result<Self, DirectoryFault> {
        Self::walk_by(path, create, false)
    }

    fn walk_by(path: &Path, mut create: bool, foreign_links: bool) -> Result<Self, DirectoryFault> {
        let root = || retry(|| rustix::fs::open(c"/", DIRECTORY, Mode::empty()));
        let mut fd = match path.is_absolute() {
            true => root()?,
            // Not by the path of the working directory, whose parents may be closed to this user.
            false => retry(|| rustix::fs::open(c".", DIRECTORY, Mode::empty()))?,
        };
        let mut names: VecDeque<OsString> = names_of(path).collect();
        let mut walked = PathBuf::from(if path.is_absolute() { "/" } else { "" });
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            let next = match open_name(fd.as_fd(), &name) {
                Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                    make_private_directory(fd.as_fd(), &name)?;
                    open_name(fd.as_fd(), &name)?
                }
                opened => opened?,
            };
            let stat = rustix::fs::fstat(&next)?;
            match stat.st_mode & libc::S_IFMT {
                libc::S_IFDIR => {
                    walked.push(&name);
                    fd = next;
                }
                libc::S_IFLNK => {
                    if stat.st_uid != 0 && stat.st_uid != euid() {
                        if !foreign_links {
                            return Err(DirectoryFault::ForeignLink(walked.join(&name)));
                        }
                        create = false;
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if rustix::fs::fstatfs(&next)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
                        // The text of `/proc/PID/root` does not lead to its target. No user can replace it.
                        walked.push(&name);
                        fd = retry(|| rustix::fs::openat(&fd, &name, DIRECTORY, Mode::empty()))?;
                        continue;
                    }
                    // Of the link that was checked: its name may be another's by now.
                    let target = rustix::fs::readlinkat(&next, c"", Vec::new())?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if target.is_absolute() {
                        fd = root()?;
                        walked = PathBuf::from("/");
                    }
                    for name in names_of(&target).collect::<Vec<_>>().into_iter().rev() {
                        names.push_front(name);
                    }
                }
                _ => return Err(DirectoryFault::NotDirectory),
            }
        }
        Ok(Self::new(fd, path.into()))
    }

    /// Opens the directory of this user, or makes it with mode 0700. No one else can write to it.
    pub(crate) fn private(path: &Path) -> Result<Self, DirectoryFault> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(DirectoryFault::NotDirectory);
        };
        let parent = Self::open(parent)?;
        make_private_directory(parent.fd(), name)?;
        let flags = DIRECTORY.union(OFlags::NOFOLLOW);
        let fd =
            retry(|| rustix::fs::openat(parent.fd(), name, flags, Mode::empty())).map_err(
                |error| match error.raw_os_error() {
                    Some(libc::ENOTDIR | libc::ELOOP) => DirectoryFault::NotDirectory,
                    _ => error.into(),
                },
            )?;
        let stat = rustix::fs::fstat(&fd)?;
        if stat.st_uid != euid() {
            Err(DirectoryFault::ForeignOwner(User::new(stat.st_uid)))
        } else if stat.st_mode & 0o022 != 0 {
            Err(DirectoryFault::OpenToOthers(stat.st_mode & 0o777))
        } else {
            Ok(Self::new(fd, path.into()))
        }
    }

    /// The path that it was opened by, for messages and for programs that watch it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if its path still leads to it.
    pub(crate) fn is_here(&self) -> bool {
        if self.memory.is_some() {
            return true;
        }
        let there = rustix::fs::statat(CWD, &*self.path, AtFlags::empty());
        matches!((FileId::open(&self.fd), there), (Ok(ours), Ok(stat)) if ours == FileId::of(&stat))
    }

    /// A name in it.
    pub(crate) fn place(&self, name: String) -> Place {
        Place { directory: self.clone(), name }
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listed = retry(|| rustix::fs::openat(&self.fd, c".", flags, Mode::empty()))?;
        let is_name = |name: &CStr| !matches!(name.to_bytes(), b"." | b"..");
        rustix::fs::Dir::new(listed)?
            .map(|entry| Ok(entry?))
            .filter(|entry: &io::Result<rustix::fs::DirEntry>| {
                entry.as_ref().map_or(true, |entry| is_name(entry.file_name()))
            })
            .map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned()))
            .collect()
    }

    /// Free and total bytes of its file system.
    pub(crate) fn room(&self) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::fstatvfs(&self.fd)?;
        Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A name in an open directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    directory: OpenDirectory,
    name: String,
}

impl Place {
    /// The whole path, for messages.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path.join(&self.name)
    }

    pub(crate) fn display(&self) -> String {
        self.path().display().to_string()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn open_file(&self, flags: OFlags) -> io::Result<File> {
        if let Some(memory) = &self.directory.memory {
            return memory.open(self.directory.fd(), &self.name, flags);
        }
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(retry(|| rustix::fs::openat(self.directory.fd(), &self.name, flags, mode))?.into())
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        if let Some(memory) = &self.directory.memory {
            return memory.stat(&self.name);
        }
        let directory = self.directory.fd();
        Ok(rustix::fs::statat(directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Returns true if an object has this name.
    pub(crate) fn exists(&self) -> bool {
        self.stat().is_ok()
    }

    /// Removes the name.
    pub(crate) fn remove(&self) -> io::Result<()> {
        if let Some(memory) = &self.directory.memory {
            return memory.remove(&self.name);
        }
        Ok(rustix::fs::unlinkat(self.directory.fd(), &self.name, AtFlags::empty())?)
    }

    /// The owner of what has the name.
    pub(crate) fn owner(&self) -> Option<User> {
        self.stat().ok().map(|stat| User::new(stat.st_uid))
    }

    /// Returns true if the object with the name belongs to this user.
    pub(crate) fn is_own(&self) -> bool {
        self.stat().is_ok_and(|stat| stat.st_uid == euid())
    }

    /// The group of a file that is made here.
    pub(super) fn new_group(&self) -> io::Result<u32> {
        let directory = rustix::fs::fstat(self.directory.fd())?;
        let inherits = directory.st_mode & libc::S_ISGID != 0;
        Ok(if inherits { directory.st_gid } else { rustix::process::getegid().as_raw() })
    }

    /// The owner of what has the name, if only the owner, the directory's owner or root may remove it.
    pub(crate) fn protected_by(&self) -> Option<User> {
        let directory = rustix::fs::fstat(self.directory.fd()).ok()?;
        let owner = self.stat().ok()?.st_uid;
        let removable =
            directory.st_mode & libc::S_ISVTX == 0 || [0, owner, directory.st_uid].contains(&euid());
        (!removable).then(|| User::new(owner))
    }

    /// Renames to `to` in the same directory. What has that name is replaced.
    pub(crate) fn rename(&self, to: &Place) -> io::Result<()> {
        if let Some(memory) = &self.directory.memory {
            return memory.rename(&self.name, &to.name, true);
        }
        Ok(rustix::fs::renameat(self.directory.fd(), &self.name, to.directory.fd(), &to.name)?)
    }

    /// Renames to `to` in the same directory, unless something already has that name (`AlreadyExists`).
    pub(crate) fn rename_new(&self, to: &Place) -> io::Result<()> {
        if let Some(memory) = &self.directory.memory {
            return memory.rename(&self.name, &to.name, false);
        }
        let (from, flags) = (self.directory.fd(), RenameFlags::NOREPLACE);
        Ok(rustix::fs::renameat_with(from, &self.name, to.directory.fd(), &to.name, flags)?)
    }
}

fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The names on the way along a path, `..` among them.
fn names_of(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

/// Opens a name in a directory, without following a symbolic link.
fn open_name(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let open = |flags| retry(|| rustix::fs::openat(parent, name, flags, Mode::empty()));
    // As a directory first: that mounts a file system that is mounted on demand.
    match open(DIRECTORY | OFlags::NOFOLLOW) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP)) => {
            open(OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC)
        }
        opened => opened,
    }
}

/// Creates a directory with mode 0700, unless something already has the name.
///
/// The umask can take permissions of the owner away. They are added only where no other user can have
/// replaced the new directory by another.
fn make_private_directory(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match retry(|| rustix::fs::mkdirat(parent, name, Mode::RWXU)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    let stat = rustix::fs::fstat(parent)?;
    let others_may_rename = stat.st_mode & 0o022 != 0 && stat.st_mode & libc::S_ISVTX == 0;
    if others_may_rename || (stat.st_uid != 0 && stat.st_uid != euid()) {
        return Ok(());
    }
    let made = retry(|| rustix::fs::openat(parent, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()))?;
    if rustix::fs::fstat(&made)?.st_mode & 0o777 != 0o700 {
        // `fchmod` takes no descriptor of O_PATH.
        let this = format!("/proc/self/fd/{}", made.as_raw_fd());
        std::fs::set_permissions(this, Permissions::from_mode(0o700))?;
    }
    Ok(())
}
