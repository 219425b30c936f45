//! Payloads from anybody: an error or a picture, nothing else.

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
        decoded = encoder.encode(layout, &FrameInfo::default(), &bytes, false, &mut payload).unwrap().layout;
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
        // Whatever came before, the next whole one is decoded, to the same picture.
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
            // The last bytes of a slice may be padding that decoders do without; a JPEG's are the mark of its end.
            let last = length + 8 > payloads[0].len();
            let frame = decode(&mut decoder, &payloads[0][..length], &layout);
            assert!(frame.is_none() || last, "{codec} {length}");
        }
    }
}

#[test]
fn a_jpeg_with_other_chroma_than_i420_has_is_refused() {
    // 4:2:0 has sampling factors of 2x2, 1x1 and 1x1. With 1x1 for all the picture would be 4:4:4, whose planes are larger.
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
                .encode(&layout, &FrameInfo::default(), &frame, true, &mut Vec::new())
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
