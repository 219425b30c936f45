//! Values of options.

use std::time::Duration;

use framelane::{Error, PixelFormat};
use framelane_codec::Codec;
use framelane_video::{RawFormat, Repeat};

/// `640x480`.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let sides =
        text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match sides {
        Some((width, height)) if (1..=32768).contains(&width) && (1..=32768).contains(&height) => {
            Ok((width, height))
        }
        _ => {
            Err(format!("expected WIDTHxHEIGHT of 1 to 32768 pixels a side, as in 1280x720, found {text:?}"))
        }
    }
}

/// The format to publish. `None`: the format of the source.
#[derive(Clone, Copy, Debug)]
pub struct OutputFormat(pub Option<PixelFormat>);

/// A pixel format by name, or `native` for the format of the source.
pub fn output_format(text: &str) -> Result<OutputFormat, String> {
    if text == "native" {
        return Ok(OutputFormat(None));
    }
    format(text).map(Some).map(OutputFormat).map_err(|error| format!("{error} (or native)"))
}

/// A video format by name.
pub fn format(text: &str) -> Result<PixelFormat, String> {
    let named = text.parse().ok().filter(|format| PixelFormat::VIDEO.contains(format));
    named.ok_or_else(|| {
        let names: Vec<_> = PixelFormat::VIDEO.iter().map(|format| format.name()).collect();
        format!("expected a pixel format of {}, found {text:?}", names.join(", "))
    })
}

/// The codec of a link.
pub fn codec(text: &str) -> Result<Codec, String> {
    text.parse().map_err(|error: Error| error.to_string())
}

/// `FORMAT:WIDTHxHEIGHT@FPS`, or without `@FPS` for 30 a second.
pub fn raw(text: &str) -> Result<RawFormat, String> {
    let expected = || format!("expected FORMAT:WIDTHxHEIGHT[@FPS], as in bgr8:640x480@30, found {text:?}");
    let (name, shape) = text.rsplit_once(':').ok_or_else(expected)?;
    let (shape, fps) = shape.split_once('@').unwrap_or((shape, "30"));
    let (width, height) = size(shape)?;
    let format = format(name)?;
    let fps = fps.parse().ok().filter(|fps: &f64| fps.is_finite() && *fps > 0.0).ok_or_else(expected)?;
    Ok(RawFormat { format, width, height, fps })
}

/// The number of repetitions: a count, or `forever`.
pub fn repeat(text: &str) -> Result<Repeat, String> {
    if text == "forever" {
        return Ok(Repeat::Forever);
    }
    text.parse()
        .map(Repeat::Times)
        .map_err(|_| format!("expected a number of plays, 1 or more, or forever, found {text:?}"))
}

/// Permissions in octal, as for `chmod`.
pub fn permissions(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(bits) if bits & !0o777 == 0 && bits & 0o600 == 0o600 => Ok(bits),
        _ => Err(format!(
            "expected permissions with which the owner reads and writes, as 600, 640 or 660, found {text:?}"
        )),
    }
}

/// The value of an option with this name.
pub fn named<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: Error| error.message().to_owned())
}

/// Thirty years: what is added to the time of day has to stay one.
const MOST_SECONDS: f64 = 1e9;

/// Seconds, with a fraction if wanted.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.0..=MOST_SECONDS).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("expected seconds, 0 to {MOST_SECONDS}, found {text:?}"))
}

/// Seconds between two updates.
pub fn interval(text: &str) -> Result<Duration, String> {
    seconds(text)
        .ok()
        .filter(|time| (Duration::from_millis(50)..=Duration::from_secs(86_400)).contains(time))
        .ok_or_else(|| format!("expected seconds, 0.05 to 86400, found {text:?}"))
}

/// Frames a second.
pub fn fps(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|fps: &f64| (1e-3..=1e6).contains(fps))
        .ok_or_else(|| format!("expected frames a second, 0.001 to 1000000, found {text:?}"))
}

/// `NAME=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("expected NAME=VALUE, as in rtsp_transport=tcp, found {text:?}"))
}

/// Everything that reads an option reads any text, and takes only what it says it takes.
#[cfg(any(test, framelane_testing))]
pub fn check(text: &str) {
    let sides = 1..=32768;
    if let Ok((width, height)) = size(text) {
        assert!(sides.contains(&width) && sides.contains(&height), "{text:?}");
        assert_eq!(size(&format!("{width}x{height}")), Ok((width, height)));
    }
    if let Ok(found) = raw(text) {
        assert!(sides.contains(&found.width) && sides.contains(&found.height), "{text:?}");
        assert!(found.fps.is_finite() && found.fps > 0.0, "{text:?}");
        assert!(
            framelane::Layout::packed(found.format, found.width, found.height).is_ok() || found.width > 1
        );
    }
    if let Ok(found) = format(text) {
        assert_eq!(format(&found.to_string()).as_ref(), Ok(&found));
    }
    if let Ok(found) = permissions(text) {
        assert_eq!(found & !0o777, 0, "{text:?}");
        assert_eq!(found & 0o600, 0o600, "{text:?}");
    }
    if let Ok(found) = fps(text) {
        assert!(found > 0.0 && Duration::try_from_secs_f64(1.0 / found).is_ok(), "{text:?}");
    }
    if let Ok((name, value)) = assignment(text) {
        assert!(!name.is_empty() && format!("{name}={value}") == text, "{text:?}");
    }
    if let Ok(found) = named::<framelane::Delivery>(text) {
        assert_eq!(found.name(), text);
    }
    if let Ok(found) = interval(text) {
        assert!(!found.is_zero() && std::time::Instant::now().checked_add(found).is_some(), "{text:?}");
    }
    let others = (output_format(text).is_ok(), repeat(text).is_ok(), seconds(text).is_ok());
    std::hint::black_box(others);
    #[cfg(framelane_testing)]
    if let Ok((found, fps)) = framelane_video::testing::testsrc(text) {
        assert!(fps.is_finite() && fps > 0.0, "{text:?}");
        assert!(found.is_none_or(|(width, height)| sides.contains(&width) && sides.contains(&height)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_fuzzing_has_found() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/source");
        let texts =
            std::fs::read_dir(corpus).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
        let texts: Vec<_> = texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
        assert!(!texts.is_empty());
        for text in &texts {
            check(text);
            // And with a part of another: sizes, rates and names in each other's places.
            for other in &texts {
                let (half, rest) = (text.len() / 2, other.len() / 2);
                let joined = text.get(..half).zip(other.get(rest..)).map(|(a, b)| format!("{a}{b}"));
                check(&joined.unwrap_or_default());
            }
        }
    }

    #[test]
    fn raw_formats_are_read_with_and_without_a_rate() {
        let raw_format = raw("i420:64x48@29.97").unwrap();
        assert_eq!((raw_format.width, raw_format.height, raw_format.fps), (64, 48, 29.97));
        assert_eq!(raw("gray16:1x2").unwrap().fps, 30.0);
        for text in ["", "bgr8", "bgr8:64", "bgr8:64x48@0", "native:64x48", "bgr8:0x1", "bgr8:1x1@x"] {
            assert!(raw(text).is_err(), "{text}");
        }
    }

    #[test]
    fn permissions_keep_the_owner_in() {
        assert_eq!(permissions("660"), Ok(0o660));
        for text in ["", "8", "400", "1777", "rw"] {
            assert!(permissions(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_never_negative_nor_endless() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        assert!(interval("0").is_err() && interval("1e9").is_err());
        for text in ["-1", "inf", "nan", "1e300", "1.1e9", ""] {
            assert!(seconds(text).is_err() && interval(text).is_err(), "{text}");
        }
    }
}
