//! A leased frame.

use std::sync::Arc;

use super::attach::Attachment;
use super::{Own, Pool};
use crate::descriptor::{self, Descriptor};
use crate::error::{Error, forked};
use crate::files::DataFile;
use crate::format::PixelFormat;
use crate::frame::{FrameId, FrameInfo, Layout, Origin};
use crate::os;
use crate::ring;

/// A frame, read where the publisher wrote it. It does not change until it is dropped.
///
/// May be sent to other threads and may outlive its [`Subscriber`](super::Subscriber) and the channel. Each
/// frame is one of the subscriber's leases ([`Subscriber::max_leases`](super::Subscriber::max_leases)); a
/// publisher cannot reuse the slot meanwhile.
///
/// This guarantee depends on the publisher: a process that may write to the channel's files and violates the
/// protocol can change the bytes. [`Frame::is_intact`] detects that. The files' permissions decide which
/// processes may write.
#[must_use = "dropping a frame returns its slot"]
pub struct Frame {
    attachment: Arc<Attachment>,
    data: Arc<DataFile>,
    slot: usize,
    /// `None` once copied: the slot is the publisher's again.
    pin: Option<usize>,
    sequence: u64,
    dropped: u64,
    descriptor: Descriptor,
    /// The payload, if it was copied to be written to.
    own: Option<Own>,
}

impl Frame {
    /// Makes the frame of a lease that has just been got; on an error the lease is given back.
    pub(super) fn new(
        attachment: Arc<Attachment>,
        data: Arc<DataFile>,
        slot: usize,
        pin: usize,
        sequence: u64,
        dropped: u64,
    ) -> Result<Self, Error> {
        attachment.take_pin(pin);
        let entry = data.entry(slot).expect("the slot was leased");
        match descriptor::read(entry, data.slot_bytes) {
            Ok(descriptor) => {
                let (pin, own) = (Some(pin), None);
                Ok(Frame { attachment, data, slot, pin, sequence, dropped, descriptor, own })
            }
            Err(error) => {
                attachment.release(pin);
                Err(error.context(format!("channel {}", attachment.channel)))
            }
        }
    }

    /// The frame in memory of this process; the slot is given back.
    pub(super) fn into_own(mut self, pool: &Pool) -> Self {
        self.own = Some(pool.copy(self.bytes(), || self.is_intact()));
        if let Some(pin) = self.pin.take() {
            self.attachment.release(pin);
        }
        self
    }

    /// Size, format and planes.
    pub fn layout(&self) -> &Layout {
        &self.descriptor.layout
    }

    /// Times, colour and rotation. [`FrameInfo::timestamp_ns`] is always set.
    pub fn info(&self) -> &FrameInfo {
        &self.descriptor.info
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.layout().width()
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.layout().height()
    }

    /// The pixel format.
    pub fn format(&self) -> PixelFormat {
        self.layout().format()
    }

    /// The whole payload, [`Layout::size_bytes`] long, without a copy.
    pub fn bytes(&self) -> &[u8] {
        if let Some(own) = &self.own {
            return own.bytes();
        }
        let start = self.data.payload(self.slot);
        let len = self.layout().size_bytes();
        #[expect(unsafe_code, reason = "the lease is the proof that no code writes; see the SAFETY comment")]
        // SAFETY: the lease was got (`ring::lease` gave Held) and is kept until `self` is dropped, or until
        // `own` is set, so the publisher does not write to the slot; `descriptor::read` has checked that
        // `len` is within the slot; the map lives as long as `self.data`. Bytes have no invalid values.
        unsafe {
            std::slice::from_raw_parts(start.as_ptr(), len)
        }
    }

