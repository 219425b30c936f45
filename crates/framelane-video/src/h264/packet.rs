//! Checks of a packet of H.264 before FFmpeg sees it. Syntax: ITU-T H.264, 7.3.
//!
//! FFmpeg allocates tables by the size that a stream claims, keeps as many pictures as it asks for, and hides
//! a missing packet by guessing. Packets from a network may be hostile, so only the output of framelane's
//! encoder is decoded here: one parameter set of each kind, progressive 4:2:0 of 8 bits, one picture a
//! packet, each picture after the one that it is predicted from.

/// More slices than framelane's encoder has threads. Each may cost as much time as a whole picture.
const MOST_SLICES: u32 = 16;
/// More pictures to predict from than any setting for low latency has.
const MOST_REFERENCES: u32 = 4;
/// Bits of a macroblock's number in a picture of 16,384x16,384.
const MOST_MACROBLOCK_BITS: u32 = 20;
/// Number of bytes read of a unit; its first bytes have all that matters.
const HEAD_BYTES: usize = 64;

/// Follows a stream packet by packet. A new one expects a keyframe with its parameter sets.
#[derive(Default)]
pub(crate) struct Watch {
    /// Bits of `frame_num`, from the last sequence parameter set.
    frame_num_bits: Option<u32>,
    /// The `frame_num` of the last picture that others are predicted from; `None`: a keyframe must come
    /// first.
    previous: Option<u32>,
}

/// A slice's header, as far as it is read.
struct Slice {
    first_macroblock: u32,
    frame_num: u32,
    keyframe: bool,
    reference: bool,
}

/// Returns true if a packet holds a picture that needs no other (IDR).
pub(crate) fn has_keyframe(packet: &[u8]) -> bool {
    units(packet).any(|unit| unit[0] & 0x1f == 5)
}

impl Watch {
    /// Checks that the packet may be decoded as a picture of this size. Returns whether it is a keyframe.
    ///
    /// # Errors
    /// In words what was expected and found; nothing of the packet counts then.
    pub(crate) fn accept(&mut self, packet: &[u8], width: u32, height: u32) -> Result<bool, String> {
        let mut frame_num_bits = self.frame_num_bits;
        let mut picture: Option<Slice> = None;
        let mut slices = 0;
        for unit in units(packet) {
            match unit[0] & 0x1f {
                1 | 5 => {
                    let bits = frame_num_bits.ok_or("expected a keyframe first, found a later picture")?;
                    let slice = slice(unit, bits).ok_or("expected a slice, found other bytes")?;
                    slices += 1;
                    let follows = match &picture {
                        None => slice.first_macroblock == 0,
                        Some(before) => {
                            slice.first_macroblock > before.first_macroblock
                                && slice.frame_num == before.frame_num
                                && slice.keyframe == before.keyframe
                        }
                    };
                    if !follows || slices > MOST_SLICES {
                        return Err("expected the slices of one picture, found others".to_owned());
                    }
                    picture = Some(slice);
                }
                7 => frame_num_bits = Some(sequence(unit, width, height)?),
                8 => picture_parameters(unit)?,
                // Supplements, delimiters and filling.
                6 | 9 | 12 => {}
                kind => {
                    return Err(format!("expected H.264 without extensions, found a unit of type {kind}"));
                }
            }
        }
        let picture = picture.ok_or("expected a picture, found none")?;
        let bits = frame_num_bits.unwrap_or(4);
        let expected = match self.previous {
            _ if picture.keyframe => 0,
            Some(previous) => previous.wrapping_add(1) & ((1 << bits) - 1),
            None => return Err("expected a keyframe, found a picture that needs others before it".to_owned()),
        };
        if picture.frame_num != expected {
            return Err(format!("expected picture {expected}, found {}", picture.frame_num));
        }
        self.frame_num_bits = frame_num_bits;
        if picture.reference {
            self.previous = Some(picture.frame_num);
        }
        Ok(picture.keyframe)
    }
}

