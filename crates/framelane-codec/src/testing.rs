//! Checks of encoders and decoders with any bytes, for the fuzzer and for the test that replays its corpus.

use framelane::{ErrorKind, FrameInfo, Layout, PixelFormat, Plane};

use crate::{Codec, Decoder, Encoder, pack};

const CODECS: [Codec; 4] =
    [Codec::Raw, Codec::Lz4, Codec::Jpeg { quality: 80 }, Codec::H264 { bits_per_second: 1_000_000 }];
/// The lowest first byte of frames to encode.
const ENCODES: u8 = 0x80;
/// Bytes in front of the payloads.
const HEAD_BYTES: usize = 5;
/// The most memory of a frame whose bytes are real. Larger layouts are checked without memory.
const MOST_BYTES: usize = 1 << 20;
/// The most address space of a frame whose rows lie gigabytes apart. Its pages are zeros that nothing
/// touches.
const MOST_SPARSE_BYTES: usize = 5 << 30;

fn formats() -> Vec<PixelFormat> {
    let matrices = ["matrix:u8:3", "matrix:f32:2"].map(|name| name.parse().expect("a name of a matrix"));
    PixelFormat::VIDEO.iter().copied().chain([PixelFormat::Detections]).chain(matrices).collect()
}

/// Decodes or encodes, by the highest bit of the first byte.
///
/// # Panics
/// As [`decode`] and [`encode`].
pub fn codec(bytes: &[u8]) {
    match bytes.split_first() {
        Some((first, rest)) if *first >= ENCODES => encode(&[&[first - ENCODES], rest].concat()),
        _ => decode(bytes),
    }
}

/// Decodes payloads as from a network. In front: codec, format, width, height and padding, a byte each. The
/// payloads have two bytes of length before each, but the last.
///
/// The upper half of the padding is a power of 2, to which the lower half is added, so that rows are 0 to 32
/// KiB apart.
///
/// # Panics
/// When a decoder writes outside the frame that it was asked for, or refuses a payload for another reason
/// than its bytes.
pub fn decode(bytes: &[u8]) {
    let Some((head, mut rest)) = bytes.split_at_checked(HEAD_BYTES) else { return };
    let codec = CODECS[usize::from(head[0]) % CODECS.len()];
    let formats = formats();
    let format = formats[usize::from(head[1]) % formats.len()];
    let (width, height) = (u32::from(head[2]).max(1), u32::from(head[3]).max(1));
    let layout = behind_each_other(format, width, height, magnitude(head[4], 4));
    let layout = layout.filter(|layout| layout.size_bytes() <= MOST_BYTES);
    let Some(layout) = layout.or_else(|| behind_each_other(format, width, height, 0)) else { return };
    let Ok(mut decoder) = Decoder::new(codec) else { return };
    let mut target = vec![0; layout.size_bytes() + GUARD.len()];
    while !rest.is_empty() {
        let length = rest.split_first_chunk().map_or(0, |(length, _)| u16::from_le_bytes(*length));
        let (payload, behind) =
            rest.get(2..).and_then(|rest| rest.split_at_checked(length.into())).unwrap_or((rest, &[]));
        rest = behind;
        assert!((1..=8).contains(&crate::jpeg::orientation(payload)));
        target[layout.size_bytes()..].copy_from_slice(&GUARD);
        if let Err(error) = decoder.decode(payload, &layout, &mut target) {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        }
        assert_eq!(target[layout.size_bytes()..], GUARD);
    }
}

