//! The output of the programs in `tests/languages`, in Rust: see the README there.

use framelane::{Color, ColorRange, Detection, Detections, FrameInfo, Layout};

/// One byte of the pattern.
pub fn byte(n: u64, plane: u64, row: u64, at: u64) -> u8 {
    ((31 * n + 17 * plane + 7 * row + 3 * at) % 251) as u8
}

/// The metadata of frame `n`.
pub fn info(n: u64) -> FrameInfo {
    let pts = 1000 * n as i64;
    FrameInfo::default()
        .with_timestamp_ns(1_000_000_000_000_000_000 + n)
        .with_pts_ns(if n.is_multiple_of(2) { pts } else { -pts })
        .with_duration_ns(7 * n + 1)
        .with_color(Color {
            matrix: 1 + (n % 5) as u8,
            primaries: (n % 3) as u8,
            transfer: (n % 4) as u8,
            range: [ColorRange::Unspecified, ColorRange::Limited, ColorRange::Full][(n % 3) as usize],
        })
        .with_rotation_degrees(90 * (n % 4) as u16)
        .with_keyframe(n % 2 == 1)
}

/// A line of the plan.
pub fn step(line: &str) -> (Layout, &str) {
    let words: Vec<_> = line.split(' ').collect();
    let side = |word: &str| word.parse().expect("a side");
    let layout = Layout::packed(words[0].parse().expect("a format"), side(words[1]), side(words[2]));
    (layout.expect("a layout"), words[3])
}

/// The rows of all planes, one after the other.
pub fn rows(layout: &Layout, row: impl Fn(usize, usize, usize) -> Vec<u8>) -> Vec<u8> {
    let mut all = Vec::new();
    for plane in 0..layout.planes().len() {
        let (rows, row_bytes) = layout.format().plane_shape(plane, layout.width(), layout.height());
        for index in 0..rows as usize {
            all.extend(row(plane, index, row_bytes));
        }
    }
    all
}

/// A subscriber's line.
pub fn frame_text(layout: &Layout, info: &FrameInfo, sequence: u64, dropped: u64, bytes: Vec<u8>) -> String {
    let sum: u64 = bytes.iter().copied().map(u64::from).sum();
    let weighted =
        bytes.iter().zip(1_u64..).fold(0_u64, |sum, (&byte, at)| sum.wrapping_add(u64::from(byte) * at));
    let Color { matrix, primaries, transfer, range } = info.color;
    format!(
        "{sequence} {} {} {} {dropped} {} {} {} {matrix} {primaries} {transfer} {} {} {} {sum} {weighted}",
        layout.format(),
        layout.width(),
        layout.height(),
        info.timestamp_ns.unwrap_or(0),
        info.pts_ns.unwrap_or(0),
        info.duration_ns.unwrap_or(0),
        range as u8,
        info.rotation_degrees,
        u8::from(info.keyframe),
    )
}

/// The content of frame `n` at a subscriber.
pub fn boxes(n: u64) -> Vec<Detection> {
    let found = (0..n % 4).map(|i| Detection {
        x: (n + i) as f32,
        y: i as f32,
        width: (2 * i + 1) as f32,
        height: 3.0,
        score: i as f32 / 8.0,
        class_id: (i % 2) as u32,
        track_id: 100 * n + i,
        ..Detection::default()
    });
    found.collect()
}

/// A publisher's line of the boxes that it got.
pub fn found_text(found: &Detections) -> String {
    boxes_text(found.frame.sequence, &found.model, &found.labels, &found.boxes)
}

/// A publisher's line.
pub fn boxes_text(sequence: u64, model: &str, labels: &[impl AsRef<str>], boxes: &[Detection]) -> String {
    let mut text = format!("{sequence} {model} {}", boxes.len());
    for one in boxes {
        let label = labels.get(one.class_id as usize).map_or("?", AsRef::as_ref);
        let numbers = (one.x, one.y, one.width, one.height, 8.0 * one.score, one.track_id);
        text += &format!(
            " {},{},{},{},{},{label},{}",
            numbers.0, numbers.1, numbers.2, numbers.3, numbers.4, numbers.5
        );
    }
    text
}
