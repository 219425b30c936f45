//! The vectors in `spec/vectors`: what this version writes, and that it reads them.
//!
//! `FRAMELANE_WRITE_VECTORS=1 cargo test -p framelane --test vectors` writes them again, after a change of a
//! format.
//!
//! Not on Windows. The vectors are files that are mapped. Windows maps sections instead.
#![cfg(unix)]

use std::path::{Path, PathBuf};

use framelane::*;
use framelane_test_kit::Place;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors")
}

fn writing() -> bool {
    std::env::var_os("FRAMELANE_WRITE_VECTORS").is_some()
}

fn frame_id() -> FrameId {
    FrameId::new("cam0", (0x1122_3344_5566_7788, 42))
        .with_times_ns(1_700_000_000_123_456_789, 9_876_543_210)
        .with_size(1920, 1080)
}

fn batches() -> [(&'static str, Detections); 2] {
    let mut full = Detections::default();
    full.frame = frame_id();
    full.model = "hog-people".into();
    full.labels = vec!["person".into(), "Fahrräder".into()];
    full.boxes = vec![
        Detection {
            x: 10.5,
            y: -2.25,
            width: 64.0,
            height: 128.0,
            rotation: 0.5,
            score: 0.875,
            class_id: 1,
            track_id: 0x0102_0304_0506_0708,
            flags: DetectionFlags::LOST | DetectionFlags::PREDICTED,
        },
        Detection { x: 1900.0, y: 1000.0, width: 20.0, height: 80.0, score: 0.25, ..Detection::default() },
    ];
    let mut empty = Detections::default();
    empty.frame = frame_id();
    [("detections", full), ("detections-empty", empty)]
}

/// The batch as JSON, with every number that fits into a double as a number, others as text.
fn json(batch: &Detections) -> String {
    let boxes: Vec<String> = batch
        .boxes
        .iter()
        .map(|b| {
            format!(
                "    {{\"x\": {:?}, \"y\": {:?}, \"width\": {:?}, \"height\": {:?}, \"rotation\": {:?}, \"score\": {:?}, \
                 \"class_id\": {}, \"track_id\": \"{}\", \"flags\": {}}}",
                b.x, b.y, b.width, b.height, b.rotation, b.score, b.class_id, b.track_id, b.flags.0
            )
        })
        .collect();
    let id = &batch.frame;
    format!(
        "{{\n  \"channel\": {:?},\n  \"epoch\": \"{}\",\n  \"sequence\": \"{}\",\n  \"timestamp_ns\": \"{}\",\n  \
         \"published_ns\": \"{}\",\n  \"width\": {},\n  \"height\": {},\n  \"model\": {:?},\n  \"labels\": {:?},\n  \
         \"boxes\": [{}{}{}]\n}}\n",
        id.channel,
        id.epoch,
        id.sequence,
        id.timestamp_ns,
        id.published_ns,
        id.width,
        id.height,
        batch.model,
        batch.labels,
        if boxes.is_empty() { "" } else { "\n" },
        boxes.join(",\n"),
        if boxes.is_empty() { "" } else { "\n  " },
    )
}

#[test]
fn detections_are_written_and_read_as_the_vectors_say() {
    for (name, batch) in batches() {
        let mut bytes = Vec::new();
        batch.encode(&mut bytes).unwrap();
        let (bin, text) = (folder().join(format!("{name}.bin")), folder().join(format!("{name}.json")));
        if writing() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&bin, &bytes).unwrap();
            std::fs::write(&text, json(&batch)).unwrap();
        }
        assert_eq!(std::fs::read(&bin).unwrap(), bytes, "{name}.bin");
        assert_eq!(std::fs::read_to_string(&text).unwrap(), json(&batch), "{name}.json");
        assert_eq!(Detections::decode(&std::fs::read(&bin).unwrap()).unwrap(), batch);
    }
}

/// The pixels of the channel vector: a different value in every byte of a row.
fn pixel(index: usize) -> u8 {
    (index * 7 + 3) as u8
}

