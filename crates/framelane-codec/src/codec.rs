//! The names of the codecs, with their settings.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use framelane::{Error, ErrorKind};

/// Coding of frames. Written as `"raw"`, `"lz4"`, `"jpeg:80"`, `"h264:4M"`.
///
/// ```
/// use framelane_codec::Codec;
/// assert_eq!("h264:4M".parse::<Codec>()?, Codec::H264 { bits_per_second: 4_000_000 });
/// assert_eq!("jpeg".parse::<Codec>()?.to_string(), "jpeg:80");
/// # Ok::<(), framelane::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// The frame's own bytes, without padding.
    Raw,
    /// The same, as one block of lz4. Nothing is lost.
    Lz4,
    /// JPEG, each frame by itself.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// H.264, each frame from those before it.
    H264 {
        /// 32 000 to 1 000 000 000.
        bits_per_second: u64,
    },
}

const DEFAULT_QUALITY: u8 = 80;
const QUALITIES: RangeInclusive<u8> = 1..=100;
const DEFAULT_BITS_PER_SECOND: u64 = 4_000_000;
const BITS_PER_SECOND: RangeInclusive<u64> = 32_000..=1_000_000_000;

impl Codec {
    /// Its name without the settings: `"raw"`, `"lz4"`, `"jpeg"` or `"h264"`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::Raw => "raw",
            Codec::Lz4 => "lz4",
            Codec::Jpeg { .. } => "jpeg",
            Codec::H264 { .. } => "h264",
        }
    }

    /// The settings may have been made without parsing.
    pub(crate) fn check(self) -> Result<Self, Error> {
        let error = |message| Err(Error::new(ErrorKind::InvalidOption, message));
        match self {
            Codec::Jpeg { quality } if !QUALITIES.contains(&quality) => {
                error(format!("expected a JPEG quality of 1 to 100, found {quality}"))
            }
            Codec::H264 { bits_per_second } if !BITS_PER_SECOND.contains(&bits_per_second) => {
                error(format!("expected 32k to 1000M bits per second, found {bits_per_second}"))
            }
            codec => Ok(codec),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Codec::Jpeg { quality } => write!(f, "jpeg:{quality}"),
            Codec::H264 { bits_per_second: bits } if bits % 1_000_000 == 0 => {
                write!(f, "h264:{}M", bits / 1_000_000)
            }
            Codec::H264 { bits_per_second: bits } if bits % 1000 == 0 => write!(f, "h264:{}k", bits / 1000),
            Codec::H264 { bits_per_second: bits } => write!(f, "h264:{bits}"),
            codec => f.write_str(codec.name()),
        }
    }
}

impl FromStr for Codec {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidOption`], naming the known codecs.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "expected a codec (raw, lz4, jpeg:QUALITY with 1 to 100, h264:BITRATE as in 4M or 500k), found \
                     {text:?}"
                ),
            )
        };
        let (name, setting) = match text.split_once(':') {
            Some((name, setting)) => (name, Some(setting)),
            None => (text, None),
        };
        match (name, setting) {
            ("raw", None) => Ok(Codec::Raw),
            ("lz4", None) => Ok(Codec::Lz4),
            ("jpeg", None) => Ok(Codec::Jpeg { quality: DEFAULT_QUALITY }),
            ("jpeg", Some(quality)) => {
                Codec::Jpeg { quality: number(quality).and_then(|q| q.try_into().ok()).ok_or_else(unknown)? }
                    .check()
            }
            ("h264", None) => Ok(Codec::H264 { bits_per_second: DEFAULT_BITS_PER_SECOND }),
            ("h264", Some(rate)) => {
                let (digits, unit) = match rate.strip_suffix('M') {
                    Some(digits) => (digits, 1_000_000),
                    None => rate.strip_suffix('k').map_or((rate, 1), |digits| (digits, 1000)),
                };
                let bits_per_second =
                    number(digits).and_then(|number| number.checked_mul(unit)).ok_or_else(unknown)?;
                Codec::H264 { bits_per_second }.check()
            }
            _ => Err(unknown()),
        }
    }
}

/// Digits alone: the standard parser takes a plus sign too.
fn number(digits: &str) -> Option<u64> {
    if digits.starts_with('+') { None } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_the_same_codec() {
        for name in ["raw", "lz4", "jpeg:1", "jpeg:100", "h264:32k", "h264:4M", "h264:1000M", "h264:1234567"]
        {
            assert_eq!(name.parse::<Codec>().unwrap().to_string(), name);
        }
        assert_eq!("h264".parse::<Codec>().unwrap().to_string(), "h264:4M");
        assert_eq!("h264:4000k".parse::<Codec>().unwrap().to_string(), "h264:4M");
    }

    #[test]
    fn other_names_and_settings_out_of_range_are_refused() {
        for name in [
            "",
            "RAW",
            "raw:",
            "lz4:9",
            "jpeg:",
            "jpeg:0",
            "jpeg:101",
            "jpeg:+5",
            "jpeg:300",
            "h264:",
            "h264:M",
            "h264:31k",
            "h264:1001M",
            "h264:4m",
            "h264:-4M",
            "h264:99999999999999999999M",
            "h265",
            ":",
        ] {
            let error = name.parse::<Codec>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{name:?}");
        }
    }
}
