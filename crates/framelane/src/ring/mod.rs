//! The ring: how frames pass from one writer to many readers through shared memory.
//!
//! # The problem
//! A frame is megabytes, a hand-off is microseconds. The writer must never wait for a reader, a reader must
//! never see a frame change, and either side may be killed between any two instructions.
//!
//! # The idea
//! A frame lives in one of a few *slots*. Each slot has a `version` word: the sequence of the frame in it, or
//! a mark that it has none. `head` names the newest frame and its slot. A reader *pins* a slot by writing the
//! slot's number into its own record; the writer looks through the records before it reuses a slot.
//!
//! ```text
//! writer: version = claimed; fence; read pins      reader: pin = slot; fence; read version
//! ```
//! The two full fences make it Dekker's pattern: of a writer and a reader that want one slot at the same
//! time, at least one sees the other. If the writer sees the pin, it puts the old version back: nothing has
//! been written. If the reader sees the claim, it takes its pin back. There is no lock, and no
//! read-modify-write on a shared line on either path.
//!
//! Sleeping follows the same pattern: `waiting = 1; fence; read wake` against `wake += 1; fence; read
//! waiting`.
//!
//! # Why it may be trusted
//! This module makes no system call, so that [loom](https://docs.rs/loom) can run it through every
//! interleaving and every value that the memory model allows: see `model.rs`. What the layers above add
//! (files, maps, futexes, locks) is tested by killing real processes.
//!
//! `spec/shm-layout.md` describes the words, with offsets and writers.

#[cfg(all(test, loom))]
mod model;
mod reader;
mod sync;
mod words;
mod writer;

pub(crate) use reader::{Lease, Next, attach, detach, is_intact, lease, newest, next, prepare_wait, release};
pub(crate) use sync::{AtomicU32, AtomicU64, Ordering};
pub use words::{Backpressure, Delivery};
pub(crate) use words::{
    CLOSED_BY_REMOVAL, Control, DATA_MAGIC, DataHeader, Entry, LAYOUT_MAJOR, LAYOUT_MINOR, MAGIC, MAX_SLOTS,
    PINS, READERS, READERS_MAGIC, Readers, Record, Shared, State, frame_of, generation_of, is_frame, pin_of,
};
#[cfg(not(loom))]
pub(crate) use words::{SOURCE_OFFSET, SourceWords};
pub(crate) use writer::{behind, blocked, claim, notify, prepare_block, publish, reclaim, unblock};
