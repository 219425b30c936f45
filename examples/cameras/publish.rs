//! Many cameras in one process: a channel and a thread for each.
//!
//!     publish [CAMERAS] [FRAMES]
use std::time::Duration;

use framelane::{Backpressure, Error, FrameInfo, Layout, PixelFormat, PublisherOptions};

fn camera(number: u8, frames: u32) -> Result<(), Error> {
    // Backpressure block so that the counts come out even; for real cameras leave it out.
    let mut publisher =
        PublisherOptions::new().backpressure(Backpressure::Block).create(&format!("cameras/{number}"))?;
    while publisher.subscribers() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let layout = Layout::packed(PixelFormat::Gray8, 160, 120 + u32::from(number))?;
    for n in 0..frames {
        let mut loan = publisher.loan(&layout)?;
        loan.bytes_mut().fill(10 * number + (n % 10) as u8);
        loan.publish(&FrameInfo::default());
    }
    publisher.drain(None)?;
    publisher.close();
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cameras: u8 = arguments.first().map_or(Ok(4), |text| text.parse())?;
    let frames: u32 = arguments.get(1).map_or(Ok(100), |text| text.parse())?;
    let threads: Vec<_> =
        (0..cameras).map(|number| std::thread::spawn(move || camera(number, frames))).collect();
    for thread in threads {
        thread.join().expect("no camera panics")?;
    }
    Ok(())
}
