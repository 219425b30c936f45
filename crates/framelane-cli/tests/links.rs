//! `serve`, `receive`, `send` and URLs instead of channel names, as a user types them.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use framelane::{FrameInfo, Layout, PixelFormat, PublisherOptions, SubscriberOptions};
use framelane_test_kit::skip;
use rustix::process::Signal;
use support::{Place, Running, json_error};

/// Starts `framelane serve` on a port that the system chooses. Returns the process and its address.
fn serve(place: &Place, options: &str) -> (Running, String) {
    let mut server = place.start(&format!("serve --listen tcp://127.0.0.1:0 --anonymous --json {options}"));
    let address = server.wait_for("listening")["address"].as_str().unwrap().to_owned();
    (server, address)
}

fn publish(place: &Path, channel: &str, frames: u8) -> framelane::Publisher {
    let mut publisher = PublisherOptions::new().directory(place).create(channel).unwrap();
    let layout = Layout::packed(PixelFormat::Bgr8, 64, 48).unwrap();
    for value in 1..=frames {
        publisher.send(&layout, &FrameInfo::default(), &vec![value; layout.size_bytes()]).unwrap();
    }
    publisher
}

#[test]
fn receive_uses_the_remote_name_or_the_given_one() {
    let (there, here) = (Place::new(), Place::new());
    let (mut server, address) = serve(&there, "--read cam*");
    let _publisher = publish(there.path(), "cam0", 3);
    for (local, options) in [("cam0", ""), ("lab/left", " lab/left --codec jpeg:90 --size 32x24")] {
        let mut receiver = here.start(&format!("receive {address}/cam0{options} --json"));
        assert_eq!(receiver.wait_for("started")["channel"], local);
        assert_eq!(receiver.wait_for("channel")["live"], true);
        let mut subscriber = SubscriberOptions::new().directory(here.path()).open(local).unwrap();
        let frame = subscriber.recv().unwrap();
        assert_eq!(frame.origin().sequence, 3);
        assert_eq!(frame.width(), if options.is_empty() { 64 } else { 32 });
        assert!(frame.bytes().iter().all(|byte| byte.abs_diff(3) <= 2));
        let info = here.json(&format!("info {local} --json"));
        assert_eq!(info["link"]["connected"], true, "{info}");
        receiver.signal(Signal::TERM);
        let summary = receiver.wait_for("summary");
        assert_eq!((&summary["frames"], &summary["connections"]), (&1.into(), &1.into()));
        assert_eq!(receiver.end().code(), Some(143));
        let ended = server.wait_for("ended");
        assert_eq!(
            (&ended["channel"], &ended["frames"], &ended["reason"]),
            (&"cam0".into(), &1.into(), &().into())
        );
    }
    assert!(here.files().is_empty(), "{:?}", here.files());
    server.signal(Signal::INT);
    server.wait_for("stopped");
    assert_eq!(server.end().code(), Some(130));
}

/// Connects as a receiver of cam0 without a token, waits until the server accepts, and disconnects.
fn connect_once(address: &str) {
    let message = |kind: u8, body: &[u8]| {
        let head = [kind, 0, 0, 0];
        [&head, &(body.len() as u32).to_le_bytes()[..], &[0; 8], body].concat()
    };
    let mut hello = vec![1, 0, 1, 0];
    hello.resize(56, 0);
    let mut request = vec![0; 32];
    request.push(1);
    request.resize(88, 0);
    for text in ["cam0", "raw"] {
        request.extend((text.len() as u16).to_le_bytes());
        request.extend(text.as_bytes());
    }
    let mut client = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
    client.write_all(&[b"FRMLLINK".to_vec(), message(1, &hello), message(11, &request)].concat()).unwrap();
    // The magic bytes, CHALLENGE, and the head of WELCOME.
    let mut answer = [0; 8 + 16 + 72 + 16];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(answer[8 + 16 + 72], 2, "WELCOME");
}