    /// The whole payload, writable: of a subscriber with [`SubscriberOptions::writable`], else `None`.
    ///
    /// Changes stay in this frame: other subscribers, and other frames, do not see them.
    ///
    /// [`SubscriberOptions::writable`]: super::SubscriberOptions::writable
    pub fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        self.own.as_mut().map(Own::bytes_mut)
    }

    /// The first byte of [`Frame::bytes_mut`], for bindings whose callers share a frame. Valid as long as the
    /// frame.
    pub fn as_mut_ptr(&self) -> Option<*mut u8> {
        self.own.as_ref().map(Own::start)
    }

    /// Returns true if the payload may be changed, see [`Frame::bytes_mut`].
    pub fn is_writable(&self) -> bool {
        self.own.is_some()
    }

    /// Returns true if all bytes that were read before this call were those of the frame. No system call.
    ///
    /// Always true while all processes that may write to the channel's files follow the protocol: a directory
    /// that is not shared with other users needs no check. In one that is shared with untrusted users, a
    /// subscriber can clear the pins of another, or truncate files: copy the frame, then check, and use the
    /// copy if it was intact.
    ///
    /// False in a forked child: the lease belongs to the parent, and the bytes change when the parent
    /// releases it. Copy a frame before the fork, or receive it in the child.
    pub fn is_intact(&self) -> bool {
        if let Some(own) = &self.own {
            return own.is_intact;
        }
        if os::fork_count() != self.attachment.forks {
            return false;
        }
        let entry = self.data.entry(self.slot).expect("the slot was leased");
        ring::is_intact(&entry.version, self.sequence) && !self.data.is_lost()
    }

    /// One plane, from its first sample to its last, padding between rows included.
    ///
    /// # Panics
    /// When the format has no such plane.
    pub fn plane(&self, plane: usize) -> &[u8] {
        assert!(
            plane < self.layout().planes().len(),
            "the frame has {} planes",
            self.layout().planes().len()
        );
        &self.bytes()[self.layout().plane_range(plane)]
    }

    /// Sequence of the frame at its publisher, from 1. The same in every process, also over links.
    pub fn sequence(&self) -> u64 {
        self.origin().sequence
    }

    /// Epoch of the frame's publisher: [`Publisher::epoch`](crate::Publisher::epoch) there, also over links.
    pub fn epoch(&self) -> u64 {
        self.origin().epoch
    }

    /// Sequence of the frame in the ring of this machine, for
    /// [`Subscriber::rewind`](crate::Subscriber::rewind). Differs from [`Frame::sequence`] when the frame
    /// came over a link.
    pub fn local_sequence(&self) -> u64 {
        self.sequence
    }

    /// Frames that this subscriber missed between the previous frame and this one.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Capture time in nanoseconds since 1970.
    pub fn timestamp_ns(&self) -> u64 {
        self.info().timestamp_ns.unwrap_or(0)
    }

    /// Publication time, on this machine's `CLOCK_MONOTONIC`.
    pub fn published_ns(&self) -> u64 {
        self.descriptor.published_ns
    }

    /// Nanoseconds since the publication.
    pub fn age_ns(&self) -> u64 {
        os::monotonic_ns().saturating_sub(self.published_ns())
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.attachment.channel
    }

    /// [`Frame::epoch`] and [`Frame::sequence`].
    pub fn origin(&self) -> Origin {
        self.info().origin.unwrap_or(Origin {
            epoch: if self.descriptor.epoch == 0 { self.data.epoch } else { self.descriptor.epoch },
            sequence: self.sequence,
        })
    }

    /// Returns the name of this frame for detections. Boxes that are found on one machine match the frame on
    /// every other.
    pub fn id(&self) -> FrameId {
        let Origin { epoch, sequence } = self.origin();
        FrameId {
            channel: self.channel().to_owned(),
            epoch,
            sequence,
            timestamp_ns: self.timestamp_ns(),
            published_ns: self.published_ns(),
            width: self.width(),
            height: self.height(),
        }
    }

    /// Checks that the lease belongs to this process.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`](crate::ErrorKind::Forked) in a child forked since: only the parent has the
    /// lease.
    pub fn check_fork(&self) -> Result<(), Error> {
        if self.own.is_some() || os::fork_count() == self.attachment.forks {
            Ok(())
        } else {
            Err(forked("frame"))
        }
    }
}

impl From<&Frame> for Origin {
    fn from(frame: &Frame) -> Self {
        frame.origin()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Some(pin) = self.pin {
            self.attachment.release(pin);
        }
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Frame({} #{}, {}x{} {})",
            self.channel(),
            self.sequence(),
            self.width(),
            self.height(),
            self.format()
        )
    }
}
