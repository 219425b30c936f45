//! All pixels agree with those of the `ffmpeg` program, for every colour space and range.

mod support;

use framelane::{ColorRange, PixelFormat};
use framelane_video::SourceOptions;
use support::{Folder, Taken, decoded_by_ffmpeg, largest_difference, take_all};

/// Every pixel of every frame is within 2 levels.
const TOLERANCE: u8 = 2;

struct Case {
    matrix: &'static str,
    range: &'static str,
    pixels: &'static str,
    codec: &'static str,
    size: &'static str,
}

/// Noise over a test pattern: all levels of all components meet.
fn clip(folder: &Folder, case: &Case) -> String {
    let Case { matrix, range, pixels, codec, size } = case;
    let lossless = match *codec {
        "libx264" => "-qp 0 -preset ultrafast",
        _ => "-x265-params lossless=1:log-level=none -preset ultrafast",
    };
    // The names of the scale filter, of which there are fewer than of matrices.
    let conversion = match *matrix {
        "bt470bg" | "unspecified" => "smpte170m",
        "bt2020nc" => "bt2020",
        other => other,
    };
    // Said twice: FFmpeg 5 takes it from the options, 7 from the frames.
    let (said, options) = match *matrix {
        "unspecified" => ("colorspace=unknown".to_owned(), String::new()),
        named => (
            format!("colorspace={named}:color_primaries=bt709:color_trc=bt709"),
            format!("-colorspace {named} -color_primaries bt709 -color_trc bt709"),
        ),
    };
    folder.make(
        &format!("{matrix}-{range}-{pixels}-{codec}-{size}.mkv"),
        &format!(
            "-f lavfi -i testsrc2=size={size}:rate=10:duration=0.4,noise=alls=80:allf=t,\
             scale=out_color_matrix={conversion}:out_range={range},format={pixels},setparams={said}:range={range} \
             -c:v {codec} {lossless} {options} -color_range {range}"
        ),
    )
}

fn bytes_of(frames: &[Taken]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect()
}

