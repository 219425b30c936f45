//! Files of all kinds: whole, cut off, turned, of variable rate, without video, and no media at all.

mod support;

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use framelane::{CancelToken, ErrorKind, PixelFormat};
use framelane_video::{End, Rate, Repeat, SourceOptions};
use support::{Folder, clip, decoded_by_ffmpeg, largest_difference, take_all};

const TWO_SECONDS: &str = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 -pix_fmt yuv420p";

#[test]
fn containers_and_codecs_are_read() {
    let folder = Folder::new();
    for (name, arguments, codec) in [
        ("a.mp4", "-c:v libx264", "h264"),
        ("a.mkv", "-c:v libx265 -x265-params log-level=none -preset ultrafast", "hevc"),
        ("a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8", "vp9"),
        ("a.ivf", "-c:v libaom-av1 -cpu-used 8 -usage realtime -t 0.4", "av1"),
        ("a.flv", "-c:v flv1", "flv1"),
        ("b.flv", "-c:v libx264", "h264"),
        ("a.avi", "-c:v mpeg4", "mpeg4"),
        ("a.mov", "-c:v prores_ks -pix_fmt yuv422p10le -t 0.4", "prores"),
        ("a.mjpeg", "-c:v mjpeg -pix_fmt yuvj420p", "mjpeg"),
        ("a.gif", "-pix_fmt rgb8", "gif"),
        ("a.y4m", "", "rawvideo"),
        ("with:colon.mkv", "-c:v libx264", "h264"),
        ("a.png", "-frames:v 1 -pix_fmt rgb24", "png"),
    ] {
        let file = folder.make(name, &format!("{TWO_SECONDS} {arguments}"));
        let info = SourceOptions::new().open(&file).unwrap().info().clone();
        assert_eq!((info.codec.as_str(), info.width, info.height), (codec, 160, 120), "{name}");
        let (frames, summary) = take_all(SourceOptions::new(), &file);
        let expected = decoded_by_ffmpeg(&file, "-pix_fmt bgr24");
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
        assert!(largest_difference(&bytes, &expected) <= 2, "{name}");
        assert_eq!((summary.decode_errors, summary.warnings), (0, vec![]), "{name}");
    }
}

#[test]
fn file_named_like_a_pattern_is_one_file() {
    let folder = Folder::new();
    let other = folder.make("other.ppm", "-f lavfi -i color=red:size=64x48 -frames:v 1");
    let own = folder.make("own.ppm", "-f lavfi -i color=blue:size=32x16 -frames:v 1");
    for (name, others) in [
        ("a%d.ppm", ["a0.ppm", "a1.ppm"]),
        ("b%02d.ppm", ["b00.ppm", "b01.ppm"]),
        ("c*.ppm", ["c0.ppm", "c1.ppm"]),
        ("d%*.ppm", ["d0.ppm", "d1.ppm"]),
        ("e:%d.ppm", ["e:0.ppm", "e:1.ppm"]),
        ("f%%d.ppm", ["f%d.ppm", "f%0.ppm"]),
    ] {
        for name in others {
            std::fs::copy(&other, folder.file(name)).unwrap();
        }
        let file = folder.file(name);
        std::fs::copy(&own, &file).unwrap();
        let file = file.to_str().unwrap();
        let any = SourceOptions::new();
        let image = any.clone().input_format(Some("image2"));
        for (options, source) in [(&any, file), (&image, file), (&any, &*format!("file:{file}"))] {
            let (frames, summary) = take_all(options.clone(), source);
            let sizes: Vec<_> =
                frames.iter().map(|frame| (frame.layout.width(), frame.layout.height())).collect();
            assert_eq!(sizes, [(32, 16)], "{source}");
            assert_eq!(summary.warnings, Vec::<String>::new(), "{name}");
        }
        std::fs::remove_file(file).unwrap();
    }
    // Readers of other formats do not know the option, and take such names as they are.
    let file = folder.make("own.mkv", &format!("{TWO_SECONDS} -c:v mpeg4"));
    let named = folder.file("g%d.mkv");
    std::fs::rename(file, &named).unwrap();
    assert_eq!(SourceOptions::new().open(named.to_str().unwrap()).unwrap().info().width, 160);
}

