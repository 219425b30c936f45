//! One end of the benchmark across languages: see `languages/run.py`.

use std::time::{Duration, Instant};

use framelane::{FrameInfo, Layout, PixelFormat, Publisher, Subscriber};

fn layout() -> Layout {
    Layout::packed(PixelFormat::Bgr8, 1920, 1080).expect("a layout")
}

fn publish(channel: &str, fps: f64, seconds: f64) {
    let mut publisher = Publisher::create(channel).expect("a channel");
    while publisher.subscribers() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let layout = layout();
    let (mut due, period) = (Instant::now(), Duration::from_secs_f64(1.0 / fps));
    let end = due + Duration::from_secs_f64(seconds);
    while due < end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut loan = publisher.loan(&layout).expect("a slot");
        loan.bytes_mut()[0] = 1;
        loan.publish(&FrameInfo::default());
        due += period;
    }
}

fn read(channel: &str) {
    let mut subscriber = Subscriber::open(channel).expect("a channel");
    let mut ages = Vec::new();
    for frame in subscriber.frames() {
        let frame = frame.expect("a frame");
        if frame.bytes()[0] == 1 {
            ages.push(frame.age_ns());
        }
    }
    ages.sort_unstable();
    let at = |part: usize| ages[(ages.len() * part / 100).min(ages.len() - 1)] as f64 / 1e3;
    println!(r#"{{"frames": {}, "p50_us": {}, "p99_us": {}}}"#, ages.len(), at(50), at(99));
}

fn copy(channel: &str, seconds: f64) {
    let mut publisher = Publisher::create(channel).expect("a channel");
    let layout = layout();
    let image = [1, 2, 3].repeat(1920 * 1080);
    let mut send = || publisher.send(&layout, &FrameInfo::default(), &image).expect("a slot");
    for _ in 0..20 {
        send();
    }
    let (began, mut frames) = (Instant::now(), 0);
    while began.elapsed().as_secs_f64() < seconds {
        send();
        frames += 1;
    }
    println!(r#"{{"frames_per_second": {}}}"#, f64::from(frames) / began.elapsed().as_secs_f64());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match arguments[..] {
        ["publish", channel, fps, seconds] => publish(channel, number(fps), number(seconds)),
        ["read", channel] => read(channel),
        ["copy", channel, seconds] => copy(channel, number(seconds)),
        _ => panic!("usage: publish CHANNEL FPS SECONDS | read CHANNEL | copy CHANNEL SECONDS"),
    }
}
