//! Texts for the reason that a subscriber received nothing.

use std::time::Duration;

use super::{RecvError, Subscriber};
use crate::descriptor;
use crate::error::{Error, ErrorKind};
use crate::link;
use crate::observer::{Observer, Seen, age, no_new_frame};
use crate::redact;
use crate::ring::{self, Ordering::Relaxed, PINS};
use crate::status::{all_held, held_slots, holders};

impl Subscriber {
    /// The error with its reason, as far as this subscriber can see it: whether the publisher is alive, when
    /// it published last, which processes hold the slots.
    ///
    /// `waited` is the timeout of the call, for the message. `From<RecvError>` knows nothing of the channel.
    /// Makes some system calls, and reads `/proc` when slots are used up.
    pub fn explain(&self, error: RecvError, waited: Option<Duration>) -> Error {
        match error {
            RecvError::Timeout => self.silence(waited),
            RecvError::TooManyLeases => self.too_many_leases(),
            error => error.into(),
        }
    }

    /// Frames that this subscriber may hold at a time: the slots of the ring less two, at least 2 and at most
    /// 8.
    ///
    /// The publisher keeps the newest frame in one slot and writes to another: with at most so many leases
    /// one subscriber never stops a channel of four slots or more. Two is what a loop needs that receives a
    /// frame before it drops the last one.
    pub fn max_leases(&self) -> usize {
        self.slots().saturating_sub(2).clamp(2, PINS)
    }

    fn slots(&self) -> usize {
        let announced = self.attachment.control.words().slots.load(Relaxed) as usize;
        self.data.as_ref().map_or(announced, |data| data.slots)
    }

    fn too_many_leases(&self) -> Error {
        let (channel, slots, most) = (self.channel(), self.slots(), self.max_leases());
        let fault = format!(
            "cannot receive: this subscriber holds {most} frames of channel {channel}, the most that one \
             may hold of its {slots} slots"
        );
        let copy = "release frames, or keep copies of them (`frame.copy()`, `array.copy()`)";
        Error::new(ErrorKind::TooManyLeases, fault).with_hint(if most < PINS {
            format!("{copy}, or publish with more slots (`--slots {0}`, `slots={0}`)", slots.max(4) + 1)
        } else {
            format!("{copy}, or open another subscriber")
        })
    }

    /// Returns an observer, which answers while another thread has the subscriber.
    pub fn observer(&self) -> Observer {
        Observer::new(self.channel(), &self.directory, self.remote.is_some())
    }

    fn silence(&self, waited: Option<Duration>) -> Error {
        no_new_frame(self.channel(), waited, self.silence_reason())
    }

    /// The place of the channel: its directory, or the URL that the subscriber was opened with.
    pub(crate) fn place(&self) -> String {
        match &self.remote {
            Some(remote) => redact::url(&remote.url).into_owned(),
            None => format!("{} in {}", self.channel(), self.directory.path().display()),
        }
    }

    /// The reason why nothing arrives, and the hint.
    pub(crate) fn silence_reason(&self) -> (String, String) {
        let (words, readers) = (self.attachment.control.words(), &self.attachment.readers);
        let seen = Seen {
            pid: words.publisher_pid.load(Relaxed),
            alive: self.publisher_alive(),
            link: link::read(words),
            slots: self.slots(),
            held_slots: held_slots(words, readers),
            age: self.newest_age(),
        };
        let starved =
            || all_held(self.channel(), seen.slots, &holders(words, readers, Some(self.attachment.index)));
        seen.reason(starved)
    }

    /// The age of the newest frame of this epoch.
    fn newest_age(&self) -> Option<Duration> {
        let words = self.attachment.control.words();
        let (sequence, slot) = ring::newest(words);
        let data = self.data.as_ref().filter(|data| data.generation == words.generation_now())?;
        let published = descriptor::read(data.entry(slot)?, data.slot_bytes).ok()?.published_ns;
        let of_this_epoch = sequence > words.epoch_after.load(Relaxed);
        of_this_epoch.then(|| age(published))
    }
}
