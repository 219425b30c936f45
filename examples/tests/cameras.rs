//! Many cameras in one process: every language prints the same of every other's.

mod support;

use framelane_test_kit::{Place, finish_all};
use support::{example, with};

fn rust(name: &str) -> &'static str {
    if name == "publish" {
        env!("CARGO_BIN_EXE_cameras-publish")
    } else {
        env!("CARGO_BIN_EXE_cameras-watch")
    }
}

#[test]
fn every_camera_has_its_own_pictures_in_every_language() {
    let expected: String = (0..5_u64)
        .map(|camera| {
            let rows = 120 + camera;
            let sum: u64 = (0..40).map(|n| (10 * camera + n % 10) * 160 * rows).sum();
            format!("cameras/{camera}: 40 frames of 160x{rows}, sum {sum}\n")
        })
        .collect();
    for publisher in ["rust", "cpp", "python"] {
        for watcher in ["rust", "cpp", "python"] {
            let commands =
                (example(publisher, "cameras", "publish", rust), example(watcher, "cameras", "watch", rust));
            let (Some(publish), Some(watch)) = commands else { continue };
            let place = Place::new();
            let commands = [with(watch, &["5"]), with(publish, &["5", "40"])];
            let texts = finish_all(commands.map(|command| place.start_command(command)).into());
            assert_eq!(texts[0], expected, "{publisher} to {watcher}");
        }
    }
}
