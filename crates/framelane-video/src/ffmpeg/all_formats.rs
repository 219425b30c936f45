//! Conversions from every format that swscale reads to every format that framelane writes, against the
//! `ffmpeg` program.

use std::ffi::c_int;
use std::path::Path;
use std::process::Command;

use ff::AVPixelFormat as Av;
use ffmpeg_sys_next as ff;
use framelane::{Color, ColorRange, Layout, PixelFormat};

use super::picture::Picture;
use super::pixel;
use super::scale::Scaler;

/// Rows of whole vectors: `ffmpeg` and framelane then run the same code of swscale.
const SIZE: (u32, u32) = (64, 16);
/// More inputs than these in one process are slower, not faster.
const BATCH: usize = 16;
const RANGES: [(ColorRange, &str); 3] =
    [(ColorRange::Limited, "tv"), (ColorRange::Full, "pc"), (ColorRange::Unspecified, "unknown")];

/// The formats of pictures in memory that swscale reads.
fn sources() -> Vec<Av> {
    super::init();
    let all = (0..Av::AV_PIX_FMT_NB as c_int).filter_map(pixel::known);
    // SAFETY: looks in a constant table.
    all.filter(|format| unsafe { ff::sws_isSupportedInput(*format) } != 0).collect()
}

/// One thread: with more, swscale converts in slices, whose edges differ for some formats.
fn ffmpeg(arguments: &[String]) {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-filter_threads", "1"])
        .args(arguments)
        .output()
        .expect("the ffmpeg program runs");
    assert!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(str::to_owned)
}

