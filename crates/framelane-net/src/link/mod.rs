//! A link: its connection, its frames in one direction, and the next connection after a break.

mod backoff;
pub(crate) mod connect;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod reconnect;
pub(crate) mod resume;
