//! Number of pictures that a decoder keeps for reference, from the stream before it is decoded.

use crate::ffmpeg::streams::StreamFacts;

/// H.264 levels and the macroblocks that a decoder keeps (ITU-T H.264, table A-1, MaxDpbMbs).
const H264_LEVELS: [(i32, u32); 20] = [
    (10, 396),
    (9, 396),
    (11, 900),
    (12, 2376),
    (13, 2376),
    (20, 2376),
    (21, 4752),
    (22, 8100),
    (30, 8100),
    (31, 18000),
    (32, 20480),
    (40, 32768),
    (41, 32768),
    (42, 34816),
    (50, 110_400),
    (51, 184_320),
    (52, 184_320),
    (60, 696_320),
    (61, 696_320),
    (62, 696_320),
];

/// HEVC levels (general_level_idc) and the largest picture in luminance samples (ITU-T H.265, table A.8,
/// MaxLumaPs).
const HEVC_LEVELS: [(i32, u32); 13] = [
    (30, 36_864),
    (60, 122_880),
    (63, 245_760),
    (90, 552_960),
    (93, 983_040),
    (120, 2_228_224),
    (123, 2_228_224),
    (150, 8_912_896),
    (153, 8_912_896),
    (156, 8_912_896),
    (180, 35_651_584),
    (183, 35_651_584),
    (186, 35_651_584),
];

/// The pictures that the decoder keeps, the one it works on not counted.
pub(crate) fn pictures(facts: &StreamFacts) -> usize {
    const MOST: u32 = 16;
    let find = |table: &[(i32, u32)]| table.iter().find(|entry| entry.0 == facts.level).map(|entry| entry.1);
    let pictures = match facts.codec.as_str() {
        "h264" => {
            let blocks = facts.width.div_ceil(16) * facts.height.div_ceil(16);
            find(&H264_LEVELS).map_or(MOST, |most| (most / blocks.max(1)).clamp(1, MOST))
        }
        // A.4.2: six pictures of the largest size, more of smaller ones.
        "hevc" => find(&HEVC_LEVELS).map_or(MOST, |most| {
            let size = facts.width * facts.height;
            match (u64::from(size) * 4).div_ceil(u64::from(most.max(1))) {
                0..=1 => 16,
                2 => 12,
                3 => 8,
                _ => 6,
            }
        }),
        "vp9" | "av1" => 8,
        "vp8" => 3,
        "mpeg1video" | "mpeg2video" => 2,
        _ => MOST,
    };
    (pictures as usize).max(facts.delay)
}
