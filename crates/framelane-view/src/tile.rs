//! One channel in the window.

use framelane::{Detections, Error, Layout, PixelFormat};
use framelane_video::Converter;

use crate::canvas::{Canvas, Font};
use crate::channel::{Channel, Facts, Shown, State};
use crate::geometry::{Placement, Rect, Zoom};
use crate::meter::Meter;
use crate::overlay;

/// Options of drawing, which keys change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) overlay: bool,
    pub(crate) boxes: bool,
    pub(crate) paused: bool,
    pub(crate) zoom: Zoom,
    pub(crate) font: Font,
}

/// A channel, its picture and its counts.
pub(crate) struct Tile {
    pub(crate) channel: Channel,
    pub(crate) state: State,
    pub(crate) current: Option<Shown>,
    pub(crate) meter: Meter,
    /// The current frame was not drawn yet.
    pub(crate) is_new: bool,
    /// Number of the first presentation that has the current state.
    pub(crate) changed_at: u64,
    /// Total of frames that were not delivered.
    dropped: u64,
    converter: Converter,
    /// The converted part of the frame, and what it was made for.
    pixels: Vec<u32>,
    converted: Option<Placement>,
    fault: Option<String>,
}

/// Changes that a tile took from its channel.
pub(crate) struct Changes {
    pub(crate) any: bool,
    pub(crate) state: bool,
    /// The size or format differs from that of the previous frame.
    pub(crate) format: bool,
}

impl Tile {
    pub(crate) fn new(channel: Channel) -> Result<Self, Error> {
        Ok(Tile {
            channel,
            state: State::Waiting,
            current: None,
            meter: Meter::new(),
            is_new: false,
            changed_at: 0,
            dropped: 0,
            converter: Converter::bilinear()?,
            pixels: Vec::new(),
            converted: None,
            fault: None,
        })
    }

    /// Takes what the channel has. While paused, frames stay there.
    pub(crate) fn take(&mut self, paused: bool) -> Changes {
        let mut inbox = self.channel.inbox();
        let frame = if paused { None } else { inbox.frame.take() };
        let late = inbox.late_boxes.take();
        let state = std::mem::replace(&mut self.state, inbox.state.clone());
        drop(inbox);
        // The time of a stall is no other state.
        let other = std::mem::discriminant(&state) != std::mem::discriminant(&self.state);
        let any = state != self.state || frame.is_some();
        let mut changes = Changes { any, state: other, format: false };
        let old = self.current.as_ref().map(|shown| shown.facts);
        if let Some(frame) = frame {
            let same = |old: Facts| (old.size, old.format) == (frame.facts.size, frame.facts.format);
            changes.format = !old.is_some_and(same);
            self.replace(Some(frame));
            self.is_new = true;
        }
        if self.state == State::Waiting && !paused && self.current.is_some() {
            self.replace(None);
            (self.is_new, changes.any, changes.format) = (false, true, false);
        }
        if let (Some(current), Some((origin, boxes))) = (&mut self.current, late)
            && current.facts.origin == origin
        {
            current.boxes = Some(boxes);
            changes.any = true;
        }
        changes
    }

    fn replace(&mut self, frame: Option<Shown>) {
        (self.converted, self.fault) = (None, None);
        if let Some(old) = std::mem::replace(&mut self.current, frame) {
            self.channel.recycle(old.image);
        }
    }

    /// Ends a second of the counts.
    pub(crate) fn tick(&mut self) -> crate::meter::Second {
        let (received, dropped) = self.totals();
        self.dropped = dropped;
        self.meter.tick(received, dropped)
    }