#[test]
fn client_that_reconnects_in_a_loop_is_summed_up_in_the_log() {
    let there = Place::new();
    let (mut server, address) = serve(&there, "");
    let _publisher = publish(there.path(), "cam0", 1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                connect_once(&address);
            }
        });
        let more =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.wait_for("connected_more")));
        done.store(true, Ordering::Relaxed);
        let more = more.unwrap();
        assert!(more["count"].as_u64() > Some(0), "{more}");
        assert_eq!((&more["network"], &more["client"]), (&"127.0.0.1".into(), &().into()));
    });
}

#[test]
fn what_is_sent_is_a_channel_of_the_server_until_it_is_closed() {
    let (there, here) = (Place::new(), Place::new());
    let (mut server, address) = serve(&there, "");
    let publisher = publish(here.path(), "cam0", 1);
    let mut sender = here.start(&format!("send cam0 {address}/from/lab --json"));
    let mut subscriber = SubscriberOptions::new().directory(there.path()).open("from/lab").unwrap();
    assert_eq!(subscriber.recv().unwrap().bytes()[0], 1);
    publisher.close();
    assert_eq!(sender.wait_for("summary")["frames"], 1);
    assert!(sender.end().success());
    assert!(matches!(subscriber.recv(), Err(framelane::RecvError::Closed)));
    assert_eq!(server.wait_for("ended")["channel"], "from/lab");
}

#[test]
fn channel_closed_before_the_connection_is_still_sent() {
    let (there, here) = (Place::new(), Place::new());
    let socket = there.path().join("link.sock");
    let publisher = publish(here.path(), "cam0", 3);
    let mut sender = here.start(&format!("send cam0 unix:{}/from/lab --json", socket.display()));
    sender.wait_for("lost");
    publisher.close();
    let mut server = there.start(&format!("serve --listen unix:{} --json", socket.display()));
    assert_eq!(sender.wait_for("summary")["frames"], 1);
    assert!(sender.end().success());
    let ended = server.wait_for("ended");
    assert_eq!((&ended["frames"], &ended["reason"]), (&1.into(), &().into()), "{ended}");
}

#[test]
fn send_count_ends_after_all_frames_arrived() {
    let (there, here) = (Place::new(), Place::new());
    let (mut server, address) = serve(&there, "");
    let mut source = here.start("publish testsrc=640x480@100 cam0 --json");
    source.wait_for("started");
    for count in [1, 7] {
        let mut sender = here.start(&format!("send cam0 {address}/from/lab --every --count {count} --json"));
        assert_eq!(sender.wait_for("summary")["frames"], count);
        assert!(sender.end().success());
        let ended = server.wait_for("ended");
        assert_eq!((&ended["frames"], &ended["reason"]), (&count.into(), &().into()), "{ended}");
    }
}

#[test]
fn single_frame_to_a_url_arrives_after_an_immediate_close() {
    framelane_net::register_url_schemes();
    let (there, here) = (Place::new(), Place::new());
    let (mut server, address) = serve(&there, "");
    for at in 0..5 {
        drop(publish(here.path(), &format!("{address}/from/lab{at}"), 1));
        assert_eq!(server.wait_for("ended")["frames"], 1);
    }
    assert!(here.files().is_empty(), "{:?}", here.files());
}

#[test]
fn killed_remote_publisher_is_reported() {
    let (there, here) = (Place::new(), Place::new());
    let (_server, address) = serve(&there, "");
    let mut receiver = here.start(&format!("receive {address}/cam0 --json"));
    for _ in 0..2 {
        let mut publisher = there.start("publish testsrc=64x48@50 cam0 --json");
        assert_eq!(receiver.wait_for("channel")["live"], true);
        publisher.signal(Signal::KILL);
        publisher.end();
        assert_eq!(receiver.wait_for("channel")["live"], false);
    }
}

