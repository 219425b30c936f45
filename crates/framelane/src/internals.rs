//! Parts that only the other crates of the project use. They are not part of the public interface.

pub use crate::os::fork_count;
pub use crate::subscriber::SubscriberSettings;
pub use crate::urls::{Attach, Link, LinkRequest, Links, Memory, register_url_schemes};

/// Folders that are opened once, and the files in them.
#[cfg(target_os = "linux")]
pub mod folder {
    pub use crate::folder::*;
}

/// Replacement of control and hidden characters in text of other processes and servers.
pub mod terminal {
    pub use crate::terminal::*;
}
