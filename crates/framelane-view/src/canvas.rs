//! Drawing into the pixels of a window.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::geometry::Rect;

/// A colour, as 0xRRGGBB.
pub(crate) type Rgb = u32;

/// Dashes of a line: pixels that are drawn, and pixels after which they repeat.
const DASH: (i32, i32) = (6, 10);

/// Pixels of a window. Draws only within one rectangle.
pub(crate) struct Canvas<'a> {
    pixels: &'a mut [u32],
    width: u32,
    clip: Rect,
}

/// Size of text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Font(RasterHeight);

impl Font {
    /// Returns the size for a display with this scale factor.
    pub(crate) fn new(scale_factor: f64) -> Self {
        Font(match scale_factor {
            factor if factor < 1.2 => RasterHeight::Size16,
            factor if factor < 1.45 => RasterHeight::Size20,
            factor if factor < 1.9 => RasterHeight::Size24,
            _ => RasterHeight::Size32,
        })
    }

    pub(crate) fn height(self) -> i32 {
        self.0.val() as i32
    }

    pub(crate) fn width(self, text: &str) -> i32 {
        (text.chars().count() * get_raster_width(FontWeight::Regular, self.0)) as i32
    }
}

impl<'a> Canvas<'a> {
    /// `clip` must be within the window of this width.
    pub(crate) fn new(pixels: &'a mut [u32], width: u32, clip: Rect) -> Self {
        Canvas { pixels, width, clip }
    }

