//! Plays a video file into a channel, with framelane's own decoder.
//!
//!     write FILM [CHANNEL]        prints how many frames went
use framelane::{Backpressure, PixelFormat, PublisherOptions};
use framelane_video::{Rate, SourceOptions};

fn main() -> Result<(), framelane::Error> {
    let mut arguments = std::env::args().skip(1);
    let Some(film) = arguments.next() else {
        eprintln!("usage: video-write FILM [CHANNEL]");
        std::process::exit(2);
    };
    let mut source = SourceOptions::new().format(Some(PixelFormat::Bgr8)).rate(Rate::Max).open(&film)?;
    // A film can wait; for a camera leave `backpressure` out.
    let options = PublisherOptions::new().backpressure(Backpressure::Block).slots(source.slots_needed(6));
    let mut publisher = options.create(&arguments.next().unwrap_or("video".to_owned()))?;
    while publisher.subscribers() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let summary = source.publish_to(&mut publisher, &mut |_| std::ops::ControlFlow::Continue(()))?;
    publisher.drain(None)?;
    publisher.close();
    println!("{} frames", summary.frames);
    Ok(())
}