#[test]
fn info_says_what_a_file_holds() {
    let folder = Folder::new();
    let file = folder.make(
        "a.mp4",
        &format!(
            "{TWO_SECONDS} -vf setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv -c:v libx264 \
             -colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
        ),
    );
    let source = SourceOptions::new().format(PixelFormat::Rgb8).size(Some((80, 60))).open(&file).unwrap();
    let info = source.info();
    assert_eq!(info.source, file);
    assert!(info.container.contains("mp4"));
    assert_eq!((info.pixel_format.as_str(), info.output_format), ("yuv420p", PixelFormat::Rgb8));
    assert_eq!(info.output_size, (80, 60));
    assert_eq!((info.fps, info.frames, info.duration), (Some(25.0), Some(50), Some(Duration::from_secs(2))));
    assert_eq!((info.color.matrix, info.color.primaries, info.color.transfer), (1, 1, 1));
    assert_eq!((info.rotation_degrees, info.seekable, info.live), (0, true, false));
}

#[test]
fn native_formats_are_kept_or_the_nearest_taken() {
    let folder = Folder::new();
    for (name, arguments, expected) in [
        ("i420.mkv", "-pix_fmt yuv420p -c:v libx264", PixelFormat::I420),
        ("nv12.nut", "-pix_fmt nv12 -c:v rawvideo", PixelFormat::Nv12),
        ("ten.mkv", "-pix_fmt yuv420p10le -c:v libx264", PixelFormat::P010),
        ("444.mkv", "-pix_fmt yuv444p -c:v libx264", PixelFormat::I420),
        ("gray.mkv", "-pix_fmt gray -c:v ffv1", PixelFormat::Gray8),
        ("rgb.mkv", "-pix_fmt bgr0 -c:v ffv1", PixelFormat::Bgr8),
        ("rgba.nut", "-pix_fmt rgba -c:v rawvideo", PixelFormat::Rgba8),
    ] {
        let file =
            folder.make(name, &format!("-f lavfi -i testsrc2=size=160x120:rate=25:duration=0.2 {arguments}"));
        let (frames, _) = take_all(SourceOptions::new().format(None), &file);
        assert_eq!(frames[0].layout.format(), expected, "{name}");
    }
}

#[test]
fn times_are_positions_in_the_media_and_keyframes_are_marked() {
    let folder = Folder::new();
    // An offset of the whole file and B-frames: neither shows.
    let file = folder
        .make("a.ts", &format!("{TWO_SECONDS} -c:v libx264 -bf 3 -g 10 -sc_threshold 0 -output_ts_offset 7"));
    let (frames, _) = take_all(SourceOptions::new(), &file);
    assert_eq!(frames.len(), 50);
    for (index, frame) in frames.iter().enumerate() {
        assert_eq!(frame.info.pts_ns, Some(index as i64 * 40_000_000));
        assert_eq!(frame.info.duration_ns, Some(40_000_000));
        assert_eq!(frame.info.keyframe, index % 10 == 0, "frame {index}");
    }
}

#[test]
fn a_variable_frame_rate_keeps_its_times() {
    let folder = Folder::new();
    // Frame n at n² / 25 s.
    let file = folder.make(
        "vfr.mkv",
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=0.4 -vf setpts=N*N/25/TB -fps_mode vfr \
         -enc_time_base 1:1000 -c:v libx264",
    );
    let (frames, _) = take_all(SourceOptions::new(), &file);
    let times: Vec<_> = frames.iter().filter_map(|frame| frame.info.pts_ns).collect();
    let expected: Vec<_> = (0..10_i64).map(|n| n * n * 40_000_000).collect();
    assert_eq!(times, expected);
}

#[test]
fn a_truncated_file_gives_what_it_has_and_a_warning() {
    let folder = Folder::new();
    for (name, arguments) in [
        ("a.mkv", "-c:v libx264"),
        ("a.flv", "-c:v libx264"),
        ("a.ts", "-c:v libx264"),
        ("a.mp4", "-c:v libx264 -movflags +faststart"),
        ("a.avi", "-c:v mpeg4"),
    ] {
        let file = folder.make(name, &format!("{TWO_SECONDS} -b:v 400k {arguments}"));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        for format in [PixelFormat::Bgr8, PixelFormat::I420] {
            let (frames, summary) = take_all(SourceOptions::new().format(format), &file);
            assert!((10..45).contains(&frames.len()), "{name}: {} frames", frames.len());
            assert_eq!(summary.end, End::Finished);
            assert!(
                !summary.warnings.is_empty() || name == "a.ts",
                "{name}: {} frames and not a word",
                frames.len()
            );
        }
    }
}

