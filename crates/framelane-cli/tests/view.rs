//! `framelane view` in an X server: pictures, keys, channels that come and go.

#[path = "support/screen.rs"]
mod screen;
mod support;

use std::collections::HashMap;
use std::process::Command;

use framelane::{
    Delivery, Detection, DetectionPublisher, FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions,
    Subscriber, SubscriberOptions,
};
use framelane_test_kit::{Deadline, Display, Running, wait_until};
use rustix::process::Signal;
use screen::{ESCAPE, KEYPAD_PLUS, LEFT, SPACE, Screen};
use support::{Place, json_error};

/// Behind pictures and messages.
const BACKGROUND: u32 = 0x16191D;
/// Colour of the boxes of the class 0.
const GREEN: u32 = 0x00E676;

/// A display, a directory of channels and a view.
struct Setup {
    display: Display,
    screen: Screen,
    place: Place,
}

impl Setup {
    fn new() -> Option<Self> {
        let display = Display::start(800, 600)?;
        Some(Setup { screen: Screen::new(&display), place: Place::new(), display })
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.place.command(line);
        command
            .env("DISPLAY", self.display.name())
            .env_remove("WAYLAND_DISPLAY")
            .env_remove("WAYLAND_SOCKET");
        command
    }

    /// Starts `framelane view` with these arguments and --json.
    fn view(&self, arguments: &str) -> Running {
        let mut view = self.place.start_command(self.command(&format!("view --json {arguments}")));
        view.wait_for("opened");
        view
    }

    fn publisher(&self, channel: &str) -> Publisher {
        PublisherOptions::new().directory(self.place.path()).create(channel).unwrap()
    }

    fn subscriber(&self, channel: &str) -> Subscriber {
        SubscriberOptions::new().directory(self.place.path()).delivery(Delivery::Every).open(channel).unwrap()
    }

    fn quit(&self, mut view: Running) {
        self.screen.press_letter(self.screen.window(), 'q');
        assert!(view.end().success());
    }
}

/// Sends a frame of one colour, given as BGR.
fn send_color(publisher: &mut Publisher, (width, height): (u32, u32), bgr: [u8; 3]) -> u64 {
    let layout = Layout::packed(PixelFormat::Bgr8, width, height).unwrap();
    let bytes = bgr.repeat((width * height) as usize);
    publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap().unwrap()
}

fn png_pixels(path: &str) -> (u32, u32, Vec<u8>) {
    let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, info.height, pixels)
}

#[test]
fn window_and_saved_picture_equal_the_test_pattern() {
    let Some(setup) = Setup::new() else { return };
    let mut publish =
        setup.place.start("publish testsrc=320x240@30 cam0 --format bgr8 --backpressure block --json");
    publish.wait_for("started");
    // The publisher waits for it, so that it receives each frame that the window shows.
    let mut subscriber = setup.subscriber("cam0");
    let pictures = tempfile::tempdir().unwrap();
    let mut view = setup.view(&format!("cam0 --no-overlay --save-to {}", pictures.path().display()));
    let window = setup.screen.window();
    let format = view.wait_for("format");
    assert_eq!(
        (&format["width"], &format["height"], &format["format"]),
        (&320.into(), &240.into(), &"bgr8".into())
    );
    setup.screen.press(window, SPACE);
    view.wait_for("paused");
    setup.screen.press_letter(window, 's');
    let saved = view.wait_for("saved");
    let sequence = saved["sequence"].as_u64().unwrap();
    let mut expected = HashMap::new();
    let deadline = Deadline::new();
    while !expected.contains_key(&sequence) {
        let frame = subscriber.recv_timeout(deadline.left()).unwrap();
        let rgb: Vec<u8> = frame.bytes().as_chunks::<3>().0.iter().flat_map(|&[b, g, r]| [r, g, b]).collect();
        expected.insert(frame.sequence(), rgb);
    }
    let expected = &expected[&sequence];
    let path = saved["path"].as_str().unwrap();
    assert!(path.ends_with(&format!("cam0-{sequence:06}.png")), "{path}");
    assert!(png_pixels(path) == (320, 240, expected.clone()), "the picture differs from frame {sequence}");
    setup.screen.wait_for(window, "the frame that was saved", |shot| shot.is(expected));
    // A second picture of the same frame replaces nothing.
    setup.screen.press_letter(window, 's');
    let second = view.wait_for("saved")["path"].as_str().unwrap().to_owned();
    assert!(second.ends_with(&format!("cam0-{sequence:06}-2.png")), "{second}");
    setup.quit(view);
}

