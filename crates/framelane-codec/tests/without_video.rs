//! Codecs of a build without FFmpeg.
#![cfg(not(feature = "video"))]

use framelane::{Error, ErrorKind, FrameInfo, Layout, PixelFormat};
use framelane_codec::{Codec, Decoder, Encoder};

const H264: Codec = Codec::H264 { bits_per_second: 1_000_000 };

fn names_the_feature(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.hint().unwrap().contains("`video`"), "{error}");
}

#[test]
fn what_needs_ffmpeg_says_so() {
    names_the_feature(&Encoder::new(H264, None).unwrap_err());
    names_the_feature(&Decoder::new(H264).unwrap_err());
    names_the_feature(&Encoder::new(Codec::Raw, Some((4, 4))).unwrap_err());
    let layout = Layout::packed(PixelFormat::Nv12, 16, 16).unwrap();
    let mut encoder = Encoder::new(Codec::Jpeg { quality: 80 }, None).unwrap();
    let bytes = vec![0; layout.size_bytes()];
    let error = encoder.encode(&layout, &FrameInfo::default(), &bytes, &mut Vec::new()).unwrap_err();
    names_the_feature(&error);
}

#[test]
fn raw_lz4_and_jpeg_work() {
    let layout = Layout::packed(PixelFormat::Bgr8, 16, 16).unwrap();
    let bytes: Vec<u8> = [10, 200, 30].repeat(256);
    for codec in [Codec::Raw, Codec::Lz4, Codec::Jpeg { quality: 90 }] {
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(codec, None).unwrap();
        let encoded = encoder.encode(&layout, &FrameInfo::default(), &bytes, &mut payload).unwrap();
        let mut target = vec![0; encoded.layout.size_bytes()];
        Decoder::new(codec).unwrap().decode(&payload, &encoded.layout, &mut target).unwrap();
        assert!(target.iter().zip(&bytes).all(|(a, b)| a.abs_diff(*b) < 4), "{codec}");
    }
}
