//! Upright pictures: the turn and the mirror image that a display matrix asks for, in the order of the
//! `ffmpeg` program.
//!
//! It turns the decoded samples and converts them afterwards. A format that cannot be turned, such as 4:2:2
//! by 90 degrees, is converted first: to the wanted format, or to the nearest one that can be turned.

use std::ffi::c_int;

use ff::AVPixelFormat as Av;
use ffmpeg_sys_next as ff;
use framelane::{Color, Error, ErrorKind, Layout, PixelFormat};

use super::error::{check, no_memory};
use super::orientation::Orientation;
use super::picture::{Picture, Target};
use super::pixel;
use super::scale::Scaler;

/// Rows and columns that are turned together, for the processor's cache.
const BLOCK: usize = 32;
/// Padding of rows, as [`super::scale`] pads them for swscale.
const ALIGN: usize = 64;

/// Turns and converts pictures.
pub(crate) struct Turner {
    scaler: Scaler,
    converted: Scratch,
    turned: Scratch,
}

impl Turner {
    /// `flags` as for [`Scaler::new`].
    pub(crate) fn new(flags: &str) -> Result<Self, Error> {
        Ok(Turner { scaler: Scaler::new(flags)?, converted: Scratch::default(), turned: Scratch::default() })
    }

    /// Writes the upright picture into `bytes`, which `layout` describes. Converts and scales as needed.
    pub(crate) fn convert(
        &mut self,
        picture: &Picture<'_>,
        orientation: Orientation,
        layout: &Layout,
        bytes: &mut [u8],
    ) -> Result<(), Error> {
        if orientation == Orientation::UPRIGHT || !picture.has_pixels() {
            return self.scaler.convert(picture, layout, bytes);
        }
        let same_size = orientation.size(picture.width, picture.height) == (layout.width(), layout.height());
        let wanted = pixel::to_av(layout.format())?;
        let converted;
        let picture = if can_turn(picture.format, orientation) {
            picture
        } else {
            let format = if same_size && can_turn(wanted, orientation) {
                wanted
            } else {
                nearest(picture.format, orientation)
            };
            self.converted.allocate(format, picture.width, picture.height)?;
            let color = self.scaler.convert_to(picture, &mut self.converted.target())?;
            converted = self.converted.picture(color);
            &converted
        };
        if same_size && super::scale::same_samples(picture, layout.format()) {
            for (index, plane) in layout.planes().iter().enumerate() {
                let target = bytes.get_mut(plane.offset_bytes..).unwrap_or_default();
                turn_plane(picture, index, orientation, target, plane.stride_bytes);
            }
            return Ok(());
        }
        let (width, height) = orientation.size(picture.width, picture.height);
        self.turned.allocate(picture.format, width, height)?;
        for index in 0..planes(picture.format) {
            let (target, stride_bytes) = self.turned.plane_mut(index);
            turn_plane(picture, index, orientation, target, stride_bytes);
        }
        self.scaler.convert(&self.turned.picture(picture.color), layout, bytes)
    }
}

/// Memory for a picture of any format, with room for the vectors of swscale.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    format: c_int,
    size: (u32, u32),
    offsets: [usize; 4],
    strides: [c_int; 4],
}

impl Scratch {
    fn allocate(&mut self, format: c_int, width: u32, height: u32) -> Result<(), Error> {
        if self.format == format && self.size == (width, height) && !self.bytes.is_empty() {
            return Ok(());
        }
        let known = pixel::known(format).ok_or_else(|| no_memory("a picture"))?;
        // A vector more in each row, and a row more in each plane.
        let (wide, high) = (width as c_int + 2 * ALIGN as c_int, height as c_int + 2);
        let mut pointers = [std::ptr::null_mut::<u8>(); 4];
        // SAFETY: computes strides, and offsets from a null pointer, into four elements of each array.
        let size_bytes = unsafe {
            ff::av_image_fill_arrays(
                pointers.as_mut_ptr(),
                self.strides.as_mut_ptr(),
                std::ptr::null(),
                known,
                wide,
                high,
                ALIGN as c_int,
            )
        };
        let size_bytes = check("a picture", size_bytes)?;
        let mut heights = [0_usize; 4];
        // SAFETY: as above; computes the bytes of each plane.
        let code = unsafe {
            ff::av_image_fill_plane_sizes(
                heights.as_mut_ptr(),
                known,
                high,
                self.strides.map(|stride| stride as isize).as_ptr(),
            )
        };
        check("a picture", code)?;
        self.bytes.clear();
        self.bytes.resize(size_bytes as usize + 2 * ALIGN, 0);
        let start = self.bytes.as_ptr().align_offset(ALIGN);
        let mut offset = start;
        for (plane, size) in heights.iter().enumerate() {
            self.offsets[plane] = offset;
            offset += size;
        }
        (self.format, self.size) = (format, (width, height));
        Ok(())
    }