    pub(crate) fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, color: Rgb) {
        self.rows(x, y, width, height, |row| row.fill(color));
    }

    pub(crate) fn fill_rect(&mut self, rect: Rect, color: Rgb) {
        self.fill(rect.x as i32, rect.y as i32, rect.width as i32, rect.height as i32, color);
    }

    /// Makes pixels darker, to a quarter.
    pub(crate) fn darken(&mut self, x: i32, y: i32, width: i32, height: i32) {
        self.rows(x, y, width, height, |row| {
            for pixel in row {
                *pixel = (*pixel >> 2) & 0x003F_3F3F;
            }
        });
    }

    /// Copies rows of pixels to a place within the clip rectangle.
    pub(crate) fn copy(&mut self, target: Rect, pixels: &[u32]) {
        let source = pixels.chunks_exact(target.width as usize);
        for (row, source) in (target.y..target.bottom()).zip(source) {
            let start = row as usize * self.width as usize + target.x as usize;
            self.pixels[start..start + source.len()].copy_from_slice(source);
        }
    }

    /// Draws the outline of a rectangle, inwards.
    pub(crate) fn outline(&mut self, rect: [i32; 4], thickness: i32, dashed: bool, color: Rgb) {
        let [x, y, width, height] = rect;
        let (right, bottom) = (x + width - thickness, y + height - thickness);
        for (y, is_drawn) in [(y, true), (bottom, height > thickness)] {
            if is_drawn {
                self.dashes(x, width, dashed, |canvas, at, length| {
                    canvas.fill(at, y, length, thickness, color);
                });
            }
        }
        for (x, is_drawn) in [(x, true), (right, width > thickness)] {
            if is_drawn {
                self.dashes(y, height, dashed, |canvas, at, length| {
                    canvas.fill(x, at, thickness, length, color);
                });
            }
        }
    }

    fn dashes(&mut self, start: i32, length: i32, dashed: bool, mut draw: impl FnMut(&mut Self, i32, i32)) {
        if !dashed {
            return draw(self, start, length);
        }
        // No dash outside of the window: boxes may be much larger.
        let (first, last) = (start.max(-DASH.1), (start + length).min(self.width.max(1 << 16) as i32));
        let mut at = start + (first - start) / DASH.1 * DASH.1;
        while at < last {
            draw(self, at, DASH.0.min(last - at));
            at += DASH.1;
        }
    }

    /// Draws a line with a square pen.
    pub(crate) fn line(
        &mut self,
        from: (f32, f32),
        to: (f32, f32),
        thickness: i32,
        dashed: bool,
        color: Rgb,
    ) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let steps = dx.abs().max(dy.abs()).ceil();
        // Longer lines are those of absurd boxes.
        if steps.is_nan() || steps > 1e5 {
            return;
        }
        for step in 0..=steps as i32 {
            if dashed && step % DASH.1 >= DASH.0 {
                continue;
            }
            let part = step as f32 / steps.max(1.0);
            let (x, y) = (from.0 + dx * part, from.1 + dy * part);
            let offset = thickness / 2;
            self.fill(x as i32 - offset, y as i32 - offset, thickness, thickness, color);
        }
    }

    /// Draws one line of text. Characters that the font lacks become question marks.
    pub(crate) fn text(&mut self, x: i32, y: i32, font: Font, color: Rgb, text: &str) {
        let mut left = x;
        for character in text.chars() {
            let raster = get_raster(character, FontWeight::Regular, font.0)
                .or_else(|| get_raster('?', FontWeight::Regular, font.0));
            let Some(raster) = raster else { continue };
            for (row, values) in (y..).zip(raster.raster()) {
                for (column, &value) in (left..).zip(*values) {
                    if value > 0 {
                        self.blend(column, row, value, color);
                    }
                }
            }
            left += raster.width() as i32;
        }
    }

    fn blend(&mut self, x: i32, y: i32, value: u8, color: Rgb) {
        self.rows(x, y, 1, 1, |pixel| {
            let part = u32::from(value);
            let mix = |shift: u32| {
                let (over, under) = ((color >> shift) & 0xFF, (pixel[0] >> shift) & 0xFF);
                ((over * part + under * (255 - part)) / 255) << shift
            };
            pixel[0] = mix(16) | mix(8) | mix(0);
        });
    }

    /// Calls `draw` for the visible part of each row.
    fn rows(&mut self, x: i32, y: i32, width: i32, height: i32, mut draw: impl FnMut(&mut [u32])) {
        let within = |start: i32, length: i32, low: u32, high: u32| {
            let (low, high) = (i64::from(low), i64::from(high));
            let end = (i64::from(start) + i64::from(length)).clamp(low, high);
            (i64::from(start).clamp(low, high) as usize, end as usize)
        };
        let (left, right) = within(x, width, self.clip.x, self.clip.right());
        let (top, bottom) = within(y, height, self.clip.y, self.clip.bottom());
        if left >= right {
            return;
        }
        for row in top..bottom {
            let start = row * self.width as usize;
            draw(&mut self.pixels[start + left..start + right]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws on 20 by 10 pixels, of which a part can be drawn. Returns the pixels that were drawn.
    fn drawn(draw: impl FnOnce(&mut Canvas<'_>)) -> Vec<(u32, u32)> {
        let mut pixels = vec![0; 200];
        draw(&mut Canvas::new(&mut pixels, 20, Rect::new(2, 1, 16, 8)));
        let places = pixels.iter().enumerate().filter(|(_, pixel)| **pixel != 0);
        places.map(|(at, _)| (at as u32 % 20, at as u32 / 20)).collect()
    }

    #[test]
    fn drawing_stays_within_the_clip_rectangle() {
        let everywhere = [i32::MIN, -5, 0, 5, 19, 100, i32::MAX];
        for x in everywhere {
            for y in everywhere {
                for length in everywhere {
                    let found = drawn(|canvas| {
                        canvas.fill(x, y, length, length, 1);
                        canvas.text(x.min(1000), y.min(1000), Font::new(1.0), 0xFF_FFFF, "W");
                    });
                    assert!(found.iter().all(|&(x, y)| (2..18).contains(&x) && (1..9).contains(&y)));
                }
            }
        }
    }

    #[test]
    fn outline_is_drawn_inwards() {
        let found = drawn(|canvas| canvas.outline([4, 3, 5, 4], 1, false, 1));
        let expected: Vec<_> = (3..7)
            .flat_map(|y| (4..9).map(move |x| (x, y)))
            .filter(|&(x, y)| x == 4 || x == 8 || y == 3 || y == 6)
            .collect();
        assert_eq!(found, expected);
        let dashed = drawn(|canvas| canvas.outline([4, 3, 12, 1], 1, true, 1));
        assert_eq!(dashed, [4, 5, 6, 7, 8, 9, 14, 15].map(|x| (x, 3)));
        drawn(|canvas| canvas.outline([-2_000_000_000, -5, 2_000_000_100, 7], 1, true, 1));
    }

    #[test]
    fn line_joins_its_ends() {
        let found = drawn(|canvas| canvas.line((4.0, 2.0), (8.0, 6.0), 1, false, 1));
        assert_eq!(found, [(4, 2), (5, 3), (6, 4), (7, 5), (8, 6)]);
        drawn(|canvas| canvas.line((f32::NAN, 0.0), (f32::INFINITY, 1e30), 1, false, 1));
    }

    #[test]
    fn unknown_character_is_a_question_mark() {
        let text = |text| drawn(|canvas| canvas.text(2, -3, Font::new(1.0), 0xFF_FFFF, text));
        assert!(!text("?").is_empty());
        assert_eq!(text("人"), text("?"));
        assert_eq!(text("\n"), text("?"));
        assert_ne!(text("é"), text("?"));
    }
}