#[test]
fn every_format_and_size_is_shown() {
    let Some(setup) = Setup::new() else { return };
    let mut publisher = setup.publisher("cam0");
    let view = setup.view("cam0 --no-overlay --size 200x100");
    let window = setup.screen.window();
    let matrices =
        ["matrix:u8:1", "matrix:u8:2", "matrix:u16:3", "matrix:s8:4", "matrix:s16:1", "matrix:f32:3"];
    let matrices = matrices.map(|name| name.parse::<PixelFormat>().unwrap());
    for (index, format) in PixelFormat::VIDEO.iter().copied().chain(matrices).enumerate() {
        let (width, height) = [(64, 48), (33, 17), (1, 1), (300, 700)][index % 4];
        let layout = Layout::packed(format, width, height).unwrap();
        for value in [0x30_u8, 0xB0] {
            let bytes: Vec<u8> = match format {
                PixelFormat::Matrix(matrix) if matrix.depth() == framelane::Depth::F32 => {
                    (f32::from(value) / 255.0).to_ne_bytes().repeat(layout.size_bytes() / 4)
                }
                PixelFormat::I420 | PixelFormat::Nv12 => {
                    let luma = (width * height) as usize;
                    let chroma = layout.size_bytes() - luma;
                    [vec![value; luma], vec![128; chroma]].concat()
                }
                PixelFormat::Yuyv => [value, 128].repeat(layout.size_bytes() / 2),
                PixelFormat::P010 => {
                    let luma = (width * height) as usize * 2;
                    let chroma = layout.size_bytes() - luma;
                    [[0, value].repeat(luma / 2), [0, 128].repeat(chroma / 2)].concat()
                }
                _ => vec![value; layout.size_bytes()],
            };
            let is_limited = matches!(
                format,
                PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuyv | PixelFormat::P010
            );
            let is_signed = matches!(format, PixelFormat::Matrix(matrix)
                if matches!(matrix.depth(), framelane::Depth::S8 | framelane::Depth::S16));
            let gray = match value {
                value if is_limited => ((u32::from(value) - 16) * 255 + 109) / 219,
                value if is_signed => u32::from(value ^ 0x80),
                value => value.into(),
            };
            publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap();
            let awaited = format!("{format} {width}x{height} of {value:#x}");
            setup.screen.wait_for(window, &awaited, |shot| shot.is_near(100, 50, gray * 0x01_01_01));
        }
    }
    setup.quit(view);
}

#[test]
fn resized_window_keeps_the_aspect_of_the_picture() {
    let Some(setup) = Setup::new() else { return };
    let mut publisher = setup.publisher("cam0");
    send_color(&mut publisher, (160, 120), [20, 40, 200]);
    let mut view = setup.view("cam0 --no-overlay");
    let window = setup.screen.window();
    let red = 0xC82814;
    let first = setup.screen.wait_for(window, "the picture", |shot| shot.is_near(0, 0, red));
    assert_eq!((first.width, first.height), (160, 120));
    setup.screen.resize(window, 400, 120);
    setup.screen.wait_for(window, "margins at the left and right", |shot| {
        shot.width == 400
            && shot.at(119, 60) == BACKGROUND
            && shot.is_near(120, 0, red)
            && shot.is_near(279, 119, red)
            && shot.at(280, 60) == BACKGROUND
    });
    setup.screen.resize(window, 320, 400);
    setup.screen.wait_for(window, "margins above and below", |shot| {
        shot.height == 400
            && shot.at(160, 79) == BACKGROUND
            && shot.is_near(0, 80, red)
            && shot.is_near(319, 319, red)
            && shot.at(160, 320) == BACKGROUND
    });
    setup.screen.resize(window, 1, 1);
    setup.screen.wait_for(window, "one pixel", |shot| shot.width == 1 && shot.is_near(0, 0, red));
    setup.screen.press(window, ESCAPE);
    assert!(view.end().success());
}

