//! Publishes 100 frames in `hello`: each one brighter than the one before.
use std::time::Duration;

use framelane::{FrameInfo, Layout, PixelFormat, Publisher};

fn main() -> Result<(), framelane::Error> {
    let mut publisher = Publisher::create("hello")?;
    let layout = Layout::packed(PixelFormat::Bgr8, 640, 480)?;
    for brightness in 0..100 {
        let mut loan = publisher.loan(&layout)?;
        loan.bytes_mut().fill(brightness);
        loan.publish(&FrameInfo::default());
        std::thread::sleep(Duration::from_millis(33));
    }
    Ok(())
}
