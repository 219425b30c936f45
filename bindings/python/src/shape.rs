//! Relation of pixel formats and numpy shapes. Independent of Python and shared memory.

use framelane::{Depth, Error, ErrorKind, Layout, MatrixType, PixelFormat};

/// Position of an array within a payload: element type, shape and strides in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) offset_bytes: usize,
    pub(crate) depth: Depth,
    pub(crate) ndim: usize,
    /// Elements along each axis; axes from `ndim` on are 1.
    pub(crate) shape: [usize; 3],
    /// Bytes from one element to the next along each axis.
    pub(crate) strides: [usize; 3],
}

impl View {
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape[..self.ndim]
    }

    /// An array without padding.
    pub(crate) fn contiguous(depth: Depth, shape: &[usize]) -> View {
        let mut full = [1; 3];
        full[..shape.len()].copy_from_slice(shape);
        let item = depth.size_bytes();
        let strides = match shape.len() {
            1 => [item, item, item],
            2 => [full[1] * item, item, item],
            _ => [full[1] * full[2] * item, full[2] * item, item],
        };
        View { offset_bytes: 0, depth, ndim: shape.len(), shape: full, strides }
    }

    /// Rows of pixels of `channels` elements; one channel has no separate axis.
    fn rows(depth: Depth, rows: usize, pixels: usize, channels: usize, offset: usize, stride: usize) -> View {
        let item = depth.size_bytes();
        View {
            offset_bytes: offset,
            depth,
            ndim: if channels == 1 { 2 } else { 3 },
            shape: [rows, pixels, channels],
            strides: [stride, channels * item, item],
        }
    }
}

/// The element type of a format's samples.
pub(crate) fn depth_of(format: PixelFormat) -> Depth {
    match format {
        PixelFormat::Gray16 | PixelFormat::P010 => Depth::U16,
        PixelFormat::Matrix(matrix) => matrix.depth(),
        _ => Depth::U8,
    }
}

/// Elements per pixel in plane `plane`.
fn channels_of(format: PixelFormat, plane: usize) -> usize {
    match format {
        PixelFormat::Bgr8 | PixelFormat::Rgb8 => 3,
        PixelFormat::Bgra8 | PixelFormat::Rgba8 => 4,
        PixelFormat::Yuyv => 2,
        PixelFormat::Nv12 | PixelFormat::P010 if plane == 1 => 2,
        PixelFormat::Matrix(matrix) => usize::from(matrix.channels()),
        _ => 1,
    }
}

/// Returns true if the image has chroma planes of half the size.
pub(crate) fn is_planar(format: PixelFormat) -> bool {
    format.plane_count() > 1
}

/// Plane `plane` as rows of pixels: chroma of i420 is (H/2, W/2), of nv12 (H/2, W/2, 2), rounded up.
pub(crate) fn plane_view(layout: &Layout, plane: usize) -> View {
    let format = layout.format();
    let depth = depth_of(format);
    let (rows, row_bytes) = format.plane_shape(plane, layout.width(), layout.height());
    let channels = channels_of(format, plane);
    let place = layout.planes()[plane];
    View::rows(
        depth,
        rows as usize,
        row_bytes / (channels * depth.size_bytes()),
        channels,
        place.offset_bytes,
        place.stride_bytes,
    )
}

/// The whole image as one array, or `None` when its planes do not line up as one.
///
/// Planar formats return OpenCV's (H*3/2, W): possible when both sides are even and the chroma rows follow
/// the luminance rows at the same stride (for i420: without padding).
pub(crate) fn image_view(layout: &Layout) -> Option<View> {
    let format = layout.format();
    if !is_planar(format) {
        return Some(plane_view(layout, 0));
    }
    let (width, height) = (layout.width() as usize, layout.height() as usize);
    let planes = layout.planes();
    let (stride, luma_end) =
        (planes[0].stride_bytes, planes[0].offset_bytes + planes[0].stride_bytes * height);
    let even = width.is_multiple_of(2) && height.is_multiple_of(2);
    let lines_up = match format {
        PixelFormat::I420 => {
            let chroma_bytes = (width / 2) * (height / 2);
            stride == width
                && planes[1].stride_bytes == width / 2
                && planes[2].stride_bytes == width / 2
                && planes[1].offset_bytes == luma_end
                && planes[2].offset_bytes == luma_end + chroma_bytes
        }
        _ => planes[1].stride_bytes == stride && planes[1].offset_bytes == luma_end,
    };
    (even && lines_up)
        .then(|| View::rows(depth_of(format), height * 3 / 2, width, 1, planes[0].offset_bytes, stride))
}

/// The layout and array shape of a packed copy; one axis when the planes of odd sizes make no rectangle.
pub(crate) fn packed_copy(layout: &Layout) -> Result<(Layout, View), Error> {
    let packed = Layout::packed(layout.format(), layout.width(), layout.height())?;
    let depth = depth_of(layout.format());
    let view = image_view(&packed)
        .unwrap_or_else(|| View::contiguous(depth, &[packed.size_bytes() / depth.size_bytes()]));
    Ok((packed, view))
}

