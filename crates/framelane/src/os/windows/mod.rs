//! Windows: stub files that name sections of the paging file, byte-range locks, one event for each sleeper.
//!
//! `spec/shm-layout.md` describes the stub files, the sections, the events and their rights.

mod clock;
mod console;
mod directory;
mod file_id;
mod files;
mod locks;
mod maps;
mod memory;
mod process;
mod sleep;
mod strings;
mod stub;
mod users;

pub(crate) use clock::*;
pub(crate) use directory::*;
pub(crate) use file_id::FileId;
pub(crate) use files::*;
pub use locks::fork_count;
pub(crate) use locks::*;
pub(crate) use maps::*;
pub(crate) use process::*;
pub(crate) use sleep::*;
pub(crate) use users::User;
