//! The peers, one file each.

pub mod framelane;
mod iceoryx2;

use crate::peer::Peer;

/// All peers, ours first.
pub const ALL: [&dyn Peer; 2] = [&framelane::Framelane, &iceoryx2::Iceoryx2];

/// The peer of this name.
pub fn by_name(name: &str) -> &'static dyn Peer {
    ALL.into_iter().find(|peer| peer.name() == name).unwrap_or_else(|| panic!("there is no peer {name}"))
}
