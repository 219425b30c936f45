//! framelane channels between machines: links over TLS, TCP and Unix sockets.
//!
//! A [`Server`] offers the channels of its machine. Clients with access [receive] them into local
//! channels, or [send] channels there. One connection carries one channel. Frames go from the slot of
//! one machine into the slot of the other: without TLS and without a codec, only the kernel copies them.
//!
//! [`subscribe`] opens the URL of a channel. After [`register_url_schemes`], a URL can replace the name of a
//! channel everywhere:
//!
//! ```no_run
//! let url = "tls://camera.example:7420/cam0?fingerprint=sha256:9f86…&codec=jpeg:80";
//! let mut subscriber = framelane_net::subscribe(url)?;
//! while let Ok(frame) = subscriber.recv() {
//!     println!("{} {}x{}", frame.sequence(), frame.width(), frame.height());
//! }
//! # Ok::<(), framelane::Error>(())
//! ```
//!
//! The newest frame has priority: a link that is slower than its channel skips whole frames at the source,
//! and counts them. `delivery=every` does not. `spec/link.md` specifies the protocol, and [`security`] the
//! access of clients.
//!
//! # Events
//! Links and servers emit events of the [`tracing`](https://docs.rs/tracing) crate: connected, lost (with the time
//! until the next attempt), closed and refused, and at level `DEBUG` each frame that is dropped. Without a
//! subscriber of `tracing` nothing is formatted.
#![forbid(unsafe_code)]

mod budget;
mod coder;
mod fault;
mod link;
mod messages;
mod origins;
mod proto;
mod remote;
pub mod security;
mod server;
#[cfg(framelane_testing)]
pub mod testing;
mod time;
mod transport;
mod turns;
mod url;

pub use link::incoming::ReceiveStatistics;
pub use link::outgoing::SendStatistics;
pub use link::reconnect::{LinkEvent, ReceiveOptions, SendOptions, WhenClosed, receive, send};
pub use proto::Direction;
pub use remote::{register_url_schemes, subscribe};
pub use server::{Access, Server, ServerEvent, ServerOptions};
pub use url::{Address, DEFAULT_PORT, LinkOptions, LinkUrl};