#[test]
fn every_frame_of_a_new_channel_of_the_same_name_comes_too() {
    let (there, here) = (Place::new(), Place::new());
    let (_server, address) = serve(&there, "");
    let publisher = publish(there.path(), "cam0", 1);
    let mut receiver = here.start(&format!("receive {address}/cam0 --every --slots 64 --json"));
    receiver.wait_for("channel");
    let options = SubscriberOptions::new().directory(here.path()).delivery(framelane::Delivery::Every);
    let mut subscriber = options.open("cam0").unwrap();
    assert_eq!(subscriber.recv().unwrap().origin().epoch, publisher.epoch());
    publisher.close();
    receiver.wait_for("channel");
    let mut publisher = PublisherOptions::new().directory(there.path()).slots(64).create("cam0").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 4, 4).unwrap();
    for value in 1..=20 {
        publisher.send(&layout, &FrameInfo::default(), &[value; 16]).unwrap();
    }
    for sequence in 1..=20 {
        let frame = subscriber.recv().unwrap();
        assert_eq!((frame.origin().epoch, frame.origin().sequence), (publisher.epoch(), sequence));
    }
}

#[test]
fn a_url_stands_where_a_channel_s_name_does() {
    let (there, here) = (Place::new(), Place::new());
    let socket = there.path().join("link.sock");
    let mut server = there.start(&format!("serve --listen unix:{} --json", socket.display()));
    server.wait_for("listening");
    let mut source = there.start("publish testsrc=64x48@200 cam0 --json");
    source.wait_for("started");
    let mut subscriber = here.start(&format!("subscribe unix:{}/cam0 --count 20 --json", socket.display()));
    assert_eq!(subscriber.wait_for("summary")["frames"], 20);
    assert!(subscriber.end().success());
    assert!(here.files().is_empty(), "{:?}", here.files());
}

