//! The end of a publisher.

use framelane::{Backpressure, Error, ErrorKind, Publisher};

use crate::signals::Stop;

/// With backpressure block, waits until all subscribers with delivery every have received all frames. Ends
/// without an error when `stop` is set.
pub fn drain(publisher: &mut Publisher, stop: &Stop) -> Result<(), Error> {
    if publisher.backpressure() != Backpressure::Block {
        return Ok(());
    }
    publisher.set_cancel_token(stop.token());
    match publisher.drain(None) {
        Err(error) if error.kind() == ErrorKind::Interrupted && stop.is_set() => Ok(()),
        drained => drained,
    }
}
