//! Links that carry frames in each codec.

mod support;

use framelane::*;
use support::{Served, gray, open};

/// A picture that moves: bright squares on a slope.
fn picture(format: PixelFormat, number: u64) -> (Layout, Vec<u8>) {
    let layout = Layout::packed(format, 96, 64).unwrap();
    let mut bytes = vec![0; layout.size_bytes()];
    let row_bytes = layout.planes()[0].stride_bytes;
    for (at, byte) in bytes.iter_mut().enumerate() {
        let (row, column) = (at / row_bytes, at % row_bytes);
        let square = (row / 16 + column / 48 + number as usize).is_multiple_of(3);
        *byte = (if square { 160 } else { 40 } + row / 2) as u8;
    }
    (layout, bytes)
}

/// The mean difference of two pictures.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

#[test]
fn pictures_arrive_in_their_own_format_in_every_codec() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    // 30 frames a second, from which H.264 computes the bits of each, across all channels.
    let mut timestamp_ns = 0;
    let mut next = || {
        timestamp_ns += 1_000_000_000 / 30;
        FrameInfo::default().with_timestamp_ns(timestamp_ns)
    };
    for (codec, most) in [("lz4", 0.0), ("jpeg:95", 6.0), ("h264:8M", 6.0)] {
        for format in [PixelFormat::Bgr8, PixelFormat::I420, PixelFormat::Gray8] {
            let mut publisher = served.publisher("cam0");
            let (layout, bytes) = picture(format, 1);
            publisher.send(&layout, &next(), &bytes).unwrap();
            let (mut subscriber, _directory) =
                open(&served.url(&format!("cam0?codec={codec}")), Delivery::Newest).unwrap();
            let mut last = 0;
            for number in 2..20 {
                let frame = subscriber.recv().unwrap();
                let origin = frame.origin().sequence;
                assert!(origin > last, "{origin} after {last}");
                last = origin;
                assert_eq!((frame.format(), frame.width(), frame.height()), (format, 96, 64), "{codec}");
                let found = difference(frame.bytes(), &picture(format, origin).1);
                assert!(found <= most, "{codec} {format} frame {origin}: {found}");
                publisher.send(&layout, &next(), &picture(format, number).1).unwrap();
            }
        }
    }
}

#[test]
fn what_is_no_picture_crosses_every_codec_without_loss() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let depths = PixelFormat::Matrix(MatrixType::new(Depth::F32, 1).unwrap());
    let layout = Layout::packed(depths, 33, 7).unwrap();
    let bytes: Vec<u8> = (0..layout.size_bytes()).map(|at| (at * 7 % 251) as u8).collect();
    for codec in ["lz4", "jpeg:50", "h264:1M"] {
        let mut publisher = served.publisher("depth");
        publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
        let (mut subscriber, _directory) =
            open(&served.url(&format!("depth?codec={codec}&size=10x10")), Delivery::Newest).unwrap();
        let frame = subscriber.recv().unwrap();
        assert_eq!((frame.layout(), frame.bytes()), (&layout, &bytes[..]), "{codec}");
    }
}

#[test]
fn size_and_format_change_during_h264_with_scaling() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut publisher = served.publisher("cam0");
    publisher.send(&gray(64, 48), &FrameInfo::default(), &[90; 64 * 48]).unwrap();
    let (mut native, _native_directory) = open(&served.url("cam0?codec=h264:2M"), Delivery::Newest).unwrap();
    let (mut small, _small_directory) =
        open(&served.url("cam0?codec=h264:2M&size=32x24"), Delivery::Newest).unwrap();
    for (format, width, height) in [
        (PixelFormat::Gray8, 64, 48),
        (PixelFormat::Bgr8, 64, 48),
        (PixelFormat::Bgr8, 130, 50),
        (PixelFormat::I420, 31, 17),
    ] {
        let layout = Layout::packed(format, width, height).unwrap();
        publisher.send(&layout, &FrameInfo::default(), &vec![90; layout.size_bytes()]).unwrap();
        for (subscriber, (width, height)) in [(&mut native, (width, height)), (&mut small, (32, 24))] {
            // The previous frame may still be in flight.
            let frame = loop {
                let frame = subscriber.recv().unwrap();
                if frame.origin().sequence == publisher.sequence() {
                    break frame;
                }
            };
            assert_eq!((frame.format(), frame.width(), frame.height()), (format, width, height));
        }
    }
}

#[test]
fn images_are_scaled_and_other_frames_are_not_in_any_order() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let mut publisher = served.publisher("mixed");
    let depths = PixelFormat::Matrix(MatrixType::new(Depth::F32, 1).unwrap());
    let matrix = Layout::packed(depths, 8, 6).unwrap();
    let picture = gray(64, 48);
    let mut send = |layout: &Layout| {
        publisher.send(layout, &FrameInfo::default(), &vec![7; layout.size_bytes()]).unwrap().unwrap()
    };
    let mut sequence = send(&picture);
    let (mut subscriber, _directory) =
        open(&served.url("mixed?codec=lz4&size=32x24"), Delivery::Newest).unwrap();
    for layout in [&matrix, &picture, &matrix] {
        let frame = subscriber.recv().unwrap();
        assert_eq!(frame.origin().sequence, sequence);
        let expected = if frame.format() == depths { (8, 6) } else { (32, 24) };
        assert_eq!((frame.width(), frame.height()), expected);
        sequence = send(layout);
    }
}