#[test]
fn killed_subscriber_of_a_url_leaves_no_files() {
    let (there, here) = (Place::new(), Place::new());
    let (_server, address) = serve(&there, "");
    let _publisher = publish(there.path(), "cam0", 1);
    let mut killed = here.start(&format!("subscribe {address}/cam0 --json"));
    killed.wait_for("attached");
    assert!(here.files().is_empty(), "{:?}", here.files());
    killed.signal(Signal::KILL);
    killed.end();
    assert!(here.files().is_empty(), "{:?}", here.files());
    // The next one receives.
    let output = here.run(&format!("subscribe {address}/cam0 --count 1 --json"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_arguments_fail_before_a_channel_is_created() {
    let place = Place::new();
    for (line, expected) in [
        ("receive tls://h cam0", "name of a channel"),
        ("receive tls://h/cam0?speed=9", "option of a link"),
        ("receive tls://h/cam0?token=abcdefghijklmnopqrstuvwxyz", "does not belong into a URL"),
        ("receive tcp://203.0.113.7:7420/cam0", "expected TLS beyond this machine"),
        ("receive http://h/cam0", "known kind"),
        ("receive tls://h/cam0?server-uid=1", "unix: with the option server-uid"),
        ("receive unix:/x.sock/cam0?token-file=/nonexistent", "token file"),
        ("receive cam0 tls://h/cam0", "first in `receive URL CHANNEL`"),
        ("receive tcp://127.0.0.1:7420/cam0 --idle-timeout 1", "2 to 3600 seconds"),
        ("receive tcp://127.0.0.1:7420/cam0 --certificate keys", "tls:// with the option certificate"),
        ("receive unix:/x.sock/cam0 --ca ca.crt", "tls:// with the option ca"),
        ("receive tcp://127.0.0.1:7420/cam0?ca=ca.crt", "tls:// with the option ca"),
        ("receive tls://h/cam0&token=abcdefghijklmnopqrstuvwxyz", "options of a URL begin with ?"),
        ("subscribe tls://h/cam0&token=abcdefghijklmnopqrstuvwxyz", "options of a URL begin with ?"),
        ("publish testsrc tls://h/cam0", "framelane send"),
        ("info tls://h/cam0", "framelane receive"),
        ("serve --listen tcp://0.0.0.0:0 --anonymous", "expected TLS beyond this machine"),
        ("serve --listen tls://127.0.0.1:0 --anonymous --identity /nonexistent", "certificate"),
        ("serve --listen tcp://127.0.0.1:0 --clients /nonexistent/clients", "/nonexistent/clients"),
    ] {
        let output = place.run(&format!("{line} --json"));
        assert_eq!(output.status.code(), Some(1), "{line}");
        let error = json_error(&output);
        let text = format!("{} {}", error["message"], error["hint"]);
        assert!(text.contains(expected), "{line}: {text}");
        assert!(!text.contains("abcdefghijklmnopqrstuvwxyz"), "{text}");
        assert!(place.files().is_empty(), "{line}: {:?}", place.files());
    }
}

/// The command with a token in its environment, which a Unix socket has no use for.
#[test]
fn token_in_the_environment_stays_off_unix_sockets() {
    use std::io::Read;

    let place = Place::new();
    let socket = place.path().join("stranger.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut receive = place.command(&format!("receive unix:{}/cam0 here", socket.display()));
    receive.env("FRAMELANE_TOKEN", format!("framelane_{}", "5a".repeat(32)));
    let mut receive = receive.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut hello = [0; 8 + 16 + 56];
    stream.read_exact(&mut hello).unwrap();
    assert_eq!(hello[64..], [0; 16], "the id of the token");
    receive.kill().unwrap();
    receive.wait().unwrap();
}

#[test]
fn options_of_another_transport_are_wrong_usage() {
    let place = Place::new();
    for (line, expected) in [
        ("receive tcp://127.0.0.1:7420/cam0 --codec png", "png"),
        ("send cam0 tcp://127.0.0.1:7420/cam0 --codec jpg", "jpeg"),
        ("send cam0 tls://h/cam0 --quality 80", "--quality is an option of legacy, and"),
        ("send cam0 legacy://127.0.0.1:8081 --max-fps 5", "--max-fps is an option of links"),
        (
            "send cam0 legacy-memory:Share --idle-timeout 5",
            "--idle-timeout is an option of links and of legacy",
        ),
        ("receive unix:/x.sock/cam0 --poll-rate 5", "--poll-rate is an option of legacy-memory"),
        ("receive legacy://127.0.0.1:8081 cam0 --once", "--once is an option of links"),
        ("receive legacy-memory:Share cam0 --max-bytes 5000", "--max-bytes is an option of legacy, and"),
    ] {
        let output = place.run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(expected) && text.contains("--help"), "{line}: {text}");
        let output = place.run(&format!("{line} --json"));
        let error = json_error(&output);
        assert_eq!((output.status.code(), &error["kind"]), (Some(2), &"invalid_option".into()), "{line}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{line}: {error}");
    }
    assert!(place.files().is_empty(), "{:?}", place.files());
}

#[test]
fn open_timeout_limits_the_wait_for_the_server() {
    let place = Place::new();
    let _publisher = publish(place.path(), "cam0", 1);
    // The port of a closed listener refuses connections.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for limit in ["0", "0.2"] {
        let output =
            place.run(&format!("receive tcp://127.0.0.1:{port}/cam0 here --open-timeout {limit} --json"));
        let error = json_error(&output);
        assert_eq!(error["kind"], "timeout", "{error}");
        assert!(error["message"].as_str().unwrap().contains("Connection refused"), "{error}");
        let output =
            place.run(&format!("send cam0 tcp://127.0.0.1:{port}/cam0 --open-timeout {limit} --json"));
        let error = json_error(&output);
        assert_eq!(error["kind"], "timeout", "{error}");
        assert!(error["message"].as_str().unwrap().contains("Connection refused"), "{error}");
    }
}

#[test]
fn a_receiver_waits_for_its_channel_as_long_as_it_was_told() {
    let (there, here) = (Place::new(), Place::new());
    let (_server, address) = serve(&there, "");
    for limit in ["0", "1.5"] {
        let error = json_error(&here.run(&format!("receive {address}/cma0 --open-timeout {limit} --json")));
        assert_eq!(error["kind"], "timeout", "{error}");
        assert!(error["message"].as_str().unwrap().contains("no publisher there"), "{error}");
    }
    let publisher = publish(there.path(), "cam0", 1);
    let line = format!("receive {address}/cam0 --open-timeout 60 --once --json");
    let mut receiver = here.start(&line);
    receiver.wait_for("channel");
    publisher.close();
    assert_eq!(receiver.wait_for("summary")["connections"], 1);
    assert!(receiver.end().success());
}

#[test]
fn request_for_an_unoffered_channel_ends_with_an_error() {
    let (there, here) = (Place::new(), Place::new());
    let (mut server, address) = serve(&there, "--read cam* --write boxes");
    let _publisher = publish(here.path(), "cam0", 1);
    for line in [format!("receive {address}/secret"), format!("send cam0 {address}/cam0")] {
        let output = here.run(&format!("{line} --json"));
        assert_eq!(json_error(&output)["kind"], "permission_denied", "{line}");
        assert!(server.wait_for("refused")["reason"].as_str().unwrap().contains("may not be"));
    }
}

#[test]
fn a_server_may_open_as_many_files_as_its_connections_need() {
    let place = Place::new();
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "ulimit -Sn 200; ulimit -Hn 300; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_framelane"),
    ]);
    command.args(["serve", "--listen", "tcp://127.0.0.1:0", "--anonymous", "--json"]);
    let mut server = Running::spawn(command.env("FRAMELANE_DIR", place.path()));
    server.wait_for("listening");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().filter(|word| *word == "300").count(), 2, "{files}");
}

