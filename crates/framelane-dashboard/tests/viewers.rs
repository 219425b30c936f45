//! Many viewers of one channel. Alone in its process, because it measures memory.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use framelane::{FrameInfo, Layout, PixelFormat};
use support::{Place, Server, publisher, wait_until};

const PAGES: usize = 25;

/// Noise makes JPEGs of some 200 KB.
fn noise(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let step = |state: &mut u32| {
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        (*state >> 8) as u8
    };
    (0..count).map(|_| step(&mut state)).collect()
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn stalled_viewers_cost_no_encodes_and_bounded_memory() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "cam0");
    let layout = Layout::packed(PixelFormat::Bgr8, 480, 480).unwrap();
    let bytes = noise(1, layout.size_bytes());
    let mut publish = |last: bool| {
        // The last frame is marked by its capture time.
        let info = FrameInfo::default().with_timestamp_ns(if last { 7 } else { 5 });
        camera.send(&layout, &info, &bytes).unwrap().unwrap()
    };
    publish(false);
    // They ask for pictures, and never read.
    let stalled: Vec<_> = (0..PAGES)
        .map(|_| {
            let mut page = server.page();
            page.watch(&[("cam0", "tile")]);
            page
        })
        .collect();
    let mut readers: Vec<_> = (0..PAGES).map(|_| server.page()).collect();
    for page in &mut readers {
        page.watch(&[("cam0", "tile")]);
        page.picture();
    }
    let before = resident_bytes();
    let received_last = AtomicBool::new(false);
    let (published, counts) = std::thread::scope(|scope| {
        let follow = |page: &mut support::Page| {
            let mut count = 0;
            loop {
                count += 1;
                if page.picture().0["timestamp_ns"] == 7 {
                    received_last.store(true, Ordering::SeqCst);
                    return count;
                }
            }
        };
        let threads: Vec<_> = readers.iter_mut().map(|page| scope.spawn(move || follow(page))).collect();
        let mut published = 1;
        for _ in 0..150 {
            published = publish(false);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        wait_until("the last frame is received", || {
            published = publish(true);
            std::thread::sleep(std::time::Duration::from_millis(5));
            received_last.load(Ordering::SeqCst) && threads.iter().all(|thread| thread.is_finished())
        });
        let counts: Vec<u32> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        (published, counts)
    });
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    assert!(counts.iter().all(|count| *count > 1), "{counts:?}");
    let encodes = server.metric("framelane_dashboard_encodes_total{channel=\"cam0\",size=\"tile\"}").unwrap();
    assert!(encodes >= 2.0 && encodes <= published as f64, "{encodes} encodes of {published} frames");
    assert_eq!(server.metric("framelane_dashboard_encodes_total{channel=\"cam0\",size=\"full\"}"), Some(0.0));
    assert_eq!(server.metric("framelane_dashboard_clients"), Some(2.0 * PAGES as f64));
    drop(stalled);
}
