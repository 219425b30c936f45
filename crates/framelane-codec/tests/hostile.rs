//! Payloads of untrusted peers: an error or a picture, nothing else.

mod pictures;

use framelane::{ErrorKind, FrameInfo, Layout, PixelFormat};
use framelane_codec::{Codec, Decoder, Encoder, jpeg};
use pictures::{padded, paint};
use proptest::prelude::*;

const CODECS: [&str; 4] = ["raw", "lz4", "jpeg", "h264"];

/// Valid payloads of one picture after the other.
fn payloads(codec: Codec, layout: &Layout, count: u32) -> (Layout, Vec<Vec<u8>>) {
    let mut encoder = Encoder::new(codec, None).unwrap();
    let mut decoded = layout.clone();
    let payloads = (0..count).map(|time| {
        let mut payload = Vec::new();
        let bytes = paint(layout, time);
        decoded = encoder.encode(layout, &FrameInfo::default(), &bytes, &mut payload).unwrap().layout;
        payload
    });
    let payloads = payloads.collect();
    (decoded, payloads)
}

/// Decodes any payload. Returns the frame unless the decoder refused the payload.
fn decode(decoder: &mut Decoder, payload: &[u8], layout: &Layout) -> Option<Vec<u8>> {
    let mut target = vec![0xA5; layout.size_bytes() + 64];
    let result = decoder.decode(payload, layout, &mut target);
    assert!(target[layout.size_bytes()..].iter().all(|byte| *byte == 0xA5));
    if let Err(error) = &result {
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    }
    target.truncate(layout.size_bytes());
    result.is_ok().then_some(target)
}

#[derive(Clone, Debug)]
enum Change {
    Truncate(prop::sample::Index),
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Double(prop::sample::Index),
    Replace(Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        1 => at().prop_map(Change::Truncate),
        3 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        3 => (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => at().prop_map(Change::Double),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Change::Replace),
    ]
}

