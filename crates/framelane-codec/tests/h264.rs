//! A stream of H.264: keyframes, losses, changes of size.

mod pictures;

use framelane::{ErrorKind, FrameInfo, Layout, PixelFormat};
use framelane_codec::{Codec, Decoder, Encoder};
use pictures::{paint, psnr};

const CODEC: Codec = Codec::H264 { bits_per_second: 8_000_000 };

struct Packet {
    layout: Layout,
    bytes: Vec<u8>,
    payload: Vec<u8>,
    keyframe: bool,
}

/// Encodes moving pictures; `keyframe` says at which one is asked for.
fn stream(encoder: &mut Encoder, layout: &Layout, count: u32, keyframe: impl Fn(u32) -> bool) -> Vec<Packet> {
    (0..count)
        .map(|time| {
            let bytes = paint(layout, time);
            let mut payload = Vec::new();
            if keyframe(time) {
                encoder.request_keyframe();
            }
            let encoded = encoder.encode(layout, &FrameInfo::default(), &bytes, &mut payload).unwrap();
            assert_eq!(encoded.info.keyframe, encoded.keyframe);
            Packet { layout: encoded.layout, bytes, payload, keyframe: encoded.keyframe }
        })
        .collect()
}

/// Decodes one packet and compares the picture.
fn check(decoder: &mut Decoder, packet: &Packet) {
    let mut target = vec![0; packet.layout.size_bytes()];
    decoder.decode(&packet.payload, &packet.layout, &mut target).unwrap();
    let psnr = psnr((&packet.layout, &packet.bytes), (&packet.layout, &target));
    assert!(psnr > 32.0, "{:?}: {psnr} dB", packet.layout);
}

