//! Boxes and text over a picture.

use std::fmt::Write;
use std::time::Duration;

use framelane::{Detection, DetectionFlags, Detections, Origin};

use crate::canvas::{Canvas, Font, Rgb};
use crate::event::Latency;
use crate::geometry::{Placement, Rect};

/// Colours of boxes. Neighbours differ, and all stand out from dark and light pictures.
const COLORS: [Rgb; 8] = [0x00E676, 0xFF5252, 0x40C4FF, 0xFFD740, 0xE040FB, 0xFF9100, 0x64FFDA, 0xF48FB1];
const TEXT: Rgb = 0xFFFFFF;
const DIM_TEXT: Rgb = 0xB0B4BA;
const DARK_TEXT: Rgb = 0x101418;
/// Behind pictures and messages.
pub(crate) const BACKGROUND: Rgb = 0x16191D;

/// Most boxes that are drawn.
const MAX_BOXES: usize = 1000;

/// Width of a line, for a font.
fn thickness(font: Font) -> i32 {
    font.height() / 8
}

/// Draws boxes. Those of another frame are dashed.
pub(crate) fn boxes(
    canvas: &mut Canvas<'_>,
    font: Font,
    place: &Placement,
    frame: (u32, u32),
    origin: Origin,
    batch: &Detections,
) {
    let dashed = Origin::from(&batch.frame) != origin;
    // Boxes refer to the size that the batch states, else to that of the frame.
    let scale = |frame: u32, batch: u32| if batch == 0 { 1.0 } else { frame as f32 / batch as f32 };
    let scale = (scale(frame.0, batch.frame.width), scale(frame.1, batch.frame.height));
    for found in batch.boxes.iter().take(MAX_BOXES) {
        let key = if found.track_id == 0 { u64::from(found.class_id) } else { found.track_id };
        let color = COLORS[(key % COLORS.len() as u64) as usize];
        let corners = corners(found).map(|(x, y)| place.map(x * scale.0, y * scale.1));
        if corners.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
            continue;
        }
        let dashed = dashed || found.flags.contains(DetectionFlags::LOST);
        if found.rotation == 0.0 {
            let [left, top, right, bottom] = [corners[0].0, corners[0].1, corners[2].0, corners[2].1]
                .map(|side| side.clamp(-1e6, 1e6).round() as i32);
            let rect = [left, top, (right - left).max(1), (bottom - top).max(1)];
            canvas.outline(rect, thickness(font), dashed, color);
        } else {
            for (from, to) in corners.iter().zip(corners.iter().cycle().skip(1)) {
                canvas.line(*from, *to, thickness(font), dashed, color);
            }
        }
        let left = corners.iter().fold(f32::INFINITY, |left, corner| left.min(corner.0));
        let top = corners.iter().fold(f32::INFINITY, |top, corner| top.min(corner.1));
        label(
            canvas,
            font,
            place.target,
            (left.round() as i32, top.round() as i32),
            color,
            &name(batch, found),
        );
    }
}

/// The label above a box, or within it at the upper edge of the picture.
fn label(
    canvas: &mut Canvas<'_>,
    font: Font,
    picture: Rect,
    (left, top): (i32, i32),
    color: Rgb,
    text: &str,
) {
    let height = font.height();
    let y = if top - height >= picture.y as i32 { top - height } else { top };
    canvas.fill(left, y, font.width(text) + 4, height, color);
    canvas.text(left + 2, y, font, DARK_TEXT, text);
}

/// Label, score and track of a box.
fn name(batch: &Detections, found: &Detection) -> String {
    let mut text = match batch.label(found) {
        // A label of another process may be long.
        Some(label) => label.chars().take(40).collect(),
        None => format!("class {}", found.class_id),
    };
    if found.score.is_finite() {
        let _ = write!(text, " {:.2}", found.score);
    }
    if found.track_id != 0 {
        let _ = write!(text, " #{}", found.track_id);
    }
    text
}

