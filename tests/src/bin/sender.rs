//! `sender CHANNEL SLOTS`: publishes BGR frames on request.
//!
//! Prints `ready EPOCH`. Reads lines: `WIDTH HEIGHT` makes it publish a frame of that size and print `sent
//! SEQUENCE`, or `failed KIND`; `close` and the end of input close the channel. All bytes of a frame are the
//! sequence's lowest byte.

use std::error::Error;

use framelane::{FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [channel, slots] = &arguments[..] else {
        return Err("sender CHANNEL SLOTS".into());
    };
    let mut publisher = PublisherOptions::new().slots(slots.parse()?).create(channel)?;
    println!("ready {}", publisher.epoch());
    for line in std::io::stdin().lines() {
        let line = line?;
        let Some((width, height)) = line.split_once(' ') else { break };
        match send(&mut publisher, width.parse()?, height.parse()?) {
            Ok(sequence) => println!("sent {sequence}"),
            Err(error) => println!("failed {}", error.kind().name()),
        }
    }
    Ok(())
}

fn send(publisher: &mut Publisher, width: u32, height: u32) -> Result<u64, framelane::Error> {
    let value = publisher.sequence() as u8 + 1;
    let mut loan = publisher.loan(&Layout::packed(PixelFormat::Bgr8, width, height)?)?;
    loan.bytes_mut().fill(value);
    Ok(loan.publish(&FrameInfo::default()))
}
