//! The orientation that a display matrix asks for, as `ffmpeg -autorotate` reads it, or an EXIF value.

use ffmpeg_sys_next as ff;
use framelane::{Error, Layout};

/// The way in which a coded picture has to be turned or mirrored. Default: it is upright.
///
/// A mirror image or a turn by quarters. Pixel (x, y) of the upright picture is pixel (x, y) of the coded
/// one, or (y, x) with `transpose`. Then the columns or the rows of the coded picture count from the other
/// end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    pub(crate) transpose: bool,
    pub(crate) from_right: bool,
    pub(crate) from_bottom: bool,
}

/// The display matrix of a stream or a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Display {
    pub(crate) orientation: Orientation,
    /// An angle that is no multiple of 90 degrees, clockwise. Such a picture stays as it is coded.
    pub(crate) odd_degrees: Option<u16>,
}

impl Orientation {
    /// That of a picture that stays as it is coded.
    pub const UPRIGHT: Self = Orientation { transpose: false, from_right: false, from_bottom: false };

    /// That of an EXIF orientation, tag 0x0112. Values other than 2 to 8 are upright.
    pub fn of_exif(value: u8) -> Self {
        let (transpose, from_right, from_bottom) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => (false, false, false),
        };
        Orientation { transpose, from_right, from_bottom }
    }

    /// The layout of the upright picture of a coded frame, without padding.
    ///
    /// # Errors
    /// Those of [`Layout::packed`].
    pub fn layout(self, coded: &Layout) -> Result<Layout, Error> {
        let (width, height) = self.size(coded.width(), coded.height());
        Layout::packed(coded.format(), width, height)
    }

    /// Clockwise rotation without the mirror image: the picture rotated by this is upright, or its left and
    /// right are exchanged where [`Orientation::mirrored`] is true.
    pub(crate) fn degrees(self) -> u16 {
        let rotation = match (self.mirrored(), self.transpose) {
            (false, _) => self,
            (true, false) => Orientation { from_right: !self.from_right, ..self },
            (true, true) => Orientation { from_bottom: !self.from_bottom, ..self },
        };
        match (rotation.transpose, rotation.from_bottom) {
            (false, false) => 0,
            (true, true) => 90,
            (false, true) => 180,
            (true, false) => 270,
        }
    }

    /// Returns true if left and right are exchanged after the rotation.
    pub(crate) fn mirrored(self) -> bool {
        self.transpose ^ self.from_right ^ self.from_bottom
    }

    /// The size of the upright picture.
    pub(crate) fn size(self, width: u32, height: u32) -> (u32, u32) {
        if self.transpose { (height, width) } else { (width, height) }
    }
}

/// Reads side data; `None` for data that is no display matrix.
pub(crate) fn of_matrix(data: *const u8, size_bytes: usize) -> Option<Display> {
    if data.is_null() || size_bytes < 9 * size_of::<i32>() {
        return None;
    }
    // SAFETY: nine 32-bit numbers, as the length checked above says, at any address.
    Some(display(unsafe { data.cast::<[i32; 9]>().read_unaligned() }))
}

/// Does the same as configure_input_video_filter() of the `ffmpeg` program: within a degree of a quarter turn
/// counts as one.
fn display(matrix: [i32; 9]) -> Display {
    // SAFETY: reads nine numbers.
    let counter_clockwise = unsafe { ff::av_display_rotation_get(matrix.as_ptr()) };
    if counter_clockwise.is_nan() {
        return Display::default();
    }
    let clockwise = (-counter_clockwise).round().rem_euclid(360.0) as u16;
    let (transpose, from_right, from_bottom) = match clockwise {
        0 | 1 | 359 => (false, false, matrix[4] < 0),
        90 => (true, false, matrix[3] <= 0),
        180 => (false, matrix[0] < 0, matrix[4] < 0),
        270 => (true, true, matrix[3] < 0),
        odd => return Display { odd_degrees: Some(odd), ..Display::default() },
    };
    Display { orientation: Orientation { transpose, from_right, from_bottom }, odd_degrees: None }
}

#[cfg(test)]
mod tests {
    use framelane::{PixelFormat, Plane};

    use super::*;

    fn degrees_and_mirror(a: i32, b: i32, c: i32, d: i32) -> (u16, bool) {
        let one = 1 << 16;
        let found = display([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]);
        assert_eq!(found.odd_degrees, None);
        (found.orientation.degrees(), found.orientation.mirrored())
    }

