//! Places of pictures in a window.

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Rect {
    pub(crate) fn new(x: u32, y: u32, width: u32, height: u32) -> Self {
        Rect { x, y, width, height }
    }

    pub(crate) fn right(self) -> u32 {
        self.x + self.width
    }

    pub(crate) fn bottom(self) -> u32 {
        self.y + self.height
    }

    pub(crate) fn is_empty(self) -> bool {
        self.width == 0 || self.height == 0
    }
}

/// Places of `count` tiles in a window, with the largest pictures of 16:9.
pub(crate) fn grid(count: usize, width: u32, height: u32) -> Vec<Rect> {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let scale = |columns: u32| {
        let (tile_width, tile_height) = (width / columns, height / count.div_ceil(columns));
        (tile_width * 9).min(tile_height * 16)
    };
    // Of equal ones, that with the fewest columns.
    let columns = (1..=count).rev().max_by_key(|columns| scale(*columns)).unwrap_or(1);
    let rows = count.div_ceil(columns);
    let edge = |index: u32, parts: u32, length: u32| {
        u32::try_from(u64::from(length) * u64::from(index) / u64::from(parts)).unwrap_or(length)
    };
    (0..count)
        .map(|index| {
            let (column, row) = (index % columns, index / columns);
            let (x, y) = (edge(column, columns, width), edge(row, rows, height));
            Rect::new(x, y, edge(column + 1, columns, width) - x, edge(row + 1, rows, height) - y)
        })
        .collect()
}

/// The part of the pictures that is visible.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Zoom {
    /// 1: the picture fits its tile.
    factor: f64,
    /// The place in the centre of the tile, from 0 to 1.
    centre: (f64, f64),
}

impl Default for Zoom {
    fn default() -> Self {
        Zoom { factor: 1.0, centre: (0.5, 0.5) }
    }
}

impl Zoom {
    const STEP: f64 = 1.25;
    const LIMIT: f64 = 32.0;

    /// Changes the factor by steps of a quarter.
    pub(crate) fn step(&mut self, steps: i32) {
        let factor = self.factor * Self::STEP.powi(steps);
        self.factor = factor.clamp(1.0 / Self::LIMIT, Self::LIMIT);
        if (self.factor - 1.0).abs() < 1e-6 {
            *self = Zoom::default();
        }
    }

    /// Moves by tenths of a tile.
    pub(crate) fn pan(&mut self, right: i32, down: i32) {
        // No further than to the edge, so that the way back is as long.
        let margin = (0.5 / self.factor).min(0.5);
        let moved =
            |centre: f64, by: i32| (centre + f64::from(by) * 0.1 / self.factor).clamp(margin, 1.0 - margin);
        self.centre = (moved(self.centre.0, right), moved(self.centre.1, down));
    }

    pub(crate) fn percent(self) -> u32 {
        (self.factor * 100.0).round() as u32
    }
}

/// A part of a frame, and its place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// In pixels of the frame. Starts at even pixels, where chroma starts.
    pub(crate) source: Rect,
    /// In pixels of the window.
    pub(crate) target: Rect,
}

impl Placement {
    /// Returns the place of a frame of this size, with its aspect kept. `tile` must not be empty.
    pub(crate) fn new((width, height): (u32, u32), tile: Rect, zoom: Zoom) -> Self {
        let fit = (f64::from(tile.width) / f64::from(width)).min(f64::from(tile.height) / f64::from(height));
        let scale = fit * zoom.factor;
        let (source_x, source_width, x, target_width) = axis(width, tile.width, scale, zoom.centre.0);
        let (source_y, source_height, y, target_height) = axis(height, tile.height, scale, zoom.centre.1);
        Placement {
            source: Rect::new(source_x, source_y, source_width, source_height),
            target: Rect::new(tile.x + x, tile.y + y, target_width, target_height),
        }
    }

    /// Returns the place in the window of a place in a frame of this size.
    pub(crate) fn map(&self, x: f32, y: f32) -> (f32, f32) {
        let along = |at: f32, from: u32, length: u32, to: u32, to_length: u32| {
            to as f32 + (at - from as f32) * to_length as f32 / length as f32
        };
        let (source, target) = (self.source, self.target);
        (
            along(x, source.x, source.width, target.x, target.width),
            along(y, source.y, source.height, target.y, target.height),
        )
    }
}

