//! Pictures of frames with their boxes, and the page that shows them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use framelane::{Detection, Detections, Error, ErrorKind};
use image::{Rgb, RgbImage};

use crate::recent::Kept;

const COLOR: Rgb<u8> = Rgb([40, 255, 60]);
/// The shortest time between two pictures spreads them over the video.
const GAP_NS: u64 = 400_000_000;

/// The page up to its first section. It has two columns at least and loads nothing from elsewhere.
const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<link rel=\"icon\" href=\"data:,\">
<title>framelane: faces found</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 1rem; background: #111; color: #ddd }
.sheet { display: grid; gap: .75rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(18rem, calc(50% - .375rem)), 1fr)) }
figure { margin: 0 }
img { display: block; width: 100%; height: auto }
figcaption { font-size: 13px }
</style>
<h1>Faces found</h1>
<p>A Rust program published these frames. A Python program found the faces and sent the boxes back.
Each picture is a published frame with the boxes that belong to it.</p>
";

/// The folder of pictures, and the page that shows them.
pub(crate) struct Pictures {
    folder: PathBuf,
    wanted: usize,
    page: String,
    saved: usize,
    section: Option<String>,
    newest_ns: Option<u64>,
}

impl Pictures {
    /// Creates the folder and removes the pictures of an earlier run.
    pub(crate) fn create(folder: &Path, wanted: usize) -> Result<Self, Error> {
        let fault = |error| Error::from_io(format!("the folder {}", folder.display()), error);
        std::fs::create_dir_all(folder).map_err(fault)?;
        for entry in std::fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("frame-") && (name.ends_with(".png") || name.ends_with(".jpg")) {
                std::fs::remove_file(&path).map_err(fault)?;
            }
        }
        let folder = folder.canonicalize().map_err(fault)?;
        Ok(Pictures { folder, wanted, page: HEAD.to_owned(), saved: 0, section: None, newest_ns: None })
    }

    pub(crate) fn saved(&self) -> usize {
        self.saved
    }

    pub(crate) fn page(&self) -> PathBuf {
        self.folder.join("index.html")
    }

    /// Saves a frame with its boxes, unless there are enough pictures or the last one is too recent.
    pub(crate) fn save(&mut self, frame: &Kept, found: &Detections) -> Result<(), Error> {
        let now = found.frame.published_ns;
        if self.saved == self.wanted || self.newest_ns.is_some_and(|newest| now < newest + GAP_NS) {
            return Ok(());
        }
        let mut picture = rgb(frame);
        for found in &found.boxes {
            outline(&mut picture, found);
        }
        let name = format!("frame-{:06}.png", frame.sequence);
        let path = self.folder.join(&name);
        picture.save(&path).map_err(|error| {
            Error::new(ErrorKind::SystemFailure, format!("cannot save {}: {error}", path.display()))
        })?;
        self.add_to_page(&name, frame, found);
        self.newest_ns = Some(now);
        self.saved += 1;
        Ok(())
    }

    fn add_to_page(&mut self, name: &str, frame: &Kept, found: &Detections) {
        let (width, height) = (frame.layout.width(), frame.layout.height());
        let section = format!("{}, {width}×{height}", frame.source);
        let page = &mut self.page;
        if self.section.as_ref() != Some(&section) {
            page.push_str(if self.section.is_some() { "</div>\n" } else { "" });
            writeln!(page, "<h2>{}</h2>\n<div class=\"sheet\">", escape(&section)).expect("a string grows");
            self.section = Some(section);
        }
        let label = |b: &Detection| escape(found.label(b).unwrap_or("box"));
        let places: Vec<_> = found
            .boxes
            .iter()
            .map(|b| {
                let (right, bottom) = (b.x + b.width, b.y + b.height);
                format!("{} from {:.0},{:.0} to {right:.0},{bottom:.0}", label(b), b.x, b.y)
            })
            .collect();
        let scores: Vec<_> = found.boxes.iter().map(|b| format!("{} {:.2}", label(b), b.score)).collect();
        writeln!(
            page,
            "<figure><img src=\"{name}\" width=\"{width}\" height=\"{height}\" alt=\"Frame {} with a green \
             box around each: {}\"><figcaption>frame {}: {}, {:.0} ms after publication</figcaption>\
             </figure>",
            frame.sequence,
            places.join("; "),
            frame.sequence,
            scores.join(", "),
            found.latency_ns() as f64 / 1e6
        )
        .expect("a string grows");
    }

    /// Writes the page.
    pub(crate) fn finish(mut self) -> Result<Self, Error> {
        let end = if self.saved == 0 { "<p>No face was found.</p>\n" } else { "</div>\n" };
        self.page.push_str(end);
        let path = self.page();
        std::fs::write(&path, &self.page).map_err(|error| Error::from_io(path.display(), error))?;
        Ok(self)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns the bgr8 frame as an RGB picture.
fn rgb(frame: &Kept) -> RgbImage {
    let plane = frame.layout.planes()[0];
    RgbImage::from_fn(frame.layout.width(), frame.layout.height(), |x, y| {
        let at = plane.offset_bytes + y as usize * plane.stride_bytes + x as usize * 3;
        Rgb([frame.bytes[at + 2], frame.bytes[at + 1], frame.bytes[at]])
    })
}

/// Draws the edge of a box. The line is thinner in small pictures, which the page enlarges.
fn outline(picture: &mut RgbImage, found: &Detection) {
    let line_pixels = i64::from(picture.width() / 300 + 1);
    let (left, top) = (found.x as i64, found.y as i64);
    let (right, bottom) = ((found.x + found.width) as i64, (found.y + found.height) as i64);
    for y in top.max(0)..=bottom.min(i64::from(picture.height()) - 1) {
        for x in left.max(0)..=right.min(i64::from(picture.width()) - 1) {
            if [x - left, right - x, y - top, bottom - y].into_iter().any(|inside| inside < line_pixels) {
                picture.put_pixel(x as u32, y as u32, COLOR);
            }
        }
    }
}
