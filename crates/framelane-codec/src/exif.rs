//! The EXIF orientation of a JPEG.
//!
//! It is read as `cv2.imdecode` reads it: from the first EXIF segment before the picture, in the first
//! directory there. The last entry counts if there are several. Two bytes are the value, for any type of the
//! entry. Formats: ITU-T T.81, annex B, and TIFF 6.0, section 2.

/// The first bytes of an EXIF segment.
const NAME: &[u8] = b"Exif\0\0";
const START_OF_SCAN: u8 = 0xDA;
const END_OF_IMAGE: u8 = 0xD9;
const APP1: u8 = 0xE1;
/// The tag of the orientation.
const ORIENTATION: u16 = 0x0112;
/// Bytes of an entry of a directory, and where its value is.
const ENTRY_BYTES: usize = 12;
const VALUE_AT: usize = 8;
/// The orientation of a picture that is stored upright.
const UPRIGHT: u8 = 1;

/// The EXIF orientation of a JPEG, 1 to 8. 1 (upright) when it has none, or none that makes sense. Never
/// fails; reads the segments in front of the picture only.
pub fn orientation(jpeg: &[u8]) -> u8 {
    let value = segment(jpeg).and_then(value);
    value
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| (1..=8).contains(value))
        .unwrap_or(UPRIGHT)
}

/// The TIFF data in the first EXIF segment.
fn segment(jpeg: &[u8]) -> Option<&[u8]> {
    let mut rest = jpeg.strip_prefix(&[0xFF, 0xD8])?;
    loop {
        // Between segments a decoder ignores other bytes, and repeated 0xFF are padding.
        let marker = rest.iter().position(|&byte| byte == 0xFF)?;
        let code = marker + rest[marker..].iter().position(|&byte| byte != 0xFF)?;
        let after = &rest[code + 1..];
        match rest[code] {
            START_OF_SCAN | END_OF_IMAGE => return None,
            // Without a length.
            0x00 | 0x01 | 0xD0..=0xD8 => rest = after,
            code => {
                let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
                let content = after.get(2..length)?;
                match content.strip_prefix(NAME) {
                    Some(tiff) if code == APP1 => return Some(tiff),
                    _ => rest = &after[length..],
                }
            }
        }
    }
}

/// The value of the orientation in TIFF data.
fn value(tiff: &[u8]) -> Option<u16> {
    let is_little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = *tiff.get(4..)?.first_chunk()?;
    let directory = if is_little { u32::from_le_bytes(long) } else { u32::from_be_bytes(long) } as usize;
    let count = usize::from(short(directory)?);
    let entries = tiff.get(directory + 2..)?.chunks_exact(ENTRY_BYTES).take(count).enumerate();
    let mut found = entries.map(|(index, _)| directory + 2 + index * ENTRY_BYTES);
    found.rfind(|&at| short(at) == Some(ORIENTATION)).and_then(|at| short(at + VALUE_AT))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An APP1 segment with a directory of these entries: tag, type and value.
    fn app1(is_little: bool, entries: &[(u16, u16, u16)]) -> Vec<u8> {
        let short = |value: u16| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let long = |value: u32| if is_little { value.to_le_bytes() } else { value.to_be_bytes() };
        let mut tiff = if is_little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        tiff.extend(long(8));
        tiff.extend(short(entries.len() as u16));
        for &(tag, kind, value) in entries {
            tiff.extend([short(tag), short(kind)].concat());
            tiff.extend(long(1));
            tiff.extend([short(value), short(0)].concat());
        }
        tiff.extend(long(0));
        app(APP1, &[NAME, &tiff].concat())
    }

    fn app(code: u8, content: &[u8]) -> Vec<u8> {
        [&[0xFF, code], &(content.len() as u16 + 2).to_be_bytes()[..], content].concat()
    }

    fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
        [&[0xFF, 0xD8][..], &segments.concat(), &app(START_OF_SCAN, &[0; 6]), &[1, 2, 3]].concat()
    }

    #[test]
    fn orientation_is_read_in_both_byte_orders() {
        for is_little in [false, true] {
            for value in 0..=300 {
                let expected = u8::try_from(value).ok().filter(|value| (1..=8).contains(value)).unwrap_or(1);
                for kind in [1, 3, 4] {
                    let found = orientation(&jpeg(&[app1(is_little, &[(ORIENTATION, kind, value)])]));
                    assert_eq!(found, expected, "{value}");
                }
            }
        }
    }

    #[test]
    fn orientation_is_found_where_cv2_finds_it() {
        let six = || app1(true, &[(ORIENTATION, 3, 6)]);
        let one = || app1(false, &[(ORIENTATION, 3, 1)]);
        let xmp = || app(APP1, b"http://ns.adobe.com/xap/1.0/\0<x/>");
        let mut cut = six();
        cut.truncate(cut.len() - 4);
        let length = cut.len() as u16 - 2;
        cut[2..4].copy_from_slice(&length.to_be_bytes());
        for (expected, segments) in [
            (6, vec![six()]),
            (6, vec![app(0xE0, b"JFIF\0"), six()]),
            (6, vec![xmp(), six()]),
            (6, vec![app(0xDB, &[0; 65]), vec![0xFF, 0xFF], six(), xmp()]),
            (6, vec![vec![7, 7], six()]),
            (6, vec![six(), one()]),
            (1, vec![one(), six()]),
            (6, vec![app1(true, &[(0x010F, 2, 9), (ORIENTATION, 3, 1), (ORIENTATION, 3, 6)])]),
            (6, vec![cut]),
            (1, vec![app1(true, &[])]),
            (1, vec![xmp()]),
            (1, vec![app(APP1, b"Exif\0\0"), six()]),
            (1, vec![app(0xE2, &six()[4..])]),
            (1, vec![app(START_OF_SCAN, &[0; 6]), six()]),
        ] {
            assert_eq!(orientation(&jpeg(&segments)), expected, "{segments:?}");
        }
        assert_eq!(orientation(&six()), 1, "no JPEG");
    }

    #[test]
    fn orientation_of_a_cut_jpeg_is_upright_or_right() {
        let whole = jpeg(&[app1(false, &[(0x010F, 2, 9), (ORIENTATION, 3, 8)])]);
        for at in 0..whole.len() {
            assert!([1, 8].contains(&orientation(&whole[..at])));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_orientation(
            bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0..60_usize, byte: u8,
        ) {
            prop_assert!((1..=8).contains(&orientation(&bytes)));
            prop_assert!((1..=8).contains(&orientation(&jpeg(&[app(APP1, &[NAME, &bytes].concat())]))));
            let mut changed = jpeg(&[app1(true, &[(ORIENTATION, 3, 6)])]);
            if let Some(changed) = changed.get_mut(at) {
                *changed = byte;
            }
            prop_assert!((1..=8).contains(&orientation(&changed)));
        }
    }
}
