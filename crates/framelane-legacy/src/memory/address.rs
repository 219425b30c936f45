//! `legacy-memory:NAME[?size=1920x1080&streams=1&index=0&opencv=auto&owner=UID]`

use std::path::PathBuf;
use std::str::FromStr;

use framelane::{Error, ErrorKind};

use super::header::{HEADER_BYTES, OpenCv};

/// Start of an address.
pub const SCHEME: &str = "legacy-memory:";

const EXAMPLE: &str = "for example legacy-memory:ShareMedia?size=1920x1080&streams=1&index=0";
/// The largest side, and the most streams: above, an area has no meaning for programs that count in `int`.
const MAX: u32 = 1 << 15;

/// Which mapping, and which area of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    name: String,
    size: (u32, u32),
    streams: u32,
    index: u32,
    opencv: OpenCv,
    owner: Option<u32>,
}

impl Address {
    /// The mapping's name, without a slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Width and height of the frames that an area is made for.
    pub fn size(&self) -> (u32, u32) {
        self.size
    }

    /// Which area, from 0.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Returns the number of areas in the mapping.
    pub fn streams(&self) -> u32 {
        self.streams
    }

    /// The type codes of the frames.
    pub fn opencv(&self) -> OpenCv {
        self.opencv
    }

    /// The same area with other type codes.
    #[must_use]
    pub fn with_opencv(mut self, opencv: OpenCv) -> Self {
        self.opencv = opencv;
        self
    }

    /// The number of the user that the mapping must belong to, if the address names one.
    pub fn owner(&self) -> Option<u32> {
        self.owner
    }

    /// Returns the path of the mapping on Linux.
    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.name)
    }

    /// Bytes of one area: the header, and BGR pixels of the size.
    pub fn area_bytes(&self) -> usize {
        HEADER_BYTES + self.size.0 as usize * self.size.1 as usize * 3
    }

    /// Returns the offset of the area.
    pub fn offset_bytes(&self) -> u64 {
        u64::from(self.index) * self.area_bytes() as u64
    }

    /// Bytes of the whole mapping.
    pub fn total_bytes(&self) -> u64 {
        u64::from(self.streams) * self.area_bytes() as u64
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { name, size: (width, height), streams, index, opencv, owner } = self;
        write!(f, "{SCHEME}{name}?size={width}x{height}&streams={streams}&index={index}")?;
        if *opencv != OpenCv::Auto {
            write!(f, "&opencv={opencv}")?;
        }
        owner.map_or(Ok(()), |owner| write!(f, "&owner={owner}"))
    }
}

fn wrong(found: &str, expected: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected {expected}, found {found:?}")).with_hint(EXAMPLE)
}

fn number(option: &str, value: &str, least: u32) -> Result<u32, Error> {
    let number = value.parse().ok().filter(|number| (least..=MAX).contains(number));
    number.ok_or_else(|| wrong(value, &format!("{option} to be a number from {least} to {MAX}")))
}

impl FromStr for Address {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::InvalidOption`], which names the part that is wrong.
    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| wrong(text, &format!("an address that begins with {SCHEME}")))?;
        let (name, options) = rest.split_once('?').unwrap_or((rest, ""));
        // POSIX writes a slash before the name; both are the same object.
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.is_empty() || name.len() > 255 || name.contains(['/', '\0']) || name == "." || name == ".." {
            return Err(wrong(name, "the name of a mapping: 1 to 255 bytes without a slash"));
        }
        let mut address = Address {
            name: name.to_owned(),
            size: (1920, 1080),
            streams: 1,
            index: 0,
            opencv: OpenCv::Auto,
            owner: None,
        };
        let mut given: Vec<&str> = Vec::new();
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let key = option.split_once('=').map_or(option, |(key, _)| key);
            if given.contains(&key) {
                return Err(wrong(option, &format!("{key}= once")));
            }
            given.push(key);
            match option.split_once('=') {
                Some(("size", value)) => {
                    let (width, height) =
                        value.split_once('x').ok_or_else(|| wrong(value, "size as in 1920x1080"))?;
                    address.size = (number("the width", width, 1)?, number("the height", height, 1)?);
                }
                Some(("streams", value)) => address.streams = number("streams", value, 1)?,
                Some(("index", value)) => address.index = number("index", value, 0)?,
                Some(("opencv", value)) => {
                    address.opencv = value.parse().map_err(|_| wrong(value, "opencv to be 4, 5 or auto"))?;
                }
                Some(("owner", value)) => {
                    let owner =
                        value.parse().map_err(|_| wrong(value, "owner to be the number of a user"))?;
                    address.owner = Some(owner);
                }
                _ => return Err(wrong(option, "size=, streams=, index=, opencv= or owner=")),
            }
        }
        if address.index >= address.streams {
            let (index, streams) = (address.index, address.streams);
            return Err(wrong(
                &format!("index={index}"),
                &format!("an index below the number of streams, {streams}"),
            ));
        }
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_without_options_is_that_of_the_programs_at_hand() {
        let address: Address = "legacy-memory:ShareMedia".parse().unwrap();
        assert_eq!((address.name(), address.size(), address.index()), ("ShareMedia", (1920, 1080), 0));
        assert_eq!(address.area_bytes(), 12 + 1920 * 1080 * 3);
        assert_eq!(address.path(), PathBuf::from("/dev/shm/ShareMedia"));
        assert_eq!("legacy-memory:/ShareMedia".parse::<Address>().unwrap(), address);
    }

    #[test]
    fn areas_follow_each_other() {
        let address: Address = "legacy-memory:a?size=4x2&streams=3&index=2".parse().unwrap();
        assert_eq!((address.area_bytes(), address.offset_bytes(), address.total_bytes()), (36, 72, 108));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("tls://a", "legacy-memory:"),
            ("legacy-memory:", "name"),
            ("legacy-memory:a/b", "name"),
            ("legacy-memory:..", "name"),
            ("legacy-memory:a?size=4", "size"),
            ("legacy-memory:a?size=0x4", "width"),
            ("legacy-memory:a?size=4x99999", "height"),
            ("legacy-memory:a?streams=0", "streams"),
            ("legacy-memory:a?index=1", "index"),
            ("legacy-memory:a?fit=keep", "size=, streams=, index=, opencv= or owner="),
            ("legacy-memory:a?opencv=3", "opencv"),
            ("legacy-memory:a?owner=root", "owner"),
            ("legacy-memory:a?opencv=4&opencv=5", "opencv= once"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.message().contains(named), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn an_address_comes_back_as_it_was(
            name in "[A-Za-z0-9_.-]{1,20}x", w in 1..=MAX, h in 1..=MAX, streams in 1..=MAX, at in any::<u32>(),
            opencv in prop::sample::select(vec![OpenCv::Auto, OpenCv::V4, OpenCv::V5]), owner: Option<u32>,
        ) {
            let address = Address { name, size: (w, h), streams, index: at % streams, opencv, owner };
            prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
        }

        #[test]
        fn any_text_is_an_address_or_an_error(text in ".{0,60}") {
            let _ = text.parse::<Address>();
            let _ = format!("{SCHEME}{text}").parse::<Address>();
        }
    }
}