#[test]
fn bgr8_equals_ffmpeg_for_every_matrix_range_and_depth() {
    let folder = Folder::new();
    let mut seen = 0;
    for matrix in ["bt709", "smpte170m", "bt470bg", "bt2020nc", "unspecified"] {
        for range in ["tv", "pc"] {
            for (pixels, codec) in [
                ("yuv420p", "libx264"),
                ("yuv420p10le", "libx264"),
                ("yuv444p", "libx264"),
                ("yuv420p", "libx265"),
                ("yuv420p10le", "libx265"),
            ] {
                // Rows that end on a vector's boundary are written in place, others by way of a buffer.
                for size in ["320x180", "322x182"] {
                    let case = Case { matrix, range, pixels, codec, size };
                    let file = clip(&folder, &case);
                    let (frames, summary) = take_all(SourceOptions::new(), &file);
                    let expected = decoded_by_ffmpeg(&file, "-pix_fmt bgr24");
                    let difference = largest_difference(&bytes_of(&frames), &expected);
                    assert!(
                        difference <= TOLERANCE,
                        "{matrix} {range} {pixels} {codec} {size}: differs by {difference}"
                    );
                    assert_eq!((frames.len(), summary.frames), (4, 4));
                    assert_eq!(summary.warnings, Vec::<String>::new());
                    assert_eq!(frames[0].info.color.range, ColorRange::Full);
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 100);
}

#[test]
fn the_two_matrices_and_the_two_ranges_give_different_pixels() {
    // Else the comparison above would also pass with the colour space ignored.
    let folder = Folder::new();
    let file = |matrix, range| {
        // The same samples in each file, marked as another colour space.
        folder.make(
            &format!("same-{matrix}-{range}.mkv"),
            &format!(
                "-f lavfi -i testsrc2=size=320x180:rate=10:duration=0.1,format=yuv420p,\
                 setparams=colorspace={matrix}:range={range} -c:v libx264 -qp 0 -colorspace {matrix} -color_range {range}"
            ),
        )
    };
    let pixels = |matrix, range| bytes_of(&take_all(SourceOptions::new(), &file(matrix, range)).0);
    let reference = pixels("bt709", "tv");
    assert!(largest_difference(&reference, &pixels("smpte170m", "tv")) > 10);
    assert!(largest_difference(&reference, &pixels("bt709", "pc")) > 10);
}

#[test]
fn scaled_and_converted_pixels_agree_with_ffmpeg() {
    let folder = Folder::new();
    let case = Case { matrix: "bt709", range: "tv", pixels: "yuv420p", codec: "libx264", size: "320x180" };
    let file = clip(&folder, &case);
    for (format, name) in [
        (PixelFormat::Bgr8, "bgr24"),
        (PixelFormat::Rgb8, "rgb24"),
        (PixelFormat::Bgra8, "bgra"),
        (PixelFormat::Rgba8, "rgba"),
        (PixelFormat::I420, "yuv420p"),
        (PixelFormat::Nv12, "nv12"),
        (PixelFormat::Yuyv, "yuyv422"),
        (PixelFormat::P010, "p010le"),
    ] {
        for (width, height) in [(320, 180), (640, 360), (160, 90), (202, 118)] {
            let options = SourceOptions::new().format(format).size(Some((width, height)));
            let (frames, _) = take_all(options, &file);
            let arguments = format!("-s {width}x{height} -pix_fmt {name}");
            let expected = decoded_by_ffmpeg(&file, &arguments);
            let difference = largest_difference(&bytes_of(&frames), &expected);
            assert!(difference <= TOLERANCE, "{name} {width}x{height}: differs by {difference}");
        }
    }
}

#[test]
fn gray8_is_the_luminance_in_full_range() {
    // By its definition, not by the ffmpeg program: version 9 makes something else of it.
    let folder = Folder::new();
    for range in ["tv", "pc"] {
        let case = Case { matrix: "bt709", range, pixels: "yuv420p", codec: "libx264", size: "320x180" };
        let file = clip(&folder, &case);
        let (gray, _) = take_all(SourceOptions::new().format(PixelFormat::Gray8), &file);
        let (i420, _) = take_all(SourceOptions::new().format(PixelFormat::I420), &file);
        for (gray, i420) in gray.iter().zip(&i420) {
            let expected: Vec<u8> =
                i420.bytes[..320 * 180]
                    .iter()
                    .map(|&y| {
                        if range == "pc" { y } else { ((f64::from(y) - 16.0) * 255.0 / 219.0).round() as u8 }
                    })
                    .collect();
            assert!(largest_difference(&gray.bytes, &expected) <= TOLERANCE, "{range}");
        }
    }
}

#[test]
fn gray_of_ten_bit_video_equals_ffmpeg_in_both_ranges() {
    let folder = Folder::new();
    let mut files: Vec<_> = ["tv", "pc"]
        .map(|range| {
            let pixels = "yuv420p10le";
            clip(&folder, &Case { matrix: "bt709", range, pixels, codec: "libx265", size: "320x180" })
        })
        .into();
    files.extend(support::clip("hard/hevc10_full.mp4"));
    for file in files {
        for (format, name) in [(PixelFormat::Gray8, "gray"), (PixelFormat::Gray16, "gray16le")] {
            let (frames, _) = take_all(SourceOptions::new().format(format), &file);
            let expected = decoded_by_ffmpeg(&file, &format!("-pix_fmt {name}"));
            assert!(bytes_of(&frames) == expected, "{file} to {name} differs");
        }
    }
}

#[test]
fn scaler_flags_are_those_of_ffmpeg() {
    let folder = Folder::new();
    let case = Case { matrix: "bt709", range: "tv", pixels: "yuv420p", codec: "libx264", size: "320x180" };
    let file = clip(&folder, &case);
    for flags in [
        "bilinear",
        "lanczos+accurate_rnd",
        "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp",
        "neighbor",
    ] {
        let options = SourceOptions::new().size(Some((256, 144))).scaler(flags);
        let (frames, _) = take_all(options, &file);
        let expected = decoded_by_ffmpeg(&file, &format!("-s 256x144 -sws_flags {flags} -pix_fmt bgr24"));
        let difference = largest_difference(&bytes_of(&frames), &expected);
        assert!(difference <= TOLERANCE, "{flags}: differs by {difference}");
    }
}

#[test]
fn frames_say_the_colour_of_what_was_published() {
    let folder = Folder::new();
    let case = Case { matrix: "bt709", range: "pc", pixels: "yuv420p", codec: "libx264", size: "320x180" };
    let file = clip(&folder, &case);
    let color = |format| take_all(SourceOptions::new().format(format), &file).0[0].info.color;
    let i420 = color(PixelFormat::I420);
    assert_eq!((i420.matrix, i420.primaries, i420.transfer, i420.range), (1, 1, 1, ColorRange::Full));
    let bgr8 = color(PixelFormat::Bgr8);
    assert_eq!((bgr8.matrix, bgr8.primaries, bgr8.range), (0, 1, ColorRange::Full));
    assert_eq!(color(PixelFormat::P010).range, ColorRange::Full);
    assert_eq!(color(PixelFormat::Gray8).range, ColorRange::Full);
}