/// `(1080, 1920, 3)`, as Python prints it.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    let inner: Vec<_> = shape.iter().map(ToString::to_string).collect();
    if let [one] = inner.as_slice() { format!("({one},)") } else { format!("({})", inner.join(", ")) }
}

/// numpy's name of an element type.
pub(crate) fn dtype_name(depth: Depth) -> &'static str {
    match depth {
        Depth::U8 => "uint8",
        Depth::S8 => "int8",
        Depth::U16 => "uint16",
        Depth::S16 => "int16",
        Depth::S32 => "int32",
        Depth::F32 => "float32",
        Depth::F64 => "float64",
        Depth::F16 => "float16",
        other => other.name(),
    }
}

fn mismatch(expected: &str, depth: Depth, shape: &[usize]) -> Error {
    Error::new(
        ErrorKind::InvalidFrame,
        format!("expected {expected}, found {} of shape {}", dtype_name(depth), shape_text(shape)),
    )
}

/// Returns true for the shape of a tensor (C, H, W): taken as (H, W, C), it would have a few rows and very
/// many channels.
fn looks_channels_first(shape: &[usize]) -> bool {
    matches!(*shape, [1 | 3 | 4, height, width] if height >= 16 && width >= 16)
}

/// The element type as names of matrix formats have it.
fn depth_code(depth: Depth) -> String {
    dtype_name(depth).replace("uint", "u").replace("int", "s").replace("float", "f")
}

/// The packed layout of an array with this element type and shape.
///
/// Without a format: uint8 (H, W) is gray8, (H, W, 3) bgr8, (H, W, 4) bgra8; uint16 (H, W) is gray16;
/// all others are matrices. A last axis of 1 is dropped.
pub(crate) fn layout_for(
    depth: Depth,
    shape: &[usize],
    format: Option<PixelFormat>,
) -> Result<Layout, Error> {
    let (rows, pixels, channels) = match *shape {
        [rows, pixels] => (rows, pixels, 1),
        [rows, pixels, channels] => (rows, pixels, channels),
        _ => {
            let error = mismatch("an image of shape (H, W) or (H, W, C)", depth, shape);
            return Err(match shape.len() {
                4.. => error.with_hint("send image[0], image[1] and so on, each as a frame"),
                1 => error.with_hint("image.reshape(height, width, channels)"),
                _ => error,
            });
        }
    };
    let side =
        |elements: usize| u32::try_from(elements).map_err(|_| mismatch("sides below 2**32", depth, shape));
    let (width, height) = (side(pixels)?, side(rows)?);
    let matrix = || -> Result<PixelFormat, Error> {
        let channels = u16::try_from(channels).unwrap_or(u16::MAX);
        MatrixType::new(depth, channels)
            .map(PixelFormat::Matrix)
            .map_err(|_| mismatch("an image with 1 to 512 channels", depth, shape))
    };
    let Some(format) = format else {
        if looks_channels_first(shape) {
            let error = mismatch("an image of shape (H, W, C)", depth, shape);
            return Err(error.context("the channels come first").with_hint(format!(
                "image.transpose(1, 2, 0), or image.permute(1, 2, 0) of a torch tensor; format=\"matrix:{}:{channels}\" \
                 sends it as it is",
                depth_code(depth)
            )));
        }
        let format = match (depth, channels) {
            (Depth::U8, 1) => PixelFormat::Gray8,
            (Depth::U8, 3) => PixelFormat::Bgr8,
            (Depth::U8, 4) => PixelFormat::Bgra8,
            (Depth::U16, 1) => PixelFormat::Gray16,
            _ => matrix()?,
        };
        return Layout::packed(format, width, height);
    };
    let wanted = depth_of(format);
    let expected = |shape_text: &str| {
        mismatch(&format!("{} of shape {shape_text} for {format}", dtype_name(wanted)), depth, shape)
    };
    if format == PixelFormat::Detections {
        return Err(Error::new(ErrorKind::InvalidFrame, "expected the format of an image, found detections")
            .with_hint("send boxes with a DetectionPublisher"));
    }
    if is_planar(format) {
        if depth != wanted || channels != 1 || !pixels.is_multiple_of(2) || !rows.is_multiple_of(3) {
            return Err(expected("(H*3/2, W), H and W even,"));
        }
        return Layout::packed(format, width, height / 3 * 2);
    }
    let wanted_channels = channels_of(format, 0);
    if depth != wanted || channels != wanted_channels {
        return Err(expected(&match wanted_channels {
            1 => "(H, W)".to_owned(),
            count => format!("(H, W, {count})"),
        }));
    }
    if format == PixelFormat::Yuyv && !pixels.is_multiple_of(2) {
        return Err(expected("(H, W, 2), W even,"));
    }
    Layout::packed(format, width, height)
}
