//! The receiving end of a link: from the stream straight into a slot.

mod detections;
mod line;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use framelane::{
    Error, ErrorKind, FrameInfo, Layout, LinkStatus, Loan, LoanError, Origin, PixelFormat, Publisher,
};
use framelane_codec::{Codec, Decoder};

use crate::budget::{Exceeded, Share};
use crate::fault::Fault;
use crate::messages::{MessageReader, send};
use crate::origins::Origins;
use crate::proto::{Arrival, ChannelState, FrameHead, Message};
use crate::time::realtime_ns;
use crate::transport::END_POLL_INTERVAL;
use crate::turns::ClientTurns;

pub(crate) use line::Line;
use line::Polls;

/// Payloads that are not read into a slot are read in pieces of this length: memory follows the received
/// bytes, not the announced length.
const PIECE_BYTES: usize = 1 << 20;
/// Time limit for the peer to end the connection after everything has arrived.
const DONE: Duration = Duration::from_secs(2);
/// Time between two checks of the connection while the publisher waits for a slot.
const SLOT_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Slots begin at pages.
const PAGE_BYTES: u64 = 4096;
/// Statistics of a receiving link, over all of its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveStatistics {
    /// Frames published.
    pub frames: u64,
    /// Frames that the sender skipped, or that were lost with a connection.
    pub missed: u64,
    /// Frames that arrived and found no free slot.
    pub dropped: u64,
    /// Payloads that could not be decoded.
    pub damaged: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// True while the channel has a publisher on the other machine.
    pub live: bool,
    /// State of the link.
    pub link: LinkStatus,
    /// The newest frame.
    pub last: Option<Origin>,
    /// The life of the channel there, as the source named it last.
    pub(crate) life: Option<Origin>,
}

/// One connection's receiving.
pub(crate) struct Receiving<'a> {
    pub line: Line<'a>,
    pub messages: &'a mut MessageReader,
    pub publisher: &'a mut Publisher,
    /// The owners of epochs, if several peers send to the channel. `None`: all epochs are the peer's.
    pub origins: Option<&'a mut Origins>,
    pub codec: Codec,
    pub limits: Limits<'a>,
    pub ends_with_channel: bool,
}

/// Limits on what the peer's frames use here.
pub(crate) struct Limits<'a> {
    /// Bytes of a frame.
    pub max_bytes: u64,
    /// Pixels of a frame that has to be decoded: they decide how long that takes.
    pub max_pixels: u64,
    /// Shared memory of the channel. Lasts as long as the channel does.
    pub ring: &'a mut Share,
    /// Memory of this connection for payloads and for decoding.
    pub buffers: Share,
    /// The turns in which the peer's frames are decoded.
    pub turns: ClientTurns,
}

/// Memory that is kept from frame to frame.
#[derive(Default)]
struct Buffers {
    decoder: Option<Decoder>,
    payload: Vec<u8>,
    /// Size of the largest frame published so far. The ring takes such frames.
    largest: usize,
}

