//! Pictures are published upright, with the pixels of the `ffmpeg` program.

mod support;

use framelane::PixelFormat;
use framelane_video::{Rotate, SourceOptions};
use support::{Folder, Taken, clip, decoded_by_ffmpeg, ffmpeg, set_matrix, take_all};

const ONE: i32 = 1 << 16;
/// Matrix, clockwise degrees, mirrored. By hand: FFmpeg 5 writes matrices by other options than 7.
const ORIENTATIONS: [([i32; 4], u16, bool); 8] = [
    ([ONE, 0, 0, ONE], 0, false),
    ([0, ONE, -ONE, 0], 90, false),
    ([-ONE, 0, 0, -ONE], 180, false),
    ([0, -ONE, ONE, 0], 270, false),
    ([-ONE, 0, 0, ONE], 0, true),
    ([0, ONE, ONE, 0], 90, true),
    ([ONE, 0, 0, -ONE], 180, true),
    ([0, -ONE, -ONE, 0], 270, true),
];

fn bytes_of(frames: &[Taken]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect()
}

fn name_in_ffmpeg(format: PixelFormat) -> &'static str {
    match format {
        PixelFormat::Gray8 => "gray",
        PixelFormat::Gray16 => "gray16le",
        PixelFormat::Bgr8 => "bgr24",
        PixelFormat::Rgb8 => "rgb24",
        PixelFormat::Bgra8 => "bgra",
        PixelFormat::Rgba8 => "rgba",
        PixelFormat::I420 => "yuv420p",
        PixelFormat::Nv12 => "nv12",
        PixelFormat::Yuyv => "yuyv422",
        PixelFormat::P010 => "p010le",
        other => panic!("no video: {other}"),
    }
}

