//! Frames through a real channel: what a subscriber sees is what the file holds.

mod support;

use std::ops::ControlFlow;
use std::time::Duration;

use framelane::{
    Backpressure, CancelToken, Delivery, PixelFormat, PublisherOptions, RecvError, SubscriberOptions,
};
use framelane_video::{End, Rate, SourceOptions, Summary};
use support::{Folder, Taken, decoded_by_ffmpeg, packed};

/// Publishes with [`Backpressure::Block`] to one subscriber that takes every frame, and returns all it
/// received.
fn through_channel(options: SourceOptions, source: &str, slots: Option<usize>) -> (Vec<Taken>, Summary) {
    let folder = Folder::new();
    let mut source = options.rate(Rate::Max).open(source).unwrap();
    let slots = slots.unwrap_or_else(|| source.slots_needed(4));
    let mut publisher = PublisherOptions::new()
        .directory(folder.path())
        .slots(slots)
        .backpressure(Backpressure::Block)
        .create("video")
        .unwrap();
    let mut subscriber =
        SubscriberOptions::new().directory(folder.path()).delivery(Delivery::Every).open("video").unwrap();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut frames = Vec::new();
            loop {
                match subscriber.recv_timeout(Duration::from_secs(60)) {
                    Ok(frame) => frames.push(Taken {
                        sequence: Some(frame.sequence()),
                        layout: frame.layout().clone(),
                        info: frame.info().clone(),
                        bytes: frame.bytes().to_vec(),
                    }),
                    Err(RecvError::Closed) => return frames,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut told = 0;
        let summary = source
            .publish_to(&mut publisher, &mut |progress| {
                told += 1;
                assert_eq!(progress.sequence, Some(told));
                assert_eq!(progress.bytes.unwrap().len(), progress.layout.size_bytes());
                ControlFlow::Continue(())
            })
            .unwrap();
        publisher.drain(None).unwrap();
        publisher.close();
        (reading.join().unwrap(), summary)
    })
}

fn assert_same_pixels(frames: &[Taken], expected: &[u8], what: &str) {
    let all: Vec<u8> = frames.iter().flat_map(|frame| packed(&frame.layout, &frame.bytes)).collect();
    assert_eq!(all.len(), expected.len(), "{what}: bytes");
    assert!(all == expected, "{what}: the pixels differ");
}

const MOVING: &str = "-f lavfi -i testsrc2=size=322x182:rate=25:duration=2,noise=alls=30:allf=t";

