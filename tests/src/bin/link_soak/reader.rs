//! The reader on the other host, which stays attached while receivers are killed.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::{ErrorKind, RecvError};
use framelane_tests::{Channels, Pattern, Place};

use crate::CHANNEL;
use crate::log::Log;

/// Reads until `end`; an error is what must not be.
pub fn read(place: &Place, log: &Log, end: &AtomicBool) -> Result<(), Box<dyn Error>> {
    let pattern = Pattern::new();
    let go_on = || !end.load(Ordering::Relaxed);
    let options = place.subscriber().open_timeout(Some(Duration::from_millis(500)));
    let mut subscriber = loop {
        match options.open(CHANNEL) {
            Ok(subscriber) => break subscriber,
            Err(error) if error.kind() == ErrorKind::NotFound && go_on() => {}
            Err(_) => return Ok(()),
        }
    };
    let (mut last, mut epoch) = (0, 0);
    while go_on() {
        let frame = match subscriber.recv_timeout(Duration::from_millis(500)) {
            Ok(frame) => frame,
            Err(RecvError::Timeout) => continue,
            // The receiver that ends with the soak closes its channel, as it does whenever it ends by itself.
            Err(RecvError::Closed) if !go_on() => break,
            // Before that: one that is killed leaves a channel that the next one takes over.
            Err(error) => return Err(format!("the reader could not stay: {error}").into()),
        };
        // Its number on the camera's host, which the pixels must carry too.
        let number = frame.origin().sequence;
        pattern.check(frame.bytes(), number)?;
        if number <= last {
            let how = if number == last { "twice" } else { "after a later one" };
            return Err(format!("frame {number} came {how}; the last one was {last}").into());
        }
        last = number;
        // Of the receiver, not of the camera.
        let is_of_a_new_life = subscriber.epoch() != epoch;
        epoch = subscriber.epoch();
        log.received(number, frame.timestamp_ns(), is_of_a_new_life);
    }
    Ok(())
}
