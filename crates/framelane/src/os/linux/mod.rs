//! Linux: tmpfs files, shared maps, futexes, open-file-description locks, inotify.

mod clock;
mod directory;
mod file_id;
mod files;
pub(crate) mod folder;
mod locks;
mod maps;
mod memory;
mod process;
mod signals;
mod sleep;
mod users;

pub(crate) use clock::*;
pub(crate) use directory::*;
pub(crate) use file_id::*;
pub(crate) use files::*;
pub use locks::fork_count;
pub(crate) use locks::*;
pub(crate) use maps::*;
pub(crate) use process::*;
pub(crate) use sleep::*;
pub(crate) use users::*;
