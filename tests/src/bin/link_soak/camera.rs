//! The camera: frames whose pixels carry their number and a checksum, at the pace of a camera.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use framelane::{FrameInfo, Layout, LoanError, PixelFormat};
use framelane_tests::{Channels, Pattern, Place};

use crate::CHANNEL;
use crate::log::{Capture, Log};

/// 221 Mbit/s at this pace.
const SIZE: (u32, u32) = (640, 480);
const PERIOD: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// Publishes until `end`.
pub fn publish(place: &Place, log: &Log, end: &AtomicBool) -> Result<(), Box<dyn Error>> {
    let pattern = Pattern::new();
    let layout = Layout::packed(PixelFormat::Bgr8, SIZE.0, SIZE.1)?;
    let mut publisher = place.publisher().create(CHANNEL)?;
    let mut due = Instant::now();
    while !end.load(Ordering::Relaxed) {
        // A camera has a pace; nothing waits for it.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += PERIOD;
        let sequence = publisher.sequence() + 1;
        let capture = Capture::now();
        match publisher.loan(&layout) {
            Ok(mut loan) => {
                pattern.fill(loan.bytes_mut(), sequence, false);
                log.published(sequence, capture);
                loan.publish(&FrameInfo::default().with_timestamp_ns(capture.timestamp_ns));
            }
            Err(LoanError::NoFreeSlot) => {}
            Err(error) => return Err(error.into()),
        }
    }
    publisher.close();
    Ok(())
}