    fn plane_mut(&mut self, index: usize) -> (&mut [u8], usize) {
        (&mut self.bytes[self.offsets[index]..], self.strides[index] as usize)
    }

    fn picture(&self, color: Color) -> Picture<'_> {
        let planes = planes(self.format);
        Picture::of_planes(
            self.size,
            self.format,
            color,
            std::array::from_fn(|i| {
                if i < planes { self.bytes[self.offsets[i]..].as_ptr() } else { std::ptr::null() }
            }),
            self.strides,
            &self.bytes,
        )
    }

    fn target(&mut self) -> Target<'_> {
        let planes = planes(self.format);
        let start = self.bytes.as_mut_ptr();
        Target::of_planes(
            self.size,
            self.format,
            std::array::from_fn(|i| {
                if i < planes { start.wrapping_add(self.offsets[i]) } else { std::ptr::null_mut() }
            }),
            self.strides,
            &mut self.bytes,
        )
    }
}

fn descriptor(format: c_int) -> Option<&'static ff::AVPixFmtDescriptor> {
    // SAFETY: looks a known format up in a constant table.
    let descriptor = unsafe { ff::av_pix_fmt_desc_get(pixel::known(format)?) };
    // SAFETY: null, or an entry of that constant table.
    unsafe { descriptor.as_ref() }
}

fn planes(format: c_int) -> usize {
    descriptor(format).map_or(0, |descriptor| {
        let components = descriptor.comp.iter().take(descriptor.nb_components.into());
        components.map(|component| component.plane as usize + 1).max().unwrap_or(0)
    })
}

/// Returns true if the samples can be turned as they are. The rules are those of FFmpeg's filters transpose,
/// hflip and vflip.
fn can_turn(format: c_int, orientation: Orientation) -> bool {
    let Some(descriptor) = descriptor(format) else { return false };
    let is = |flag: u32| descriptor.flags & u64::from(flag) != 0;
    if is(ff::AV_PIX_FMT_FLAG_HWACCEL as u32)
        || is(ff::AV_PIX_FMT_FLAG_PAL as u32)
        || is(ff::AV_PIX_FMT_FLAG_BAYER as u32)
    {
        return false;
    }
    if !orientation.transpose && !orientation.from_right {
        return true;
    }
    let square = descriptor.log2_chroma_w == descriptor.log2_chroma_h;
    let packed = descriptor.comp[0].plane == descriptor.comp[1].plane;
    let whole = !is(ff::AV_PIX_FMT_FLAG_BITSTREAM as u32);
    whole && if orientation.transpose { square } else { square || !packed }
}

/// The format nearest to this one that swscale writes and that can be turned.
fn nearest(format: c_int, orientation: Orientation) -> c_int {
    let Some(from) = pixel::known(format) else { return Av::AV_PIX_FMT_YUV444P as c_int };
    let alpha = pixel::facts(format).is_some_and(|facts| facts.alpha);
    let candidates = (0..Av::AV_PIX_FMT_NB as c_int).filter(|&format| can_turn(format, orientation));
    let writable = candidates.filter_map(pixel::known).filter(|&format| {
        // SAFETY: looks in a constant table.
        unsafe { ff::sws_isSupportedOutput(format) != 0 }
    });
    let best = writable.reduce(|best, other| {
        // SAFETY: compares entries of a constant table; null stands for no report of the loss.
        unsafe { ff::av_find_best_pix_fmt_of_2(best, other, from, alpha.into(), std::ptr::null_mut()) }
    });
    best.unwrap_or(Av::AV_PIX_FMT_YUV444P) as c_int
}

/// Columns, rows and bytes of a sample, or of the samples that lie together.
fn shape(picture: &Picture<'_>, index: usize) -> Option<(usize, usize, usize)> {
    let descriptor = descriptor(picture.format)?;
    let (width, height) = (picture.width as usize, picture.height as usize);
    let chroma = index == 1 || index == 2;
    let shift = |size: usize, log2: u8| if chroma { size.div_ceil(1 << log2) } else { size };
    let components = descriptor.comp.iter().take(descriptor.nb_components.into());
    let step = components.filter(|component| component.plane as usize == index).map(|c| c.step).max()?;
    Some((
        shift(width, descriptor.log2_chroma_w),
        shift(height, descriptor.log2_chroma_h),
        usize::try_from(step).ok()?,
    ))
}