#[test]
fn damage_in_the_middle_is_counted_and_the_rest_delivered() {
    let folder = Folder::new();
    let file = folder.make("a.ts", &format!("{TWO_SECONDS} -c:v libx264 -g 10"));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    let mut state = 1_u32;
    for byte in &mut bytes[middle..middle + 3000] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    std::fs::write(&file, bytes).unwrap();
    let (frames, summary) = take_all(SourceOptions::new(), &file);
    assert!(frames.len() >= 30, "{} frames", frames.len());
    assert!(summary.damaged_packets + summary.decode_errors + summary.concealed > 0);
    assert!(!summary.warnings.is_empty());
    assert_eq!(frames.last().unwrap().info.pts_ns, Some(49 * 40_000_000));
}

#[test]
fn files_that_cannot_be_played_are_refused_with_a_hint() {
    let folder = Folder::new();
    let sound = folder.make("sound.m4a", "-f lavfi -i sine=duration=0.2");
    let text = folder.file("text.mp4");
    std::fs::write(&text, "not a film at all, only text. ".repeat(100)).unwrap();
    let empty = folder.file("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    let cut = folder.make("cut.mp4", &format!("{TWO_SECONDS} -c:v libx264"));
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let missing = folder.file("missing.mp4");
    for (file, kind, says) in [
        (sound.as_str(), ErrorKind::Damaged, "no video"),
        (text.to_str().unwrap(), ErrorKind::Damaged, "text.mp4"),
        (empty.to_str().unwrap(), ErrorKind::Damaged, "empty.mp4"),
        (cut.as_str(), ErrorKind::Damaged, "moov atom not found"),
        (missing.to_str().unwrap(), ErrorKind::NotFound, "No such file"),
        ("/dev/video99", ErrorKind::NotFound, "/dev/video99"),
        ("nonsense://host", ErrorKind::InvalidOption, "nonsense://host"),
    ] {
        let error = SourceOptions::new().open(file).err().unwrap_or_else(|| panic!("{file} was opened"));
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[test]
fn options_outside_their_range_are_refused() {
    let invalid = |options: SourceOptions, source: &str| {
        let error = options.open(source).err().unwrap_or_else(|| panic!("{source} was opened"));
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    };
    let folder = Folder::new();
    let file = folder.make("a.mp4", &format!("{TWO_SECONDS} -c:v libx264"));
    invalid(SourceOptions::new().size(Some((0, 10))), &file);
    invalid(SourceOptions::new().count(Some(0)), &file);
    invalid(SourceOptions::new().rate(Rate::Fps(0.0)), &file);
    invalid(SourceOptions::new().rate(Rate::Fps(f64::NAN)), &file);
    invalid(SourceOptions::new().format(PixelFormat::Detections), &file);
    invalid(SourceOptions::new().scaler("nonsense"), &file);
    invalid(SourceOptions::new().hwaccel(Some("nonsense")), &file);
    invalid(SourceOptions::new().input_format(Some("nonsense")), &file);
    invalid(SourceOptions::new().ffmpeg_option("nonsense", "1"), &file);
    invalid(SourceOptions::new().video_stream(Some(1)), &file);
    invalid(SourceOptions::new(), "testsrc=1x");
    assert_eq!("max".parse::<Rate>().unwrap(), Rate::Max);
    assert_eq!("29.97".parse::<Rate>().unwrap(), Rate::Fps(29.97));
    for wrong in ["", "fast", "0", "-1", "inf", "NaN"] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_and_auto_falls_back() {
    let folder = Folder::new();
    let file = folder.make("a.mp4", &format!("{TWO_SECONDS} -c:v libx264"));
    let (frames, _) = take_all(SourceOptions::new().hwaccel(Some("auto")), &file);
    assert_eq!(frames.len(), 50);
    if !std::path::Path::new("/dev/dri").exists() {
        let error = SourceOptions::new().hwaccel(Some("vaapi")).open(&file).err().unwrap();
        assert!(error.message().contains("vaapi") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn repeating_goes_on_in_time_and_ends_after_the_last_round() {
    let folder = Folder::new();
    for (name, arguments) in [
        ("a.mp4", "-c:v libx264 -bf 3"),
        ("a.mkv", "-c:v libx264 -bf 3"),
        ("a.ts", "-c:v libx264"),
        ("a.h264", "-c:v libx264 -bf 3"),
        ("a.y4m", ""),
        ("a.flv", "-c:v flv1"),
        ("a.gif", "-pix_fmt rgb8"),
    ] {
        let file = folder.make(
            name,
            &format!("-f lavfi -i testsrc2=size=160x120:rate=25:duration=0.4 -pix_fmt yuv420p {arguments}"),
        );
        let (once, _) = take_all(SourceOptions::new(), &file);
        assert_eq!(once.len(), 10, "{name}");
        let options = SourceOptions::new().repeat(Repeat::Times(NonZeroU32::new(3).unwrap()));
        let (frames, summary) = take_all(options, &file);
        assert_eq!((frames.len(), summary.rounds), (30, 3), "{name}: {:?}", summary.warnings);
        for (index, frame) in frames.iter().enumerate() {
            assert!(frame.bytes == once[index % 10].bytes, "{name}: frame {index} differs");
        }
        assert!(frames.windows(2).all(|two| two[0].info.pts_ns < two[1].info.pts_ns), "{name}");
    }
}

#[test]
fn endless_loop_ends_with_the_limit_the_callback_or_the_flag() {
    let folder = Folder::new();
    let file = folder.make("a.mp4", "-f lavfi -i testsrc2=size=160x120:rate=25:duration=0.2 -c:v libx264");
    let options = SourceOptions::new().rate(Rate::Max).repeat(Repeat::Forever);
    let mut limited = options.clone().count(Some(17)).open(&file).unwrap();
    let summary = limited.decode(&mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((summary.frames, summary.end), (17, End::Finished));
    let mut broken = options.clone().open(&file).unwrap();
    let until = |frames: u64| {
        move |progress: &framelane_video::Progress<'_>| {
            if progress.frames == frames { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    };
    let summary = broken.decode(&mut until(12)).unwrap();
    assert_eq!((summary.frames, summary.end), (12, End::Broken));
    // A second run starts from the beginning.
    let mut first = None;
    broken
        .decode(&mut |progress| {
            first = progress.info.pts_ns;
            ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(first, Some(0));
    let stop = CancelToken::new();
    let mut stopped = options.cancel(stop.clone()).open(&file).unwrap();
    let summary = stopped
        .decode(&mut |progress| {
            if progress.frames >= 11 {
                stop.cancel();
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(summary.end, End::Stopped);
    assert!(summary.frames >= 11);
}

#[test]
fn rates_hold_frames_back() {
    let folder = Folder::new();
    let file = folder.make("a.mp4", "-f lavfi -i testsrc2=size=160x120:rate=25:duration=0.4 -c:v libx264");
    for (rate, at_least_ms) in [(Rate::Realtime, 360), (Rate::Fps(50.0), 180), (Rate::Max, 0)] {
        let mut source = SourceOptions::new().rate(rate).open(&file).unwrap();
        let start = Instant::now();
        source.decode(&mut |_| ControlFlow::Continue(())).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(at_least_ms), "{rate:?}");
    }
}

#[test]
fn every_real_clip_is_decoded_as_ffmpeg_does() {
    for (name, codec) in [("nasa_13013.mp4", "h264"), ("h265_video.mp4", "hevc"), ("av1_video.mkv", "av1")] {
        let Some(file) = clip(name) else { continue };
        assert_eq!(SourceOptions::new().open(&file).unwrap().info().codec, codec);
        let (frames, summary) = take_all(SourceOptions::new(), &file);
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
        let difference = largest_difference(&bytes, &decoded_by_ffmpeg(&file, "-pix_fmt bgr24"));
        assert!(difference <= 2, "{name}: differs by {difference}");
        assert_eq!(summary.warnings, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_video_stream_can_be_chosen() {
    let Some(file) = clip("nasa_13013.mp4") else { return };
    for number in [0, 1] {
        let (frames, _) = take_all(SourceOptions::new().video_stream(Some(number)).count(Some(20)), &file);
        let expected = decoded_by_ffmpeg(&file, &format!("-map 0:v:{number} -frames:v 20 -pix_fmt bgr24"));
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
        assert!(largest_difference(&bytes, &expected) <= 2, "stream {number}");
    }
    let error = SourceOptions::new().video_stream(Some(2)).open(&file).err().unwrap();
    assert!(error.message().contains("2 video streams"), "{error}");
}
