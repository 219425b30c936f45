//! The words in shared memory, as `spec/shm-layout.md` lays them out.
//!
//! Every field is atomic: another process may write at any time, and none of them is trusted.

use super::sync::{AtomicU32, AtomicU64};

/// First eight bytes of a `control` file: `"FRMLCTRL"`.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"FRMLCTRL");
/// First eight bytes of a `readers` file: `"FRMLREAD"`.
pub(crate) const READERS_MAGIC: u64 = u64::from_le_bytes(*b"FRMLREAD");
/// First eight bytes of a `data` file: `"FRMLDATA"`.
pub(crate) const DATA_MAGIC: u64 = u64::from_le_bytes(*b"FRMLDATA");

/// Changed when an old program would misread the new layout.
pub(crate) const LAYOUT_MAJOR: u32 = 1;
/// Changed when fields are added that an old program may ignore.
pub(crate) const LAYOUT_MINOR: u32 = 2;

/// Subscribers of one channel. The model checker gets by with two: its cost is exponential.
pub(crate) const READERS: usize = if cfg!(loom) { 2 } else { 64 };
/// Leases of one subscriber.
pub(crate) const PINS: usize = if cfg!(loom) { 1 } else { 8 };
/// Slots of one ring.
pub(crate) const MAX_SLOTS: usize = 128;
/// Number of 8-byte words for the address of a link's peer.
pub(crate) const LINK_PEER_WORDS: usize = 16;
/// Place of [`SourceWords`] in a `control` file.
pub(crate) const SOURCE_OFFSET: usize = 1024;
/// The lowest bits of `head` that hold the slot; the sequence is above them.
pub(crate) const HEAD_SLOT_BITS: u32 = 8;

/// `version` of a slot that never held a frame.
pub(crate) const EMPTY: u64 = 0;
/// This bit with the frame's sequence is the `version` of a slot that the writer wants, and may yet give back
/// unchanged.
const CLAIMED: u64 = 1 << 63;
/// `version` of a slot that the writer writes to.
pub(crate) const WRITING: u64 = u64::MAX - 1;

/// `version` of a slot that holds frame `sequence` still, and that the writer wants.
pub(crate) fn claim_of(sequence: u64) -> u64 {
    CLAIMED | sequence
}

/// Returns true if `version` is a frame's sequence.
pub(crate) fn is_frame(version: u64) -> bool {
    version != EMPTY && version < CLAIMED
}

/// The sequence of the frame that a slot with this `version` still holds after its writer died; 0: it holds
/// none.
pub(crate) fn frame_of(version: u64) -> u64 {
    match version {
        WRITING => EMPTY,
        // Under a claim nothing is written.
        claimed if claimed & CLAIMED != 0 => claimed & !CLAIMED,
        frame => frame,
    }
}

/// A pin: which slot of which generation; 0 is none.
pub(crate) fn pin_of(generation: u64, slot: usize) -> u64 {
    generation << HEAD_SLOT_BITS | (slot as u64 + 1)
}

/// The generation that a pin is of; `None` for no pin.
pub(crate) fn generation_of(pin: u64) -> Option<u64> {
    (pin != 0).then_some(pin >> HEAD_SLOT_BITS)
}

/// `state` of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    Starting = 0,
    Live = 1,
    Closed = 2,
}

/// `delivery` of a subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Delivery {
    /// The newest frame. Older frames are skipped and counted.
    #[default]
    Newest = 0,
    /// Every frame in order. With [`Backpressure::Block`](crate::Backpressure::Block) none is lost.
    Every = 1,
}

/// Behaviour of a publisher when every slot is leased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Backpressure {
    /// Drops the new frame and counts it. The publisher never blocks.
    #[default]
    Drop = 0,
    /// Blocks until a slot is free, and never overwrites a frame that a live subscriber with
    /// [`Delivery::Every`](crate::Delivery::Every) has not received. Nothing is lost, and a slow subscriber
    /// slows the publisher.
    Block = 1,
}

/// `closed_by` of a channel whose files were removed while its publisher was alive.
pub(crate) const CLOSED_BY_REMOVAL: u32 = 1;

/// Words that may lie in memory shared with processes that are not trusted.
///
/// # Safety
/// All fields are atomics, or padding bytes that are never read: any content is valid, and a write by another
/// process is never a data race.
pub(crate) unsafe trait Shared {}

#[cfg(not(loom))]
mod shared {
    use super::{Control, DataHeader, Entry, Readers, Shared, SourceWords};
    // SAFETY: only atomics and padding, see the type.
    unsafe impl Shared for Control {}
    // SAFETY: only atomics and padding, see the type.
    unsafe impl Shared for SourceWords {}
    // SAFETY: only atomics and padding, see the type.
    unsafe impl Shared for Readers {}
    // SAFETY: only atomics, see the type.
    unsafe impl Shared for DataHeader {}
    // SAFETY: only atomics, see the type.
    unsafe impl Shared for Entry {}
}