    /// Frames that were received and dropped since the start.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let inbox = self.channel.inbox();
        (inbox.received, inbox.dropped)
    }

    /// Draws the tile into a window of this width.
    pub(crate) fn draw(&mut self, pixels: &mut [u32], width: u32, tile: Rect, look: &Look) {
        let mut canvas = Canvas::new(pixels, width, tile);
        if tile.is_empty() {
            return;
        }
        if let Some(text) = self.message() {
            return overlay::message(&mut canvas, look.font, tile, &text);
        }
        let Some(current) = &self.current else { return };
        let place = Placement::new(current.facts.size, tile, look.zoom);
        if self.converted != Some(place) {
            let target = place.target;
            match convert(&mut self.converter, current, &place, &mut self.pixels) {
                Ok(()) => self.converted = Some(place),
                Err(error) => {
                    self.fault = Some(error.message().to_owned());
                    let text = format!("{}: {}", self.channel.label, error.message());
                    return overlay::message(&mut canvas, look.font, target, &text);
                }
            }
        }
        margins(&mut canvas, tile, place.target);
        canvas.copy(place.target, &self.pixels);
        let facts = &current.facts;
        let boxes = current.boxes.as_ref().filter(|_| look.boxes);
        if let Some(batch) = boxes {
            overlay::boxes(&mut canvas, look.font, &place, facts.size, facts.origin, batch);
        }
        if look.overlay {
            overlay::lines(&mut canvas, look.font, tile, &self.lines(facts, boxes, look));
        }
        if let State::Stalled(time) = self.state {
            let text = format!("stalled: no frame for {}", overlay::seconds(time));
            overlay::banner(&mut canvas, look.font, tile, &text);
        }
    }

    /// The message instead of a picture.
    fn message(&self) -> Option<String> {
        let label = &self.channel.label;
        if let Some(fault) = &self.fault {
            return Some(format!("{label}: {fault}"));
        }
        match &self.state {
            State::Failed(cause) => Some(format!("{label}: {cause}")),
            _ if self.current.is_some() => None,
            State::Waiting => Some(format!("waiting for the channel {label}")),
            _ => Some(format!("{label} has no frame yet")),
        }
    }

    fn lines(&self, facts: &Facts, boxes: Option<&Detections>, look: &Look) -> Vec<String> {
        let (width, height) = facts.size;
        let mut first = format!("{}  {width}x{height} {}", self.channel.label, facts.format);
        if look.zoom != Zoom::default() {
            first.push_str(&format!("  zoom {} %", look.zoom.percent()));
        }
        if look.paused {
            first.push_str("  paused");
        }
        let mut lines = vec![first];
        if let Some(second) = &self.meter.last {
            lines.push(format!("{:.1} frames/s", second.rate()));
            if let Some(latency) = second.latency {
                lines.push(format!("capture to screen {}", overlay::latency(latency)));
            }
        }
        lines.push(format!("frame {}  dropped {}", facts.origin.sequence, self.dropped));
        lines.extend(boxes.and_then(|batch| overlay::lag(facts.origin, facts.timestamp_ns, batch)));
        lines
    }
}

/// Converts the visible part into `pixels`.
fn convert(
    converter: &mut Converter,
    shown: &Shown,
    place: &Placement,
    pixels: &mut Vec<u32>,
) -> Result<(), Error> {
    let layout = Layout::packed(PixelFormat::Bgra8, place.target.width, place.target.height)?;
    pixels.resize(layout.size_bytes() / size_of::<u32>(), 0);
    shown.image.convert(converter, place.source, &layout, bytemuck::cast_slice_mut(pixels))
}

/// Fills what the picture leaves free.
fn margins(canvas: &mut Canvas<'_>, tile: Rect, target: Rect) {
    let color = overlay::BACKGROUND;
    canvas.fill_rect(Rect::new(tile.x, tile.y, tile.width, target.y - tile.y), color);
    canvas.fill_rect(Rect::new(tile.x, target.bottom(), tile.width, tile.bottom() - target.bottom()), color);
    canvas.fill_rect(Rect::new(tile.x, target.y, target.x - tile.x, target.height), color);
    canvas
        .fill_rect(Rect::new(target.right(), target.y, tile.right() - target.right(), target.height), color);
}
