//! The meaning of the samples of a frame.

use std::fmt;

/// Range of the samples: the whole code range, or a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ColorRange {
    /// Not stated.
    #[default]
    Unspecified = 0,
    /// 16 to 235 for 8-bit luminance ("tv", "mpeg").
    Limited = 1,
    /// 0 to 255 for 8 bits ("pc", "jpeg").
    Full = 2,
}

crate::names::names!(
    ColorRange, "range": Unspecified = "unspecified", Limited = "limited", Full = "full"
);

impl ColorRange {
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

/// The meaning of the samples, in the code points of ITU-T H.273.
///
/// 2 is "unspecified" in all three; matrix 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020. `Display` prints
/// the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Color {
    /// `MatrixCoefficients`.
    pub matrix: u8,
    /// `ColourPrimaries`.
    pub primaries: u8,
    /// `TransferCharacteristics`.
    pub transfer: u8,
    /// Limited or full range.
    pub range: ColorRange,
}

impl Default for Color {
    fn default() -> Self {
        Color { matrix: 2, primaries: 2, transfer: 2, range: ColorRange::Unspecified }
    }
}

impl Color {
    /// The name that ffmpeg has for the matrix, for example `bt709`; `reserved` for a code point without a
    /// name.
    pub fn matrix_name(&self) -> &'static str {
        name_of(&MATRICES, self.matrix)
    }

    /// The name that ffmpeg has for the primaries; `reserved` for a code point without a name.
    pub fn primaries_name(&self) -> &'static str {
        name_of(&PRIMARIES, self.primaries)
    }

    /// The name that ffmpeg has for the transfer; `reserved` for a code point without a name.
    pub fn transfer_name(&self) -> &'static str {
        name_of(&TRANSFERS, self.transfer)
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A code point without a name is printed as well.
        let mut part = |label: &str, name: &str, code: u8| match name {
            RESERVED => write!(f, "{label} {name} ({code}), "),
            name => write!(f, "{label} {name}, "),
        };
        part("matrix", self.matrix_name(), self.matrix)?;
        part("primaries", self.primaries_name(), self.primaries)?;
        part("transfer", self.transfer_name(), self.transfer)?;
        let range = if self.range == ColorRange::Unspecified { "unknown" } else { self.range.name() };
        write!(f, "range {range}")
    }
}

fn name_of(names: &[(u8, &'static str)], code: u8) -> &'static str {
    names.iter().find(|(known, _)| *known == code).map_or(RESERVED, |(_, name)| name)
}

const RESERVED: &str = "reserved";
const MATRICES: [(u8, &str); 17] = [
    (0, "gbr"),
    (1, "bt709"),
    (2, "unknown"),
    (4, "fcc"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (7, "smpte240m"),
    (8, "ycgco"),
    (9, "bt2020nc"),
    (10, "bt2020c"),
    (11, "smpte2085"),
    (12, "chroma-derived-nc"),
    (13, "chroma-derived-c"),
    (14, "ictcp"),
    (15, "ipt-c2"),
    (16, "ycgco-re"),
    (17, "ycgco-ro"),
];
const PRIMARIES: [(u8, &str); 12] = [
    (1, "bt709"),
    (2, "unknown"),
    (4, "bt470m"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (7, "smpte240m"),
    (8, "film"),
    (9, "bt2020"),
    (10, "smpte428"),
    (11, "smpte431"),
    (12, "smpte432"),
    (22, "ebu3213"),
];
const TRANSFERS: [(u8, &str); 17] = [
    (1, "bt709"),
    (2, "unknown"),
    (4, "bt470m"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (7, "smpte240m"),
    (8, "linear"),
    (9, "log100"),
    (10, "log316"),
    (11, "iec61966-2-4"),
    (12, "bt1361e"),
    (13, "iec61966-2-1"),
    (14, "bt2020-10"),
    (15, "bt2020-12"),
    (16, "smpte2084"),
    (17, "smpte428"),
    (18, "arib-std-b67"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_is_displayed_with_the_names_of_ffmpeg() {
        let mut color = Color { matrix: 1, primaries: 6, transfer: 13, range: ColorRange::Full };
        assert_eq!(color.to_string(), "matrix bt709, primaries smpte170m, transfer iec61966-2-1, range full");
        color = Color { matrix: 2, primaries: 3, transfer: 255, range: ColorRange::Unspecified };
        assert_eq!(
            color.to_string(),
            "matrix unknown, primaries reserved (3), transfer reserved (255), range unknown"
        );
    }
}
