//! Every codec with every format, odd sizes and padding.

mod pictures;

use framelane::{Color, ColorRange, ErrorKind, FrameInfo, Layout, PixelFormat};
use framelane_codec::{Codec, Decoder, Encoded, Encoder};
use pictures::{FORMATS, PICTURES, SIZES, padded, paint, psnr, same};

/// Encodes and decodes, into a frame with padding too.
fn there_and_back(codec: &str, layout: &Layout, bytes: &[u8]) -> (Encoded, Vec<u8>) {
    let codec: Codec = codec.parse().unwrap();
    let mut payload = vec![1, 2, 3];
    let encoded = Encoder::new(codec, None)
        .unwrap()
        .encode(layout, &FrameInfo::default(), bytes, &mut payload)
        .unwrap();
    assert!(encoded.keyframe && encoded.layout.is_packed());
    let mut decoded = vec![0; encoded.layout.size_bytes()];
    Decoder::new(codec).unwrap().decode(&payload, &encoded.layout, &mut decoded).unwrap();

    let wide = padded(&encoded.layout, 5);
    let mut target = vec![0xA5; wide.size_bytes()];
    Decoder::new(codec).unwrap().decode(&payload, &wide, &mut target).unwrap();
    assert!(same(&encoded.layout, &decoded, &wide, &target), "{codec} {wide:?}");
    (encoded, decoded)
}

#[test]
fn raw_and_lz4_give_every_frame_again() {
    for format in FORMATS.iter().map(|name| name.parse::<PixelFormat>().unwrap()) {
        for (width, height) in SIZES {
            let size = if format == PixelFormat::Detections { (width * height, 1) } else { (width, height) };
            let packed = Layout::packed(format, size.0, size.1).unwrap();
            for layout in [packed.clone(), padded(&packed, 7)] {
                let bytes = paint(&layout, 3);
                for codec in ["raw", "lz4"] {
                    let (encoded, decoded) = there_and_back(codec, &layout, &bytes);
                    assert_eq!(encoded.layout, packed);
                    assert!(same(&layout, &bytes, &packed, &decoded), "{codec} {layout:?}");
                }
            }
        }
    }
}

#[test]
fn jpeg_gives_pictures_that_look_the_same() {
    for format in PICTURES.iter().map(|name| name.parse::<PixelFormat>().unwrap()) {
        for (width, height) in SIZES {
            let packed = Layout::packed(format, width, height).unwrap();
            for layout in [packed.clone(), padded(&packed, 7)] {
                let bytes = paint(&layout, 3);
                let (encoded, decoded) = there_and_back("jpeg:95", &layout, &bytes);
                let expected = match format {
                    PixelFormat::Nv12 | PixelFormat::Yuyv | PixelFormat::P010 => PixelFormat::I420,
                    PixelFormat::Gray16 => PixelFormat::Gray8,
                    format => format,
                };
                assert_eq!(encoded.layout, Layout::packed(expected, width, height).unwrap());
                let psnr = psnr((&layout, &bytes), (&encoded.layout, &decoded));
                assert!(psnr > 30.0, "{format} {width}x{height}: {psnr} dB");
            }
        }
    }
}

#[test]
fn h264_gives_pictures_that_look_the_same() {
    for format in PICTURES.iter().map(|name| name.parse::<PixelFormat>().unwrap()) {
        for (width, height) in SIZES {
            let packed = Layout::packed(format, width, height).unwrap();
            for layout in [packed.clone(), padded(&packed, 7)] {
                let bytes = paint(&layout, 3);
                let (encoded, decoded) = there_and_back("h264:40M", &layout, &bytes);
                assert_eq!(encoded.layout, packed);
                let psnr = psnr((&layout, &bytes), (&packed, &decoded));
                assert!(psnr > 30.0, "{format} {width}x{height}: {psnr} dB");
            }
        }
    }
}

#[test]
fn alpha_comes_back_opaque() {
    let layout = Layout::packed(PixelFormat::Bgra8, 16, 16).unwrap();
    let bytes: Vec<u8> = [10, 200, 30, 7].repeat(256);
    for codec in ["jpeg", "h264"] {
        let (_, decoded) = there_and_back(codec, &layout, &bytes);
        assert!(decoded.chunks(4).all(|pixel| pixel[3] == 255), "{codec}");
    }
}

#[test]
fn colours_come_back_whatever_a_frame_says_of_them() {
    let layout = Layout::packed(PixelFormat::Rgb8, 32, 32).unwrap();
    let bytes: Vec<u8> = [200, 60, 20].repeat(32 * 32);
    for (codec, matrix) in ["jpeg:95", "h264"].into_iter().flat_map(|codec| (0..=10).map(move |m| (codec, m)))
    {
        for range in [ColorRange::Unspecified, ColorRange::Limited, ColorRange::Full] {
            let info = FrameInfo::default().with_color(Color { matrix, range, ..Color::default() });
            let codec: Codec = codec.parse().unwrap();
            let mut payload = Vec::new();
            let mut encoder = Encoder::new(codec, None).unwrap();
            let encoded = encoder.encode(&layout, &info, &bytes, &mut payload).unwrap();
            assert_eq!(encoded.info.color, info.color);
            let mut decoded = vec![0; layout.size_bytes()];
            Decoder::new(codec).unwrap().decode(&payload, &encoded.layout, &mut decoded).unwrap();
            let worst = decoded.iter().zip(&bytes).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 6, "{codec}, matrix {matrix}, {range:?}: {:?}", &decoded[..3]);
        }
    }
}

