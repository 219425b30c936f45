//! Pictures that are saved.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use framelane::{Error, ErrorKind, Layout, PixelFormat};
use framelane_video::Converter;

use crate::geometry::Rect;
use crate::image::Image;

/// Most names that are tried for one frame.
const MOST_NAMES: u32 = 1000;

/// Saves a frame in its size, without overlay and boxes, as a PNG. Returns the path of the new file. Never
/// replaces a file.
pub(crate) fn save(
    folder: &Path,
    channel: &str,
    sequence: u64,
    image: &Image,
    converter: &mut Converter,
) -> Result<PathBuf, Error> {
    let (width, height) = image.size();
    let layout = Layout::packed(PixelFormat::Rgb8, width, height)?;
    let mut pixels = vec![0; layout.size_bytes()];
    image.convert(converter, Rect::new(0, 0, width, height), &layout, &mut pixels)?;
    let (path, file) = create(folder, &stem(channel, sequence))?;
    let failed = |error: io::Error| Error::from_io(format!("cannot write {}", path.display()), error);
    let mut out = BufWriter::new(file);
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().map_err(|error| failed(error.into()))?;
    writer.write_image_data(&pixels).map_err(|error| failed(error.into()))?;
    writer.finish().map_err(|error| failed(error.into()))?;
    out.flush().map_err(failed)?;
    Ok(path)
}

/// The name without its suffix: the channel's name, of a URL the part after the address, and the sequence.
fn stem(channel: &str, sequence: u64) -> String {
    let name = channel.split('?').next().unwrap_or_default();
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    let is_kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name.chars().map(|c| if is_kept(c) { c } else { '-' }).collect();
    format!("{}-{sequence:06}", name.trim_matches(['-', '.']))
}

fn create(folder: &Path, stem: &str) -> Result<(PathBuf, File), Error> {
    for attempt in 1..=MOST_NAMES {
        let name = if attempt == 1 { format!("{stem}.png") } else { format!("{stem}-{attempt}.png") };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == IoKind::AlreadyExists => {}
            Err(error) => return Err(Error::from_io(format!("cannot create {}", path.display()), error)),
        }
    }
    let message =
        format!("cannot create {stem}.png in {}: {MOST_NAMES} files have this name", folder.display());
    Err(Error::new(ErrorKind::SystemFailure, message).with_hint("remove some of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_a_picture_has_no_folder_and_no_options() {
        assert_eq!(stem("cam0", 12), "cam0-000012");
        assert_eq!(stem("hall/cam0", 1_234_567), "hall-cam0-1234567");
        assert_eq!(stem("tls://host:7420/cam0?token=secret", 1), "host-7420-cam0-000001");
        assert_eq!(stem("../../etc", 1), "etc-000001");
    }
}
