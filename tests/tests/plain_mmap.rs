//! The example that reads a live channel from the layout alone, with mmap and numpy.

use std::sync::atomic::{AtomicBool, Ordering};

use framelane::{FrameInfo, Layout, PixelFormat, Plane};
use framelane_tests::{Channels, Place};

#[test]
fn plain_python_reader_sees_whole_changing_frames() {
    let place = Place::new();
    let mut publisher = place.publisher().create("cam0/plain").unwrap();
    let Some(mut reader) = place.start_python("plain_reader.py", &["cam0/plain", "600"]) else { return };
    reader.numbers("ready");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let sequence = publisher.sequence() + 1;
                let (width, height) = ((16 + sequence % 300) as u32, (8 + sequence % 200) as u32);
                let format =
                    [PixelFormat::Gray8, PixelFormat::Bgr8, PixelFormat::Rgba8][sequence as usize % 3];
                // Padding before the rows and between them.
                let row = width as usize * [1, 3, 4][sequence as usize % 3];
                let plane = Plane { offset_bytes: 64, stride_bytes: row.next_multiple_of(64) };
                let size_bytes = plane.offset_bytes + plane.stride_bytes * height as usize;
                let layout = Layout::with_planes(format, width, height, &[plane], size_bytes).unwrap();
                let mut loan = publisher.loan(&layout).unwrap();
                for (y, line) in loan.plane_mut(0).chunks_mut(plane.stride_bytes).enumerate() {
                    for (x, byte) in line.iter_mut().take(row).enumerate() {
                        *byte = ((x + y) as u64 * sequence) as u8;
                    }
                }
                loan.publish(&FrameInfo::default().with_timestamp_ns(sequence * 1000));
            }
        });
        // Set before a failed check ends this thread, or the other thread would not end.
        let counts = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reader.numbers("end")));
        done.store(true, Ordering::Release);
        let counts = counts.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        println!("{} frames up to number {}, {} shapes", counts[0], counts[1], counts[2]);
        assert_eq!(counts[0], 600);
    });
    assert!(reader.end().success());
    publisher.close();
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn a_plain_python_reader_is_told_that_the_channel_is_closed() {
    let place = Place::new();
    let publisher = place.publisher().create("c").unwrap();
    let Some(mut reader) = place.start_python("plain_reader.py", &["c", "1"]) else { return };
    reader.numbers("ready");
    publisher.close();
    assert_eq!(reader.line(), None, "RuntimeError: the channel is closed");
    assert!(!reader.end().success());
}