#[test]
fn keys_change_overlay_zoom_and_pause() {
    let Some(setup) = Setup::new() else { return };
    let mut publisher = setup.publisher("cam0");
    // Left half blue, right half white.
    let layout = Layout::packed(PixelFormat::Bgr8, 400, 300).unwrap();
    let row = [[200, 0, 0].repeat(200), [255, 255, 255].repeat(200)].concat();
    publisher.send(&layout, &FrameInfo::default(), &row.repeat(300)).unwrap();
    let mut view = setup.view("cam0");
    let (screen, window) = (&setup.screen, setup.screen.window());
    let (blue, white) = (0x0000C8, 0xFFFFFF);
    screen.wait_for(window, "the overlay", |shot| shot.is_near(6, 280, blue) && !shot.is_near(6, 5, blue));
    screen.press_letter(window, 'o');
    screen.wait_for(window, "no overlay", |shot| shot.count(|pixel| pixel == blue) == 200 * 300);
    screen.press(window, KEYPAD_PLUS);
    screen.press(window, LEFT);
    // The left edge of the visible part moves by a tenth of a tile, as far as the picture reaches.
    screen.wait_for(window, "the left part", |shot| {
        shot.is_near(230, 150, blue) && shot.is_near(260, 150, white)
    });
    screen.press_letter(window, '0');
    screen.wait_for(window, "the whole picture", |shot| shot.count(|pixel| pixel == blue) == 200 * 300);
    screen.press_letter(window, '-');
    screen.wait_for(window, "a smaller picture", |shot| {
        shot.at(39, 150) == BACKGROUND && shot.is_near(41, 150, blue) && shot.is_near(350, 150, white)
    });
    screen.press_letter(window, '0');
    screen.press(window, SPACE);
    view.wait_for("paused");
    let sequence = send_color(&mut publisher, (400, 300), [0, 200, 0]);
    // The view receives frames while it is paused, and does not show them.
    view.wait_for_that("the frame", |event| event["received"].as_u64() > Some(0));
    assert!(screen.screenshot(window).is_near(6, 280, blue), "{sequence} is shown");
    screen.press(window, SPACE);
    view.wait_for("resumed");
    send_color(&mut publisher, (400, 300), [0, 200, 0]);
    screen.wait_for(window, "the next frame", |shot| shot.is_near(6, 280, 0x00C800));
    // Without a window manager the size stays. The window goes on.
    screen.press_letter(window, 'f');
    screen.press_letter(window, 'o');
    screen.wait_for(window, "the overlay again", |shot| !shot.is_near(6, 5, 0x00C800));
    setup.quit(view);
}

#[test]
fn closed_channel_is_waited_for_and_returns() {
    let Some(setup) = Setup::new() else { return };
    let mut view = setup.view("cam0 --no-overlay --size 400x300");
    view.wait_for("waiting");
    let (screen, window) = (&setup.screen, setup.screen.window());
    let is_message = |shot: &screen::Screenshot| {
        let empty = shot.count(|pixel| pixel == BACKGROUND);
        shot.at(0, 0) == BACKGROUND && empty > 400 * 280 && empty < 400 * 300
    };
    screen.wait_for(window, "the message", is_message);
    for round in 0..3 {
        let mut publisher = setup.publisher("cam0");
        send_color(&mut publisher, (40, 30), [0, 200, 0]);
        view.wait_for("live");
        screen.wait_for(window, "the picture", |shot| shot.is_near(0, 0, 0x00C800));
        if round == 1 {
            publisher.close();
        } else {
            drop(publisher);
        }
        view.wait_for("waiting");
        screen.wait_for(window, "the message", is_message);
    }
    setup.quit(view);
}

#[test]
fn stalled_channel_is_marked_on_its_picture() {
    let Some(setup) = Setup::new() else { return };
    let mut publisher = setup.publisher("cam0");
    for _ in 0..3 {
        send_color(&mut publisher, (400, 300), [0, 200, 0]);
    }
    let mut view = setup.view("cam0 --no-overlay");
    view.wait_for("stalled");
    let (screen, window) = (&setup.screen, setup.screen.window());
    screen.wait_for(window, "the banner", |shot| shot.is_near(5, 5, 0x00C800) && shot.at(5, 295) == 0x003200);
    wait_until("a frame ends the stall", || {
        send_color(&mut publisher, (400, 300), [0, 200, 0]);
        screen.screenshot(window).is_near(5, 295, 0x00C800)
    });
    setup.quit(view);
}

