//! Named points between two changes of shared state, where the tests kill the process.
//!
//! In a normal build [`step`] is nothing. With `--cfg framelane_testing` it ends, or stops, the process at
//! the point that the test has chosen, see [`testing`](crate::testing).

macro_rules! steps {
    ($($(#[doc = $doc:literal])* $step:ident,)*) => {
        /// A point between two changes of shared state.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Step {
            $($(#[doc = $doc])* $step,)*
        }

        #[cfg(framelane_testing)]
        impl Step {
            /// Every step, in the order of a channel's life.
            pub const ALL: &'static [Step] = &[$(Step::$step,)*];
        }
    };
}

steps! {
    // Making a channel.
    /// The control file is complete and locked, and has no name yet.
    ControlMade,
    /// It has its name; there is no readers file.
    ControlNamed,
    /// The readers file is complete, and has no name yet.
    ReadersMade,
    /// It has its name; the channel is not live yet.
    ReadersNamed,
    /// The new epoch is stored, the state is not.
    EpochStored,
    /// The channel is live; readers are not notified yet.
    Live,
    // Taking one over.
    /// The channel is not live any more, the dead publisher's lock not ours yet.
    TakeOverAnnounced,
    /// The dead publisher's lock is ours.
    TakeOverLocked,
    /// Its ring is in order; the epoch is still the dead publisher's.
    RingAdopted,
    /// A channel that died while it closed: marked as closed, its name not free yet.
    TakeOverClosed,
    // A frame, from the loan to the wake-up.
    /// A data file is made, and not announced.
    DataMade,
    /// The memory of the old ring was returned to the file system; the new one is not made.
    RingReleased,
    /// A slot is marked as wanted; its readers have not been checked.
    ClaimMarked,
    /// A reader holds the slot; it still has the mark.
    ClaimRefused,
    /// The slot has its frame back.
    ClaimTakenBack,
    /// The slot is ours, nothing is written to it.
    ClaimTaken,
    /// The new generation is announced; it has no frame yet.
    Announced,
    /// The frame's number is stored as given.
    NumberGiven,
    /// A sequence is assigned to a frame that is never published.
    NumberSkipped,
    /// The slot has its descriptor, not its version.
    DescriptorWritten,
    /// The slot has its version, the head does not name it.
    VersionStored,
    /// The head names the frame; sleepers do not know.
    HeadStored,
    /// The futex word is changed; no reader is woken.
    WakeChanged,
    /// The first frame of a new generation is out, the old file still there.
    OldDataLeft,
    /// The publisher has announced that it will sleep for a slot.
    PublisherWaiting,
    // What dead readers hold.
    /// A dead reader's lock is ours.
    ReclaimLocked,
    /// The pins of a record are cleared; it still counts as in use. (Also at the end of a living subscriber.)
    PinsCleared,
    /// The record is free; the lock is still held.
    Reclaimed,
    // Closing.
    /// The state is closed; readers are not notified yet.
    ClosedStored,
    /// Readers are notified; all files exist.
    CloseNotified,
    /// The data files are removed.
    DataRemoved,
    /// The readers file is removed too.
    ReadersRemoved,
    /// All files are removed, locks still held.
    ControlRemoved,
    // A subscriber attaches.
    /// A record's lock is ours.
    RecordLocked,
    /// The record is in order, its bit is not set.
    RecordFilled,
    /// The bit is set.
    RecordActive,
    /// The cursor is where the channel is now.
    Attached,
    // It receives a frame.
    /// A data file is mapped.
    DataMapped,
    /// The newest frame is known; no store announces that we want it.
    FrameChosen,
    /// The slot is pinned; whether in time is not known.
    Pinned,
    /// It was too late: the pin is removed again.
    PinTakenBack,
    /// The lease is held; the record does not count it yet.
    LeaseHeld,
    /// The record counts the frame.
    Received,
    // It sleeps.
    /// The record announces the sleep.
    SleepAnnounced,
    /// Awake again; the record still announces the sleep.
    Awake,
    // It releases the slot.
    /// The pin is removed; a waiting publisher does not know.
    Released,
    /// The futex word of the publisher is changed; it is not woken.
    FreedChanged,
    /// A subscriber that ends no longer blocks a publisher; it still has its record.
    ReceivingStopped,
    // The doctor.
    /// The doctor holds the lock of a channel whose publisher died.
    DoctorLocked,
    /// It has marked the channel as closed and notified all waiting processes.
    DoctorClosed,
    /// It has removed all files but control.
    DoctorRemoved,
}

/// The process has reached this point.
#[cfg(not(framelane_testing))]
#[inline(always)]
pub(crate) fn step(_: Step) {}

#[cfg(framelane_testing)]
pub(crate) use crate::testing::step;