/// Bytes without meaning; they keep lines with different writers apart.
#[repr(transparent)]
pub(crate) struct Pad<const N: usize>([u8; N]);

#[cfg(loom)]
impl<const N: usize> Default for Pad<N> {
    fn default() -> Self {
        Pad([0; N])
    }
}

/// The `control` file. The publisher writes all of it; subscribers map it read-only.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(crate) struct Control {
    pub magic: AtomicU64,
    pub layout_major: AtomicU32,
    pub layout_minor: AtomicU32,
    pub header_bytes: AtomicU64,
    /// A random number that ties the files of one channel together.
    pub channel_id: AtomicU64,
    _line0: Pad<32>,

    pub epoch: AtomicU64,
    pub generation: AtomicU64,
    pub state: AtomicU32,
    pub backpressure: AtomicU32,
    pub slots: AtomicU32,
    pub publisher_pid: AtomicU32,
    pub started_ns: AtomicU64,
    /// The last number of the epochs before: a subscriber that opens the channel begins after it.
    pub epoch_after: AtomicU64,
    /// Reason that the state is closed: 0 by the publisher, 1 because the channel's files were removed.
    pub closed_by: AtomicU32,
    _line1: Pad<12>,

    /// `sequence << 8 | slot` of the newest frame. Release; pairs with the readers' acquire.
    pub head: AtomicU64,
    /// Futex word, changed after every publication, close and takeover.
    pub wake: AtomicU32,
    _line2: Pad<52>,

    /// 1 while the publisher sleeps for a free slot.
    pub publisher_waiting: AtomicU32,
    _line3: Pad<60>,

    /// Frames that got a number and no slot. For people.
    pub dropped: AtomicU64,
    /// The last sequence assigned, stored before a slot has it. The next publisher continues from here.
    pub given: AtomicU64,
    _line4: Pad<48>,

    /// State of the link that feeds the channel: 0 none, 1 connected, 2 away. Informational.
    pub link_state: AtomicU32,
    pub link_connections: AtomicU32,
    /// Nanoseconds that the other machine's clock is ahead of ours.
    pub link_clock_offset_ns: AtomicU64,
    pub link_round_trip_ns: AtomicU64,
    pub link_latency_ns: AtomicU64,
    pub link_received_bytes: AtomicU64,
    pub link_missed: AtomicU64,
    _line5: Pad<16>,
    /// Address of the link's peer, in UTF-8, cut to this length.
    pub link_peer: [AtomicU64; LINK_PEER_WORDS],
}

/// The state of the live source that feeds the channel, at [`SOURCE_OFFSET`] of the `control` file. For
/// people. The publisher writes it, subscribers map it read-only.
#[cfg(not(loom))]
#[repr(C, align(64))]
pub(crate) struct SourceWords {
    /// 0 none, 1 receiving, 2 reconnecting.
    pub state: AtomicU32,
    pub connections: AtomicU32,
    /// `CLOCK_MONOTONIC` of the last change.
    pub since_ns: AtomicU64,
    _line0: Pad<48>,
    /// UTF-8, cut to this length.
    pub name: [AtomicU64; 16],
    pub reason: [AtomicU64; 24],
}

/// One subscriber's record in the `readers` file; written by that subscriber.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(256))]
pub(crate) struct Record {
    /// Slots that the subscriber leases: [`pin_of`] or 0. The publisher clears those of the dead.
    pub pins: [AtomicU64; PINS],
    #[cfg(not(loom))]
    _line0: Pad<{ 64 - 8 * PINS }>,
    /// While the subscriber sleeps, or is about to, the value of [`Control::wake`] that will wake it; else 0.
    pub waiting: AtomicU32,
    pub delivery: AtomicU32,
    /// The sequence received last. Only [`Delivery::Every`] holds the publisher up by it.
    pub cursor: AtomicU64,
    _line1: Pad<48>,
    pub pid: AtomicU32,
    _pad: Pad<4>,
    pub received: AtomicU64,
    pub dropped: AtomicU64,
}