/// The units of a packet in annex B's form, each from its header byte on, to the end of the packet.
///
/// A start code cannot be within a unit, so every unit that FFmpeg finds is among these.
fn units(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet;
    std::iter::from_fn(move || {
        let at = find_start(rest)?;
        rest = &rest[at + 3..];
        Some(rest)
    })
    .filter(|unit| !unit.is_empty())
}

/// Returns the position of the next 0, 0, 1. Most bytes are not read: of three, the last excludes most
/// positions.
fn find_start(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(window) = bytes.get(at..at + 3) {
        match window {
            [0, 0, 1] => return Some(at),
            [_, _, 0] => at += 1,
            _ => at += 3,
        }
    }
    None
}

/// Checks a sequence parameter set; the bits of its `frame_num`.
fn sequence(unit: &[u8], width: u32, height: u32) -> Result<u32, String> {
    let head = &unit[1..unit.len().min(HEAD_BYTES)];
    let mut bits = Bits::new(head);
    let set =
        sequence_fields(&mut bits).ok_or("expected progressive 4:2:0 of 8 bits, found another stream")?;
    // FFmpeg tries a set that it cannot read once more with the escapes left in; without any, both are the
    // same.
    if head[..bits.at_bit.div_ceil(8)].windows(3).any(|window| window == [0, 0, 3]) {
        return Err("expected a plain size, found an escaped one".to_owned());
    }
    let (found_width, found_height) = set.size;
    if (found_width, found_height) != (width.into(), height.into()) {
        return Err(format!("expected pictures of {width}x{height}, found {found_width}x{found_height}"));
    }
    if set.references > MOST_REFERENCES {
        return Err(format!(
            "expected pictures predicted from at most {MOST_REFERENCES} others, found {}",
            set.references
        ));
    }
    Ok(set.frame_num_bits)
}

struct Sequence {
    frame_num_bits: u32,
    references: u32,
    size: (i64, i64),
}

fn sequence_fields(bits: &mut Bits<'_>) -> Option<Sequence> {
    let profile = bits.take(8)?;
    bits.take(16)?;
    if bits.number()? != 0 {
        return None;
    }
    match profile {
        66 | 77 | 88 => {}
        // Chroma, two depths, the transform bypass and the scaling lists.
        100 => {
            let plain = bits.number()? == 1 && bits.number()? == 0 && bits.number()? == 0;
            if !plain || bits.take(2)? != 0 {
                return None;
            }
        }
        _ => return None,
    }
    let frame_num_bits = bits.number()?.checked_add(4).filter(|bits| *bits <= 16)?;
    match bits.number()? {
        0 => drop(bits.number()?),
        2 => {}
        _ => return None,
    }
    let references = bits.number()?;
    let gaps = bits.take(1)?;
    let (across, down) = (bits.number()?, bits.number()?);
    let progressive = bits.take(1)?;
    bits.take(1)?;
    if gaps != 0 || progressive != 1 {
        return None;
    }
    let mut crop = [0_i64; 4];
    if bits.take(1)? == 1 {
        for side in &mut crop {
            *side = 2 * i64::from(bits.number()?);
        }
    }
    // The picture is taken from the corner; what is cut off there would have to be found by the decoder's
    // pointers.
    if crop[0] != 0 || crop[2] != 0 || crop[1] >= 16 || crop[3] >= 16 {
        return None;
    }
    let size = (16 * (i64::from(across) + 1) - crop[1], 16 * (i64::from(down) + 1) - crop[3]);
    Some(Sequence { frame_num_bits, references, size })
}

/// Checks that there is only one picture parameter set: FFmpeg keeps tables for each.
fn picture_parameters(unit: &[u8]) -> Result<(), String> {
    let mut bits = Bits::new(&unit[1..unit.len().min(HEAD_BYTES)]);
    match (bits.number(), bits.number()) {
        (Some(0), Some(0)) => Ok(()),
        _ => Err("expected one parameter set of each kind, found others".to_owned()),
    }
}

