//! Pictures of frames with the boxes that were found in them.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use framelane::{Detections, Error, ErrorKind};
use image::{Rgb, RgbImage};

use crate::recent::Kept;

const COLOR: Rgb<u8> = Rgb([40, 255, 60]);
const LINE_PIXELS: i64 = 2;

/// The folder of pictures, and the page that shows them.
pub(crate) struct Pictures {
    folder: PathBuf,
    wanted: usize,
    page: String,
    saved: usize,
    /// Frames with people before the next picture: spreads the pictures over the video.
    skip: usize,
    passed: usize,
}

impl Pictures {
    /// Makes the folder and removes the pictures of an earlier run.
    pub(crate) fn create(folder: &Path, wanted: usize) -> Result<Self, Error> {
        let fault = |error| Error::from_io(format!("the folder {}", folder.display()), error);
        std::fs::create_dir_all(folder).map_err(fault)?;
        for entry in std::fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("frame-") && name.ends_with(".jpg") {
                std::fs::remove_file(&path).map_err(fault)?;
            }
        }
        let page = String::new();
        Ok(Pictures { folder: folder.to_owned(), wanted, page, saved: 0, skip: 3, passed: 0 })
    }

    pub(crate) fn saved(&self) -> usize {
        self.saved
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Saves a frame with its boxes, unless enough are there or one of just before is.
    pub(crate) fn save(&mut self, frame: &Kept, found: &Detections) -> Result<(), Error> {
        self.passed += 1;
        if self.saved == self.wanted || !(self.passed - 1).is_multiple_of(self.skip) {
            return Ok(());
        }
        let mut picture = rgb(frame);
        for found in &found.boxes {
            outline(&mut picture, found.x, found.y, found.width, found.height);
        }
        let name = format!("frame-{:06}.jpg", frame.sequence);
        let path = self.folder.join(&name);
        picture
            .save(&path)
            .map_err(|error| Error::new(ErrorKind::Io, format!("saving {}: {error}", path.display())))?;
        let people: Vec<_> =
            found.boxes.iter().map(|b| format!("{} {:.2}", found.label(b).unwrap_or("?"), b.score)).collect();
        let latency_ms = found.latency_ns() as f64 / 1e6;
        writeln!(
            self.page,
            "<figure><img src=\"{name}\" alt=\"\"><figcaption>frame {}: {} ({latency_ms:.0} ms after its publication)\
             </figcaption></figure>",
            frame.sequence,
            people.join(", ")
        )
        .expect("writing to a string");
        self.saved += 1;
        Ok(())
    }

    /// Writes the page.
    pub(crate) fn finish(self) -> Result<Self, Error> {
        let path = self.folder.join("index.html");
        let body = if self.saved == 0 { "<p>No people were found.</p>\n" } else { &self.page };
        let page = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>framelane: people found</title>\n\
             <style>body {{ font: 14px sans-serif; background: #111; color: #ddd }} figure {{ display: inline-block; \
             margin: 8px }} img {{ max-width: 620px; display: block }}</style>\n<h1>People found</h1>\n\
             <p>Frames as they were published, each with the boxes that came back for it. The number behind a label is \
             the detector's own score (of OpenCV's HOG: the distance from its boundary, not a probability). HOG needs no \
             model to be fetched, and is often wrong: what this shows is the way of frames and boxes, not the state of \
             the art in finding people.</p>\n{body}"
        );
        std::fs::write(&path, page).map_err(|error| Error::from_io(path.display(), error))?;
        Ok(self)
    }
}

/// The bgr8 frame as an RGB picture.
fn rgb(frame: &Kept) -> RgbImage {
    let plane = frame.layout.planes()[0];
    RgbImage::from_fn(frame.layout.width(), frame.layout.height(), |x, y| {
        let at = plane.offset_bytes + y as usize * plane.stride_bytes + x as usize * 3;
        Rgb([frame.bytes[at + 2], frame.bytes[at + 1], frame.bytes[at]])
    })
}

fn outline(picture: &mut RgbImage, x: f32, y: f32, width: f32, height: f32) {
    let (left, top) = (x as i64, y as i64);
    let (right, bottom) = ((x + width) as i64, (y + height) as i64);
    for (x, y) in (left..=right)
        .flat_map(|x| (0..LINE_PIXELS).flat_map(move |i| [(x, top + i), (x, bottom - i)]))
        .chain(
            (top..=bottom).flat_map(|y| (0..LINE_PIXELS).flat_map(move |i| [(left + i, y), (right - i, y)])),
        )
    {
        if (0..i64::from(picture.width())).contains(&x) && (0..i64::from(picture.height())).contains(&y) {
            picture.put_pixel(x as u32, y as u32, COLOR);
        }
    }
}