/// The `readers` file; every subscriber and the publisher map it for writing.
#[cfg_attr(loom, derive(Default))]
// Loom's threads have 32 KiB of stack; a page of padding, and its alignment, would use it up.
#[cfg_attr(loom, repr(C))]
#[cfg_attr(not(loom), repr(C, align(4096)))]
pub(crate) struct Readers {
    pub magic: AtomicU64,
    pub layout_major: AtomicU32,
    pub layout_minor: AtomicU32,
    pub channel_id: AtomicU64,
    pub record_count: AtomicU32,
    pub record_bytes: AtomicU32,
    _line0: Pad<32>,
    /// Bit *i*: record *i* is in use. Changed when a subscriber attaches or detaches, never while a frame is
    /// published.
    pub active: AtomicU64,
    _line1: Pad<56>,
    /// Futex word on which the publisher sleeps; changed by subscribers, only while it does.
    pub freed: AtomicU32,
    _line2: Pad<60>,
    #[cfg(not(loom))]
    _rest: Pad<{ 4096 - 192 }>,
    pub records: [Record; READERS],
}

/// Header of a `data` file; constant once the file has its name.
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(crate) struct DataHeader {
    pub magic: AtomicU64,
    pub layout_major: AtomicU32,
    pub layout_minor: AtomicU32,
    pub channel_id: AtomicU64,
    pub generation: AtomicU64,
    pub epoch: AtomicU64,
    pub slots: AtomicU32,
    pub entry_bytes: AtomicU32,
    pub table_offset: AtomicU64,
    pub payload_offset: AtomicU64,
    /// Bytes of one slot; a multiple of the page size.
    pub slot_bytes: AtomicU64,
}

/// One slot's entry in the table of a `data` file.
#[cfg_attr(any(loom, framelane_testing), derive(Default))]
#[repr(C, align(256))]
pub(crate) struct Entry {
    /// The sequence of the frame in the slot, or `EMPTY`, [`claim_of`] what it was, `WRITING`.
    pub version: AtomicU64,
    pub size_bytes: AtomicU64,
    pub format: AtomicU32,
    pub width: AtomicU32,
    pub height: AtomicU32,
    pub plane_count: AtomicU32,
    /// Offset and stride of each plane.
    pub planes: [[AtomicU64; 2]; 4],
    pub timestamp_ns: AtomicU64,
    pub published_ns: AtomicU64,
    /// `i64::MIN`: none.
    pub pts_ns: AtomicU64,
    /// `u64::MAX`: none.
    pub duration_ns: AtomicU64,
    /// Matrix, primaries, transfer, range: one byte each, lowest first.
    pub color: AtomicU32,
    /// Rotation in degrees in bits 0 to 15; bit 16: keyframe.
    pub flags: AtomicU32,
    /// Epoch and sequence in the channel of the first publication, if the frame came over a link; 0: it was
    /// published here.
    pub origin_epoch: AtomicU64,
    pub origin_sequence: AtomicU64,
    /// The publisher's epoch. 0: that of the file, as layout 1.1 has it.
    pub epoch: AtomicU64,
}

/// The offsets are a promise to other programs: a change here is a change of the layout.
#[cfg(not(loom))]
const _: () = {
    use core::mem::{offset_of, size_of};
    assert!(offset_of!(Control, epoch) == 64);
    assert!(offset_of!(Control, state) == 80);
    assert!(offset_of!(Control, started_ns) == 96);
    assert!(offset_of!(Control, epoch_after) == 104);
    assert!(offset_of!(Control, closed_by) == 112);
    assert!(offset_of!(Control, head) == 128);
    assert!(offset_of!(Control, wake) == 136);
    assert!(offset_of!(Control, publisher_waiting) == 192);
    assert!(offset_of!(Control, dropped) == 256);
    assert!(offset_of!(Control, given) == 264);
    assert!(offset_of!(Control, link_state) == 320);
    assert!(offset_of!(Control, link_peer) == 384);
    assert!(size_of::<Control>() == 512);
    assert!(offset_of!(super::SourceWords, name) == 64);
    assert!(offset_of!(super::SourceWords, reason) == 192);
    assert!(size_of::<super::SourceWords>() == 384);
    assert!(offset_of!(Record, waiting) == 64);
    assert!(offset_of!(Record, cursor) == 72);
    assert!(offset_of!(Record, pid) == 128);
    assert!(offset_of!(Record, dropped) == 144);
    assert!(size_of::<Record>() == 256);
    assert!(offset_of!(Readers, active) == 64);
    assert!(offset_of!(Readers, freed) == 128);
    assert!(offset_of!(Readers, records) == 4096);
    assert!(size_of::<Readers>() == 4096 + 64 * 256);
    assert!(offset_of!(DataHeader, slot_bytes) == 64);
    assert!(offset_of!(Entry, planes) == 32);
    assert!(offset_of!(Entry, timestamp_ns) == 96);
    assert!(offset_of!(Entry, flags) == 132);
    assert!(offset_of!(Entry, origin_epoch) == 136);
    assert!(offset_of!(Entry, epoch) == 152);
    assert!(size_of::<Entry>() == 256);
};