#[test]
fn a_channel_left_behind_reads_as_the_vector_says() {
    let directory = Place::new();
    if writing() {
        write_channel();
    }
    for part in ["control", "readers", "data.1"] {
        let packed = std::fs::read(folder().join(format!("channel.{part}.bin"))).unwrap();
        std::fs::write(directory.path().join(format!("cam0@left.{part}")), packed).unwrap();
    }
    let found = list(Some(directory.path())).unwrap();
    assert_eq!(found.len(), 1);
    let status = &found[0];
    assert_eq!((status.name.as_str(), &status.state), ("cam0/left", &ChannelState::Stale));
    assert_eq!((status.sequence, status.slots, status.generation), (3, 2, 1));
    let layout = status.layout.as_ref().unwrap();
    assert_eq!((layout.format(), layout.width(), layout.height()), (PixelFormat::Bgr8, 5, 3));
    // A new publisher takes the vector over, and continues counting.
    let publisher = PublisherOptions::new().directory(directory.path()).create("cam0/left").unwrap();
    assert!(publisher.sequence() == 3 && publisher.epoch() > status.epoch);
}

/// Publishes three frames and keeps the files, with the numbers that differ from run to run made constant.
fn write_channel() {
    let directory = Place::new();
    let mut publisher =
        PublisherOptions::new().slots(2).directory(directory.path()).create("cam0/left").unwrap();
    let layout =
        Layout::with_planes(PixelFormat::Bgr8, 5, 3, &[Plane { offset_bytes: 8, stride_bytes: 16 }], 64)
            .unwrap();
    let info = FrameInfo::default()
        .with_timestamp_ns(1_700_000_000_000_000_000)
        .with_pts_ns(-40_000_000)
        .with_duration_ns(40_000_000)
        .with_color(Color { matrix: 1, primaries: 1, transfer: 13, range: ColorRange::Full })
        .with_rotation_degrees(90)
        .with_keyframe(true)
        .with_origin(Origin { epoch: 1_600_000_000_000_000_001, sequence: 4711 });
    for _ in 0..3 {
        let bytes: Vec<u8> = (0..64).map(pixel).collect();
        publisher.send(&layout, &info, &bytes).unwrap();
    }
    let ids = [0x0101_0101_0101_0101_u64, 1_700_000_000_000_000_001, 77];
    for part in ["control", "readers", "data.1"] {
        let mut bytes = std::fs::read(directory.path().join(format!("cam0@left.{part}"))).unwrap();
        let mut set =
            |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        match part {
            "control" => {
                set(24, &ids[0].to_le_bytes());
                set(64, &ids[1].to_le_bytes());
                set(92, &1234_u32.to_le_bytes());
                set(96, &ids[1].to_le_bytes());
            }
            "readers" => set(16, &ids[0].to_le_bytes()),
            _ => {
                set(16, &ids[0].to_le_bytes());
                set(32, &ids[1].to_le_bytes());
                for slot in 0..2 {
                    set(4096 + 256 * slot + 104, &ids[2].to_le_bytes());
                }
            }
        }
        std::fs::write(folder().join(format!("channel.{part}.bin")), bytes).unwrap();
    }
    let text = "{\n  \"channel\": \"cam0/left\",\n  \"epoch\": \"1700000000000000001\",\n  \"generation\": 1,\n  \
                \"slots\": 2,\n  \"sequence\": 3,\n  \"format\": \"bgr8\",\n  \"width\": 5,\n  \"height\": 3,\n  \
                \"size_bytes\": 64,\n  \"planes\": [[8, 16]],\n  \"timestamp_ns\": \"1700000000000000000\",\n  \
                \"published_ns\": \"77\",\n  \"pts_ns\": \"-40000000\",\n  \"duration_ns\": \"40000000\",\n  \
                \"color\": [1, 1, 13, 2],\n  \"rotation_degrees\": 90,\n  \"keyframe\": true,\n  \
                \"origin\": [\"1600000000000000001\", \"4711\"],\n  \
                \"payload\": \"byte i is (7 i + 3) mod 256\"\n}\n";
    std::fs::write(folder().join("channel.json"), text).unwrap();
}
