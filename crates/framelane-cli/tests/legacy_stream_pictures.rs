//! The pictures of `legacy://` senders: upright as cv2.imdecode returns them, and the next whole one after
//! damage.

#[path = "../../../tests/src/random.rs"]
#[allow(dead_code, reason = "the tests use a part of it")]
mod random;
mod support;

use std::io::{Read, Write};

use random::Random;
use support::stream::{ANSWER, Program, Scene, decoded, jpeg, message, number_of};

/// The JPEG with an EXIF orientation.
fn with_orientation(jpeg: &[u8], value: u8) -> Vec<u8> {
    let mut exif = b"\xFF\xE1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([value, 0, 0, 0, 0, 0, 0, 0]);
    [&jpeg[..2], &exif, &jpeg[2..]].concat()
}

#[test]
fn exif_orientation_is_applied_to_pictures() {
    let mut scene = Scene::new("");
    let mut sender = scene.connect();
    let plain = jpeg(3, 50, 30);
    let (width, height, pixels) = decoded(&plain);
    for value in (0..=9).chain(1..=8).rev() {
        let turned = with_orientation(&plain, value);
        sender.write_all(&message(&turned)).unwrap();
        let frame = scene.frame();
        let (turned_width, turned_height) =
            if (5..=8).contains(&value) { (height, width) } else { (width, height) };
        assert_eq!(
            (frame.width() as usize, frame.height() as usize),
            (turned_width, turned_height),
            "{value}"
        );
        let bytes = frame.bytes();
        for y in 0..turned_height {
            for x in 0..turned_width {
                // Which end of the stored rows and columns the top and the left are: EXIF 2.3, 4.6.4.
                let (row, column) = match value {
                    2 => (y, width - 1 - x),
                    3 => (height - 1 - y, width - 1 - x),
                    4 => (height - 1 - y, x),
                    5 => (x, y),
                    6 => (height - 1 - x, y),
                    7 => (height - 1 - x, width - 1 - y),
                    8 => (x, width - 1 - y),
                    _ => (y, x),
                };
                let (at, from) = ((y * turned_width + x) * 3, (row * width + column) * 3);
                assert_eq!(bytes[at..at + 3], pixels[from..from + 3], "orientation {value}, {x}x{y}");
            }
        }
        let mut answer = [0; 18];
        sender.read_exact(&mut answer).unwrap();
    }
    scene.end();
}

#[test]
fn pictures_with_exif_equal_those_of_cv2() {
    let mut scene = Scene::new("");
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&*scene.port.to_string(), folder.path().to_str().unwrap()];
    let Some(mut sender) = Program::python("legacy_exif_sender.py", &arguments) else { return };
    for number in 0..40 {
        let frame = scene.frame();
        let line = sender.line().unwrap();
        let channels = if frame.format() == framelane::PixelFormat::Gray8 { 1 } else { 3 };
        assert_eq!(line, format!("{} {} {channels}", frame.width(), frame.height()), "picture {number}");
        let expected = std::fs::read(folder.path().join(number.to_string())).unwrap();
        assert!(frame.bytes() == expected, "picture {number} differs");
    }
    sender.end_well();
    scene.end();
}

/// Damages a message. Returns whether its length line still holds.
fn damage(random: &mut Random, message: &mut Vec<u8>) -> bool {
    let body = (message.len() - 16) as u64;
    let at = 16 + random.below(body) as usize;
    match random.below(6) {
        0 => message[at] ^= 1 << random.below(8),
        1 => {
            let end = (at + 1 + random.below(300) as usize).min(message.len());
            for byte in &mut message[at..end] {
                *byte = random.number() as u8;
            }
        }
        2 => {
            // Cut short, with the right length for what is left.
            message.truncate(at);
            let line = format!("{:<16}", at - 16);
            message[..16].copy_from_slice(line.as_bytes());
            return at > 16;
        }
        3 => {
            message.truncate(at);
            return false;
        }
        4 => {
            // Another length than that of the JPEG.
            let line = format!("{:<16}", random.below(2 * body));
            message[..16].copy_from_slice(line.as_bytes());
            return false;
        }
        _ => {
            for byte in &mut message[..16] {
                *byte = random.number() as u8;
            }
            return false;
        }
    }
    true
}

#[test]
fn next_whole_picture_arrives_after_any_damage() {
    let mut random = Random::printed("legacy damage");
    let rounds = if std::env::var_os("FRAMELANE_DEPTH").is_some() { 2000 } else { 150 };
    let mut scene = Scene::new("--max-size 640x480");
    let mut sender = scene.connect();
    for round in 0..rounds {
        let mut damaged =
            message(&jpeg(round % 20, 16 + random.below(100) as usize, 16 + random.below(80) as usize));
        let is_aligned = damage(&mut random, &mut damaged);
        let is_sent = sender.write_all(&damaged).is_ok();
        let mut answer = [0; 18];
        if is_aligned && is_sent {
            // Broken or not, it is answered, and the connection continues.
            sender.read_exact(&mut answer).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(&answer, ANSWER);
        } else {
            drop(std::mem::replace(&mut sender, scene.connect()));
        }
        // A picture of another size, which no damaged one has.
        let wanted = (200 + round % 50, 120);
        sender.write_all(&message(&jpeg(25, wanted.0, wanted.1))).unwrap();
        sender.read_exact(&mut answer).unwrap_or_else(|error| panic!("round {round}: {error}"));
        loop {
            let frame = scene.frame();
            if (frame.width() as usize, frame.height() as usize) == wanted {
                assert_eq!(number_of(frame.bytes()), 25, "round {round}");
                break;
            }
        }
    }
    scene.end();
}
