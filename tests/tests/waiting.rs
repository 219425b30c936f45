//! The cost of an idle channel, and its memory.

use framelane::{FrameInfo, Layout, PixelFormat};
use framelane_tests::{Channels, Place};

/// Not on Windows. The system does not show whether a process sleeps.
#[cfg(target_os = "linux")]
#[test]
fn waiting_subscribers_nap_and_all_wake_for_the_next_frame() {
    use std::time::Duration;

    use framelane::RecvError;
    use framelane_tests::{Pattern, Running, SMALLEST_FRAME, wait_until};

    const SUBSCRIBER: &str = env!("CARGO_BIN_EXE_subscriber");
    let place = Place::new();
    let mut publisher = place.publisher().create("c").unwrap();
    // The bell ends the time of this test: the wait is that of a subscriber.
    let _bell_publisher = place.publisher().create("bell").unwrap();
    let mut bell = place.subscriber().open("bell").unwrap();
    let mut subscribers: Vec<_> =
        (0..64).map(|_| place.start_program(SUBSCRIBER, &["c", "newest", "0", "end"])).collect();
    for subscriber in &mut subscribers {
        subscriber.numbers("ready");
    }
    wait_until!(subscribers.iter().all(Running::sleeps));
    let sleeps = |subscribers: &[Running]| subscribers.iter().map(Running::sleeps_so_far).sum::<u64>();
    let before = sleeps(&subscribers);
    let start = std::time::Instant::now();
    assert!(matches!(bell.recv_timeout(Duration::from_secs(5)), Err(RecvError::Timeout)));
    let (sleeps, passed) = (sleeps(&subscribers) - before, start.elapsed());
    // A nap lasts half a second, also on a busy machine. One more for those that were about to end.
    let most = (passed.as_millis() as u64 / 500 + 1) * subscribers.len() as u64;
    println!("64 waiting subscribers slept {sleeps} times in {passed:.2?}, at most {most} times are allowed");
    assert!(sleeps <= most, "{sleeps} times asleep in {passed:.2?}, at most {most} expected");
    let layout = Layout::packed(PixelFormat::Gray8, SMALLEST_FRAME as u32, 1).unwrap();
    let mut loan = publisher.loan(&layout).unwrap();
    Pattern::new().fill(loan.bytes_mut(), 1, true);
    loan.publish(&FrameInfo::default());
    for mut subscriber in subscribers {
        assert_eq!(subscriber.numbers("end"), [1, 0, 1, 1, 1]);
        assert!(subscriber.end().success());
    }
}

#[test]
fn channel_memory_stays_its_slots_and_a_few_pages() {
    let place = Place::new();
    let slots = 6;
    let mut publisher = place.publisher().slots(slots).create("c").unwrap();
    let mut subscriber = place.subscriber().open("c").unwrap();
    let pages = |bytes: usize| bytes.next_multiple_of(4096) as u64;
    for (width, height) in [(640, 480), (1920, 1080), (320, 240)] {
        let layout = Layout::packed(PixelFormat::Bgr8, width, height).unwrap();
        for _ in 0..500 {
            publisher.loan(&layout).unwrap().publish(&FrameInfo::default());
            assert_eq!(subscriber.recv().unwrap().width(), width);
        }
        // The ring does not shrink: its slots are as large as the largest frame.
        let largest = layout.size_bytes().max(if width == 640 { 0 } else { 1920 * 1080 * 3 });
        let (used, least) = (place.used_bytes(), slots as u64 * pages(largest));
        println!("{width}x{height}: {used} bytes for {slots} slots of {} bytes", pages(largest));
        assert!((least..=least + 9 * 4096).contains(&used), "{used} bytes, {least} for the slots");
    }
}
