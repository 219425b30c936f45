//! What fuzzing reaches inside the crate for.

use framelane::{Layout, PixelFormat, Plane};

use crate::{Codec, Decoder};

const CODECS: [Codec; 4] =
    [Codec::Raw, Codec::Lz4, Codec::Jpeg { quality: 80 }, Codec::H264 { bits_per_second: 1_000_000 }];
/// What stands before the payloads.
const HEAD_BYTES: usize = 5;

/// Decodes payloads as from a network: bytes for the codec, the format, width, height and padding, then payloads with two
/// bytes of length before each, the last one without.
///
/// # Panics
/// When a decoder writes outside the frame that it was asked for, or refuses a payload for another reason than its bytes.
pub fn decode(bytes: &[u8]) {
    let Some((head, mut rest)) = bytes.split_at_checked(HEAD_BYTES) else { return };
    let codec = CODECS[usize::from(head[0]) % CODECS.len()];
    let formats: Vec<_> = PixelFormat::VIDEO
        .into_iter()
        .chain([PixelFormat::Detections])
        .chain(["matrix:u8:3", "matrix:f32:2"].map(|name| name.parse().expect("a name of a matrix")))
        .collect();
    let format = formats[usize::from(head[1]) % formats.len()];
    let layout = layout(format, u32::from(head[2]).max(1), u32::from(head[3]).max(1), head[4] % 16);
    let Ok(mut decoder) = Decoder::new(codec) else { return };
    let mut target = vec![0; layout.size_bytes() + GUARD.len()];
    while !rest.is_empty() {
        let length = rest.split_first_chunk().map_or(0, |(length, _)| u16::from_le_bytes(*length));
        let (payload, behind) =
            rest.get(2..).and_then(|rest| rest.split_at_checked(length.into())).unwrap_or((rest, &[]));
        rest = behind;
        target[layout.size_bytes()..].copy_from_slice(&GUARD);
        if let Err(error) = decoder.decode(payload, &layout, &mut target) {
            assert_eq!(error.kind(), framelane::ErrorKind::Damaged, "{error}");
        }
        assert_eq!(target[layout.size_bytes()..], GUARD);
    }
}

const GUARD: [u8; 16] = [0xA5; 16];

/// With so much padding behind each row.
fn layout(format: PixelFormat, width: u32, height: u32, padding: u8) -> Layout {
    let mut planes = Vec::new();
    let mut size_bytes = 0;
    for plane in 0..format.plane_count() {
        let (rows, row_bytes) = format.plane_shape(plane, width, height);
        let stride_bytes = row_bytes + usize::from(padding);
        planes.push(Plane { offset_bytes: size_bytes, stride_bytes });
        size_bytes += stride_bytes * rows as usize;
    }
    Layout::with_planes(format, width, height, &planes, size_bytes).expect("planes behind each other")
}