fn refused(decoder: &mut Decoder, packet: &Packet) {
    let mut target = vec![0; packet.layout.size_bytes()];
    let error = decoder.decode(&packet.payload, &packet.layout, &mut target).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

fn i420() -> Layout {
    Layout::packed(PixelFormat::I420, 320, 180).unwrap()
}

#[test]
fn each_of_thirty_moving_pictures_comes_out_of_its_own_packet() {
    for (format, width, height) in
        [(PixelFormat::I420, 320, 180), (PixelFormat::Bgr8, 321, 179), (PixelFormat::Gray8, 100, 75)]
    {
        let layout = Layout::packed(format, width, height).unwrap();
        let packets = stream(&mut Encoder::new(CODEC, None).unwrap(), &layout, 30, |_| false);
        let keyframes: Vec<_> = packets.iter().map(|packet| packet.keyframe).collect();
        assert_eq!(keyframes, (0..30).map(|index| index == 0).collect::<Vec<_>>());
        let mut decoder = Decoder::new(CODEC).unwrap();
        packets.iter().for_each(|packet| check(&mut decoder, packet));
    }
}

#[test]
fn a_keyframe_that_was_asked_for_needs_nothing_before_it() {
    let packets = stream(&mut Encoder::new(CODEC, None).unwrap(), &i420(), 9, |time| time == 4 || time == 5);
    let keyframes: Vec<_> = packets.iter().map(|packet| u8::from(packet.keyframe)).collect();
    assert_eq!(keyframes, [1, 0, 0, 0, 1, 1, 0, 0, 0]);
    for first in [0, 4, 5] {
        let mut decoder = Decoder::new(CODEC).unwrap();
        packets[first..].iter().for_each(|packet| check(&mut decoder, packet));
    }
}

#[test]
fn after_a_lost_packet_pictures_are_refused_until_a_keyframe() {
    let packets = stream(&mut Encoder::new(CODEC, None).unwrap(), &i420(), 12, |time| time == 8);
    for lost in [0, 1, 4, 7] {
        let mut decoder = Decoder::new(CODEC).unwrap();
        packets[..lost].iter().for_each(|packet| check(&mut decoder, packet));
        packets[lost + 1..8].iter().for_each(|packet| refused(&mut decoder, packet));
        packets[8..].iter().for_each(|packet| check(&mut decoder, packet));
    }
}

/// Found by random changes: within the first parameter set these bytes announce pictures that are kept for
/// reordering, and FFmpeg's decoder believed it until its end.
const FOUND: [u8; 10] = [0, 0, 3, 0, 0, 3, 0, 108, 126, 185];

#[test]
fn keyframe_after_damaged_parameters_decodes() {
    for format in [PixelFormat::I420, PixelFormat::Gray8, PixelFormat::Bgr8] {
        let layout = Layout::packed(format, 42, 15).unwrap();
        let packets = stream(&mut Encoder::new(CODEC, None).unwrap(), &layout, 4, |time| time == 3);
        let whole = decoded(&mut Decoder::new(CODEC).unwrap(), &packets[3]);
        // The parameter sets and the first bytes of the picture.
        for at in 4..70 {
            let mut damaged = packets[0].payload.clone();
            damaged.splice(at..at, FOUND);
            let mut decoder = Decoder::new(CODEC).unwrap();
            let mut target = vec![0; layout.size_bytes()];
            for payload in [&damaged, &packets[1].payload, &packets[2].payload] {
                let _ = decoder.decode(payload, &layout, &mut target);
            }
            assert!(decoded(&mut decoder, &packets[3]) == whole, "{format} {at}");
        }
    }
}

#[test]
fn keyframe_after_any_changed_header_bit_decodes_the_same() {
    let layout = Layout::packed(PixelFormat::Bgr8, 21, 49).unwrap();
    let packets = stream(&mut Encoder::new(CODEC, None).unwrap(), &layout, 2, |_| true);
    let whole = decoded(&mut Decoder::new(CODEC).unwrap(), &packets[1]);
    for bit in 4 * 8..48 * 8 {
        let mut damaged = packets[0].payload.clone();
        damaged[bit / 8] ^= 0x80 >> (bit % 8);
        let mut decoder = Decoder::new(CODEC).unwrap();
        let _ = decoder.decode(&damaged, &layout, &mut vec![0; layout.size_bytes()]);
        assert!(decoded(&mut decoder, &packets[1]) == whole, "bit {bit}");
    }
}

fn decoded(decoder: &mut Decoder, packet: &Packet) -> Vec<u8> {
    let mut target = vec![0; packet.layout.size_bytes()];
    decoder.decode(&packet.payload, &packet.layout, &mut target).unwrap();
    target
}

#[test]
fn packets_doubled_or_out_of_order_are_refused() {
    let packets = stream(&mut Encoder::new(CODEC, None).unwrap(), &i420(), 6, |time| time == 4);
    let mut decoder = Decoder::new(CODEC).unwrap();
    packets[..2].iter().for_each(|packet| check(&mut decoder, packet));
    refused(&mut decoder, &packets[1]);
    refused(&mut decoder, &packets[2]);
    packets[4..].iter().for_each(|packet| check(&mut decoder, packet));
    // A keyframe may come again: it needs nothing.
    check(&mut decoder, &packets[4]);
}

#[test]
fn a_change_of_size_begins_with_a_keyframe() {
    let mut encoder = Encoder::new(CODEC, None).unwrap();
    let mut decoder = Decoder::new(CODEC).unwrap();
    for (width, height) in [(320, 180), (64, 64), (321, 181), (320, 180)] {
        let layout = Layout::packed(PixelFormat::I420, width, height).unwrap();
        let packets = stream(&mut encoder, &layout, 3, |_| false);
        let keyframes: Vec<_> = packets.iter().map(|packet| packet.keyframe).collect();
        assert_eq!(keyframes, [true, false, false]);
        packets.iter().for_each(|packet| check(&mut decoder, packet));
    }
}

#[test]
fn a_source_that_changes_its_size_is_sent_in_one() {
    let mut encoder = Encoder::new(CODEC, Some((160, 90))).unwrap();
    let mut decoder = Decoder::new(CODEC).unwrap();
    let mut payload = Vec::new();
    for (index, (width, height)) in [(320, 180), (64, 64), (160, 90)].into_iter().enumerate() {
        let layout = Layout::packed(PixelFormat::Bgr8, width, height).unwrap();
        let bytes = paint(&layout, 0);
        let encoded = encoder.encode(&layout, &FrameInfo::default(), &bytes, &mut payload).unwrap();
        assert_eq!(encoded.layout, Layout::packed(PixelFormat::Bgr8, 160, 90).unwrap());
        assert_eq!(encoded.keyframe, index == 0);
        let mut target = vec![0; encoded.layout.size_bytes()];
        decoder.decode(&payload, &encoded.layout, &mut target).unwrap();
    }
}

/// Picture numbers restart at 0 within the stream, and so do keyframes that the sender did not request.
#[test]
fn long_streams_are_decoded_to_the_end() {
    let layout = Layout::packed(PixelFormat::I420, 32, 32).unwrap();
    let mut encoder = Encoder::new(CODEC, None).unwrap();
    let mut decoder = Decoder::new(CODEC).unwrap();
    let packets = stream(&mut encoder, &layout, 1000, |_| false);
    packets.iter().for_each(|packet| check(&mut decoder, packet));
    let keyframes = packets.iter().filter(|packet| packet.keyframe).count();
    assert!((1..10).contains(&keyframes), "{keyframes}");
}

#[test]
fn a_payload_for_another_size_is_refused() {
    let mut encoder = Encoder::new(CODEC, None).unwrap();
    let packets = stream(&mut encoder, &i420(), 1, |_| false);
    let mut decoder = Decoder::new(CODEC).unwrap();
    for (width, height) in [(16, 16), (320, 182), (320, 176), (318, 180), (640, 360), (180, 320)] {
        let layout = Layout::packed(PixelFormat::I420, width, height).unwrap();
        let mut target = vec![0; layout.size_bytes()];
        let error = decoder.decode(&packets[0].payload, &layout, &mut target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.message().contains("320x180"), "{error}");
    }
    check(&mut decoder, &packets[0]);
}

/// Detail that does not repeat, so that the encoder needs all the bits that it may have.
fn detail(layout: &Layout, time: u32) -> Vec<u8> {
    let mut number = u64::from(time) + 1;
    let mut bytes = paint(layout, time);
    for byte in &mut bytes {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte = byte.wrapping_add((number >> 33) as u8 % 16);
    }
    bytes
}

#[test]
fn the_bit_rate_holds_at_any_frame_rate() {
    let layout = i420();
    for frames_per_second in [10, 30, 100] {
        let codec = Codec::H264 { bits_per_second: 1_000_000 };
        let mut encoder = Encoder::new(codec, None).unwrap();
        let (mut bits, mut payload) = (0, Vec::new());
        let count = 8 * frames_per_second;
        for index in 0..count {
            let info = FrameInfo::default()
                .with_timestamp_ns(1_000_000_000 * u64::from(index) / u64::from(frames_per_second));
            encoder.encode(&layout, &info, &detail(&layout, index), &mut payload).unwrap();
            // In its first half the encoder learns how many frames there are.
            if index >= count / 2 {
                bits += 8 * payload.len();
            }
        }
        let per_second = bits / 4;
        assert!(
            (500_000..1_500_000).contains(&per_second),
            "{frames_per_second} per second: {per_second} bits"
        );
    }
}

#[test]
fn pictures_of_more_than_65536_macroblocks_are_decoded() {
    // Slices begin at macroblocks with numbers of more than 16 bits.
    let layout = Layout::packed(PixelFormat::Gray8, 8192, 4096).unwrap();
    let codec = "h264:4M".parse().unwrap();
    let (mut encoder, mut decoder) = (Encoder::new(codec, None).unwrap(), Decoder::new(codec).unwrap());
    let mut payload = Vec::new();
    let frame = vec![90; layout.size_bytes()];
    let encoded = encoder.encode(&layout, &FrameInfo::default(), &frame, &mut payload).unwrap();
    let mut decoded = vec![0; encoded.layout.size_bytes()];
    decoder.decode(&payload, &encoded.layout, &mut decoded).unwrap();
    assert!(decoded.iter().all(|pixel| pixel.abs_diff(90) < 4));
}
