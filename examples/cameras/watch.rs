//! Watches many cameras in one process, a thread for each.
//!
//!     watch [CAMERAS]     prints for each how many frames came, their size, and the sum of their bytes
use framelane::{Delivery, Error, SubscriberOptions};

fn watch(number: u8) -> Result<String, Error> {
    let channel = format!("cameras/{number}");
    let mut subscriber = SubscriberOptions::new().delivery(Delivery::Every).open(&channel)?;
    let (mut frames, mut sum, mut rows) = (0, 0, 0);
    for frame in subscriber.frames() {
        let frame = frame?;
        frames += 1;
        sum += frame.bytes().iter().copied().map(u64::from).sum::<u64>();
        rows = frame.height();
    }
    Ok(format!("{channel}: {frames} frames of 160x{rows}, sum {sum}"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cameras: u8 = std::env::args().nth(1).map_or(Ok(4), |text| text.parse())?;
    let threads: Vec<_> = (0..cameras).map(|number| std::thread::spawn(move || watch(number))).collect();
    for thread in threads {
        println!("{}", thread.join().expect("no watcher panics")?);
    }
    Ok(())
}
