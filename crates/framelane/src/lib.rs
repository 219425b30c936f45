//! Zero-copy publish/subscribe for live video frames, between processes and between languages.
//!
//! A [`Publisher`] writes frames into the slots of a *channel* in shared memory. Up to 64 [`Subscriber`]s
//! read them there, without a copy, as [`Frame`]s that do not change while they are held. A detector sends
//! the boxes of a frame back as [`Detections`].
//!
//! ```
//! use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions, SubscriberOptions};
//! # let directory = tempfile::tempdir().unwrap();
//! # let (publisher, subscriber) = (
//! #     PublisherOptions::new().directory(directory.path()),
//! #     SubscriberOptions::new().directory(directory.path()),
//! # );
//! # /*
//! let (publisher, subscriber) = (PublisherOptions::new(), SubscriberOptions::new());
//! # */
//! let mut publisher = publisher.create("cam0")?;
//! let mut subscriber = subscriber.open("cam0")?; // usually in another process
//!
//! let layout = Layout::packed(PixelFormat::Gray8, 4, 2)?;
//! publisher.send(&layout, &FrameInfo::default(), &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
//!
//! let frame = subscriber.recv().unwrap();
//! assert_eq!((frame.sequence(), frame.bytes()), (1, &[1, 2, 3, 4, 5, 6, 7, 8][..]));
//! # Ok::<(), framelane::Error>(())
//! ```
//!
//! `spec/shm-layout.md` specifies the layout in memory. The `ring` module explains why it is correct.
#![deny(unsafe_code)]
#![cfg_attr(loom, allow(missing_debug_implementations, reason = "the model uses the ring only"))]
#![cfg_attr(loom, allow(dead_code, unused_imports, reason = "the model uses the ring only"))]

#[cfg(not(loom))]
mod cancel;
mod color;
#[cfg(not(loom))]
mod descriptor;
#[cfg(not(loom))]
mod detection;
#[cfg(not(loom))]
mod directory;
mod error;
#[cfg(not(loom))]
mod files;
#[cfg(all(target_os = "linux", not(loom)))]
mod folder;
mod format;
mod frame;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod internals;
#[cfg(not(loom))]
mod link;
mod names;
#[cfg(not(loom))]
mod observer;
#[cfg(not(loom))]
#[expect(unsafe_code, reason = "system calls")]
mod os;
#[cfg(not(loom))]
mod publisher;
pub mod redact;
#[cfg_attr(not(loom), expect(unsafe_code, reason = "words in shared memory"))]
#[cfg_attr(loom, allow(unsafe_code, reason = "the model's cells"))]
mod ring;
#[cfg(not(loom))]
mod source;
#[cfg(not(loom))]
mod status;
mod step;
#[cfg(all(test, not(loom)))]
#[expect(unsafe_code, reason = "payloads that the ring's protocol guards")]
mod stress;
#[cfg(not(loom))]
mod subscriber;
#[cfg(not(loom))]
mod terminal;
#[cfg(framelane_testing)]
pub mod testing;
#[cfg(not(loom))]
mod text;
#[cfg(not(loom))]
mod urls;

#[cfg(not(loom))]
pub use cancel::CancelToken;
pub use color::{Color, ColorRange};
#[cfg(not(loom))]
pub use directory::{check_name, compare_names, directory};
pub use error::{Error, ErrorKind};
pub use format::{Depth, MatrixType, PixelFormat};
pub use frame::{FrameId, FrameInfo, Layout, MAX_FRAME_BYTES, Origin, Plane};
pub use ring::{Backpressure, Delivery};

#[cfg(not(loom))]
pub use detection::{
    Detection, DetectionFlags, DetectionPublisher, DetectionSubscriber, Detections, MatchError,
};
#[cfg(not(loom))]
pub use link::LinkStatus;
#[cfg(not(loom))]
pub use observer::Observer;
#[cfg(not(loom))]
pub use publisher::{Loan, LoanError, OwnedLoan, Publisher, PublisherOptions};
#[cfg(not(loom))]
pub use source::SourceStatus;
#[cfg(not(loom))]
pub use status::{
    ChannelState, ChannelStatus, Diagnosis, Leftover, Leftovers, SlotHolder, Starved, SubscriberStatus,
    doctor, list, status,
};
#[cfg(not(loom))]
pub use subscriber::{Frame, RecvError, Subscriber, SubscriberOptions};
#[cfg(not(loom))]
pub use urls::Urls;

// Which handles move between threads, and which are shared by threads, is part of the interface.
#[cfg(not(loom))]
const _: () = {
    const fn moves<T: Send>() {}
    const fn is_shared<T: Send + Sync>() {}
    moves::<Publisher>();
    moves::<Subscriber>();
    moves::<DetectionPublisher>();
    moves::<DetectionSubscriber>();
    moves::<Loan<'static>>();
    is_shared::<OwnedLoan>();
    is_shared::<Frame>();
    is_shared::<Observer>();
    is_shared::<CancelToken>();
    is_shared::<PublisherOptions>();
    is_shared::<SubscriberOptions>();
    is_shared::<Error>();
};
