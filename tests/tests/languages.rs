//! Every publisher with every subscriber: Rust, C, C++ and Python, over formats, sizes and modes. Pixels,
//! times and boxes are compared with the plan. `FRAMELANE_LANGUAGES` names the folder of the C and C++
//! programs, `FRAMELANE_PYTHON` a Python with the package. Without them their languages are skipped and
//! reported. The same over links, with URLs instead of channel names.

use std::path::{Path, PathBuf};
use std::process::Command;

use framelane::{CancelToken, Depth, MatrixType, PixelFormat, SubscriberOptions};
use framelane_net::{Access, Server, ServerOptions};
use framelane_tests::{Place, Running, finish_all, language, python, skip};

const LANGUAGES: [&str; 4] = ["rust", "c", "cpp", "python"];

/// The program of a language, or `None` when it is not here.
fn program(language: &str, part: &str) -> Option<Command> {
    match language {
        "rust" if part == "publisher" => Some(Command::new(env!("CARGO_BIN_EXE_language_publisher"))),
        "rust" => Some(Command::new(env!("CARGO_BIN_EXE_language_subscriber"))),
        "python" => {
            let mut command = Command::new(python()?);
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("languages");
            command.arg(folder.join(format!("{part}.py")));
            Some(command)
        }
        _ => {
            let Some(folder) = std::env::var_os("FRAMELANE_LANGUAGES").map(PathBuf::from) else {
                skip(
                    "languages",
                    format_args!("FRAMELANE_LANGUAGES does not name the folder of the {language} programs"),
                );
                return None;
            };
            Some(Command::new(folder.join(format!("{part}_{language}"))))
        }
    }
}

/// Channels and the plan of one run.
struct Scene(Place);

impl Scene {
    fn new(plan: &[String]) -> Self {
        let place = Place::new();
        std::fs::write(place.path().join("plan"), plan.join("\n") + "\n").unwrap();
        std::fs::create_dir(place.path().join("channels")).unwrap();
        Scene(place)
    }

    fn start(&self, mut command: Command, arguments: &[&str]) -> Running {
        command.args(arguments).env("FRAMELANE_DIR", self.0.path().join("channels"));
        Running::spawn(&mut command)
    }

    fn plan(&self) -> String {
        self.0.path().join("plan").display().to_string()
    }

    /// Offers the channels over a socket.
    fn serve(&self) -> Served {
        let socket = format!("unix:{}", self.0.path().join("link.sock").display());
        let mut options = ServerOptions::new(Access::Anyone);
        options.listen = vec![socket.parse().unwrap()];
        options.read = "**".parse().unwrap();
        options.write = "**".parse().unwrap();
        options.directory = Some(self.0.path().join("channels"));
        let cancel = options.cancel.clone();
        let server = Server::bind(options).unwrap();
        let thread = std::thread::spawn(move || server.run(&|event| println!("{event:?}")));
        Served { socket, cancel, thread: Some(thread) }
    }
}

/// A server, until it is dropped.
struct Served {
    socket: String,
    cancel: CancelToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// The path from a channel to a subscriber.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Here,
    Link,
}

impl Way {
    fn serve(self, scene: &Scene) -> Option<Served> {
        (self == Way::Link).then(|| scene.serve())
    }
}

/// The name of a channel at the subscriber.
fn named(channel: &str, served: Option<&Served>) -> String {
    served.map_or_else(|| channel.to_owned(), |served| format!("{}/{channel}", served.socket))
}

/// The lines that each of the programs has printed, once all have ended.
fn lines(programs: Vec<Running>) -> Vec<Vec<String>> {
    let texts = finish_all(programs).into_iter();
    texts.map(|text| text.lines().map(str::to_owned).collect()).collect()
}

/// Python has whole arrays for planar formats: their sides are even.
fn is_for_python(format: PixelFormat, (width, height): (u32, u32)) -> bool {
    let chroma = format.plane_count() > 1 || format == PixelFormat::Yuyv;
    !chroma || width.is_multiple_of(2) && height.is_multiple_of(2)
}