    #[test]
    fn matrix_of_each_orientation_is_read() {
        assert_eq!(degrees_and_mirror(1, 0, 0, 1), (0, false));
        assert_eq!(degrees_and_mirror(0, 1, -1, 0), (90, false));
        assert_eq!(degrees_and_mirror(-1, 0, 0, -1), (180, false));
        assert_eq!(degrees_and_mirror(0, -1, 1, 0), (270, false));
        assert_eq!(degrees_and_mirror(-1, 0, 0, 1), (0, true));
        assert_eq!(degrees_and_mirror(1, 0, 0, -1), (180, true));
        assert_eq!(degrees_and_mirror(0, 1, 1, 0), (90, true));
        assert_eq!(degrees_and_mirror(0, -1, -1, 0), (270, true));
    }

    #[test]
    fn exif_value_turns_a_picture_as_exif_says() {
        // Where the stored rows and columns are to be seen, EXIF 2.3, 4.6.4: of the rows a b c, d e f.
        for (value, width, expected) in [
            (1, 3, "abcdef"),
            (2, 3, "cbafed"),
            (3, 3, "fedcba"),
            (4, 3, "defabc"),
            (5, 2, "adbecf"),
            (6, 2, "daebfc"),
            (7, 2, "fcebda"),
            (8, 2, "cfbead"),
            (0, 3, "abcdef"),
            (9, 3, "abcdef"),
        ] {
            let orientation = Orientation::of_exif(value);
            for format in [PixelFormat::Gray8, PixelFormat::Bgr8, PixelFormat::Gray16, PixelFormat::Bgra8] {
                let row_bytes = format.plane_shape(0, 3, 2).1;
                let (stride_bytes, pixel_bytes) = (row_bytes + 5, row_bytes / 3);
                let planes = [Plane { offset_bytes: 2, stride_bytes }];
                let coded = Layout::with_planes(format, 3, 2, &planes, 2 + 2 * stride_bytes).unwrap();
                let mut bytes = vec![0; coded.size_bytes()];
                for (at, letter) in "abcdef".bytes().enumerate() {
                    let start = 2 + at / 3 * stride_bytes + at % 3 * pixel_bytes;
                    bytes[start..start + pixel_bytes].fill(letter);
                }
                let upright = orientation.layout(&coded).unwrap();
                assert_eq!(upright.width(), width);
                let mut target = vec![0; upright.size_bytes()];
                orientation.turn(&coded, &bytes, &upright, &mut target).unwrap();
                let found: Vec<u8> = target.chunks_exact(pixel_bytes).map(|pixel| pixel[0]).collect();
                assert_eq!(String::from_utf8(found).unwrap(), expected, "{value} of {format}");
            }
        }
    }

    #[test]
    fn frame_that_cannot_be_turned_is_refused() {
        let of = |format, width, height| Layout::packed(format, width, height).unwrap();
        let turn = |coded: &Layout, upright: &Layout, bytes: usize| {
            let mut target = vec![0; upright.size_bytes()];
            Orientation::of_exif(6).turn(coded, &vec![0; bytes], upright, &mut target)
        };
        let coded = of(PixelFormat::Bgr8, 4, 2);
        assert!(turn(&coded, &of(PixelFormat::Bgr8, 2, 4), 24).is_ok());
        for (coded, upright, bytes) in [
            (&coded, of(PixelFormat::Bgr8, 4, 2), 24),
            (&coded, of(PixelFormat::Rgb8, 2, 4), 24),
            (&coded, of(PixelFormat::Bgr8, 2, 4), 23),
            (&of(PixelFormat::I420, 4, 2), of(PixelFormat::I420, 2, 4), 12),
            (&of(PixelFormat::Yuyv, 4, 2), of(PixelFormat::Yuyv, 2, 4), 16),
        ] {
            let error = turn(coded, &upright, bytes).unwrap_err();
            assert_eq!(error.kind(), framelane::ErrorKind::InvalidFrame, "{error}");
        }
    }

    #[test]
    fn matrix_of_45_degrees_is_no_quarter_turn() {
        let half = 46_341;
        let found = display([half, half, 0, -half, half, 0, 0, 0, 1 << 30]);
        assert_eq!((found.odd_degrees, found.orientation), (Some(45), Orientation::UPRIGHT));
        assert_eq!(display([0; 9]), Display::default());
    }
}
