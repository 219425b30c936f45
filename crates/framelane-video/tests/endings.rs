//! Files whose end is damaged, missing or only looks so, and inputs that are no single file.

mod support;

use std::num::NonZeroU32;

use framelane::ErrorKind;
use framelane_video::{Rate, Repeat, SourceOptions};
use support::{Folder, clip, decoded_by_ffmpeg, take_all};

const TWO_SECONDS: &str = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=2 -pix_fmt yuv420p";

#[test]
fn damaged_last_packets_leave_all_good_pictures() {
    for (name, pictures) in [("tail3.mp4", 47), ("corrupt.mkv", 2)] {
        let Some(file) = clip(&format!("hard/{name}")) else { continue };
        let (frames, summary) = take_all(SourceOptions::new(), &file);
        assert_eq!(frames.len(), pictures, "{name}: {:?}", summary.warnings);
        assert!(summary.decode_errors > 0 && !summary.warnings.is_empty(), "{name}");
    }
}

#[test]
fn damaged_last_packets_of_a_new_file_leave_what_ffmpeg_decodes() {
    let folder = Folder::new();
    let file = folder.make("a.mp4", &format!("{TWO_SECONDS} -c:v libx264 -bf 2 -movflags +faststart"));
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 300..].fill(0xFF);
    std::fs::write(&file, bytes).unwrap();
    let (frames, _) = take_all(SourceOptions::new(), &file);
    let expected = decoded_by_ffmpeg(&file, "-pix_fmt bgr24").len() / (160 * 120 * 3);
    assert_eq!(frames.len(), expected);
}

#[test]
fn sound_longer_than_the_picture_is_no_cut() {
    let folder = Folder::new();
    let sound = "-f lavfi -i sine=duration=4";
    for (name, arguments) in [
        ("a.mkv", "-c:v libx264"),
        ("a.mp4", "-c:v libx264"),
        ("a.flv", "-c:v flv1 -ar 44100"),
        ("a.ts", "-c:v libx264"),
        ("a.avi", "-c:v mpeg4"),
    ] {
        let file = folder.make(name, &format!("{sound} {TWO_SECONDS} {arguments}"));
        let (frames, summary) = take_all(SourceOptions::new(), &file);
        assert_eq!((frames.len(), summary.warnings), (50, vec![]), "{name}");
    }
    if let Some(file) = clip("hard/av_long.mkv") {
        assert_eq!(take_all(SourceOptions::new(), &file).1.warnings, Vec::<String>::new());
    }
}

#[test]
fn cut_file_with_sound_is_reported() {
    let folder = Folder::new();
    let sound = "-f lavfi -i sine=duration=2";
    for (name, arguments) in [
        ("a.mkv", "-c:v libx264"),
        ("a.flv", "-c:v flv1 -ar 44100"),
        ("a.mp4", "-c:v libx264 -movflags +faststart"),
        ("a.avi", "-c:v mpeg4"),
    ] {
        let file = folder.make(name, &format!("{sound} {TWO_SECONDS} {arguments}"));
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let (_, summary) = take_all(SourceOptions::new(), &file);
        assert!(summary.warnings.iter().any(|warning| warning.contains("cut off")), "{name}: {summary:?}");
    }
}

#[test]
fn raw_stream_whose_length_is_a_guess_is_no_cut() {
    let folder = Folder::new();
    // A bit rate in the header that the stream does not reach.
    let file =
        folder.make("a.m2v", &format!("{TWO_SECONDS} -c:v mpeg2video -b:v 100k -maxrate 100k -bufsize 2M"));
    let (frames, summary) = take_all(SourceOptions::new(), &file);
    assert_eq!((frames.len(), summary.warnings), (50, vec![]));
}

#[test]
fn animated_webp_is_not_called_damaged() {
    let Some(file) = clip("hard/anim.webp") else { return };
    let mut source = match SourceOptions::new().open(&file) {
        Ok(source) => source,
        Err(error) => panic!("{error}"),
    };
    match source.decode(&mut |_| std::ops::ControlFlow::Continue(())) {
        // A later FFmpeg decodes it.
        Ok(summary) => assert!(summary.frames > 0),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(error.message().contains("animated WebP"), "{error}");
            assert!(error.hint().unwrap().contains("convert"), "{error}");
        }
    }
}

#[test]
fn image_sequence_is_repeated_by_pattern_and_by_glob() {
    let folder = Folder::new();
    let arguments = "-f lavfi -i testsrc2=size=64x48:rate=25:duration=0.2 -start_number 7";
    let pattern = folder.make("img%03d.png", arguments);
    let glob = folder.file("img*.png").to_str().unwrap().to_owned();
    for (source, start) in [(&pattern, Some("7")), (&glob, None)] {
        let mut options = SourceOptions::new().rate(Rate::Max);
        if let Some(start) = start {
            options = options.ffmpeg_option("start_number", start);
        }
        let (once, _) = take_all(options.clone(), source);
        assert_eq!(once.len(), 5, "{source}");
        let twice = options.clone().repeat(Repeat::Times(NonZeroU32::new(2).unwrap()));
        let (frames, summary) = take_all(twice, source);
        assert_eq!((frames.len(), summary.rounds, summary.warnings), (10, 2, vec![]), "{source}");
        assert!((0..10).all(|index| frames[index].bytes == once[index % 5].bytes), "{source}");
        assert!(!options.open(source).unwrap().info().live, "{source}");
    }
    let error = SourceOptions::new().open(&pattern).err().unwrap();
    assert!(error.hint().unwrap().contains("start_number"), "{error}");
}

#[test]
fn empty_file_is_reported_as_empty() {
    let folder = Folder::new();
    for name in ["empty.mp4", "empty.png"] {
        let file = folder.file(name);
        std::fs::write(&file, "").unwrap();
        let error = SourceOptions::new().open(&file).err().unwrap();
        assert!(error.message().contains("found no bytes"), "{error}");
    }
}

#[test]
fn file_name_that_is_not_utf8_is_read_and_repeated() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    let file = folder.make("a.mkv", &format!("{TWO_SECONDS} -c:v libx264 -t 0.2"));
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"gr\xFC:n.mkv"));
    std::fs::rename(file, &path).unwrap();
    let options = SourceOptions::new().rate(Rate::Max).repeat(Repeat::Times(NonZeroU32::new(2).unwrap()));
    let summary = options.open(&path).unwrap().decode(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((summary.frames, summary.rounds), (10, 2));
}
