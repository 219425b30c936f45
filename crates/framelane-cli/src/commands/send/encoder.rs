//! Frames to JPEGs on a thread of its own, the newest one ready to be sent: while one travels, the next is
//! encoded.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Color, ColorRange, Error, ErrorKind, Frame, Layout, PixelFormat, RecvError, Subscriber};
use framelane_codec::jpeg::{self, Compressor};
use framelane_video::Converter;

use super::STOP_POLL_INTERVAL;
use crate::failure::Failure;

/// How soon a receiver that has just connected gets the frame that was there before.
const SOON: Duration = Duration::from_millis(20);
/// How long an encoded frame may wait before a newer one is encoded in its place. A receiver that is fast
/// takes it before: then nothing is encoded in vain.
const FRESH: Duration = Duration::from_millis(20);

/// A frame that is ready to travel.
pub struct Encoded {
    pub jpeg: Vec<u8>,
    since: Instant,
}

/// What waits to be sent.
pub enum Next {
    Frame(Encoded),
    Nothing,
    /// And nothing will: the channel has closed, or its reader has failed.
    Ended,
}

/// One newest encoded frame, between the encoder and the sender.
#[derive(Default)]
pub struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    newest: Option<Encoded>,
    /// Buffers that have been sent, for the next frames: steady state allocates nothing.
    spare: Vec<Vec<u8>>,
    wanted: bool,
    ended: bool,
    skipped: u64,
}

impl Slot {
    /// Says whether there is a receiver: without one nothing is encoded.
    pub fn set_wanted(&self, wanted: bool) {
        self.state().wanted = wanted;
        self.changed.notify_all();
    }