#[test]
fn i420_decoded_into_slots_equals_the_output_of_ffmpeg() {
    let folder = Folder::new();
    for (name, arguments) in [
        ("h264.mp4", "-pix_fmt yuv420p -c:v libx264 -preset medium -bf 3 -refs 4 -threads 2"),
        ("hevc.mp4", "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params log-level=none"),
        ("vp8.webm", "-pix_fmt yuv420p -c:v libvpx -deadline realtime -cpu-used 8 -b:v 1M"),
        ("vp9.webm", "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M"),
        ("mpeg2.ts", "-pix_fmt yuv420p -c:v mpeg2video -bf 2 -b:v 2M"),
        ("mpeg1.mpg", "-pix_fmt yuv420p -c:v mpeg1video -bf 2 -b:v 2M"),
        ("full.mp4", "-pix_fmt yuvj420p -c:v libx264 -preset ultrafast"),
        (
            "interlaced.mp4",
            "-s 320x180 -pix_fmt yuv420p -flags +ildct+ilme -c:v libx264 -preset ultrafast -x264-params \
             tff=1",
        ),
    ] {
        let file = folder.make(name, &format!("{MOVING} {arguments}"));
        let native = if name == "full.mp4" { "yuvj420p" } else { "yuv420p" };
        let expected = decoded_by_ffmpeg(&file, &format!("-pix_fmt {native}"));
        let (frames, summary) = through_channel(SourceOptions::new().format(PixelFormat::I420), &file, None);
        assert_same_pixels(&frames, &expected, name);
        assert!(summary.direct > 0, "{name}: all pictures were copied");
        assert_eq!(summary.dropped + summary.decode_errors + summary.concealed, 0, "{name}");
        let numbers: Vec<_> = frames.iter().filter_map(|frame| frame.sequence).collect();
        assert_eq!(numbers, (1..=frames.len() as u64).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn no_picture_is_copied_when_no_reader_is_behind() {
    let folder = Folder::new();
    let file = folder.make("h264.mp4", &format!("{MOVING} -pix_fmt yuv420p -c:v libx264 -bf 3 -refs 4"));
    let channel = Folder::new();
    for (format, direct) in [(Some(PixelFormat::I420), true), (None, true), (Some(PixelFormat::Nv12), false)]
    {
        let mut source = SourceOptions::new().format(format).rate(Rate::Max).open(&file).unwrap();
        let mut publisher = PublisherOptions::new()
            .directory(channel.path())
            .slots(source.slots_needed(4))
            .create("video")
            .unwrap();
        let summary = source.publish_to(&mut publisher, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(summary.frames, 50);
        if direct {
            // The callback stops trying when the publishing thread is suspended with the lock in hand, so not
            // all for sure.
            assert!(summary.direct >= 45, "{} of 50 were decoded into their slot", summary.direct);
        } else {
            assert_eq!(summary.direct, 0);
        }
    }
}

#[test]
fn with_too_few_slots_pictures_are_copied_and_still_right() {
    let folder = Folder::new();
    let file = folder.make("h264.mp4", &format!("{MOVING} -pix_fmt yuv420p -c:v libx264 -bf 3 -refs 6"));
    let expected = decoded_by_ffmpeg(&file, "-pix_fmt yuv420p");
    for slots in [2, 3, 6] {
        let (frames, summary) =
            through_channel(SourceOptions::new().format(PixelFormat::I420), &file, Some(slots));
        assert_same_pixels(&frames, &expected, &format!("{slots} slots"));
        assert!(summary.direct < summary.frames);
    }
}

#[test]
fn formats_that_need_converting_go_through_the_channel_too() {
    let folder = Folder::new();
    let file =
        folder.make("ten.mkv", &format!("{MOVING} -pix_fmt yuv420p10le -c:v libx264 -preset ultrafast"));
    for (format, name) in
        [(PixelFormat::Bgr8, "bgr24"), (PixelFormat::P010, "p010le"), (PixelFormat::I420, "yuv420p")]
    {
        let (frames, summary) = through_channel(SourceOptions::new().format(format), &file, None);
        assert_same_pixels(&frames, &decoded_by_ffmpeg(&file, &format!("-pix_fmt {name}")), name);
        assert_eq!(summary.direct, 0);
        assert!(frames.iter().all(|frame| frame.layout.is_packed()));
    }
}

#[test]
fn a_file_that_changes_size_midway_changes_the_layout() {
    let folder = Folder::new();
    let small = folder.make(
        "small.h264",
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=0.4 -pix_fmt yuv420p -c:v libx264 -bf 2",
    );
    let large = folder.make(
        "large.h264",
        "-f lavfi -i testsrc2=size=320x240:rate=25:duration=0.4 -pix_fmt yuv420p -c:v libx264 -bf 2",
    );
    let both = folder.file("both.h264");
    let mut bytes = std::fs::read(&small).unwrap();
    bytes.extend(std::fs::read(&large).unwrap());
    bytes.extend(std::fs::read(&small).unwrap());
    std::fs::write(&both, bytes).unwrap();
    let file = both.to_str().unwrap();
    for (format, name) in [(PixelFormat::Bgr8, "bgr24"), (PixelFormat::I420, "yuv420p")] {
        let (frames, summary) = through_channel(SourceOptions::new().format(format), file, None);
        let sizes: Vec<_> =
            frames.iter().map(|frame| (frame.layout.width(), frame.layout.height())).collect();
        let expected = [vec![(160, 120); 10], vec![(320, 240); 10], vec![(160, 120); 10]].concat();
        assert_eq!(sizes, expected, "{name}");
        let small = decoded_by_ffmpeg(&small, &format!("-pix_fmt {name}"));
        let large = decoded_by_ffmpeg(&large, &format!("-pix_fmt {name}"));
        assert_same_pixels(&frames, &[small.clone(), large, small].concat(), name);
        assert_eq!(summary.frames, 30);
        // With a size of our own the layout stays.
        let (frames, _) =
            through_channel(SourceOptions::new().format(format).size(Some((64, 48))), file, None);
        assert!(frames.iter().all(|frame| (frame.layout.width(), frame.layout.height()) == (64, 48)));
        assert_eq!(frames.len(), 30);
    }
}

#[test]
fn without_a_reader_nothing_waits_and_nothing_is_dropped() {
    let folder = Folder::new();
    let mut publisher = PublisherOptions::new().directory(folder.path()).create("video").unwrap();
    let mut source = SourceOptions::new().rate(Rate::Max).count(Some(50)).open("testsrc=64x48").unwrap();
    let summary = source.publish_to(&mut publisher, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((summary.frames, summary.dropped, summary.end), (50, 0, End::Finished));
    assert_eq!(publisher.sequence(), 50);
}

#[test]
fn dropped_frames_are_told_and_counted() {
    let folder = Folder::new();
    let options = PublisherOptions::new().directory(folder.path()).slots(2).backpressure(Backpressure::Drop);
    let mut publisher = options.create("video").unwrap();
    let mut subscriber =
        SubscriberOptions::new().directory(folder.path()).delivery(Delivery::Newest).open("video").unwrap();
    let mut leases = Vec::new();
    let mut told = Vec::new();
    let mut source = SourceOptions::new().rate(Rate::Max).count(Some(5)).open("testsrc=64x48").unwrap();
    let summary = source
        .publish_to(&mut publisher, &mut |progress| {
            told.push(progress.sequence);
            leases.extend(subscriber.recv_timeout(Duration::ZERO));
            ControlFlow::Continue(())
        })
        .unwrap();
    // Frame 1 is leased while frame 2 is being published; from then on both slots are taken.
    assert_eq!(told, [Some(1), Some(2), None, None, None]);
    assert_eq!((summary.frames, summary.dropped, publisher.dropped()), (2, 3, 3));
}

#[test]
fn cancel_ends_a_wait_for_a_reader() {
    let folder = Folder::new();
    let file = folder.make("h264.mp4", &format!("{MOVING} -pix_fmt yuv420p -c:v libx264"));
    for format in [PixelFormat::I420, PixelFormat::Bgr8] {
        let channel = Folder::new();
        let stop = CancelToken::new();
        let mut publisher = PublisherOptions::new()
            .directory(channel.path())
            .slots(4)
            .backpressure(Backpressure::Block)
            .create("video")
            .unwrap();
        // Attached, and takes nothing: the publisher has to wait.
        let _subscriber = SubscriberOptions::new()
            .directory(channel.path())
            .delivery(Delivery::Every)
            .open("video")
            .unwrap();
        let options = SourceOptions::new().format(format).rate(Rate::Max).cancel(stop.clone());
        let mut source = options.open(&file).unwrap();
        let summary = source
            .publish_to(&mut publisher, &mut |progress| {
                if progress.frames == 3 {
                    stop.cancel();
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(summary.end, End::Stopped);
    }
}