fn in_folder(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// A picture of noise in each format, made by the `ffmpeg` program where swscale writes the format.
fn make_pictures(folder: &Path, formats: &[Av]) {
    let (width, height) = SIZE;
    let source = format!("-f lavfi -i testsrc2=size={width}x{height},noise=alls=90:all_seed=7");
    for batch in formats.chunks(4 * BATCH) {
        let mut arguments: Vec<_> = words(&source).collect();
        for format in batch {
            let name = pixel::name(*format as c_int);
            let path = in_folder(folder, &format!("{name}.raw"));
            // SAFETY: looks in a constant table.
            if unsafe { ff::sws_isSupportedOutput(*format) } == 0 {
                let bytes = size_bytes(*format);
                let noise = (0..bytes as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
                std::fs::write(path, noise.collect::<Vec<_>>()).unwrap();
                continue;
            }
            arguments.extend(words(&format!("-map 0:v -frames:v 1 -pix_fmt {name} -f rawvideo")));
            arguments.push(path);
        }
        ffmpeg(&arguments);
    }
}

fn size_bytes(format: Av) -> usize {
    // SAFETY: computes from constant tables.
    let size = unsafe { ff::av_image_get_buffer_size(format, SIZE.0 as c_int, SIZE.1 as c_int, 1) };
    usize::try_from(size).unwrap()
}

/// Returns framelane's conversion of the picture's bytes.
fn converted(scaler: &mut Scaler, bytes: &[u8], from: Av, range: ColorRange, to: PixelFormat) -> Vec<u8> {
    let mut data = [std::ptr::null_mut::<u8>(); 4];
    let mut stride = [0 as c_int; 4];
    // SAFETY: computes pointers into `bytes` and strides; writes to four elements of each array.
    let size = unsafe {
        ff::av_image_fill_arrays(
            data.as_mut_ptr(),
            stride.as_mut_ptr(),
            bytes.as_ptr(),
            from,
            SIZE.0 as c_int,
            SIZE.1 as c_int,
            1,
        )
    };
    assert!(usize::try_from(size).unwrap() + Picture::SLACK <= bytes.len());
    let color = Color { range, ..Color::default() };
    let picture =
        Picture::of_planes(SIZE, from as c_int, color, data.map(<*mut u8>::cast_const), stride, bytes);
    let layout = Layout::packed(to, SIZE.0, SIZE.1).unwrap();
    let mut out = vec![0; layout.size_bytes()];
    scaler.convert(&picture, &layout, &mut out).unwrap();
    out
}

/// The filter of the `ffmpeg` program. Between YUV formats framelane keeps the range, and gray is always full
/// range.
fn filter(from: Av, range: &str, to: PixelFormat) -> String {
    let name = pixel::name(pixel::to_av(to).unwrap());
    let facts = pixel::facts(from as c_int).unwrap();
    let keeps = matches!(to, PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuyv | PixelFormat::P010);
    let full = keeps && !facts.rgb && (range == "pc" || (range == "unknown" && facts.full_range));
    if full { format!("scale=out_range=pc,format={name}") } else { format!("format={name}") }
}

/// The largest difference of each conversion that differs.
fn differences(formats: &[Av], targets: &[PixelFormat]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    make_pictures(folder.path(), formats);
    let pairs: Vec<_> = formats.iter().flat_map(|format| RANGES.map(|range| (*format, range))).collect();
    let mut scaler = Scaler::new("bicubic").unwrap();
    let mut wrong = Vec::new();
    for batch in pairs.chunks(BATCH) {
        let mut arguments = Vec::new();
        for (format, (_, range)) in batch {
            let name = pixel::name(*format as c_int);
            let (width, height) = SIZE;
            arguments.extend(words(&format!(
                "-color_range {range} -f rawvideo -pixel_format {name} -video_size {width}x{height} -i"
            )));
            arguments.push(in_folder(folder.path(), &format!("{name}.raw")));
        }
        for (input, (format, (_, range))) in batch.iter().enumerate() {
            for target in targets {
                let filter = filter(*format, range, *target);
                arguments.extend(words(&format!("-map {input}:v -frames:v 1 -vf {filter} -f rawvideo")));
                arguments.push(in_folder(folder.path(), &format!("{input}-{target}")));
            }
        }
        ffmpeg(&arguments);
        for (input, (format, (range, range_name))) in batch.iter().enumerate() {
            let name = pixel::name(*format as c_int);
            let mut bytes = std::fs::read(folder.path().join(format!("{name}.raw"))).unwrap();
            bytes.resize(bytes.len() + Picture::SLACK, 0);
            for target in targets {
                let expected = if pixel::to_av(*target).unwrap() == *format as c_int && range_name != &"tv" {
                    // The same format is a copy, where the filter converts once more.
                    bytes[..bytes.len() - Picture::SLACK].to_vec()
                } else {
                    std::fs::read(folder.path().join(format!("{input}-{target}"))).unwrap()
                };
                let found = converted(&mut scaler, &bytes, *format, *range, *target);
                let most = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
                if found.len() != expected.len() || most > 0 {
                    wrong.push(format!("{name} {range_name} to {target}: differs by {most}"));
                }
            }
        }
    }
    wrong
}

/// Formats that cameras, phones and encoders give; the others take turns.
const USUAL: [&str; 22] = [
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuvj422p",
    "yuv444p",
    "yuvj444p",
    "nv12",
    "nv21",
    "nv16",
    "yuyv422",
    "uyvy422",
    "p010le",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p10le",
    "yuv420p12le",
    "gray",
    "gray10le",
    "gray16le",
    "rgb24",
    "bgr0",
    "gbrp",
];

#[test]
fn conversion_of_every_source_format_equals_ffmpeg() {
    let mut formats = sources();
    assert!(formats.len() > 150, "{}", formats.len());
    if std::env::var("FRAMELANE_DEPTH").is_ok_and(|depth| depth == "deep") {
        println!("{} formats", formats.len());
    } else {
        let usual = |format: &Av| USUAL.contains(&pixel::name(*format as c_int).as_str());
        formats.retain(|format| usual(format) || *format as c_int % 4 == 0);
        println!("{} formats; all of them with FRAMELANE_DEPTH=deep", formats.len());
    }
    let wrong = differences(&formats, PixelFormat::VIDEO);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