/// Corners in pixels, clockwise from the upper left one. Rotated clockwise about the centre.
fn corners(found: &Detection) -> [(f32, f32); 4] {
    let (half_width, half_height) = (found.width / 2.0, found.height / 2.0);
    let (x, y) = (found.x + half_width, found.y + half_height);
    let (sin, cos) = found.rotation.sin_cos();
    [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)].map(|(right, down)| {
        let (dx, dy) = (half_width * right, half_height * down);
        (x + dx * cos - dy * sin, y + dx * sin + dy * cos)
    })
}

/// Draws lines of text at the upper left of a tile.
pub(crate) fn lines(canvas: &mut Canvas<'_>, font: Font, tile: Rect, lines: &[String]) {
    let (x, y) = (tile.x as i32 + 6, tile.y as i32 + 6);
    let width = lines.iter().map(|line| font.width(line)).max().unwrap_or(0);
    canvas.darken(x - 3, y - 2, width + 6, font.height() * lines.len() as i32 + 4);
    for (line, y) in lines.iter().zip((y..).step_by(font.height() as usize)) {
        canvas.text(x, y, font, TEXT, line);
    }
}

/// Draws a message at the lower edge of a picture.
pub(crate) fn banner(canvas: &mut Canvas<'_>, font: Font, tile: Rect, text: &str) {
    let height = font.height() + 8;
    let y = tile.bottom() as i32 - height;
    canvas.darken(tile.x as i32, y, tile.width as i32, height);
    centred(canvas, font, tile, y + 4, TEXT, text);
}

/// Draws a message in an empty tile.
pub(crate) fn message(canvas: &mut Canvas<'_>, font: Font, tile: Rect, text: &str) {
    canvas.fill_rect(tile, BACKGROUND);
    // As many words as fit in each line.
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or("", String::as_str);
        if !line.is_empty() && font.width(line) + font.width(word) + font.width("   ") > tile.width as i32 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    let top = (tile.y + tile.height / 2) as i32 - font.height() * lines.len() as i32 / 2;
    for (line, y) in lines.iter().zip((top..).step_by(font.height() as usize)) {
        centred(canvas, font, tile, y, DIM_TEXT, line);
    }
}

fn centred(canvas: &mut Canvas<'_>, font: Font, tile: Rect, y: i32, color: Rgb, text: &str) {
    let free = tile.width as i32 - font.width(text);
    canvas.text(tile.x as i32 + (free / 2).max(2), y, font, color, text);
}

/// Latencies for people.
pub(crate) fn latency(latency: Latency) -> String {
    let ms = |ns: u64| {
        let ms = ns as f64 / 1e6;
        if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
    };
    format!("p50 {} p99 {} ms", ms(latency.p50_ns), ms(latency.p99_ns))
}

/// Returns the lag of boxes behind the frame, if there is one.
pub(crate) fn lag(origin: Origin, timestamp_ns: u64, batch: &Detections) -> Option<String> {
    let found = Origin::from(&batch.frame);
    if found == origin {
        return None;
    }
    let ms = timestamp_ns.saturating_sub(batch.frame.timestamp_ns) as f64 / 1e6;
    let frames = origin.sequence.saturating_sub(found.sequence);
    Some(format!("boxes lag {frames} frames, {ms:.0} ms"))
}

/// A time in whole seconds.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_is_rotated_clockwise_about_its_centre() {
        let found = Detection {
            x: 10.0,
            y: 10.0,
            width: 4.0,
            height: 2.0,
            rotation: 90_f32.to_radians(),
            ..Detection::default()
        };
        let expected = [(13.0, 9.0), (13.0, 13.0), (11.0, 13.0), (11.0, 9.0)];
        for (found, expected) in corners(&found).into_iter().zip(expected) {
            assert!((found.0 - expected.0).abs() < 1e-4 && (found.1 - expected.1).abs() < 1e-4, "{found:?}");
        }
    }
}
