//! Shows a channel in a window, with the frames per second in its title; q or Escape ends it.
//!
//!     show [CHANNEL] [--headless]     prints how many frames were shown, and the sum of their bytes
use std::time::Instant;

use framelane::{Delivery, Frame, SubscriberOptions};
use minifb::{Key, Window, WindowOptions};

/// The window's pixels are 0x00RRGGBB words.
fn pixels(frame: &Frame) -> Vec<u32> {
    let words = frame.bytes().chunks_exact(3);
    words.map(|bgr| u32::from_le_bytes([bgr[0], bgr[1], bgr[2], 0])).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (options, names): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|text| text.starts_with("--"));
    let channel = names.first().map_or("video", String::as_str);
    let headless = options.iter().any(|option| option == "--headless");
    // Every frame; for a live picture leave `delivery` out.
    let mut subscriber = SubscriberOptions::new().delivery(Delivery::Every).open(channel)?;
    let mut window: Option<Window> = None;
    let (mut frames, mut sum, mut fps, mut last) = (0, 0, 0.0, Instant::now());
    for frame in subscriber.frames() {
        let frame = frame?;
        frames += 1;
        sum += frame.bytes().iter().copied().map(u64::from).sum::<u64>();
        fps = 0.9 * fps + 0.1 / last.elapsed().as_secs_f64().max(1e-6);
        last = Instant::now();
        if headless {
            continue;
        }
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        let window = match &mut window {
            Some(window) => window,
            none => none.insert(Window::new(channel, width, height, WindowOptions::default())?),
        };
        window.set_title(&format!("{channel}  {fps:.0} fps"));
        window.update_with_buffer(&pixels(&frame), width, height)?;
        if !window.is_open() || window.is_key_down(Key::Q) || window.is_key_down(Key::Escape) {
            break;
        }
    }
    println!("{frames} frames, sum {sum}");
    Ok(())
}
