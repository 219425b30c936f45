//! Boxes back: each camera with each detector, in any languages, prints and draws the same.

mod support;

use framelane_test_kit::{Place, finish_all};
use support::{example, with};

fn rust(name: &str) -> &'static str {
    if name == "camera" { env!("CARGO_BIN_EXE_boxes-camera") } else { env!("CARGO_BIN_EXE_boxes-detect") }
}

#[test]
fn the_ball_is_found_and_drawn_alike_in_every_language() {
    let expected: String = (0..30)
        .map(|n| format!("frame {}: ball {},{} 20x25\n", n + 1, 10 + 4 * n % 280, 20 + 3 * n % 190))
        .collect();
    let mut drawn: Option<image::RgbImage> = None;
    for camera in ["rust", "cpp", "python"] {
        for detector in ["rust", "cpp", "python"] {
            let commands =
                (example(camera, "boxes", "camera", rust), example(detector, "boxes", "detect", rust));
            let (Some(camera_command), Some(detect)) = commands else { continue };
            let place = Place::new();
            let picture = place.path().join("last.png");
            let commands = [detect, with(camera_command, &["30", picture.to_str().unwrap()])];
            let texts = finish_all(commands.map(|command| place.start_command(command)).into());
            assert_eq!(texts[1], expected, "{camera} with {detector}");
            let picture = image::open(picture).unwrap().to_rgb8();
            assert_eq!(picture.get_pixel(10 + 4 * 29, 20 + 3 * 29).0, [255, 0, 0]);
            let first = drawn.get_or_insert_with(|| picture.clone());
            assert!(*first == picture, "{camera} with {detector} draws another picture");
        }
    }
}