#[test]
fn frames_are_scaled_first() {
    let layout = Layout::packed(PixelFormat::Bgr8, 33, 17).unwrap();
    let bytes: Vec<u8> = [10, 200, 30].repeat(33 * 17);
    let mut payload = Vec::new();
    for codec in ["raw", "lz4"] {
        let mut encoder = Encoder::new(codec.parse().unwrap(), Some((20, 11))).unwrap();
        let encoded = encoder.encode(&layout, &FrameInfo::default(), &bytes, &mut payload).unwrap();
        assert_eq!(encoded.layout, Layout::packed(PixelFormat::Bgr8, 20, 11).unwrap());
        let mut decoded = vec![0; encoded.layout.size_bytes()];
        Decoder::new(encoder.codec()).unwrap().decode(&payload, &encoded.layout, &mut decoded).unwrap();
        assert!(decoded.chunks(3).all(|pixel| pixel == [10, 200, 30]), "{codec}");
    }
}

#[test]
fn what_is_no_picture_is_not_scaled() {
    let mut encoder = Encoder::new(Codec::Raw, Some((20, 11))).unwrap();
    let mut payload = Vec::new();
    let batch = Layout::packed(PixelFormat::Detections, 50, 1).unwrap();
    let encoded = encoder.encode(&batch, &FrameInfo::default(), &[7; 50], &mut payload).unwrap();
    assert_eq!((encoded.layout, payload.as_slice()), (batch, &[7; 50][..]));

    let matrix = Layout::packed("matrix:f32:1".parse().unwrap(), 4, 4).unwrap();
    let error = encoder.encode(&matrix, &FrameInfo::default(), &[0; 64], &mut payload).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(payload.is_empty() && error.hint().is_some());
}

#[test]
fn pictures_alone_become_jpeg_or_h264() {
    let mut payload = Vec::new();
    for codec in ["jpeg", "h264"] {
        let mut encoder = Encoder::new(codec.parse().unwrap(), None).unwrap();
        for format in ["detections", "matrix:f32:1", "matrix:u8:2"] {
            let layout = Layout::packed(format.parse().unwrap(), 4, 1).unwrap();
            let bytes = vec![0; layout.size_bytes()];
            let error = encoder.encode(&layout, &FrameInfo::default(), &bytes, &mut payload).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{codec} {format}");
            assert!(error.hint().unwrap().contains("lz4"), "{error}");
        }
    }
}

#[test]
fn what_is_said_of_a_frame_comes_with_it() {
    let color = Color { matrix: 1, primaries: 1, transfer: 1, range: ColorRange::Limited };
    let info = FrameInfo::default()
        .with_timestamp_ns(5)
        .with_pts_ns(-6)
        .with_duration_ns(7)
        .with_color(color)
        .with_rotation_degrees(90);
    let mut payload = Vec::new();
    for codec in ["raw", "lz4", "jpeg", "h264"] {
        for &format in PixelFormat::VIDEO {
            let mut encoder = Encoder::new(codec.parse().unwrap(), None).unwrap();
            let layout = Layout::packed(format, 16, 16).unwrap();
            let encoded = encoder.encode(&layout, &info, &paint(&layout, 0), &mut payload).unwrap();
            // 16 bits of gray are made 8 by a conversion, which returns full range.
            let full = format == PixelFormat::Gray16 && !matches!(codec, "raw" | "lz4");
            let range = if full { ColorRange::Full } else { ColorRange::Limited };
            let expected = info.clone().with_color(Color { range, ..color }).with_keyframe(codec == "h264");
            assert_eq!(encoded.info, expected, "{codec} {format}");
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    for (codec, size) in [
        (Codec::Jpeg { quality: 0 }, None),
        (Codec::Jpeg { quality: 101 }, None),
        (Codec::H264 { bits_per_second: 0 }, None),
        (Codec::H264 { bits_per_second: u64::MAX }, None),
        (Codec::Raw, Some((0, 5))),
    ] {
        assert_eq!(Encoder::new(codec, size).unwrap_err().kind(), ErrorKind::InvalidOption, "{codec:?}");
    }
}

#[test]
fn a_frame_or_a_target_that_is_too_short_is_refused() {
    let layout = Layout::packed(PixelFormat::I420, 16, 16).unwrap();
    let bytes = paint(&layout, 0);
    let mut payload = Vec::new();
    for codec in ["raw", "lz4", "jpeg", "h264"].map(|name| name.parse().unwrap()) {
        let mut encoder = Encoder::new(codec, None).unwrap();
        let error = encoder.encode(&layout, &FrameInfo::default(), &bytes[1..], &mut payload).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFrame);
        encoder.encode(&layout, &FrameInfo::default(), &bytes, &mut payload).unwrap();
        let mut target = vec![0; layout.size_bytes() - 1];
        let error = Decoder::new(codec).unwrap().decode(&payload, &layout, &mut target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidFrame);
    }
}

#[test]
fn encoders_and_decoders_may_go_to_another_thread() {
    fn check<T: Send>() {}
    check::<Encoder>();
    check::<Decoder>();
    check::<framelane_codec::jpeg::Compressor>();
    check::<framelane_codec::jpeg::Decompressor>();
}
