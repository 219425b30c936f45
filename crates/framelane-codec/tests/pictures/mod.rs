//! Pictures to send, and how much alike two of them are.
#![allow(dead_code, reason = "each test takes what it needs")]

use framelane::{Layout, PixelFormat, Plane};

/// All that video codecs take.
pub const PICTURES: [&str; 13] = [
    "gray8",
    "gray16",
    "bgr8",
    "rgb8",
    "bgra8",
    "rgba8",
    "i420",
    "nv12",
    "yuyv",
    "p010",
    "matrix:u8:1",
    "matrix:u8:3",
    "matrix:u8:4",
];

/// Something of everything.
pub const FORMATS: [&str; 18] = [
    "gray8",
    "gray16",
    "bgr8",
    "rgb8",
    "bgra8",
    "rgba8",
    "i420",
    "nv12",
    "yuyv",
    "p010",
    "matrix:u8:1",
    "matrix:u8:3",
    "matrix:u8:4",
    "matrix:u8:2",
    "matrix:f32:3",
    "matrix:f64:1",
    "matrix:f16:512",
    "detections",
];

pub const SIZES: [(u32, u32); 8] =
    [(1, 1), (2, 2), (3, 1), (16, 16), (33, 17), (34, 18), (64, 35), (131, 66)];

/// The same picture with bytes between rows and planes.
pub fn padded(layout: &Layout, padding: usize) -> Layout {
    let format = layout.format();
    let mut planes = Vec::new();
    let mut size_bytes = padding;
    for plane in 0..format.plane_count() {
        let (rows, row_bytes) = format.plane_shape(plane, layout.width(), layout.height());
        let stride_bytes = row_bytes + padding;
        planes.push(Plane { offset_bytes: size_bytes, stride_bytes });
        size_bytes += stride_bytes * rows as usize + padding;
    }
    Layout::with_planes(format, layout.width(), layout.height(), &planes, size_bytes).unwrap()
}

/// Something smooth that moves with `time`, as video does; of other frames, bytes.
pub fn paint(layout: &Layout, time: u32) -> Vec<u8> {
    let (width, height) = (layout.width(), layout.height());
    let mut bytes = vec![0x5A; layout.size_bytes()];
    let wave = |x: u32, y: u32, speed: f32| {
        let phase = (x as f32 + 2.0 * time as f32) * 0.07 + y as f32 * 0.05 * speed;
        (128.0 + 80.0 * phase.sin()) as u8
    };
    let mut put = |plane: usize, row: u32, at: usize, value: u8| {
        let plane = layout.planes()[plane];
        bytes[plane.offset_bytes + row as usize * plane.stride_bytes + at] = value;
    };
    match layout.format() {
        PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::P010 => {
            let (deep, planar) = (layout.format() == PixelFormat::P010, layout.format() == PixelFormat::I420);
            let size = if deep { 2 } else { 1 };
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                put(0, y, size * x as usize + size - 1, wave(x, y, 1.0));
            }
            for (y, x) in (0..height.div_ceil(2)).flat_map(|y| (0..width.div_ceil(2)).map(move |x| (y, x))) {
                for (component, speed) in [(0, 0.5), (1, -0.5)] {
                    let value = wave(2 * x, 2 * y, speed) / 2 + 64;
                    let at = if planar { x as usize } else { size * (2 * x as usize + component) + size - 1 };
                    put(if planar { 1 + component } else { 1 }, y, at, value);
                }
            }
        }
        format => {
            let (rows, row_bytes) = format.plane_shape(0, width, height);
            let channels = row_bytes / width as usize;
            let speeds = [1.0, 1.05, 0.95, 1.0];
            for (row, at) in (0..rows).flat_map(|row| (0..row_bytes).map(move |at| (row, at))) {
                let x = (at / channels) as u32;
                // Of yuyv, luminance stands at the even places.
                let value = match format {
                    PixelFormat::Yuyv if at % 2 == 1 => wave(x / 2 * 2, row, 0.5) / 2 + 64,
                    _ => wave(x, row, speeds[at % channels % 4]),
                };
                put(0, row, at, value);
            }
        }
    }
    bytes
}

/// Returns true if two frames of one size and format have the same samples, with any padding.
pub fn same(a: &Layout, a_bytes: &[u8], b: &Layout, b_bytes: &[u8]) -> bool {
    assert_eq!((a.format(), a.width(), a.height()), (b.format(), b.width(), b.height()));
    (0..a.planes().len()).all(|plane| {
        let (rows, row_bytes) = a.format().plane_shape(plane, a.width(), a.height());
        (0..rows as usize).all(|row| {
            let row_of = |layout: &Layout, bytes: &[u8]| {
                let plane = layout.planes()[plane];
                let start = plane.offset_bytes + row * plane.stride_bytes;
                bytes[start..start + row_bytes].to_vec()
            };
            row_of(a, a_bytes) == row_of(b, b_bytes)
        })
    })
}

/// Likeness in decibels, of what every format has: the luminance.
pub fn psnr((a, a_bytes): (&Layout, &[u8]), (b, b_bytes): (&Layout, &[u8])) -> f64 {
    let (a, b) = (gray(a, a_bytes), gray(b, b_bytes));
    let sum: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / sum.max(1e-9)).log10()
}

/// The luminance of each pixel, 0 to 255.
fn gray(layout: &Layout, bytes: &[u8]) -> Vec<u8> {
    let plane = layout.planes()[0];
    let pixels = (0..layout.height() as usize).flat_map(|y| {
        (0..layout.width() as usize).map(move |x| (plane.offset_bytes + y * plane.stride_bytes, x))
    });
    let mean = |at: usize| {
        let sum: u16 = bytes[at..at + 3].iter().map(|byte| u16::from(*byte)).sum();
        (sum / 3) as u8
    };
    let name = layout.format().name();
    pixels
        .map(|(row, x)| match name.as_ref() {
            "gray8" | "i420" | "nv12" | "matrix:u8:1" => bytes[row + x],
            "gray16" | "p010" => bytes[row + 2 * x + 1],
            "yuyv" => bytes[row + 2 * x],
            "bgr8" | "rgb8" | "matrix:u8:3" => mean(row + 3 * x),
            "bgra8" | "rgba8" | "matrix:u8:4" => mean(row + 4 * x),
            other => panic!("{other} is no picture"),
        })
        .collect()
}
