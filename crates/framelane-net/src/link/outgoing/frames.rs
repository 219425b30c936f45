//! Sending one frame: straight from its slot as long as it may be leased, and then from a copy.

use std::io;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Frame};

use super::lock;
use super::sender::Sender;
use crate::budget::Exceeded;
use crate::coder::Coded;
use crate::fault::Fault;
use crate::messages::write_all;
use crate::proto::{FrameHead, Message};
use crate::time::{monotonic_ns, realtime_ns};

/// Time for which a frame is sent straight from its slot. After it, the rest is copied and the slot is
/// released: a slow receiver costs memory here, not slots of the channel.
const LEASE: Duration = Duration::from_millis(20);

impl Sender<'_, '_, '_> {
    /// Sends a frame as it is, from its slot.
    pub(super) fn send_frame(&mut self, frame: Frame) -> Result<(), Fault> {
        let until = Instant::now() + LEASE;
        let (layout, info) = (frame.layout().clone(), frame.info().clone());
        let payload_bytes = layout.size_bytes() as u64;
        if let Some(copies) = &mut self.means.copies {
            copies.need(payload_bytes).map_err(Exceeded::into_fault)?;
        }
        let head = FrameHead {
            origin: frame.origin(),
            layout,
            info: info.with_origin(None),
            standalone: true,
            coded: false,
            sent_ns: realtime_ns(),
            sent_monotonic_ns: monotonic_ns(),
        };
        self.send_payload(head, payload_bytes, |sender, unsent| sender.write_leased(unsent, frame, until))
    }

    pub(super) fn send_coded(&mut self, coded: &Coded) -> Result<(), Fault> {
        let head = FrameHead {
            origin: coded.origin,
            layout: coded.layout.clone(),
            info: coded.info.clone().with_origin(None),
            standalone: coded.standalone,
            coded: true,
            sent_ns: realtime_ns(),
            sent_monotonic_ns: monotonic_ns(),
        };
        self.send_payload(head, coded.bytes.len() as u64, |sender, unsent| {
            sender.write_with_payload(unsent, &coded.bytes)
        })
    }

    fn send_payload(
        &mut self,
        head: FrameHead,
        payload_bytes: u64,
        write: impl FnOnce(&Self, &mut Vec<u8>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        lock(&self.link.source).sent(Instant::now());
        let (max_payload, size_bytes) = (self.link.terms.max_payload, head.layout.size_bytes());
        if payload_bytes > max_payload || size_bytes as u64 > max_payload {
            return Err(Fault::lasting(
                Error::new(
                    ErrorKind::FrameTooLarge,
                    format!("cannot send {size_bytes} bytes: the receiver accepts at most {max_payload}"),
                )
                .with_hint("raise max-bytes= of the receiver, or send a smaller size="),
            ));
        }
        let mut unsent = lock(&self.link.unsent);
        Message::Frame(Box::new(head), payload_bytes).encode(&mut unsent);
        self.in_frame = true;
        write(self, &mut unsent)?;
        self.in_frame = false;
        drop(unsent);
        self.sent.bytes += payload_bytes;
        self.link.answer()
    }

    /// Sends the unsent bytes, which end with the frame's head, and its payload.
    fn write_with_payload(&self, unsent: &mut Vec<u8>, payload: &[u8]) -> Result<(), Fault> {
        self.link.write(unsent, true, &mut || self.go_on())?;
        write_all(self.link.stream, payload, false, self.link.peer, &mut || self.go_on())
    }

    /// The same with a payload from its slot, for as long as the lease may last. The rest goes from a copy
    /// then, which is all of the payload when the receiver does not even take the head.
    fn write_leased(&self, unsent: &mut Vec<u8>, frame: Frame, until: Instant) -> Result<(), Fault> {
        let (stream, peer) = (self.link.stream, self.link.peer);
        let mut at = 0;
        while at < frame.bytes().len() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let rest = frame.bytes()[at..].to_vec();
                drop(frame);
                return self.write_with_payload(unsent, &rest);
            }
            let is_head = !unsent.is_empty();
            let bytes = if is_head { unsent.as_slice() } else { &frame.bytes()[at..] };
            match stream.write(bytes, is_head, left) {
                Ok(0) => return Err(Fault::lost(peer)),
                Ok(len) if is_head => drop(unsent.drain(..len)),
                Ok(len) => at += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io(peer, error)),
            }
            self.link.go_on()?;
        }
        drop(frame);
        // Of a frame without bytes there is the head alone.
        self.link.write(unsent, false, &mut || self.go_on())
    }
}
