//! A camera (a bright ball that moves) that asks another program, in any language, where the ball is,
//! and draws it.
//!
//!     camera [FRAMES] [PICTURE.png]     prints the box of each frame, and saves the last picture
use std::time::Duration;

use framelane::{DetectionSubscriber, FrameInfo, Layout, PixelFormat, Publisher};
use image::{Rgb, RgbImage};

const TIMEOUT: Duration = Duration::from_secs(3600);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let frames: u32 = arguments.first().map_or(Ok(50), |text| text.parse())?;
    let mut publisher = Publisher::create("boxes")?;
    let mut detections = DetectionSubscriber::open("boxes/detections")?; // waits for the detector
    let layout = Layout::packed(PixelFormat::Rgb8, 320, 240)?;
    let mut picture = RgbImage::new(320, 240);
    for n in 0..frames {
        let (left, top) = (10 + 4 * n % 280, 20 + 3 * n % 190);
        picture = RgbImage::from_fn(320, 240, |x, y| {
            let inside = (left..left + 20).contains(&x) && (top..top + 25).contains(&y);
            Rgb([if inside { 255 } else { 40 }; 3])
        });
        let found =
            publisher.send_and_wait(&layout, &FrameInfo::default(), &picture, &mut detections, TIMEOUT)?;
        let mut text = format!("frame {}:", found.frame.sequence);
        for one in &found.boxes {
            let label = found.label(one).unwrap_or("?");
            text += &format!(" {label} {},{} {}x{}", one.x, one.y, one.width, one.height);
            let (x, y, right, bottom) =
                (one.x as u32, one.y as u32, (one.x + one.width) as u32 - 1, (one.y + one.height) as u32 - 1);
            for x in x..=right {
                picture.put_pixel(x, y, Rgb([255, 0, 0]));
                picture.put_pixel(x, bottom, Rgb([255, 0, 0]));
            }
            for y in y..=bottom {
                picture.put_pixel(x, y, Rgb([255, 0, 0]));
                picture.put_pixel(right, y, Rgb([255, 0, 0]));
            }
        }
        println!("{text}");
    }
    if let Some(path) = arguments.get(1) {
        picture.save(path)?;
    }
    Ok(())
}