/// Every orientation of a clip in every format, against `ffmpeg`.
fn compare_all(codec: &str, pixels: &str, size: &str) {
    let folder = Folder::new();
    let straight = folder.make(
        "straight.mov",
        &format!(
            "-f lavfi -i testsrc2=size=70x50:rate=10:duration=0.2 -vf scale={size} -pix_fmt {pixels} {codec}"
        ),
    );
    for (matrix, degrees, mirrored) in ORIENTATIONS {
        let file = folder.file(&format!("{degrees}-{mirrored}.mov")).to_str().unwrap().to_owned();
        std::fs::copy(&straight, &file).unwrap();
        set_matrix(&file, matrix);
        let mut arguments = Vec::new();
        for &format in PixelFormat::VIDEO {
            let name = name_in_ffmpeg(format);
            let raw = folder.file(name).to_str().unwrap().to_owned();
            let line = format!("-map 0:v -fps_mode passthrough -pix_fmt {name} -f rawvideo {raw}");
            arguments.extend(line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        }
        let made = ffmpeg().args(["-filter_threads", "1", "-i", &file]).args(arguments).status().unwrap();
        assert!(made.success());
        for &format in PixelFormat::VIDEO {
            let options = SourceOptions::new().format(format);
            let info = options.open(&file).unwrap().info().clone();
            assert_eq!((info.rotation_degrees, info.mirrored), (degrees, mirrored));
            let (frames, summary) = take_all(options, &file);
            let (layout, info_of_frame) = (&frames[0].layout, &frames[0].info);
            assert_eq!((layout.width(), layout.height()), info.output_size);
            assert_eq!(info_of_frame.rotation_degrees, 0);
            assert_eq!(summary.warnings, Vec::<String>::new());
            // Framelane keeps the full range of gray pictures in YUV formats.
            if pixels == "gray" && !format.name().starts_with("gray") && !format.name().ends_with('8') {
                continue;
            }
            let expected = std::fs::read(folder.file(name_in_ffmpeg(format))).unwrap();
            assert!(
                bytes_of(&frames) == expected,
                "{codec} {pixels} {size}, {degrees} degrees, mirrored: {mirrored}, to {format}: differs by \
                 {}",
                support::largest_difference(&bytes_of(&frames), &expected)
            );
        }
    }
}

#[test]
fn turned_pictures_of_8_bits_equal_ffmpeg_in_every_format() {
    compare_all("-c:v libx264 -qp 0", "yuv420p", "64x48");
    compare_all("-c:v ffv1", "yuv420p", "67x45");
}

#[test]
fn turned_pictures_of_10_bits_equal_ffmpeg_in_every_format() {
    compare_all("-c:v ffv1", "yuv420p10le", "67x45");
}

#[test]
fn turned_pictures_of_422_equal_ffmpeg_in_every_format() {
    compare_all("-c:v ffv1", "yuv422p", "67x45");
    compare_all("-c:v prores_ks", "yuv422p10le", "64x48");
}

#[test]
fn turned_pictures_without_chroma_planes_equal_ffmpeg() {
    compare_all("-c:v ffv1", "gray", "67x45");
    compare_all("-c:v ffv1", "yuv444p", "67x45");
    compare_all("-c:v png", "rgb24", "67x45");
}

#[test]
fn turned_and_scaled_pictures_equal_ffmpeg() {
    let folder = Folder::new();
    for pixels in ["yuv420p", "yuv422p"] {
        let arguments =
            format!("-f lavfi -i testsrc2=size=66x44:rate=10:duration=0.2 -pix_fmt {pixels} -c:v ffv1");
        let file = folder.make(&format!("{pixels}.mov"), &arguments);
        set_matrix(&file, [0, ONE, -ONE, 0]);
        for format in [PixelFormat::Bgr8, PixelFormat::I420, PixelFormat::Gray8] {
            let options = SourceOptions::new().format(format).size(Some((60, 80)));
            let (frames, _) = take_all(options, &file);
            let arguments = format!("-s 60x80 -pix_fmt {}", name_in_ffmpeg(format));
            let expected = decoded_by_ffmpeg(&file, &arguments);
            assert!(bytes_of(&frames) == expected, "{pixels} to {format} differs");
        }
    }
}

#[test]
fn rotate_none_publishes_as_coded_and_reports_the_rotation() {
    let folder = Folder::new();
    let arguments = "-f lavfi -i testsrc2=size=64x48:rate=10:duration=0.2 -pix_fmt yuv420p -c:v libx264";
    let file = folder.make("a.mp4", arguments);
    let (straight, _) = take_all(SourceOptions::new(), &file);
    for (matrix, degrees, mirrored) in ORIENTATIONS.into_iter().skip(1) {
        let turned = folder.file("turned.mp4").to_str().unwrap().to_owned();
        std::fs::copy(&file, &turned).unwrap();
        set_matrix(&turned, matrix);
        let options = SourceOptions::new().rotate(Rotate::None);
        let info = options.open(&turned).unwrap().info().clone();
        assert_eq!((info.rotation_degrees, info.mirrored, info.output_size), (degrees, mirrored, (64, 48)));
        let (frames, _) = take_all(options, &turned);
        assert!(frames.iter().all(|frame| frame.info.rotation_degrees == degrees));
        assert_eq!(bytes_of(&frames), bytes_of(&straight));
    }
}

#[test]
fn rotation_by_45_degrees_is_reported_and_not_applied() {
    let folder = Folder::new();
    let arguments = "-f lavfi -i testsrc2=size=64x48:rate=10:duration=0.2 -pix_fmt yuv420p -c:v libx264";
    let file = folder.make("a.mp4", arguments);
    let (straight, _) = take_all(SourceOptions::new(), &file);
    let half = 46_341;
    set_matrix(&file, [half, half, -half, half]);
    let info = SourceOptions::new().open(&file).unwrap().info().clone();
    assert_eq!((info.rotation_degrees, info.odd_rotation_degrees), (0, Some(45)));
    let (frames, summary) = take_all(SourceOptions::new(), &file);
    assert_eq!(bytes_of(&frames), bytes_of(&straight));
    assert!(summary.warnings[0].contains("45"), "{:?}", summary.warnings);
}

/// Puts EXIF data with an orientation into a JPEG.
fn with_exif(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [
        b"\xFF\xE1\x00\x22Exif\0\0MM\x00\x2A\x00\x00\x00\x08\x00\x01".as_slice(),
        b"\x01\x12\x00\x03\x00\x00\x00\x01\x00",
        &[orientation],
        b"\x00\x00\x00\x00\x00\x00",
    ]
    .concat();
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
fn exif_orientation_of_a_jpeg_is_applied() {
    let folder = Folder::new();
    for pixels in ["yuvj420p", "yuvj422p", "yuvj444p"] {
        let arguments = format!(
            "-f lavfi -i testsrc2=size=70x50 -vf scale=67x45 -frames:v 1 -pix_fmt {pixels} -c:v mjpeg"
        );
        let jpeg = std::fs::read(folder.make("a.jpg", &arguments)).unwrap();
        for orientation in 1..=8 {
            let file = folder.file("turned.jpg").to_str().unwrap().to_owned();
            std::fs::write(&file, with_exif(&jpeg, orientation)).unwrap();
            let (frames, _) = take_all(SourceOptions::new(), &file);
            let expected = decoded_by_ffmpeg(&file, "-pix_fmt bgr24");
            assert!(bytes_of(&frames) == expected, "{pixels}, orientation {orientation}");
            let info = SourceOptions::new().open(&file).unwrap().info().clone();
            assert_eq!(info.output_size, if orientation < 5 { (67, 45) } else { (45, 67) });
            assert_eq!(frames[0].layout.width(), info.output_size.0);
        }
    }
}

#[test]
fn orientation_that_changes_midway_changes_the_size() {
    let folder = Folder::new();
    let arguments = "-f lavfi -i testsrc2=size=66x44 -frames:v 1 -pix_fmt yuvj420p -c:v mjpeg";
    let jpeg = std::fs::read(folder.make("a.jpg", arguments)).unwrap();
    let file = folder.file("all.mjpeg").to_str().unwrap().to_owned();
    let orientations = [1, 6, 3, 8, 1];
    let pictures = orientations.map(|orientation| with_exif(&jpeg, orientation));
    std::fs::write(&file, pictures.concat()).unwrap();
    let (frames, _) = take_all(SourceOptions::new(), &file);
    assert_eq!(frames.len(), pictures.len());
    for (frame, picture) in frames.iter().zip(&pictures) {
        let one = folder.file("one.jpg").to_str().unwrap().to_owned();
        std::fs::write(&one, picture).unwrap();
        assert!(frame.bytes == decoded_by_ffmpeg(&one, "-pix_fmt bgr24"));
    }
}

#[test]
fn orientation_in_h264_is_applied_though_slots_are_written() {
    let folder = Folder::new();
    let arguments = "-f lavfi -i testsrc2=size=64x48:rate=10:duration=0.5 -pix_fmt yuv420p -c:v libx264 \
                     -bsf:v h264_metadata=display_orientation=insert:rotate=90";
    let file = folder.make("a.h264", arguments);
    let source = SourceOptions::new().format(PixelFormat::I420).open(&file).unwrap();
    assert_eq!(source.info().output_size, (48, 64));
    for format in [PixelFormat::I420, PixelFormat::Bgr8] {
        let (frames, _) = take_all(SourceOptions::new().format(format), &file);
        // FFmpeg forgets the orientation after the first picture.
        let output = ffmpeg()
            .args(["-noautorotate", "-i", &file, "-vf", "transpose=cclock", "-f", "rawvideo", "-pix_fmt"])
            .args([name_in_ffmpeg(format), "-"])
            .output()
            .unwrap();
        assert!(bytes_of(&frames) == output.stdout, "{format}");
    }
}

#[test]
fn real_turned_and_mirrored_files_equal_ffmpeg() {
    for name in ["decord_video_90.mov", "rot90.mp4", "hflip.mp4"] {
        let Some(file) = clip(&format!("hard/{name}")) else { continue };
        for format in [PixelFormat::Bgr8, PixelFormat::I420] {
            let (frames, _) = take_all(SourceOptions::new().format(format), &file);
            let expected = decoded_by_ffmpeg(&file, &format!("-pix_fmt {}", name_in_ffmpeg(format)));
            assert!(bytes_of(&frames) == expected, "{name} to {format}");
        }
    }
}