fn apply(change: &Change, payload: &mut Vec<u8>) {
    let length = payload.len().max(1);
    match change {
        Change::Truncate(at) => payload.truncate(at.index(length)),
        Change::Set(at, byte) => payload.iter_mut().skip(at.index(length)).take(1).for_each(|b| *b = *byte),
        Change::Flip(at, bit) => {
            payload.iter_mut().skip(at.index(length)).take(1).for_each(|b| *b ^= 1 << bit)
        }
        Change::Insert(at, bytes) => {
            let at = at.index(length).min(payload.len());
            payload.splice(at..at, bytes.iter().copied());
        }
        Change::Double(at) => payload.extend_from_within(at.index(length).min(payload.len())..),
        Change::Replace(bytes) => payload.clone_from(bytes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn changed_payloads_give_an_error_or_a_picture(
        codec in prop::sample::select(&CODECS[..]),
        format in prop::sample::select(&["gray8", "bgr8", "rgba8", "i420", "nv12", "p010", "gray16"][..]),
        (width, height) in (1..80_u32, 1..50_u32),
        pad in prop::sample::select(vec![0_usize, 3]),
        changes in prop::collection::vec((0..4_usize, change()), 1..6),
    ) {
        let codec = codec.parse().unwrap();
        let layout = Layout::packed(format.parse().unwrap(), width, height).unwrap();
        let (layout, mut payloads) = payloads(codec, &layout, 4);
        let whole = payloads[0].clone();
        for (index, change) in &changes {
            apply(change, &mut payloads[*index]);
        }
        let layout = if pad > 0 { padded(&layout, pad) } else { layout };
        let mut decoder = Decoder::new(codec).unwrap();
        for payload in &payloads {
            decode(&mut decoder, payload, &layout);
        }
        // After any payloads, the next whole one is decoded, to the same picture.
        let expected = decode(&mut Decoder::new(codec).unwrap(), &whole, &layout);
        prop_assert!(expected.is_some());
        prop_assert!(decode(&mut decoder, &whole, &layout) == expected);
    }

    #[test]
    fn garbage_gives_an_error_or_a_picture(
        codec in prop::sample::select(&CODECS[..]),
        format in prop::sample::select(&["bgr8", "i420", "matrix:f32:2", "detections"][..]),
        (width, height) in (1..50_u32, 1..50_u32),
        garbage in prop::collection::vec(any::<u8>(), 0..500),
    ) {
        let layout = Layout::packed(format.parse().unwrap(), width, height).unwrap();
        decode(&mut Decoder::new(codec.parse().unwrap()).unwrap(), &garbage, &layout);
    }
}

#[test]
fn a_payload_cut_short_anywhere_is_refused() {
    for codec in CODECS.map(|name| name.parse::<Codec>().unwrap()) {
        let layout = Layout::packed(PixelFormat::I420, 32, 32).unwrap();
        let (layout, payloads) = payloads(codec, &layout, 1);
        let mut decoder = Decoder::new(codec).unwrap();
        for length in 0..payloads[0].len() {
            // The last bytes of a slice may be padding that decoders do without; a JPEG's are the mark of its
            // end.
            let last = length + 8 > payloads[0].len();
            let frame = decode(&mut decoder, &payloads[0][..length], &layout);
            assert!(frame.is_none() || last, "{codec} {length}");
        }
    }
}

#[test]
fn a_jpeg_with_other_chroma_than_i420_has_is_refused() {
    // 4:2:0 has sampling factors of 2x2, 1x1 and 1x1. With 1x1 for all the picture would be 4:4:4, whose
    // planes are larger.
    let layout = Layout::packed(PixelFormat::I420, 32, 32).unwrap();
    let mut payload = Vec::new();
    jpeg::Compressor::new().unwrap().encode(&layout, &paint(&layout, 0), 80, &mut payload).unwrap();
    let at = payload.windows(2).position(|window| window == [0xFF, 0xC0]).unwrap();
    for factors in [0x11, 0x21, 0x12, 0x41, 0x14, 0x44] {
        payload[at + 11] = factors;
        let mut target = vec![0; layout.size_bytes()];
        let error = jpeg::Decompressor::new().unwrap().decode(&payload, &layout, &mut target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    }
}

#[test]
fn sides_beyond_c_integers_are_refused() {
    // Zero pages that nothing touches take no memory.
    for (width, height) in [(u32::MAX, 1), (1, u32::MAX), (0x8000_0000, 1), (1, 0x8000_0001)] {
        let layout = Layout::packed(PixelFormat::Gray8, width, height).unwrap();
        let mut frame = vec![0; layout.size_bytes()];
        let scaled = Some((16, 16));
        for (codec, size) in
            [("h264", None), ("jpeg", None), ("h264", scaled), ("jpeg", scaled), ("raw", scaled)]
        {
            let mut encoder = Encoder::new(codec.parse().unwrap(), size).unwrap();
            let error = encoder
                .encode(&layout, &FrameInfo::default(), &frame, &mut Vec::new())
                .expect_err("sides that FFmpeg cannot have");
            assert!(
                matches!(error.kind(), ErrorKind::FrameTooLarge | ErrorKind::InvalidOption),
                "{codec} {width}x{height}: {error}"
            );
        }
        for codec in ["h264", "jpeg"] {
            let mut decoder = Decoder::new(codec.parse().unwrap()).unwrap();
            let error = decoder.decode(&[0, 0, 1, 0x67, 1], &layout, &mut frame).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{codec} {width}x{height}: {error}");
        }
    }
}

/// A progressive JPEG in gray of one or two bytes a scan: each scan says that all blocks are empty.
fn jpeg_of_scans(width: u16, height: u16, scans: usize) -> Vec<u8> {
    let (blocks, mut jpeg) = (usize::from(width / 8) * usize::from(height / 8), vec![0xff, 0xd8]);
    let mut segment = |marker: u8, body: &[u8]| {
        let length = u16::try_from(body.len() + 2).unwrap().to_be_bytes();
        jpeg.extend([&[0xff, marker], &length[..], body].concat());
    };
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    let [w, h] = [width.to_be_bytes(), height.to_be_bytes()];
    segment(0xc2, &[8, h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
    // A table with one code of one bit: no difference of DC, or an end of bands for 16384 blocks and more.
    let table = |class: u8, symbol: u8| [&[class << 4, 1][..], &[0; 15], &[symbol]].concat();
    segment(0xc4, &table(0, 0));
    segment(0xc4, &table(1, 0xe0));
    segment(0xda, &[1, 1, 0, 0, 0, 0]);
    jpeg.extend(vec![0; blocks.div_ceil(8)]);
    for _ in 1..scans {
        jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 63, 0]);
        // For each run a bit of its code and 14 bits of its length beyond 16384, all zeros.
        jpeg.extend(vec![0; (blocks.div_ceil(16_384) * 15).div_ceil(8)]);
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

#[test]
fn progressive_jpeg_of_more_than_20_scans_is_refused() {
    let layout = Layout::packed(PixelFormat::Gray8, 64, 48).unwrap();
    let decoded = |scans| {
        let mut decoder = Decoder::new("jpeg".parse().unwrap()).unwrap();
        let mut target = vec![0; layout.size_bytes()];
        decoder.decode(&jpeg_of_scans(64, 48, scans), &layout, &mut target).map_err(|error| error.to_string())
    };
    assert_eq!(decoded(20), Ok(()));
    for scans in [21, 1000] {
        assert!(decoded(scans).unwrap_err().contains("scan"), "{scans}");
    }
}

/// Prints what the slowest payloads that are accepted cost. No time is asserted.
#[test]
fn bombs_of_every_kind_are_decoded_or_refused() {
    let (width, height) = (2048, 1536);
    let gray = Layout::packed(PixelFormat::Gray8, width, height).unwrap();
    let bgr = Layout::packed(PixelFormat::Bgr8, width, height).unwrap();
    let (_, jpegs) = payloads("jpeg".parse().unwrap(), &bgr, 1);
    let cut = jpegs[0][..jpegs[0].len().min(700)].to_vec();
    let comments = [&jpegs[0][..2], &[0xff, 0xfe, 0, 2].repeat(100_000)[..], &jpegs[0][2..]].concat();
    let restarts = [&jpegs[0][..jpegs[0].len() / 2], &[0xff, 0xd0].repeat(100_000)[..]].concat();
    // A part of a table, a picture of 12 bits, and a scan that ends in its header.
    let deep = [
        &[0xff, 0xd8, 0xff, 0xdb, 0, 6, 0, 1, 1, 1, 0xff, 0xc0, 0, 11, 12, 6, 0, 8, 0, 1, 1, 0x11, 0][..],
        &[0xff, 0xda, 0, 8, 1, 1, 0],
    ];
    for (kind, layout, payload) in [
        ("12 bits, cut short", &gray, deep.concat()),
        ("20 scans", &gray, jpeg_of_scans(width as u16, height as u16, 20)),
        ("1000 scans", &gray, jpeg_of_scans(width as u16, height as u16, 1000)),
        ("a whole picture", &bgr, jpegs[0].clone()),
        ("a picture that ends early", &bgr, cut),
        ("100,000 comments", &bgr, comments),
        ("100,000 restart markers", &bgr, restarts),
    ] {
        let begun = std::time::Instant::now();
        let mut decoder = Decoder::new("jpeg".parse().unwrap()).unwrap();
        let taken = decode(&mut decoder, &payload, layout).is_some();
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        println!(
            "bomb: {kind}, {} bytes: {}, {ms:.1} ms",
            payload.len(),
            if taken { "decoded" } else { "refused" }
        );
    }
}

/// Prints what pictures of one colour cost: no payload has fewer bytes for its pixels. No time is asserted.
#[test]
fn flat_pictures_of_h264_are_decoded() {
    let layout = Layout::packed(PixelFormat::I420, 2048, 1536).unwrap();
    let picture = vec![128; layout.size_bytes()];
    let mut encoder = Encoder::new("h264".parse().unwrap(), None).unwrap();
    let mut decoder = Decoder::new("h264".parse().unwrap()).unwrap();
    for kind in ["a flat keyframe", "a flat later picture", "another one"] {
        let mut payload = Vec::new();
        let coded = encoder.encode(&layout, &FrameInfo::default(), &picture, &mut payload).unwrap();
        let begun = std::time::Instant::now();
        assert!(decode(&mut decoder, &payload, &coded.layout).is_some(), "{kind}");
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        println!("bomb: {kind} of H.264, {} bytes: decoded, {ms:.1} ms", payload.len());
    }
}