fn detections(setup: &Setup) -> DetectionPublisher {
    let options = PublisherOptions::new().directory(setup.place.path());
    DetectionPublisher::with_options(options, "cam0/detections", &["person"], "test").unwrap()
}

/// The frame that the subscriber receives, as boxes name it.
fn frame_of(subscriber: &mut Subscriber, sequence: u64) -> framelane::FrameId {
    let deadline = Deadline::new();
    loop {
        let frame = subscriber.recv_timeout(deadline.left()).unwrap();
        if frame.sequence() == sequence {
            return frame.id();
        }
    }
}

#[test]
fn boxes_are_drawn_at_their_pixels() {
    let Some(setup) = Setup::new() else { return };
    let mut publisher = setup.publisher("cam0");
    let mut boxes = detections(&setup);
    let mut subscriber = setup.subscriber("cam0");
    let view = setup.view("cam0 --no-overlay --size 640x480");
    let (screen, window) = (&setup.screen, setup.screen.window());
    let sequence = send_color(&mut publisher, (320, 240), [40, 40, 40]);
    let frame = frame_of(&mut subscriber, sequence);
    let found =
        Detection { x: 50.0, y: 60.0, width: 100.0, height: 80.0, score: 0.9, ..Detection::default() };
    boxes.send(&frame, &[found]).unwrap();
    let is_box = |shot: &screen::Screenshot| {
        // Twice the size of the frame. Lines are two pixels wide, within the box.
        let inside = [(102, 122), (297, 277), (200, 200)].iter().all(|&(x, y)| shot.is_near(x, y, 0x282828));
        let lines = [(100, 120), (101, 200), (299, 279), (200, 279), (200, 120), (298, 130)];
        let outside = [(99, 200), (300, 200), (200, 280)].iter().all(|&(x, y)| shot.is_near(x, y, 0x282828));
        lines.iter().all(|&(x, y)| shot.at(x, y) == GREEN) && inside && outside && shot.at(101, 105) == GREEN
    };
    screen.wait_for(window, "the box and its label", is_box);
    screen.press_letter(window, 'b');
    screen.wait_for(window, "no boxes", |shot| shot.count(|pixel| pixel == GREEN) == 0);
    screen.press_letter(window, 'b');
    screen.wait_for(window, "the boxes again", is_box);
    // The next frame has no boxes. Those of the earlier frame are dashed.
    send_color(&mut publisher, (320, 240), [60, 60, 60]);
    boxes.send(&frame, &[found]).unwrap();
    screen.wait_for(window, "dashed boxes", |shot| {
        shot.is_near(200, 200, 0x3C3C3C) && shot.at(105, 120) == GREEN && shot.is_near(107, 120, 0x3C3C3C)
    });
    setup.quit(view);
}

#[test]
fn moving_boxes_stay_on_their_frames() {
    let Some(setup) = Setup::new() else { return };
    let mut publisher = setup.publisher("cam0");
    let mut boxes = detections(&setup);
    let mut subscriber = setup.subscriber("cam0");
    let view = setup.view("cam0 --no-overlay --size 320x240");
    let (screen, window) = (&setup.screen, setup.screen.window());
    // The gray level of a frame states the place of its box, which the detector finds one frame later.
    let mut late: Option<(framelane::FrameId, u8)> = None;
    let mut checked = 0;
    let mut gray = 0_u8;
    wait_until("20 pictures with a box", || {
        gray = (gray + 4) % 200;
        let sequence = send_color(&mut publisher, (320, 240), [gray; 3]);
        let frame = frame_of(&mut subscriber, sequence);
        if let Some((frame, gray)) = late.replace((frame, gray)) {
            let x = f32::from(gray) + 20.0;
            let found = Detection { x, y: 100.0, width: 40.0, height: 40.0, ..Detection::default() };
            boxes.send(&frame, &[found]).unwrap();
        }
        let shot = screen.screenshot(window);
        let left = (0..320).find(|&x| shot.at(x, 120) == GREEN);
        if let Some(left) = left {
            let level = (shot.at(0, 0) & 0xFF) as usize;
            // Dashed lines have gaps at both ends of the row.
            let is_solid = (left..left + 40).all(|x| shot.at(x, 100) == GREEN);
            if is_solid {
                assert_eq!(left, level + 20);
                checked += 1;
            }
        }
        checked >= 20
    });
    setup.quit(view);
}

