//! Samples of matrices as 8 bits, in the ranges of `cv::imshow`.

use framelane::Depth;
use half::f16;

/// Appends `samples` of one row, `keep` of each `channels`, to `out`.
///
/// Unsigned 16 bits are divided by 256, signed integers have their middle at 128, and floats are from 0 to 1.
pub(crate) fn append_row(depth: Depth, row: &[u8], channels: usize, keep: usize, out: &mut Vec<u8>) {
    fn take<const N: usize>(
        row: &[u8],
        (channels, keep): (usize, usize),
        out: &mut Vec<u8>,
        convert: impl Fn([u8; N]) -> u8,
    ) {
        for pixel in row.chunks_exact(N * channels) {
            let samples = pixel.as_chunks::<N>().0;
            out.extend(samples[..keep].iter().map(|sample| convert(*sample)));
        }
    }
    let of = (channels, keep);
    // A cast of a float saturates, and NaN becomes 0.
    match depth {
        Depth::U8 => take(row, of, out, |[sample]| sample),
        Depth::S8 => take(row, of, out, |[sample]| sample ^ 0x80),
        Depth::U16 => take(row, of, out, |sample| (u16::from_ne_bytes(sample) >> 8) as u8),
        Depth::S16 => take(row, of, out, |sample| ((i16::from_ne_bytes(sample) >> 8) as u8) ^ 0x80),
        Depth::S32 => take(row, of, out, |sample| ((i32::from_ne_bytes(sample) >> 24) as u8) ^ 0x80),
        Depth::F16 => {
            take(row, of, out, |sample| (f16::from_ne_bytes(sample).to_f32() * 255.0).round() as u8)
        }
        Depth::F32 => take(row, of, out, |sample| (f32::from_ne_bytes(sample) * 255.0).round() as u8),
        Depth::F64 => take(row, of, out, |sample| (f64::from_ne_bytes(sample) * 255.0).round() as u8),
        // Unknown samples are black.
        unknown => {
            let pixels = row.len() / (unknown.size_bytes() * channels).max(1);
            out.resize(out.len() + pixels * keep, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(depth: Depth, row: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_row(depth, row, 1, 1, &mut out);
        out
    }

    #[test]
    fn sample_of_each_depth_becomes_8_bits() {
        assert_eq!(converted(Depth::U8, &[0, 7, 255]), [0, 7, 255]);
        assert_eq!(converted(Depth::S8, &[(-128_i8) as u8, 0, 127]), [0, 128, 255]);
        assert_eq!(
            converted(Depth::U16, &[0_u16, 0x1234, 65_535].map(|v| v.to_ne_bytes()).concat()),
            [0, 0x12, 255]
        );
        assert_eq!(
            converted(Depth::S16, &[i16::MIN, 0, i16::MAX].map(|v| v.to_ne_bytes()).concat()),
            [0, 128, 255]
        );
        assert_eq!(
            converted(Depth::S32, &[i32::MIN, 0, i32::MAX].map(|v| v.to_ne_bytes()).concat()),
            [0, 128, 255]
        );
        let floats = [-1.0, 0.0, 0.5, 1.0, 9.0, f32::NAN];
        let expected = [0, 0, 128, 255, 255, 0];
        assert_eq!(converted(Depth::F32, &floats.map(f32::to_ne_bytes).concat()), expected);
        assert_eq!(converted(Depth::F64, &floats.map(|v| f64::from(v).to_ne_bytes()).concat()), expected);
        assert_eq!(converted(Depth::F16, &floats.map(|v| f16::from_f32(v).to_ne_bytes()).concat()), expected);
    }

    #[test]
    fn first_channels_of_many_are_kept() {
        let mut out = Vec::new();
        append_row(Depth::U8, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 5, 1, &mut out);
        append_row(Depth::U8, &[1, 2, 3, 4, 5, 6], 3, 3, &mut out);
        assert_eq!(out, [1, 6, 1, 2, 3, 4, 5, 6]);
    }
}