/// Start and length in the frame, start and length in the tile.
fn axis(length: u32, tile: u32, scale: f64, centre: f64) -> (u32, u32, u32, u32) {
    let scaled = f64::from(length) * scale;
    if scaled <= f64::from(tile) + 0.5 {
        let shown = (scaled.round() as u32).clamp(1, tile);
        return (0, length, (tile - shown) / 2, shown);
    }
    let visible = f64::from(tile) / scale;
    let start = (centre * f64::from(length) - visible / 2.0).clamp(0.0, f64::from(length) - visible);
    let start = start as u32 & !1;
    let even = ((visible / 2.0).round() as u32 * 2).max(2);
    (start, even.min(length - start), 0, tile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_fills_the_window_without_overlap() {
        for count in 1..=17 {
            for (width, height) in [(1280, 720), (300, 900), (7, 5), (1, 1)] {
                let tiles = grid(count, width, height);
                assert_eq!(tiles.len(), count);
                assert!(tiles.iter().all(|tile| tile.right() <= width && tile.bottom() <= height));
                for (index, a) in tiles.iter().enumerate() {
                    let is_apart = |b: &Rect| {
                        a.right() <= b.x || b.right() <= a.x || a.bottom() <= b.y || b.bottom() <= a.y
                    };
                    assert!(tiles[index + 1..].iter().all(is_apart), "{tiles:?}");
                }
            }
        }
        assert_eq!(grid(4, 1280, 720)[3], Rect::new(640, 360, 640, 360));
        assert_eq!(grid(2, 1280, 360), [Rect::new(0, 0, 640, 360), Rect::new(640, 0, 640, 360)]);
    }

    #[test]
    fn picture_fits_its_tile_with_the_aspect_kept() {
        let place = |size, tile| Placement::new(size, tile, Zoom::default());
        let tile = Rect::new(10, 20, 800, 800);
        let wide = place((1920, 1080), tile);
        assert_eq!(wide.source, Rect::new(0, 0, 1920, 1080));
        assert_eq!(wide.target, Rect::new(10, 20 + 175, 800, 450));
        assert_eq!(place((1080, 1920), tile).target, Rect::new(10 + 175, 20, 450, 800));
        assert_eq!(place((1, 60_000), tile).target, Rect::new(10 + 399, 20, 1, 800));
        assert_eq!(wide.map(960.0, 540.0), (410.0, 420.0));
    }

    #[test]
    fn zoom_shows_a_part_and_returns_to_the_whole() {
        let tile = Rect::new(0, 0, 640, 480);
        let mut zoom = Zoom::default();
        (0..4).for_each(|_| zoom.step(1));
        assert_eq!(zoom.percent(), 244);
        let part = Placement::new((640, 480), tile, zoom);
        assert_eq!(part.target, tile);
        assert_eq!(
            (part.source.x, part.source.y, part.source.width, part.source.height),
            (188, 140, 262, 196)
        );
        zoom.pan(-100, -100);
        assert_eq!(Placement::new((640, 480), tile, zoom).source, Rect::new(0, 0, 262, 196));
        zoom.pan(100, 100);
        let corner = Placement::new((640, 480), tile, zoom).source;
        assert!(corner.right() <= 640 && corner.right() >= 638 && corner.bottom() >= 478, "{corner:?}");
        zoom.step(-4);
        assert_eq!(zoom, Zoom::default());
        zoom.step(-100);
        assert_eq!(Placement::new((640, 480), tile, zoom).target.width, 20);
        zoom.step(1000);
        let closest = Placement::new((640, 480), tile, zoom);
        assert_eq!((closest.source.width, closest.source.height), (20, 16));
    }

    #[test]
    fn every_size_has_a_place_at_every_zoom() {
        for size in [(1, 1), (2, 3), (33, 17), (60_000, 1), (1, 60_000), (1920, 1080)] {
            for tile in [Rect::new(3, 5, 1, 1), Rect::new(0, 0, 2, 700), Rect::new(9, 9, 640, 481)] {
                let mut zoom = Zoom::default();
                for steps in [0, 1, 5, 100, -100, -100, 17] {
                    zoom.step(steps);
                    zoom.pan(steps, -steps);
                    let place = Placement::new(size, tile, zoom);
                    assert!(!place.source.is_empty() && !place.target.is_empty(), "{size:?} {place:?}");
                    assert!(place.source.right() <= size.0 && place.source.bottom() <= size.1, "{place:?}");
                    assert!(place.target.right() <= tile.right() && place.target.bottom() <= tile.bottom());
                    assert!(
                        [place.source.x, place.source.y].iter().all(|at| at.is_multiple_of(2)),
                        "{place:?}"
                    );
                }
            }
        }
    }
}