    /// Waits for a frame, not longer than `time`.
    pub fn take(&self, time: Duration) -> Next {
        let state = self.state();
        let waited =
            self.changed.wait_timeout_while(state, time, |state| state.newest.is_none() && !state.ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
        match state.newest.take() {
            Some(frame) => Next::Frame(frame),
            None if state.ended => Next::Ended,
            None => Next::Nothing,
        }
    }

    /// Gives a frame back that has not arrived: the next receiver's, if nothing newer comes.
    pub fn give_back(&self, frame: Encoded) {
        let mut state = self.state();
        if state.newest.is_some() {
            state.skipped += 1;
            state.spare.push(frame.jpeg);
        } else {
            state.newest = Some(frame);
        }
    }

    /// Gives the memory of a frame back that has arrived.
    pub fn recycle(&self, frame: Encoded) {
        self.state().spare.push(frame.jpeg);
    }

    /// Whether nothing new will come.
    pub fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Frames that a newer one has taken the place of.
    pub fn skipped(&self) -> u64 {
        self.state().skipped
    }

    /// Waits until the next frame is to be encoded: the last one has been taken, or is no longer fresh. False
    /// when there is no receiver.
    fn wait_until_due(&self) -> bool {
        let state = self.state();
        let left =
            state.newest.as_ref().map_or(Duration::ZERO, |frame| FRESH.saturating_sub(frame.since.elapsed()));
        let waited =
            self.changed.wait_timeout_while(state, left, |state| state.wanted && state.newest.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).0.wanted
    }

    fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.state().spare.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    fn put(&self, frame: Encoded) {
        let mut state = self.state();
        if let Some(older) = state.newest.replace(frame) {
            state.skipped += 1;
            state.spare.push(older.jpeg);
        }
        self.changed.notify_all();
    }

    /// Counts frames that are skipped for a newer one. Without a receiver, the newer one is encoded later,
    /// because the waiting frame is out of date until then.
    fn skip(&self, frames: u64) {
        let mut state = self.state();
        state.skipped += frames;
        if !state.wanted
            && let Some(older) = state.newest.take()
        {
            state.skipped += 1;
            state.spare.push(older.jpeg);
        }
    }

    fn end(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the slot that nothing more comes, however the encoder ends.
struct EndOnDrop<'s>(&'s Slot);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Makes JPEGs of a channel's frames.
pub struct Encoder {
    compressor: Compressor,
    quality: u8,
    size: Option<(u32, u32)>,
    converter: Converter,
    converted: Vec<u8>,
}

impl Encoder {
    /// `size`: what every frame is scaled to.
    pub fn new(quality: u8, size: Option<(u32, u32)>) -> Result<Self, Error> {
        let (compressor, converter) = (Compressor::new()?, Converter::new()?);
        Ok(Encoder { compressor, quality, size, converter, converted: Vec::new() })
    }

    /// Until the channel closes or `keep_going` says no. Frames that cannot be encoded go to `left_out`.
    ///
    /// A lease is held until its frame is encoded, and while there is no receiver: the one who connects gets
    /// the newest.
    pub fn run(
        &mut self,
        mut subscriber: Subscriber,
        slot: &Slot,
        keep_going: &mut dyn FnMut() -> bool,
        left_out: &mut dyn FnMut(&Frame, &Error) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _end = EndOnDrop(slot);
        let mut held: Option<Frame> = None;
        let mut dropped = 0;
        loop {
            let (is_due, wait) = match held {
                None => (false, STOP_POLL_INTERVAL),
                // Now, but the very newest.
                Some(_) if slot.wait_until_due() => (true, Duration::ZERO),
                Some(_) => (false, SOON),
            };
            let has_ended = match subscriber.recv_while(Some(wait), keep_going) {
                Ok(frame) => {
                    slot.skip(u64::from(held.is_some()) + subscriber.dropped() - dropped);
                    dropped = subscriber.dropped();
                    held = Some(frame);
                    false
                }
                Err(RecvError::Timeout) => false,
                Err(RecvError::Closed | RecvError::Interrupted) => true,
                Err(error) => return Err(error.into()),
            };
            if let Some(frame) = held.take_if(|_| has_ended || is_due) {
                match self.encode(&frame, slot.buffer()) {
                    Ok(encoded) => slot.put(encoded),
                    Err(error) if is_of_frame(&error) => left_out(&frame, &error)?,
                    Err(error) => return Err(error.into()),
                }
            }
            if has_ended || !keep_going() {
                return Ok(());
            }
        }
    }

    fn encode(&mut self, frame: &Frame, mut jpeg: Vec<u8>) -> Result<Encoded, Error> {
        let (layout, color) = (frame.layout(), frame.info().color);
        let (width, height) = self.size.unwrap_or((layout.width(), layout.height()));
        let is_right_size = (width, height) == (layout.width(), layout.height());
        if is_right_size && is_for_jpeg(layout.format(), color) {
            self.compressor.encode(layout, frame.bytes(), self.quality, &mut jpeg)?;
        } else {
            let gray = matches!(layout.format(), PixelFormat::Gray8 | PixelFormat::Gray16);
            let format = if gray { PixelFormat::Gray8 } else { PixelFormat::Bgr8 };
            let wanted = Layout::packed(format, width, height)?;
            self.converted.resize(wanted.size_bytes(), 0);
            self.converter.convert((layout, color, frame.bytes()), &wanted, &mut self.converted)?;
            self.compressor.encode(&wanted, &self.converted, self.quality, &mut jpeg)?;
        }
        Ok(Encoded { jpeg, since: Instant::now() })
    }
}

/// What JPEG takes as it is. Others are converted: so is i420 in other colours than those that old programs
/// take it for.
fn is_for_jpeg(format: PixelFormat, color: Color) -> bool {
    let is_jfif = color.range == ColorRange::Full && [2, 5, 6].contains(&color.matrix);
    jpeg::takes(format) && (format != PixelFormat::I420 || is_jfif)
}

/// Errors of the frame, not of this program: there may be others that can be sent.
fn is_of_frame(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidFrame | ErrorKind::FrameTooLarge | ErrorKind::InvalidOption)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> Encoded {
        Encoded { jpeg: vec![byte], since: Instant::now() }
    }

    fn taken(slot: &Slot) -> Option<u8> {
        match slot.take(Duration::ZERO) {
            Next::Frame(frame) => Some(frame.jpeg[0]),
            _ => None,
        }
    }

    #[test]
    fn the_newest_frame_takes_the_place_of_one_that_waits() {
        let slot = Slot::default();
        slot.put(frame(1));
        slot.put(frame(2));
        assert_eq!((taken(&slot), taken(&slot), slot.skipped()), (Some(2), None, 1));
        // Its memory is used again.
        assert!(slot.buffer().capacity() > 0);
    }

    #[test]
    fn a_frame_that_has_not_arrived_is_sent_again_unless_there_is_a_newer_one() {
        let slot = Slot::default();
        slot.give_back(frame(1));
        assert_eq!((taken(&slot), slot.skipped()), (Some(1), 0));
        slot.put(frame(2));
        slot.give_back(frame(1));
        assert_eq!((taken(&slot), slot.skipped()), (Some(2), 1));
    }

    #[test]
    fn a_frame_that_has_not_arrived_gives_way_to_one_that_is_not_encoded_yet() {
        let slot = Slot::default();
        slot.set_wanted(true);
        slot.give_back(frame(1));
        slot.skip(0);
        slot.set_wanted(false);
        assert_eq!(slot.skipped(), 0);
        slot.skip(0);
        assert_eq!((taken(&slot), slot.skipped()), (None, 1));
    }

    #[test]
    fn the_next_frame_is_due_when_the_last_one_is_taken_or_has_waited_long() {
        let slot = Slot::default();
        assert!(!slot.wait_until_due(), "there is no receiver");
        slot.set_wanted(true);
        assert!(slot.wait_until_due());
        // Nobody takes it: the wait ends by itself.
        slot.put(frame(1));
        assert!(slot.wait_until_due());
        assert!(matches!(slot.take(Duration::ZERO), Next::Frame(frame) if frame.since.elapsed() >= FRESH));
    }

    #[test]
    fn the_last_frame_comes_before_the_end_and_the_end_wakes() {
        let slot = Slot::default();
        slot.put(frame(1));
        std::thread::scope(|scope| {
            scope.spawn(|| drop(EndOnDrop(&slot)));
            assert_eq!(taken(&slot), Some(1));
            assert!(matches!(slot.take(Duration::MAX), Next::Ended));
        });
        assert!(slot.has_ended());
    }
}
