//! The test pattern: the same in every run and in every format, and moving.

mod support;

use framelane::PixelFormat;
use framelane_video::{Repeat, SourceOptions};
use support::take_all;

#[test]
fn frames_are_the_same_in_every_run_and_differ_from_each_other() {
    for &format in PixelFormat::VIDEO {
        let options = SourceOptions::new().format(format).count(Some(5)).repeat(Repeat::Forever);
        let (first, summary) = take_all(options.clone(), "testsrc=322x242@50");
        let (second, _) = take_all(options, "testsrc=322x242@50");
        assert_eq!(first, second, "{format}");
        assert_eq!((first.len(), summary.frames), (5, 5));
        assert!(first.windows(2).all(|two| two[0].bytes != two[1].bytes), "{format}");
        let times: Vec<_> = first.iter().filter_map(|frame| frame.info.pts_ns).collect();
        assert_eq!(times, [0, 20_000_000, 40_000_000, 60_000_000, 80_000_000]);
    }
}

#[test]
fn the_number_of_the_frame_can_be_read_from_its_pixels() {
    let (frames, _) =
        take_all(SourceOptions::new().format(PixelFormat::Gray8).count(Some(8)), "testsrc=640x480");
    // The digits begin six dots from the corner, in a box drawn over the moving bar.
    let dot = 4;
    let white = |bytes: &[u8], x: usize, y: usize| bytes[(6 + y) * dot * 640 + (6 + x) * dot] > 200;
    // Top rows of the digits 1 to 8.
    let tops = ["..#..", ".###.", "#####", "...#.", "#####", "..##.", "#####", ".###."];
    for (frame, top) in frames.iter().zip(tops) {
        let row: String = (0..5).map(|x| if white(&frame.bytes, x, 0) { '#' } else { '.' }).collect();
        assert_eq!(row, top);
    }
}

#[test]
fn rgb_and_yuv_patterns_show_the_same_picture() {
    let luminance =
        |format| take_all(SourceOptions::new().format(format).count(Some(1)), "testsrc=320x240").0.remove(0);
    let gray = luminance(PixelFormat::Gray8);
    let i420 = luminance(PixelFormat::I420);
    for (full, limited) in gray.bytes.iter().zip(&i420.bytes[..320 * 240]) {
        let expected = 16.0 + f64::from(*full) * 219.0 / 255.0;
        assert!((expected - f64::from(*limited)).abs() <= 1.0);
    }
}
