//! The people example: it ends well only when frames and detections really came through.

use std::process::{Command, Output};

fn people(directory: &tempfile::TempDir, detector: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_people"))
        .args(["testsrc=320x240@25", "--frames", "20", "--output"])
        .arg(directory.path().join("out"))
        .arg("--")
        .args(detector)
        .env("FRAMELANE_DIR", directory.path().join("channels"))
        .output()
        .unwrap()
}

#[test]
fn a_detector_that_dies_at_once_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let output = people(&directory, &["false"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("the detector ended before it received a frame"), "{errors}");
    assert!(errors.contains("remedy: "), "{errors}");
    assert_eq!(
        std::fs::read_dir(directory.path().join("channels")).unwrap().count(),
        0,
        "no channel is left"
    );
}

#[test]
fn boxes_come_back_to_their_frames_and_pictures_are_saved() {
    let Some(python) = std::env::var_os("FRAMELANE_PYTHON") else {
        println!("skipped: FRAMELANE_PYTHON does not name a Python with the framelane package");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    // A detector that finds one box in each frame, so that the result does not depend on OpenCV.
    let script = "import json, framelane, numpy as np\n\
                  with framelane.DetectionPublisher('people/detections', labels=['square']) as found, \
                  framelane.Subscriber('people', timeout=60) as frames:\n    \
                  for frame in frames:\n        \
                  found.send(frame, np.array([[10, 20, 60, 90]], np.float32), np.array([0.5], np.float32))\n        \
                  print(json.dumps({'skipped': frame.dropped}), flush=True)\n";
    let output = people(&directory, &[python.to_str().unwrap(), "-c", script]);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("20 frames published"), "{text}");
    let page = std::fs::read_to_string(directory.path().join("out/index.html")).unwrap();
    assert!(page.contains("square 0.50"), "{page}");
    let pictures = std::fs::read_dir(directory.path().join("out")).unwrap().count() - 1;
    assert_eq!(page.matches("<img").count(), pictures);
    assert!(pictures > 0);
    assert_eq!(
        std::fs::read_dir(directory.path().join("channels")).unwrap().count(),
        0,
        "no channel is left"
    );
}
