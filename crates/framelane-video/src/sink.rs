//! Destination of frames: a channel, or memory.

use framelane::{Backpressure, Error, FrameInfo, Layout, LoanError, OwnedLoan, Publisher, SourceStatus};

/// Fills a frame's bytes. `Ok(false)`: there is no frame after all, and nothing is published.
pub(crate) type Fill<'f> = dyn FnMut(&mut [u8]) -> Result<bool, Error> + 'f;

/// Called with a frame's number and bytes just before readers can see it.
pub(crate) type Look<'l> = dyn FnMut(u64, &[u8]) + 'l;

/// Result of publishing a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Published,
    /// No slot was free; `fill` was not called.
    Dropped,
    /// `fill` had nothing.
    Nothing,
    /// The cancel token ended a wait for a slot.
    Interrupted,
}

/// Takes frames one after the other.
pub(crate) trait Sink: Send {
    /// Calls `fill` with room for the frame, then `look`, then lets readers see it. May wait for room.
    fn put(
        &mut self,
        layout: &Layout,
        info: &FrameInfo,
        fill: &mut Fill<'_>,
        look: &mut Look<'_>,
    ) -> Result<Put, Error>;

    /// An owned loan of a free slot, if there is one. Never waits.
    fn try_loan_owned(&mut self, _layout: &Layout) -> Option<OwnedLoan> {
        None
    }

    /// Publishes a slot of [`Sink::try_loan_owned`], whose bytes the caller has checked.
    fn put_owned(&mut self, _loan: &OwnedLoan, _layout: &Layout, _info: &FrameInfo) -> Result<Put, Error> {
        Ok(Put::Dropped)
    }

    /// Slots there are; 0 where pictures get no loans.
    fn slots(&self) -> usize {
        0
    }

    /// Returns true if a frame that finds no room waits for it: backpressure.
    fn is_lossless(&self) -> bool {
        false
    }

    /// Shows the state of the live source to people.
    fn set_source(&mut self, _source: &SourceStatus) {}

    /// The number that the next frame will get.
    fn next_sequence(&self) -> u64;
}

/// Publishes in a channel.
pub(crate) struct ChannelSink<'p> {
    pub(crate) publisher: &'p mut Publisher,
}

impl Sink for ChannelSink<'_> {
    fn put(
        &mut self,
        layout: &Layout,
        info: &FrameInfo,
        fill: &mut Fill<'_>,
        look: &mut Look<'_>,
    ) -> Result<Put, Error> {
        let sequence = self.next_sequence();
        let mut loan = match self.publisher.loan(layout) {
            Ok(loan) => loan,
            Err(error) => return outcome(error),
        };
        if !fill(loan.bytes_mut())? {
            return Ok(Put::Nothing);
        }
        look(sequence, loan.bytes_mut());
        let given = loan.publish(info);
        debug_assert_eq!(given, sequence);
        Ok(Put::Published)
    }

    fn slots(&self) -> usize {
        self.publisher.slots()
    }

    fn is_lossless(&self) -> bool {
        self.publisher.backpressure() == Backpressure::Block
    }

    fn set_source(&mut self, source: &SourceStatus) {
        self.publisher.set_source(source);
    }

    fn try_loan_owned(&mut self, layout: &Layout) -> Option<OwnedLoan> {
        self.publisher.try_loan_owned(layout).ok()
    }

    fn put_owned(&mut self, loan: &OwnedLoan, layout: &Layout, info: &FrameInfo) -> Result<Put, Error> {
        match self.publisher.publish_owned(loan, layout, info) {
            Ok(_) => Ok(Put::Published),
            Err(error) => outcome(error),
        }
    }

    fn next_sequence(&self) -> u64 {
        self.publisher.sequence() + 1
    }
}

fn outcome(error: LoanError) -> Result<Put, Error> {
    match error {
        LoanError::NoFreeSlot => Ok(Put::Dropped),
        LoanError::Interrupted => Ok(Put::Interrupted),
        other => Err(other.into()),
    }
}

/// Keeps one frame in memory, for callers without a channel.
#[derive(Debug, Default)]
pub(crate) struct MemorySink {
    bytes: Vec<u8>,
    sequence: u64,
}

impl Sink for MemorySink {
    fn put(
        &mut self,
        layout: &Layout,
        _info: &FrameInfo,
        fill: &mut Fill<'_>,
        look: &mut Look<'_>,
    ) -> Result<Put, Error> {
        self.bytes.resize(layout.size_bytes(), 0);
        if !fill(&mut self.bytes)? {
            return Ok(Put::Nothing);
        }
        self.sequence += 1;
        look(self.sequence, &self.bytes);
        Ok(Put::Published)
    }

    fn next_sequence(&self) -> u64 {
        self.sequence + 1
    }
}