#[test]
fn run_sends_boxes_back_over_the_link() {
    let Some(python) = std::env::var_os("FRAMELANE_PYTHON") else {
        skip("python", "FRAMELANE_PYTHON does not name a Python with the framelane package");
        return;
    };
    let (there, here) = (Place::new(), Place::new());
    let (_server, address) = serve(&there, "");
    let publisher = publish(there.path(), "cam0", 1);
    let function = here.path().join("detect.py");
    std::fs::write(&function, "def detect(image):\n    return [[0, 1, image[0, 0, 0], 3]]\n").unwrap();
    let line = format!("run {address}/cam0 {} --json", function.display());
    let mut worker = Running::spawn(here.command(&line).env("FRAMELANE_PYTHON", python));
    let options = SubscriberOptions::new().directory(there.path());
    let mut boxes = framelane::DetectionSubscriber::with_options(options, "cam0/detections").unwrap();
    let found = boxes.for_frame((publisher.epoch(), 1), std::time::Duration::from_secs(120)).unwrap();
    assert_eq!(found.boxes[0].width, 1.0);
    worker.signal(Signal::TERM);
    worker.end();
}

#[test]
fn a_server_whose_output_nobody_takes_goes_on_serving() {
    use std::io::{Read, Write};

    let place = Place::new();
    let (mut server, address) = serve(&place, "--read cam*");
    let _publisher = publish(place.path(), "cam0", 1);
    let address = address.strip_prefix("tcp://").unwrap().to_owned();
    // More refusals than a pipe holds.
    server.hold_output();
    for _ in 0..1500 {
        let mut stranger = std::net::TcpStream::connect(&address).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        // Until the server has ended it.
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    let here = Place::new();
    let output = here.run(&format!("subscribe tcp://{address}/cam0 --count 1 --json"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    server.signal(Signal::TERM);
    server.read_output();
    let events = server.rest();
    let refused = events.iter().filter(|event| event["event"] == "refused").count();
    let more: u64 = events
        .iter()
        .filter(|event| event["event"] == "refused_more")
        .map(|event| event["count"].as_u64().unwrap())
        .sum();
    assert_eq!(refused as u64 + more, 1500);
    assert_eq!(server.end().code(), Some(143));
}