fn slice(unit: &[u8], frame_num_bits: u32) -> Option<Slice> {
    let mut head = [0; HEAD_BYTES];
    let length = unescape(&unit[1..unit.len().min(HEAD_BYTES)], &mut head);
    let mut bits = Bits::new(&head[..length]);
    let first_macroblock = bits.number_of(MOST_MACROBLOCK_BITS)?;
    let _kind = bits.number()?;
    let set = bits.number()?;
    let frame_num = bits.take(frame_num_bits)?;
    (set == 0).then_some(Slice {
        first_macroblock,
        frame_num,
        keyframe: unit[0] & 0x1f == 5,
        reference: unit[0] >> 5 & 3 != 0,
    })
}

/// Removes the 3 behind two zeros; `to` is as long as `from`, at least.
fn unescape(from: &[u8], to: &mut [u8]) -> usize {
    let (mut length, mut zeros) = (0, 0);
    for &byte in from {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        to[length] = byte;
        length += 1;
    }
    length
}

/// Reads bits, the highest of a byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at_bit: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, at_bit: 0 }
    }

    /// At most 32 bits.
    fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u64;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at_bit / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at_bit % 8) & 1);
            self.at_bit += 1;
        }
        u32::try_from(value).ok()
    }

    /// An Exp-Golomb number, `ue(v)`, below 2^16 - 1: larger ones have no place in what is read here.
    fn number(&mut self) -> Option<u32> {
        self.number_of(15)
    }

    /// The same, below 2^(bits + 1) - 1.
    fn number_of(&mut self, bits: u32) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > bits {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_exp_golomb() {
        // 1, 010, 011, 00100, 00101: 0 to 4.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<_> = (0..5).map(|_| bits.number().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert_eq!(Bits::new(&[0; 8]).number(), None);
    }

    #[test]
    fn every_start_code_is_found() {
        let packet = [0, 0, 0, 1, 9, 0, 0, 1, 0x65, 7, 0, 0, 0, 0, 1, 0x41];
        let kinds: Vec<_> = units(&packet).map(|unit| unit[0]).collect();
        assert_eq!(kinds, [9, 0x65, 0x41]);
        assert!(has_keyframe(&packet));
        assert_eq!(units(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn escapes_are_left_out() {
        let mut to = [0; 9];
        let length = unescape(&[1, 0, 0, 3, 1, 0, 0, 3, 0], &mut to);
        assert_eq!(to[..length], [1, 0, 0, 1, 0, 0, 0]);
    }

    /// Writes units bit by bit.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn bits(mut self, count: u32, value: u32) -> Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn numbers(self, numbers: &[u32]) -> Self {
            numbers.iter().fold(self, |writer, number| {
                let length = (number + 1).ilog2();
                writer.bits(length, 0).bits(length + 1, number + 1)
            })
        }

        /// With the mark of its end.
        fn unit(self, header: u8) -> Vec<u8> {
            let bits = self.bits(1, 1).0;
            let bytes = bits.chunks(8).map(|byte| {
                byte.iter().enumerate().fold(0, |sum, (index, bit)| sum | u8::from(*bit) << (7 - index))
            });
            [0, 0, 1, header].into_iter().chain(bytes).collect()
        }
    }

    struct Claims {
        profile: u32,
        set: u32,
        references: u32,
        macroblocks: (u32, u32),
        crop: [u32; 4],
    }

    const MODEST: Claims = Claims { profile: 66, set: 0, references: 1, macroblocks: (4, 3), crop: [0; 4] };

    fn sequence_set(claims: &Claims) -> Vec<u8> {
        let (across, down) = claims.macroblocks;
        Writer::default()
            .bits(8, claims.profile)
            .bits(16, 31)
            // The set's number, 4 bits of frame_num, no separate order, references.
            .numbers(&[claims.set, 0, 2, claims.references])
            .bits(1, 0)
            .numbers(&[across - 1, down - 1])
            .bits(3, 0b111)
            .numbers(&claims.crop)
            .bits(1, 0)
            .unit(0x67)
    }

    fn picture(frame_num: u32, keyframe: bool) -> Vec<u8> {
        let kind = if keyframe { 0x65 } else { 0x41 };
        Writer::default().numbers(&[0, 5, 0]).bits(4, frame_num).bits(9, 0x155).unit(kind)
    }

    fn begun() -> Watch {
        let mut watch = Watch::default();
        let packet = [sequence_set(&MODEST), picture(0, true)].concat();
        watch.accept(&packet, 64, 48).unwrap();
        watch
    }

    #[test]
    fn pictures_in_their_order_are_accepted() {
        let mut watch = begun();
        for index in 1..40 {
            watch.accept(&picture(index % 16, false), 64, 48).unwrap();
        }
        watch.accept(&[sequence_set(&MODEST), picture(0, true)].concat(), 64, 48).unwrap();
        watch.accept(&picture(1, false), 64, 48).unwrap();
    }

    #[test]
    fn gap_or_missing_keyframe_is_refused() {
        for frame_num in [0, 2, 15] {
            let error = begun().accept(&picture(frame_num, false), 64, 48).unwrap_err();
            assert!(error.contains("expected picture 1"), "{error}");
        }
        assert!(Watch::default().accept(&picture(1, false), 64, 48).unwrap_err().contains("keyframe"));
    }

    #[test]
    fn what_a_set_claims_beyond_the_layout_is_refused() {
        let claims = |claims: Claims| {
            let packet = [sequence_set(&claims), picture(0, true)].concat();
            Watch::default().accept(&packet, 64, 48)
        };
        assert!(claims(MODEST).is_ok());
        assert!(claims(Claims { crop: [0, 1, 0, 0], ..MODEST }).is_err());
        assert!(claims(Claims { macroblocks: (5, 4), crop: [0, 8, 0, 8], ..MODEST }).is_err());
        assert!(claims(Claims { macroblocks: (1000, 1000), ..MODEST }).is_err());
        assert!(claims(Claims { macroblocks: (65_000, 65_000), ..MODEST }).is_err());
        assert!(claims(Claims { references: 16, ..MODEST }).is_err());
        assert!(claims(Claims { set: 1, ..MODEST }).is_err());
        assert!(claims(Claims { profile: 110, ..MODEST }).is_err());
        // Cut off at the right and below, a size between macroblocks is as good as any.
        let packet = [sequence_set(&Claims { crop: [0, 3, 0, 7], ..MODEST }), picture(0, true)].concat();
        assert!(Watch::default().accept(&packet, 58, 34).is_ok());
    }

    #[test]
    fn one_packet_is_one_picture() {
        let two = [sequence_set(&MODEST), picture(0, true), picture(0, true)].concat();
        assert!(Watch::default().accept(&two, 64, 48).is_err());
        let with_another_set =
            [sequence_set(&MODEST), Writer::default().numbers(&[1, 0]).unit(0x68), picture(0, true)].concat();
        assert!(Watch::default().accept(&with_another_set, 64, 48).is_err());
    }

    #[test]
    fn packet_of_more_slices_than_an_encoder_has_threads_is_refused() {
        let slice =
            |first: u32| Writer::default().numbers(&[first, 5, 0]).bits(4, 0).bits(9, 0x155).unit(0x65);
        let packet = |slices: u32| {
            let slices: Vec<_> = (0..slices).flat_map(slice).collect();
            Watch::default().accept(
                &[sequence_set(&Claims { macroblocks: (8, 8), ..MODEST }), slices].concat(),
                128,
                128,
            )
        };
        assert_eq!(packet(MOST_SLICES), Ok(true));
        for slices in [MOST_SLICES + 1, 60] {
            assert!(packet(slices).unwrap_err().contains("slices of one picture"), "{slices}");
        }
        // The same part of the picture again.
        let twice = [sequence_set(&MODEST), slice(0), slice(0)].concat();
        assert!(Watch::default().accept(&twice, 64, 48).is_err());
    }

    #[test]
    fn a_packet_without_a_picture_is_refused() {
        for packet in [&[][..], &[0, 0, 1], &[0, 0, 1, 9, 0x10], &[1, 2, 3, 4, 5]] {
            assert!(Watch::default().accept(packet, 16, 16).is_err(), "{packet:?}");
        }
    }
}
