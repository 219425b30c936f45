//! Measures the time and the size of each codec, for frames from standard input.
//!
//! ```sh
//! ffmpeg -v error -i film.mp4 -frames:v 60 -vf scale=1920:1080 -pix_fmt bgr24 -f rawvideo - |
//!   cargo run --release -p framelane-codec --example figures -- bgr8 1920 1080 raw lz4 jpeg:80 h264:4M
//! ```

use std::io::Read;
use std::time::{Duration, Instant};

use framelane::{FrameInfo, Layout};
use framelane_codec::{Codec, Decoder, Encoder};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("expected FORMAT WIDTH HEIGHT CODEC...");
    let layout = Layout::packed(next()?.parse()?, next()?.parse()?, next()?.parse()?)?;
    let codecs: Vec<Codec> = arguments.map(|codec| codec.parse()).collect::<Result<_, _>>()?;
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let frames: Vec<_> = bytes.chunks_exact(layout.size_bytes()).collect();
    println!("{} frames of {} {}x{}", frames.len(), layout.format(), layout.width(), layout.height());
    println!("| codec | encode, ms | decode, ms | bytes a frame |\n|---|---|---|---|");
    for codec in codecs {
        let (mut encoder, mut decoder) = (Encoder::new(codec, None)?, Decoder::new(codec)?);
        let (mut encoding, mut decoding) = (Vec::new(), Vec::new());
        let (mut payload, mut target, mut size_bytes) = (Vec::new(), Vec::new(), 0);
        for frame in &frames {
            let start = Instant::now();
            let encoded = encoder.encode(&layout, &FrameInfo::default(), frame, &mut payload)?;
            encoding.push(start.elapsed());
            target.resize(encoded.layout.size_bytes(), 0);
            size_bytes += payload.len();
            let start = Instant::now();
            decoder.decode(&payload, &encoded.layout, &mut target)?;
            decoding.push(start.elapsed());
        }
        println!(
            "| {codec} | {:.2} | {:.2} | {} |",
            median_ms(&mut encoding),
            median_ms(&mut decoding),
            size_bytes / frames.len().max(1)
        );
    }
    Ok(())
}

fn median_ms(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