fn plan(publisher: &str) -> Vec<String> {
    let matrices = Depth::ALL.iter().copied().flat_map(|depth| {
        [1, 2, 3, 4, 5, 512].map(|channels| PixelFormat::Matrix(MatrixType::new(depth, channels).unwrap()))
    });
    let mut steps = Vec::new();
    for format in PixelFormat::VIDEO.iter().copied().chain(matrices) {
        for size in [(1, 1), (2, 2), (5, 3), (64, 48)] {
            let how = if steps.len() % 2 == 0 { "loan" } else { "send" };
            if publisher != "python" || is_for_python(format, size) {
                steps.push(format!("{format} {} {} {how}", size.0, size.1));
            }
        }
    }
    // Larger, then smaller, then larger again: rings of several sizes.
    for format in ["bgr8", "i420", "matrix:f32:1"] {
        steps.push(format!("{format} 1920 1080 loan"));
        steps.push(format!("{format} 640 480 send"));
    }
    steps
}

/// The output of a subscriber with delivery every.
fn expected(plan: &[String]) -> Vec<String> {
    plan.iter().zip(1..).map(|(line, n)| line_of(line, n)).collect()
}

/// The output of a subscriber for frame `n` of a plan.
fn line_of(line: &str, n: u64) -> String {
    let (layout, _) = language::step(line);
    let bytes = language::rows(&layout, |plane, row, row_bytes| {
        (0..row_bytes).map(|at| language::byte(n, plane as u64, row as u64, at as u64)).collect()
    });
    language::frame_text(&layout, &language::info(n), n, 0, bytes)
}

fn compare(found: &[String], expected: &[String], what: &str) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found.len(), expected.len(), "{what}: frames");
}

/// A publisher with a subscriber of each language at once, with delivery every.
fn every(publisher: &str, way: Way) {
    let plan = plan(publisher);
    let Some(publishing) = program(publisher, "publisher") else { return };
    let (names, subscribers): (Vec<_>, Vec<_>) =
        LANGUAGES.into_iter().filter_map(|to| Some((to, program(to, "subscriber")?))).unzip();
    let scene = Scene::new(&plan);
    let count = subscribers.len().to_string();
    let served = way.serve(&scene);
    let channel = named("all", served.as_ref());
    let mut programs: Vec<_> =
        subscribers.into_iter().map(|command| scene.start(command, &[&channel, "every"])).collect();
    programs.push(scene.start(publishing, &["all", &scene.plan(), &count]));
    let expected = expected(&plan);
    for (to, seen) in names.into_iter().zip(lines(programs)) {
        compare(&seen, &expected, &format!("{publisher} to {to}"));
    }
}

/// A publisher with one subscriber, with delivery newest: what is seen is right, and what is not seen is
/// counted.
fn newest(publisher: &str) {
    // Large enough that writing a frame takes a while: a reader that wakes up meets frames.
    let how = |n: i32| if n % 2 == 0 { "loan" } else { "send" };
    let plan: Vec<_> = (0..60).map(|n| format!("bgr8 {} 600 {}", 800 - n % 3, how(n))).collect();
    let expected = expected(&plan);
    for to in LANGUAGES {
        // A reader that does not run while the frames are written misses all of them.
        let is_seen = (0..10).any(|_| {
            let (Some(publishing), Some(subscribing)) =
                (program(publisher, "publisher"), program(to, "subscriber"))
            else {
                return true;
            };
            let scene = Scene::new(&plan);
            let reader = scene.start(subscribing, &["some", "newest"]);
            let publishing = scene.start(publishing, &["some", &scene.plan(), "1"]);
            let [seen, _] = &lines(vec![reader, publishing])[..] else { panic!("two programs") };
            check_newest(seen, &expected, &format!("{publisher} to {to}"));
            !seen.is_empty()
        });
        assert!(is_seen, "{publisher} to {to}: nothing was seen");
    }
}

/// Checks that the frames that were seen are right, and that the others were counted.
fn check_newest(seen: &[String], expected: &[String], what: &str) {
    let mut last = 0;
    for line in seen {
        let mut words: Vec<_> = line.split(' ').collect();
        let (sequence, dropped): (usize, usize) = (words[0].parse().unwrap(), words[4].parse().unwrap());
        assert_eq!(sequence, last + dropped + 1, "{what}: {line}");
        words[4] = "0";
        assert_eq!(words.join(" "), expected[sequence - 1], "{what}");
        last = sequence;
    }
}

