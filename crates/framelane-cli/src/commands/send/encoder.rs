//! JPEG encoder on a separate thread. While one frame is sent, the next is encoded, and the newest one waits.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Color, ColorRange, Error, ErrorKind, Frame, Layout, PixelFormat, RecvError, Subscriber};
use framelane_codec::jpeg::{self, Compressor};
use framelane_video::Converter;

use super::options::STOP_POLL_INTERVAL;
use crate::failure::Failure;

/// A new receiver gets the frame that was there before after this time.
const SOON: Duration = Duration::from_millis(20);
/// An encoded frame that waits longer is replaced by a newer one. A fast receiver takes it before, so that no
/// frame is encoded in vain.
const FRESH: Duration = Duration::from_millis(20);

/// An encoded frame.
pub struct Encoded {
    pub jpeg: Vec<u8>,
    since: Instant,
}

/// The state of the [`Slot`].
pub enum Next {
    Frame(Encoded),
    Nothing,
    /// The channel was closed, or the encoder failed.
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
    /// Starts or stops encoding: without a receiver, no frame is encoded.
    pub fn set_wanted(&self, wanted: bool) {
        self.state().wanted = wanted;
        self.changed.notify_all();
    }

    /// Waits up to `time` for a frame.
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

    /// Returns a frame that was not acknowledged. The next receiver gets it, unless there is a newer one.
    pub fn give_back(&self, frame: Encoded) {
        let mut state = self.state();
        if state.newest.is_some() {
            state.skipped += 1;
            state.spare.push(frame.jpeg);
        } else {
            state.newest = Some(frame);
        }
    }

    /// Returns the memory of a frame that was acknowledged.
    pub fn recycle(&self, frame: Encoded) {
        self.state().spare.push(frame.jpeg);
    }

    /// True if no further frame is encoded.
    pub fn has_ended(&self) -> bool {
        self.state().ended
    }

    /// Frames that were replaced by newer ones.
    pub fn skipped(&self) -> u64 {
        self.state().skipped
    }

    /// Waits until the next frame is due: the last one was taken, or is no longer fresh. Returns false
    /// without a receiver.
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

/// Ends the slot, however the encoder ends.
struct EndOnDrop<'s>(&'s Slot);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Encodes the frames of a channel as JPEG.
pub struct Encoder {
    compressor: Compressor,
    quality: u8,
    size: Option<(u32, u32)>,
    converter: Converter,
    converted: Vec<u8>,
}

impl Encoder {
    /// `size`: every frame is scaled to it.
    pub fn new(quality: u8, size: Option<(u32, u32)>) -> Result<Self, Error> {
        let (compressor, converter) = (Compressor::new()?, Converter::new()?);
        Ok(Encoder { compressor, quality, size, converter, converted: Vec::new() })
    }

    /// Encodes until the channel closes or `keep_going` returns false. Reports frames that cannot be encoded
    /// to `skipped`.
    ///
    /// A lease is held until its frame is encoded, and while there is no receiver, because a new receiver
    /// gets the newest frame.
    pub fn run(
        &mut self,
        mut subscriber: Subscriber,
        slot: &Slot,
        keep_going: &mut dyn FnMut() -> bool,
        skipped: &mut dyn FnMut(&Frame, &Error) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _end = EndOnDrop(slot);
        let mut held: Option<Frame> = None;
        let mut dropped = 0;
        loop {
            let (is_due, wait) = match held {
                None => (false, STOP_POLL_INTERVAL),
                // Without a wait, but the newest.
                Some(_) if slot.wait_until_due() => (true, Duration::ZERO),
                Some(_) => (false, SOON),
            };
            let has_ended = match subscriber.recv_timeout(wait) {
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
                    Err(error) if is_of_frame(&error) => skipped(&frame, &error)?,
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

/// True for formats that need no conversion. i420 is converted if its colours are not the ones that old
/// programs expect.
fn is_for_jpeg(format: PixelFormat, color: Color) -> bool {
    let is_jfif = color.range == ColorRange::Full && [2, 5, 6].contains(&color.matrix);
    jpeg::takes(format) && (format != PixelFormat::I420 || is_jfif)
}

/// True for an error of one frame: the next frame may be encodable.
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
    fn waiting_frame_is_replaced_by_a_newer_one() {
        let slot = Slot::default();
        slot.put(frame(1));
        slot.put(frame(2));
        assert_eq!((taken(&slot), taken(&slot), slot.skipped()), (Some(2), None, 1));
        // Its memory is used again.
        assert!(slot.buffer().capacity() > 0);
    }

    #[test]
    fn unacknowledged_frame_is_sent_again_without_a_newer_one() {
        let slot = Slot::default();
        slot.give_back(frame(1));
        assert_eq!((taken(&slot), slot.skipped()), (Some(1), 0));
        slot.put(frame(2));
        slot.give_back(frame(1));
        assert_eq!((taken(&slot), slot.skipped()), (Some(2), 1));
    }

    #[test]
    fn unacknowledged_frame_is_skipped_for_a_newer_one() {
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
    fn next_frame_is_due_when_the_last_is_taken_or_stale() {
        let slot = Slot::default();
        assert!(!slot.wait_until_due(), "there is no receiver");
        slot.set_wanted(true);
        assert!(slot.wait_until_due());
        // Without a receiver that takes it, the wait ends at the limit.
        slot.put(frame(1));
        assert!(slot.wait_until_due());
        assert!(matches!(slot.take(Duration::ZERO), Next::Frame(frame) if frame.since.elapsed() >= FRESH));
    }

    #[test]
    fn last_frame_is_taken_before_the_end() {
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