#[test]
fn several_channels_make_a_grid() {
    let Some(setup) = Setup::new() else { return };
    let colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255]];
    let mut publishers: Vec<_> = (0..3).map(|index| setup.publisher(&format!("cam{index}"))).collect();
    for (publisher, color) in publishers.iter_mut().zip(colors) {
        send_color(publisher, (160, 90), color);
    }
    let view = setup.view("cam0 cam1 cam2 --no-overlay --size 640x360 --boxes off");
    let window = setup.screen.window();
    setup.screen.wait_for(window, "three pictures and an empty place", |shot| {
        shot.is_near(0, 0, 0x0000FF)
            && shot.is_near(319, 179, 0x0000FF)
            && shot.is_near(320, 0, 0x00FF00)
            && shot.is_near(0, 180, 0xFF0000)
            && shot.at(320, 180) == BACKGROUND
    });
    setup.quit(view);
}

#[test]
fn url_of_a_link_replaces_a_channel_name() {
    let Some(setup) = Setup::new() else { return };
    let there = Place::new();
    let mut publisher = PublisherOptions::new().directory(there.path()).create("cam0").unwrap();
    let socket = there.path().join("s.sock");
    let mut server = there.start(&format!("serve --listen unix:{} --json", socket.display()));
    server.wait_for("listening");
    let view = setup.view(&format!("unix:{}/cam0 --no-overlay --size 160x90", socket.display()));
    let window = setup.screen.window();
    wait_until("the picture", || {
        send_color(&mut publisher, (160, 90), [200, 0, 0]);
        setup.screen.screenshot(window).is_near(80, 45, 0x0000C8)
    });
    setup.quit(view);
}

#[test]
fn view_ends_after_its_count_and_its_duration() {
    let Some(setup) = Setup::new() else { return };
    let mut publish = setup.place.start("publish testsrc=160x120@60 cam0 --json");
    publish.wait_for("started");
    let mut view = setup.view("cam0 --count 10");
    assert!(view.end().success());
    let summary = view.wait_for("summary");
    assert_eq!(summary["shown"], 10, "{summary}");
    let mut view = setup.view("cam0 --duration 0.2");
    assert!(view.end().success());
    view.wait_for("summary");
}

#[test]
fn interrupted_view_ends_with_its_summary() {
    let Some(setup) = Setup::new() else { return };
    let mut view = setup.view("cam0");
    view.signal(Signal::INT);
    assert_eq!(view.end().code(), Some(130));
    view.wait_for("summary");
}

#[test]
fn memory_of_the_window_stays_flat() {
    let Some(setup) = Setup::new() else { return };
    let mut publish = setup.place.start("publish testsrc=640x480@60 cam0 --json");
    publish.wait_for("started");
    let mut view = setup.view("cam0");
    let rss = |view: &Running| {
        let text = std::fs::read_to_string(format!("/proc/{}/status", view.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let mut seconds = |count: u64| {
        let mut shown = 0;
        while shown < count {
            shown += view.wait_for("statistics")["shown"].as_u64().unwrap();
        }
        rss(&view)
    };
    let first = seconds(60);
    let last = seconds(200);
    assert!(last < first + 4096, "{first} kB, then {last} kB");
    setup.quit(view);
}

#[test]
fn view_without_a_display_names_the_dashboard() {
    let place = Place::new();
    for display in [None, Some(":4095")] {
        let mut command = place.command("view cam0 --json");
        command.env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").env_remove("DISPLAY");
        command.envs(display.map(|display| ("DISPLAY", display)));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{display:?}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().starts_with("cannot open a window: "), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("framelane dashboard"), "{error}");
    }
}

#[test]
fn invalid_channel_or_url_is_refused() {
    let Some(setup) = Setup::new() else { return };
    for (channel, found) in [("cam 0", "cam 0"), ("unix:/x.sock/cam0?insecure=maybe", "insecure")] {
        let output = setup.command("view --json").arg(channel).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{channel}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().contains(found), "{error}");
    }
}