/// Encodes a frame as from a foreign publisher: any strides, offsets and sizes that a layout can have. In
/// front: codec, format, width, height, the size to scale to (0: none), a byte each; then offset and stride
/// of each of three planes and the size of the frame, two bytes each, which stand for numbers of every
/// magnitude. The other bytes are repeated as the first bytes of each plane.
///
/// # Panics
/// When memory does not follow the pixels, or a frame is refused for another reason than its layout.
pub fn encode(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_at_checked(6) else { return };
    let Some((numbers, pixels)) = rest.split_at_checked(14) else { return };
    let codec = CODECS[usize::from(head[0]) % CODECS.len()];
    let formats = formats();
    let format = formats[usize::from(head[1]) % formats.len()];
    let (width, height) = (u32::from(head[2]).max(1), u32::from(head[3]).max(1));
    let size = (head[4] > 0 && head[5] > 0).then_some((u32::from(head[4]), u32::from(head[5])));
    let numbers: Vec<usize> =
        numbers.chunks(2).map(|pair| magnitude(pair[0], 6) + usize::from(pair[1])).collect();
    let planes: Vec<_> = (0..format.plane_count())
        .map(|plane| {
            let (_, row_bytes) = format.plane_shape(plane, width, height);
            let stride_bytes = row_bytes.saturating_add(numbers[2 * plane + 1]);
            Plane { offset_bytes: numbers[2 * plane], stride_bytes }
        })
        .collect();
    let ends = planes.iter().enumerate().map(|(index, plane)| {
        let (rows, row_bytes) = format.plane_shape(index, width, height);
        let rows = plane.stride_bytes.saturating_mul(rows as usize - 1);
        plane.offset_bytes.saturating_add(rows).saturating_add(row_bytes)
    });
    let size_bytes = ends.max().unwrap_or(0).saturating_add(numbers[6] % 4096);
    let Ok(layout) = Layout::with_planes(format, width, height, &planes, size_bytes) else { return };
    if layout.size_bytes() > MOST_SPARSE_BYTES {
        return;
    }
    let mut frame = vec![0; layout.size_bytes()];
    for plane in layout.planes() {
        let room = &mut frame[plane.offset_bytes..];
        let length = room.len().min(pixels.len());
        room[..length].copy_from_slice(&pixels[..length]);
    }
    let mut packed = Vec::new();
    let info = FrameInfo::default();
    let copied = pack(&layout, &frame, &mut packed).expect("the frame has all of its bytes");
    assert!(copied.is_packed() && packed.len() == copied.size_bytes());
    let Ok(mut encoder) = Encoder::new(codec, size) else { return };
    let (mut direct, mut indirect) = (Vec::new(), Vec::new());
    let results = [
        encoder.encode(&layout, &info, &frame, &mut direct),
        Encoder::new(codec, size).and_then(|mut other| other.encode(&copied, &info, &packed, &mut indirect)),
    ];
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        let expected = [ErrorKind::InvalidOption, ErrorKind::InvalidFrame, ErrorKind::FrameTooLarge];
        assert!(expected.contains(&error.kind()), "{error}");
    }
    if let [Ok(_), Ok(encoded)] = &results {
        assert!(codec == Codec::Raw || codec == Codec::Lz4 || !indirect.is_empty());
        // Rows that lie apart are the same picture. H.264 follows the timing of its threads.
        assert!(size.is_some() || codec.name() == "h264" || direct == indirect, "{codec} {layout:?}");
        let mut target = vec![0; encoded.layout.size_bytes()];
        let decoded = Decoder::new(codec)
            .and_then(|mut decoder| decoder.decode(&indirect, &encoded.layout, &mut target));
        decoded.expect("what was encoded can be decoded");
    }
}

/// A number of any magnitude from a byte: its upper bits are a power of 2, `low_bits` lower ones are added.
fn magnitude(byte: u8, low_bits: u32) -> usize {
    let (power, low) = if low_bits == 6 {
        (u32::from(byte) % 34, usize::from(byte) / 34)
    } else {
        (u32::from(byte >> low_bits), usize::from(byte & ((1 << low_bits) - 1)))
    };
    if power == 0 { low } else { (1_usize << power) - 1 + low }
}

const GUARD: [u8; 16] = [0xA5; 16];

/// With so much padding behind each row. `None` when the frame would be too large.
fn behind_each_other(format: PixelFormat, width: u32, height: u32, padding: usize) -> Option<Layout> {
    let mut planes = Vec::new();
    let mut size_bytes = 0;
    for plane in 0..format.plane_count() {
        let (rows, row_bytes) = format.plane_shape(plane, width, height);
        let stride_bytes = row_bytes + padding;
        planes.push(Plane { offset_bytes: size_bytes, stride_bytes });
        size_bytes += stride_bytes * rows as usize;
    }
    Layout::with_planes(format, width, height, &planes, size_bytes).ok()
}
