//! Pictures that are rotated, and the facts about that before the first one is published.

use crate::ffmpeg::decoder::{Decoder, Received};
use crate::ffmpeg::frame::Frame;
use crate::ffmpeg::input::Input;
use crate::ffmpeg::orientation::{Display, Orientation};
use crate::ffmpeg::streams::StreamFacts;
use crate::options::{Rotate, SourceOptions};

/// Codecs whose pictures carry an orientation: EXIF data, or a SEI message.
const CODECS: [&str; 5] = ["mjpeg", "png", "webp", "h264", "hevc"];

/// Adds the orientation of the first picture to the facts, which have that of the container so far. Blocks
/// until there is a picture.
pub(crate) fn look_ahead(input: &mut Input, facts: &mut StreamFacts) {
    if !CODECS.contains(&facts.codec.as_str()) {
        return;
    }
    if let Some(display) = of_first_picture(input, facts) {
        facts.display = display;
        if facts.display_persists() {
            facts.display_of_stream = display;
        }
    }
    // The decoder logs the same again when it decodes the picture for publication.
    crate::ffmpeg::log::take();
}

fn of_first_picture(input: &mut Input, facts: &StreamFacts) -> Option<Display> {
    let mut decoder = Decoder::open(input, facts, true, None, None).ok()?;
    decoder.send(Some(input.peek(facts.index)?)).ok()?;
    decoder.send(None).ok()?;
    let mut frame = Frame::new().ok()?;
    matches!(decoder.receive(&mut frame), Ok(Received::Picture)).then(|| frame.display())?
}

/// Returns the rotation of pictures with this display matrix.
pub(crate) fn orientation(options: &SourceOptions, display: Display) -> Orientation {
    match options.rotate {
        Rotate::Auto => display.orientation,
        Rotate::None => Orientation::UPRIGHT,
    }
}
