//! `camera CHANNEL BYTES FPS`: frames of the pattern at a pace. Ends, and closes the channel, with its input.

use std::error::Error;

use framelane::Publisher;
use framelane_tests::Camera;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [channel, bytes, fps] = &arguments[..] else { return Err("camera CHANNEL BYTES FPS".into()) };
    let camera = Camera::start(Publisher::create(channel)?, bytes.parse()?, fps.parse()?);
    println!("ready");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    camera.stop();
    Ok(())
}