impl Receiving<'_> {
    /// Receives until the link ends; `Ok` when the channel was closed and the link ends with it.
    ///
    /// # Errors
    /// Why it has ended.
    pub(crate) fn run(mut self) -> Result<(), Fault> {
        self.line.received.link.connected = true;
        self.line.received.link.connections += 1;
        self.publisher.set_link(&self.line.received.link);
        let result = self.receive();
        self.line.received.last = self.line.sink.last();
        self.line.received.missed = self.line.sink.missed();
        self.line.received.link.missed = self.line.received.missed;
        self.line.received.link.connected = false;
        self.line.received.live = false;
        self.line.received.link.live = false;
        self.publisher.set_link(&self.line.received.link);
        if let Err(fault) = &result
            && fault.error.kind() != ErrorKind::SystemFailure
        {
            let until = Instant::now() + END_POLL_INTERVAL;
            let message = Message::Refused(fault.refusal());
            let _ = send(self.line.stream, &message, self.line.peer, &mut || {
                if Instant::now() < until { Ok(()) } else { Err(Fault::stopped()) }
            });
        }
        self.line.stream.shut();
        result
    }

    fn receive(&mut self) -> Result<(), Fault> {
        let mut buffers = Buffers::default();
        loop {
            self.line.tend()?;
            let nap =
                self.line.sink.next_due().saturating_duration_since(Instant::now()).min(END_POLL_INTERVAL);
            let Some(message) = self.messages.next(self.line.stream, self.line.peer, nap)? else { continue };
            match message {
                Message::Frame(head, payload_bytes) => {
                    self.take_frame(*head, payload_bytes, &mut buffers)?;
                }
                other => {
                    let before = self.line.sink.state();
                    let taken = self.line.sink.take(Instant::now(), realtime_ns(), &other);
                    taken.map_err(|error| match &other {
                        Message::Refused(refusal) if !refusal.try_again => Fault::lasting(error),
                        _ => Fault::passing(error),
                    })?;
                    self.line.received.live = self.line.sink.state() == ChannelState::Live;
                    if self.line.received.link.live != self.line.received.live {
                        self.line.received.link.live = self.line.received.live;
                        self.publisher.set_link(&self.line.received.link);
                    }
                    self.note_life(before, &other);
                    if before != self.line.sink.state() {
                        self.line.watch()?;
                    }
                    if self.line.sink.state() == ChannelState::Closed && self.ends_with_channel {
                        self.say_done();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Subscribers that open the channel later get no frame of a previous publisher, as on one machine.
    fn note_life(&mut self, before: ChannelState, message: &Message) {
        let ended = match *message {
            // At the beginning of a connection it is not known yet.
            Message::State(state) => before == ChannelState::Live && state != ChannelState::Live,
            Message::Life(life) => {
                let is_new = self.line.received.life.replace(life).is_some_and(|before| before != life);
                if is_new {
                    // The next frames may be those of another publisher. The numbers of the previous one do
                    // not apply to them.
                    self.line.sink.doubt_last();
                }
                is_new
            }
            _ => false,
        };
        if ended {
            self.publisher.end_life();
        }
    }

    /// Confirms that everything has arrived, and waits until the peer has received that and ends the
    /// connection. Ending it from here could lose the message.
    fn say_done(&mut self) {
        let until = Instant::now() + self.line.idle_timeout.min(DONE);
        let Receiving { line: Line { stream, peer, watch, received, .. }, messages, .. } = self;
        let mut keep = || if Instant::now() < until { watch(received) } else { Err(Fault::stopped()) };
        if send(*stream, &Message::State(ChannelState::Closed), peer, &mut keep).is_ok() {
            while keep().is_ok() && messages.next(*stream, peer, END_POLL_INTERVAL).is_ok() {}
        }
    }

    fn take_frame(
        &mut self,
        head: FrameHead,
        payload_bytes: u64,
        buffers: &mut Buffers,
    ) -> Result<(), Fault> {
        self.check_limits(&head, payload_bytes)?;
        let head = if head.coded { without_padding(head)? } else { head };
        let missed = match self.line.sink.arrival(Instant::now(), &head).map_err(Fault::passing)? {
            Arrival::New { missed } => missed,
            Arrival::PassOver => {
                self.line.discard(payload_bytes as usize)?;
                self.line.sink.frame_done(Instant::now());
                return Ok(());
            }
        };
        if missed > 0 {
            self.publisher.skip_many(missed);
            // At once: an observer uses it to distinguish skipped frames from frames without a free slot.
            self.line.received.link.missed = self.line.sink.missed();
            self.publisher.set_link(&self.line.received.link);
        }
        let taken = if head.coded {
            self.take_coded(&head, payload_bytes, buffers)
        } else if head.layout.size_bytes() > buffers.largest {
            self.take_larger(&head, payload_bytes, buffers)
        } else {
            self.publish_raw(&head)
        };
        taken.inspect_err(|_| self.line.sink.not_taken(head.origin))?;
        self.line.received.bytes += payload_bytes;
        self.line.received.last = self.line.sink.last();
        self.line.received.missed = self.line.sink.missed();
        self.note(&head);
        self.line.watch()
    }

    /// Checks what a frame claims before anything is done for it.
    fn check_limits(&self, head: &FrameHead, payload_bytes: u64) -> Result<(), Fault> {
        let (layout, limits) = (&head.layout, &self.limits);
        let size_bytes = layout.size_bytes() as u64;
        let largest = payload_bytes.max(size_bytes);
        if largest > limits.max_bytes {
            return Err(Fault::lasting(
                Error::new(
                    ErrorKind::FrameTooLarge,
                    format!("expected frames of at most {} bytes, found one of {largest}", limits.max_bytes),
                )
                .with_hint("raise max-bytes, or have the frames scaled with size="),
            ));
        }
        let pixels = u64::from(layout.width()) * u64::from(layout.height());
        let is_slow = matches!(self.codec, Codec::Jpeg { .. } | Codec::H264 { .. });
        if head.coded && is_slow && pixels > limits.max_pixels {
            return Err(Fault::lasting(
                Error::new(
                    ErrorKind::FrameTooLarge,
                    format!("expected coded frames of at most {} pixels, found {pixels}", limits.max_pixels),
                )
                .with_hint("raise max-pixels, or have the frames scaled with size="),
            ));
        }
        if !head.coded && payload_bytes != size_bytes {
            return Err(Fault::passing(crate::proto::violation(format_args!(
                "expected {size_bytes} bytes of a frame, found {payload_bytes}"
            ))));
        }
        Ok(())
    }

    /// Takes a frame that is not coded, and larger than those before it. A ring for such frames is made
    /// after one has arrived, not when its header announces one.
    fn take_larger(
        &mut self,
        head: &FrameHead,
        payload_bytes: u64,
        buffers: &mut Buffers,
    ) -> Result<(), Fault> {
        self.take_payload(payload_bytes, &mut buffers.payload)?;
        let frame = std::mem::take(&mut buffers.payload);
        self.publish_larger(head, &frame, &mut buffers.largest)?;
        drop(frame);
        let _ = self.limits.buffers.set(0);
        Ok(())
    }

    fn take_coded(
        &mut self,
        head: &FrameHead,
        payload_bytes: u64,
        buffers: &mut Buffers,
    ) -> Result<(), Fault> {
        self.take_payload(payload_bytes, &mut buffers.payload)?;
        let decoder = match &mut buffers.decoder {
            Some(decoder) => decoder,
            none => none.insert(Decoder::new(self.codec).map_err(Fault::lasting)?),
        };
        let payload = &buffers.payload;
        let size_bytes = head.layout.size_bytes();
        let decoding = decoding_bytes(self.codec, &head.layout);
        self.need(payload.len() as u64 + decoding)?;
        if size_bytes <= buffers.largest {
            let fill = |bytes: &mut [u8]| decoder.decode(payload, &head.layout, bytes);
            return self.publish_from(head, true, fill);
        }
        // A few bytes can claim a frame of any size. Only a frame that was decoded gets a ring.
        self.need(payload.len() as u64 + decoding + size_bytes as u64)?;
        let mut frame = vec![0; size_bytes];
        let turn = self.limits.turns.take(&mut || self.line.keep())?;
        // No message was read during the wait for a turn.
        self.line.sink.heard(Instant::now());
        let decoded = decoder.decode(payload, &head.layout, &mut frame);
        drop(turn);
        match decoded {
            Ok(()) => self.publish_larger(head, &frame, &mut buffers.largest),
            Err(error) => self.not_decoded(error),
        }
    }

    /// Charges the memory of this connection.
    fn need(&mut self, bytes: u64) -> Result<(), Fault> {
        self.limits.buffers.need(bytes).map_err(Exceeded::into_fault)
    }

    /// Publishes a frame that is larger than those before it.
    fn publish_larger(&mut self, head: &FrameHead, frame: &[u8], largest: &mut usize) -> Result<(), Fault> {
        let size_bytes = frame.len();
        let slot_bytes = (size_bytes as u64).next_multiple_of(PAGE_BYTES);
        let ring_bytes = slot_bytes.saturating_mul(self.publisher.slots() as u64);
        let before = self.limits.ring.amount();
        // The ring before it stays until a frame in the new one is published.
        let grows = ring_bytes > before;
        if grows {
            let both = before.saturating_add(ring_bytes);
            self.limits.ring.set(both).map_err(Exceeded::into_fault)?;
        }
        let frames = self.line.received.frames;
        self.publish_from(head, false, |bytes| {
            bytes.copy_from_slice(frame);
            Ok(())
        })?;
        if self.line.received.frames > frames {
            *largest = size_bytes;
            // A ring that was taken over may have been replaced by a smaller one.
            let _ = self.limits.ring.set(self.publisher.ring_bytes());
        }
        Ok(())
    }

    /// A payload that holds no such frame is counted. Another error ends the link.
    fn not_decoded(&mut self, error: Error) -> Result<(), Fault> {
        if error.kind() != ErrorKind::Damaged {
            return Err(Fault::lasting(error));
        }
        tracing::debug!(peer = self.line.peer, %error, "frame damaged");
        self.line.received.damaged += 1;
        self.line.sink.cannot_decode();
        self.publisher.skip();
        Ok(())
    }

    /// Straight into the slot.
    fn publish_raw(&mut self, head: &FrameHead) -> Result<(), Fault> {
        let info = self.info(head);
        let line = &mut self.line;
        let loan = loan(self.publisher, head, &mut || line.keep())?;
        // No message was read during the wait for a slot.
        line.sink.heard(Instant::now());
        let Some(mut loan) = loan else {
            line.note_dropped(head);
            line.discard(head.layout.size_bytes())?;
            line.sink.frame_done(Instant::now());
            return Ok(());
        };
        line.read_all(loan.bytes_mut(), &mut Polls::new())?;
        if head.layout.format() == PixelFormat::Detections {
            detections::to_our_clocks(loan.bytes_mut(), head, &line.sink.clock);
        }
        loan.publish(&info);
        line.received.frames += 1;
        line.sink.frame_done(Instant::now());
        Ok(())
    }

    /// From a payload that is here already: `fill` brings the frame into the slot. With `decodes` it waits
    /// for its turn.
    fn publish_from(
        &mut self,
        head: &FrameHead,
        decodes: bool,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Fault> {
        let info = self.info(head);
        let line = &mut self.line;
        let loan = loan(self.publisher, head, &mut || line.keep())?;
        // A frame without a slot is not decoded.
        let turns = (decodes && loan.is_some()).then_some(&self.limits.turns);
        let turn = turns.map(|turns| turns.take(&mut || line.keep())).transpose()?;
        // No message was read during the wait for a slot and a turn.
        line.sink.heard(Instant::now());
        let Some(mut loan) = loan else {
            line.note_dropped(head);
            if head.coded && matches!(self.codec, Codec::H264 { .. }) {
                // Later payloads build on this one.
                line.sink.cannot_decode();
            }
            return Ok(());
        };
        let filled = fill(loan.bytes_mut());
        drop(turn);
        match filled {
            Ok(()) => {
                if head.layout.format() == PixelFormat::Detections {
                    detections::to_our_clocks(loan.bytes_mut(), head, &line.sink.clock);
                }
                loan.publish(&info);
                line.received.frames += 1;
                Ok(())
            }
            Err(error) => self.not_decoded(error),
        }
    }

    /// Reads the whole payload of a frame, and answers the peer.
    fn take_payload(&mut self, payload_bytes: u64, payload: &mut Vec<u8>) -> Result<(), Fault> {
        let total = payload_bytes as usize;
        payload.clear();
        let mut polls = Polls::new();
        while payload.len() < total {
            let (filled, end) = (payload.len(), total.min(payload.len() + PIECE_BYTES));
            self.need(end as u64)?;
            payload.reserve_exact(end - filled);
            payload.resize(end, 0);
            self.line.read_all(&mut payload[filled..], &mut polls)?;
        }
        self.line.sink.frame_done(Instant::now());
        self.line.tend()
    }

    /// Returns the description to publish: with times on this machine's clock, and an epoch of the peer.
    fn info(&mut self, head: &FrameHead) -> FrameInfo {
        let origin = match &mut self.origins {
            Some(origins) => origins.published(head.origin),
            None => head.origin,
        };
        head.info
            .clone()
            .with_timestamp_ns(head.info.timestamp_ns.map(|ns| self.line.sink.clock.to_ours_ns(ns)))
            .with_origin(origin)
    }

    fn note(&mut self, head: &FrameHead) {
        let clock = &self.line.sink.clock;
        let captured_ns = head.info.timestamp_ns.map(|ns| clock.to_ours_ns(ns));
        let link = &mut self.line.received.link;
        link.clock_offset_ns = clock.peer_ahead_ns();
        link.round_trip_ns = clock.round_trip_ns();
        link.latency_ns = captured_ns.map_or(0, |ns| realtime_ns().saturating_sub(ns));
        link.received_bytes = self.line.received.bytes;
        link.missed = self.line.received.missed;
        self.publisher.set_link(link);
    }
}

/// The same frame with its rows next to each other. What a sender leaves between them has no place in a coded
/// payload.
fn without_padding(head: FrameHead) -> Result<FrameHead, Fault> {
    let (format, width, height) = (head.layout.format(), head.layout.width(), head.layout.height());
    let layout = Layout::packed(format, width, height).map_err(Fault::lasting)?;
    Ok(FrameHead { layout, ..head })
}

/// Memory that a decoder takes for frames of this layout, at most. JPEG: all coefficients of a progressive
/// picture. H.264: the pictures that others are predicted from, with what belongs to them.
fn decoding_bytes(codec: Codec, layout: &Layout) -> u64 {
    let pixels = u64::from(layout.width()) * u64::from(layout.height());
    match codec {
        Codec::Raw | Codec::Lz4 => 0,
        Codec::Jpeg { .. } => pixels.saturating_mul(8),
        _ => pixels.saturating_mul(16),
    }
}

/// A slot for the frame; `None` when none is free.
fn loan<'p>(
    publisher: &'p mut Publisher,
    head: &FrameHead,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Option<Loan<'p>>, Fault> {
    // In slices: a connection that is lost during the wait for a reader is restarted, as any other.
    // The loan reports an error of the wait.
    while let Ok(false) = publisher.wait_for_slot(&head.layout, SLOT_POLL_INTERVAL) {
        keep()?;
    }
    match publisher.loan(&head.layout) {
        Ok(loan) => Ok(Some(loan)),
        Err(LoanError::NoFreeSlot) => Ok(None),
        Err(LoanError::Interrupted) => Err(Fault::stopped()),
        Err(error) => Err(Fault::private(error.into(), false)),
    }
}