/// Frames one way, boxes the other.
fn boxes(publisher: &str, way: Way) {
    let plan: Vec<_> = (0..20).map(|_| "gray8 16 8 loan".to_owned()).collect();
    for to in LANGUAGES {
        let (Some(publishing), Some(subscribing)) =
            (program(publisher, "publisher"), program(to, "subscriber"))
        else {
            continue;
        };
        let scene = Scene::new(&plan);
        let served = way.serve(&scene);
        let [frames, boxes] = ["cam", "cam/detections"].map(|channel| named(channel, served.as_ref()));
        let reader = scene.start(subscribing, &[&frames, "every", &boxes]);
        let publishing = scene.start(publishing, &["cam", &scene.plan(), "1", "cam/detections"]);
        let [seen, found] = &lines(vec![reader, publishing])[..] else { panic!("two programs") };
        compare(seen, &expected(&plan), &format!("{publisher} to {to}"));
        let boxes = |n| language::boxes_text(n, "m", &["a", "b"], &language::boxes(n));
        let expected: Vec<_> = (1..=20).map(boxes).collect();
        compare(found, &expected, &format!("boxes from {to} to {publisher}"));
    }
}

/// A publisher that is killed, and one in another language that takes the channel over: readers in every
/// language continue.
fn takeover(first: &str, second: &str) {
    let programs = (program(first, "publisher"), program(second, "publisher"));
    let (Some(first_program), Some(second_program)) = programs else { return };
    let scene = Scene::new(&vec!["bgr8 64 48 loan".to_owned(); 1_000_000]);
    let (names, mut programs): (Vec<_>, Vec<_>) = LANGUAGES
        .into_iter()
        .filter_map(|to| Some((to, scene.start(program(to, "subscriber")?, &["cam", "every"]))))
        .unzip();
    let count = names.len().to_string();
    // The observer, which chooses the time of the kill, is a subscriber too.
    let all = (names.len() + 1).to_string();
    let publishing = scene.start(first_program, &["cam", &scene.plan(), &all]);
    let options = SubscriberOptions::new().directory(scene.0.path().join("channels"));
    let mut observer = options.open("cam").unwrap();
    while observer.recv().unwrap().sequence() < 30 {}
    publishing.kill();
    drop(observer);
    std::fs::write(scene.0.path().join("plan"), "gray8 16 8 send\n".repeat(25)).unwrap();
    programs.push(scene.start(second_program, &["cam", &scene.plan(), &count]));
    for (to, seen) in names.into_iter().zip(lines(programs)) {
        let what = format!("{first}, killed, then {second}, to {to}");
        let (mut last, mut of_second) = (0, 0);
        for line in &seen {
            let words: Vec<_> = line.split(' ').collect();
            let (sequence, dropped): (u64, u64) = (words[0].parse().unwrap(), words[4].parse().unwrap());
            assert_eq!(sequence, last + dropped + 1, "{what}: {line}");
            last = sequence;
            // Each publisher counts its frames from 1; the timestamp says which it is.
            let n = words[5].parse::<u64>().unwrap() - 1_000_000_000_000_000_000;
            let step = if words[1] == "gray8" { "gray8 16 8 send" } else { "bgr8 64 48 loan" };
            of_second += usize::from(words[1] == "gray8");
            let expected = line_of(step, n);
            let rest = expected.split(' ').skip(5).collect::<Vec<_>>();
            assert_eq!(words[5..], rest, "{what}");
        }
        assert_eq!(of_second, 25, "{what}");
    }
}

#[test]
fn publisher_takes_over_from_any_other_language() {
    for (at, first) in LANGUAGES.into_iter().enumerate() {
        takeover(first, LANGUAGES[(at + 1) % LANGUAGES.len()]);
    }
}

macro_rules! each_publisher {
    ($($name:ident: $language:literal,)*) => {$(
        mod $name {
            #[test]
            fn every_frame_arrives_as_it_was_in_every_language() {
                super::every($language, super::Way::Here);
            }

            #[test]
            fn newest_frames_arrive_unchanged_others_are_counted() {
                super::newest($language);
            }

            #[test]
            fn boxes_come_back_from_every_language() {
                super::boxes($language, super::Way::Here);
            }

            #[test]
            fn every_frame_arrives_as_it_was_in_every_language_over_a_link() {
                super::every($language, super::Way::Link);
            }

            #[test]
            fn boxes_come_back_from_every_language_over_a_link() {
                super::boxes($language, super::Way::Link);
            }
        }
    )*};
}

each_publisher! {
    from_rust: "rust",
    from_c: "c",
    from_cpp: "cpp",
    from_python: "python",
}
