//! Memory used by decoding; alone in its process, because it measures the process.

mod pictures;

use framelane::{FrameInfo, Layout, PixelFormat};
use framelane_codec::{Codec, Decoder, Encoder, jpeg};
use pictures::paint;

const CODECS: [&str; 4] = ["raw", "lz4", "jpeg", "h264"];

/// The most memory that this process has had, in bytes.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn memory_follows_the_layout_and_not_what_a_payload_claims() {
    let small = Layout::packed(PixelFormat::Bgr8, 16, 16).unwrap();
    let giant = Layout::packed(PixelFormat::Gray8, 4096, 4096).unwrap();
    let claims = CODECS.map(|name| {
        let codec: Codec = name.parse().unwrap();
        let (mut layout, mut payload) = (giant.clone(), Vec::new());
        let bytes = paint(&giant, 0);
        Encoder::new(codec, None)
            .unwrap()
            .encode(&giant, &FrameInfo::default(), &bytes, &mut payload)
            .unwrap();
        if codec.name() == "jpeg" {
            // Still larger: height and width stand five bytes behind the mark of the frame.
            let at = payload.windows(2).position(|window| window == [0xFF, 0xC0]).unwrap();
            payload[at + 5..at + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
            layout = Layout::packed(PixelFormat::Gray8, 65_500, 65_500).unwrap();
            let header = jpeg::header(&payload).unwrap();
            assert_eq!((header.width, header.height, header.is_gray), (65_500, 65_500, true));
        }
        (codec, layout, payload)
    });
    for (codec, layout, payload) in &claims {
        let mut decoder = Decoder::new(*codec).unwrap();
        let mut target = vec![0; small.size_bytes()];
        decoder.decode(&[], &small, &mut target).unwrap_err();
        let before = peak_bytes();
        decoder.decode(payload, &small, &mut target).unwrap_err();
        let grown = peak_bytes() - before;
        assert!(grown < payload.len() + (1 << 20), "{codec} {layout:?}: {grown} bytes for {}", payload.len());
    }
}
