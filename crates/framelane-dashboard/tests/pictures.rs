//! Pictures and boxes as a page receives them.

mod support;

use framelane::{
    Color, ColorRange, Detection, DetectionPublisher, FrameId, FrameInfo, Layout, PixelFormat,
    PublisherOptions,
};
use support::{Place, Server, decode, is_about, publisher, send, wait_until};

#[test]
fn picture_has_the_pixels_of_its_frame() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut rgb = publisher(place.path(), "cam/rgb");
    send(&mut rgb, (64, 48), [30, 200, 100]);
    let mut yuv = publisher(place.path(), "cam/yuv");
    // Red with 191 of 255 in BT.709 of limited range: a JPEG of these samples would show another colour.
    let layout = Layout::packed(PixelFormat::I420, 640, 400).unwrap();
    let bytes = [vec![51; 640 * 400], vec![109; 320 * 200], vec![212; 320 * 200]].concat();
    let color = Color { matrix: 1, primaries: 1, transfer: 1, range: ColorRange::Limited };
    yuv.send(&layout, &FrameInfo::default().with_color(color), &bytes).unwrap();

    let mut page = server.page();
    page.watch(&[("cam/rgb", "full"), ("cam/yuv", "tile")]);
    for _ in 0..2 {
        let (head, jpeg) = page.picture();
        let (width, height, pixels) = decode(&jpeg);
        if head["channel"] == "cam/rgb" {
            assert_eq!((width, height, &head["size"]), (64, 48, &"full".into()));
            assert!(is_about(&pixels, [100, 200, 30]), "{:?}", &pixels[..3]);
        } else {
            assert_eq!((width, height, &head["width"]), (480, 300, &640.into()));
            assert!(is_about(&pixels, [191, 0, 0]), "{:?}", &pixels[..3]);
        }
        assert_eq!((&head["sequence"], &head["boxes"]), (&1.into(), &serde_json::Value::Null));
    }
    // Newer frames follow, and the newest one is always shown.
    let sequence = (0..20).map(|level| send(&mut rgb, (64, 48), [level, 0, 255])).next_back().unwrap();
    loop {
        let (head, jpeg) = page.picture();
        if head["sequence"] == sequence {
            assert!(is_about(&decode(&jpeg).2, [255, 0, 19]));
            break;
        }
    }
}

#[test]
fn boxes_are_those_of_the_frame_in_the_picture() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "cam0");
    let options = PublisherOptions::new().directory(place.path());
    let mut detector =
        DetectionPublisher::with_options(options, "cam0/detections", &["cat", "dog"], "test").unwrap();
    let mut page = server.page();
    page.watch(&[("cam0", "tile")]);
    let mut matched = 0;
    wait_until("five pictures have the boxes of their frame", || {
        let sequence = send(&mut camera, (640, 480), [0, 0, 0]);
        let frame = FrameId::new("cam0", (camera.epoch(), sequence)).with_times_ns(1, 1).with_size(640, 480);
        let found = Detection {
            x: sequence as f32,
            y: 2.0,
            width: 30.0,
            height: 40.0,
            score: 0.5,
            class_id: 1,
            ..Default::default()
        };
        detector.send(&frame, &[found]).unwrap();
        let (head, _) = page.picture();
        let boxes = &head["boxes"];
        if boxes.is_null() {
            return false;
        }
        assert_eq!(
            (&boxes["total"], &boxes["model"], &boxes["width"]),
            (&1.into(), &"test".into(), &640.into())
        );
        assert_eq!(boxes["matched"], boxes["sequence"] == head["sequence"]);
        assert!(boxes["sequence"].as_u64() <= head["sequence"].as_u64(), "{head}");
        let item = &boxes["items"][0];
        assert_eq!(
            (item["x"].as_f64(), &item["label"]),
            (boxes["sequence"].as_f64(), &"dog".into()),
            "{head}"
        );
        matched += usize::from(boxes["matched"] == true);
        matched >= 5
    });
}

#[test]
fn restarted_publisher_is_shown_again() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut page = server.page();
    let mut epochs = Vec::new();
    // Before the channel exists.
    page.watch(&[("cam0", "tile")]);
    for _ in 0..3 {
        let mut camera = publisher(place.path(), "cam0");
        let sequence = send(&mut camera, (64, 48), [1, 2, 3]);
        let epoch = camera.epoch().to_string();
        loop {
            let (head, _) = page.picture();
            if head["epoch"] == epoch && head["sequence"] == sequence {
                break;
            }
        }
        epochs.push(camera.epoch());
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 3);
}

#[test]
fn channel_without_a_viewer_has_no_subscriber() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "cam0");
    send(&mut camera, (64, 48), [1, 2, 3]);
    let readers = || framelane::status(Some(place.path()), "cam0").unwrap().subscribers.len();
    let mut page = server.page();
    page.text("channels");
    assert_eq!(readers(), 0);
    page.watch(&[("cam0", "tile")]);
    page.picture();
    assert_eq!(readers(), 1);
    page.watch(&[]);
    wait_until!(readers() == 0);
    page.watch(&[("cam0", "full")]);
    page.picture();
    drop(page);
    wait_until!(readers() == 0);
}

#[test]
fn channel_without_pictures_states_the_reason() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "depth");
    let layout = Layout::packed("matrix:f32:1".parse().unwrap(), 8, 8).unwrap();
    camera.send(&layout, &FrameInfo::default(), &vec![0; layout.size_bytes()]).unwrap();
    let mut page = server.page();
    page.watch(&[("depth", "tile")]);
    loop {
        let update = page.text("channels");
        let channel = &update["channels"][0];
        if let Some(fault) = channel["fault"].as_str() {
            assert!(fault.contains("matrix:f32"), "{fault}");
            break;
        }
    }
}
