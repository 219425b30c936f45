//! Measures the speed of decoding files into a channel, compared with the `ffmpeg` program.
//!
//! `cargo run --release -p framelane-video --example against_ffmpeg -- [FILE] [ROUNDS]`
//!
//! Runs, in turn and each in a separate process: file → i420 in shared memory and `ffmpeg -i FILE -f null -`,
//! then file → bgr8 in shared memory and `ffmpeg -i FILE -pix_fmt bgr24 -f null -`. Reports the median times
//! and the median of the rounds' ratios; above 1 framelane is faster. Without FILE a clip of 1080p H.264 is
//! made with the `ffmpeg` program.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use framelane::{PixelFormat, PublisherOptions};
use framelane_video::{Rate, SourceOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [one, file, format] = arguments.as_slice()
        && one == "--one"
    {
        return Ok(publish(file, format.parse()?)?);
    }
    let made = std::env::temp_dir().join(format!("framelane-against-ffmpeg-{}.mp4", std::process::id()));
    let file = match arguments.first() {
        Some(file) => PathBuf::from(file),
        None => make_clip(&made)?,
    };
    let rounds = arguments.get(1).map_or(Ok(7), |rounds| rounds.parse())?;
    let itself = std::env::current_exe()?;
    for (format, conversion) in [("i420", &[][..]), ("bgr8", &["-pix_fmt", "bgr24"])] {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            let ours = seconds(Command::new(&itself).arg("--one").arg(&file).arg(format))?;
            let theirs = seconds(
                Command::new("ffmpeg")
                    .args(["-nostdin", "-loglevel", "error", "-i"])
                    .arg(&file)
                    .args(conversion)
                    .args(["-an", "-f", "null", "-"]),
            )?;
            pairs.push((ours, theirs));
        }
        println!(
            "{format}: framelane {:.3} s, ffmpeg {:.3} s, framelane is {:.3} times as fast ({rounds} rounds)",
            median(pairs.iter().map(|pair| pair.0)),
            median(pairs.iter().map(|pair| pair.1)),
            median(pairs.iter().map(|pair| pair.1 / pair.0)),
        );
    }
    if made.exists() {
        std::fs::remove_file(made)?;
    }
    Ok(())
}

fn publish(file: &str, format: PixelFormat) -> Result<(), framelane::Error> {
    let mut source = SourceOptions::new().format(format).rate(Rate::Max).open(file)?;
    let mut publisher = PublisherOptions::new()
        .slots(source.slots_needed(4))
        .create(&format!("against-ffmpeg-{}", std::process::id()))?;
    let summary = source.publish_to(&mut publisher, &mut |_| ControlFlow::Continue(()))?;
    eprintln!("{} frames, {} straight into their slot", summary.frames, summary.direct);
    Ok(())
}

fn seconds(command: &mut Command) -> Result<f64, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("{command:?} failed: {status}").into());
    }
    Ok(start.elapsed().as_secs_f64())
}

fn make_clip(file: &PathBuf) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let pattern = "testsrc2=size=1920x1080:rate=30:duration=12,noise=alls=12:allf=t";
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", pattern])
        .args(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-b:v", "8M"])
        .args(["-colorspace", "bt709", "-color_range", "tv"])
        .arg(file)
        .status()?;
    if !status.success() {
        return Err("ffmpeg could not make the clip".into());
    }
    Ok(file.clone())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