impl Orientation {
    /// Writes the upright picture of a frame into `target`, which `upright` describes:
    /// [`Orientation::layout`], padded or not. Copies every pixel once.
    ///
    /// # Errors
    /// [`InvalidFrame`](framelane::ErrorKind::InvalidFrame) for formats of several planes and for pixels that
    /// are no whole bytes, for another format or size, and when the bytes are too few.
    pub fn turn(
        self,
        coded: &Layout,
        bytes: &[u8],
        upright: &Layout,
        target: &mut [u8],
    ) -> Result<(), Error> {
        let refused = |expected: String, found: String| {
            Err(Error::new(
                ErrorKind::InvalidFrame,
                format!("expected {expected} to be turned, found {found}"),
            ))
        };
        let (rows, row_bytes) = coded.format().plane_shape(0, coded.width(), coded.height());
        let (columns, rows) = (coded.width() as usize, rows as usize);
        let step = row_bytes / columns.max(1);
        // A pixel of YUYV has half of the chroma of its pair.
        let is_whole =
            coded.format() != PixelFormat::Yuyv && STEPS.contains(&step) && step * columns == row_bytes;
        let ([from], [to], true) = (coded.planes(), upright.planes(), is_whole) else {
            return refused("a frame of one plane, of whole pixels".to_owned(), coded.format().to_string());
        };
        let size = self.size(coded.width(), coded.height());
        if (upright.format(), (upright.width(), upright.height())) != (coded.format(), size) {
            let (expected, found) = (format!("{} of {}x{}", coded.format(), size.0, size.1), upright);
            let found = format!("{} of {}x{}", found.format(), found.width(), found.height());
            return refused(expected, found);
        }
        if bytes.len() < coded.size_bytes() || target.len() < upright.size_bytes() {
            let expected = format!("{} and {} bytes", coded.size_bytes(), upright.size_bytes());
            return refused(expected, format!("{} and {}", bytes.len(), target.len()));
        }
        let rows =
            bytes[from.offset_bytes..].chunks(from.stride_bytes).take(rows).map(|row| &row[..row_bytes]);
        let target = &mut target[to.offset_bytes..];
        turn_rows(rows.collect(), columns, step, self, target, to.stride_bytes);
        Ok(())
    }
}

/// Writes one plane of the upright picture.
fn turn_plane(
    picture: &Picture<'_>,
    index: usize,
    orientation: Orientation,
    target: &mut [u8],
    stride_bytes: usize,
) {
    let Some((columns, height, step)) = shape(picture, index) else { return };
    let row_bytes = if orientation.from_right || orientation.transpose {
        columns * step
    } else {
        picture.row_bytes(index)
    };
    let rows = (0..height).map(|row| picture.row(index, row, row_bytes)).collect();
    turn_rows(rows, columns, step, orientation, target, stride_bytes);
}

/// Bytes of a sample, or of samples that lie together, in all formats.
const STEPS: [usize; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// Writes rows of `columns` samples of `step` bytes with the orientation.
fn turn_rows(
    mut rows: Vec<&[u8]>,
    columns: usize,
    step: usize,
    orientation: Orientation,
    target: &mut [u8],
    stride_bytes: usize,
) {
    if orientation.from_bottom {
        rows.reverse();
    }
    if !orientation.transpose && !orientation.from_right {
        for (row, target) in rows.iter().zip(target.chunks_mut(stride_bytes)) {
            target[..row.len()].copy_from_slice(row);
        }
        return;
    }
    let plane = Plane { rows: &rows, columns, orientation };
    match step {
        1 => plane.turn::<1>(target, stride_bytes),
        2 => plane.turn::<2>(target, stride_bytes),
        3 => plane.turn::<3>(target, stride_bytes),
        4 => plane.turn::<4>(target, stride_bytes),
        6 => plane.turn::<6>(target, stride_bytes),
        8 => plane.turn::<8>(target, stride_bytes),
        12 => plane.turn::<12>(target, stride_bytes),
        16 => plane.turn::<16>(target, stride_bytes),
        other => unreachable!("no format has samples of {other} bytes"),
    }
}

/// Rows in the order in which the upright picture needs them.
struct Plane<'p> {
    rows: &'p [&'p [u8]],
    columns: usize,
    orientation: Orientation,
}

impl Plane<'_> {
    /// `N`: bytes of a sample.
    fn turn<const N: usize>(&self, target: &mut [u8], stride_bytes: usize) {
        let last = self.columns - 1;
        let column = |at: usize| if self.orientation.from_right { last - at } else { at };
        if !self.orientation.transpose {
            for (row, target) in self.rows.iter().zip(target.chunks_mut(stride_bytes)) {
                let samples = row.as_chunks::<N>().0.iter().rev();
                target.as_chunks_mut::<N>().0.iter_mut().zip(samples).for_each(|(to, from)| *to = *from);
            }
            return;
        }
        for (block, rows) in self.rows.chunks(BLOCK).enumerate() {
            for (y, target) in target.chunks_mut(stride_bytes).take(self.columns).enumerate() {
                let at = column(y) * N;
                let to = target[block * BLOCK * N..].as_chunks_mut::<N>().0;
                for (to, row) in to.iter_mut().zip(rows) {
                    to.copy_from_slice(&row[at..at + N]);
                }
            }
        }
    }
}
