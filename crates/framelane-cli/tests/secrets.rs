//! Secrets of sources: in no output, no error, no channel and no list of processes.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use framelane_test_kit::skip;
use rustix::process::Signal;
use support::{Place, y4m};

const PASSWORD: &str = "hunter22";
const TOKEN: &str = "t0kenvalue";
const TIMEOUT: Duration = Duration::from_secs(120);

/// A server that answers each request with what `answer` makes of it; `None` leaves the connection open and
/// silent.
fn serve(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                request.push(byte[0]);
            }
            match answer(&String::from_utf8_lossy(&request)) {
                Some(bytes) => drop(stream.write_all(&bytes)),
                None => silent.push(stream),
            }
        }
    });
    address.to_string()
}

fn with_status(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn url(address: &str) -> String {
    format!("http://me:{PASSWORD}@{address}/clip?token={TOKEN}&channel=1")
}

fn assert_without_secrets(line: &str, output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains(PASSWORD) && !text.contains(TOKEN), "{line}: {text}");
    }
}

#[test]
fn source_with_secrets_is_published_without_them() {
    let clip = y4m(32, 24, 5);
    let address = serve(move |_| Some(with_status("200 OK", &clip)));
    let place = Place::new();
    for json in ["", " --json"] {
        let line = format!("publish {} cam0 --rate max{json}", url(&address));
        let output = place.run(&line);
        assert!(output.status.success(), "{output:?}");
        assert_without_secrets(&line, &output);
        let shown = [output.stdout, output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        let expected = format!("http://me:***@{address}/clip?token=***&channel=1");
        assert!(shown.contains(&expected), "{shown}");
    }
}

#[test]
fn failed_source_with_secrets_is_reported_without_them() {
    let place = Place::new();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut lines: Vec<String> =
        ["401 Unauthorized", "403 Forbidden", "404 Not Found", "500 Broken", "200 OK"]
            .map(|status| url(&serve(move |_| Some(with_status(status, b"no video at all")))))
            .to_vec();
    lines.push(url(&refused));
    for scheme in ["rtsp", "rtmp", "srt", "udp", "tcp", "nothing", "tls", "legacy"] {
        lines.push(format!("{scheme}://me:{PASSWORD}@{refused}/x?token={TOKEN}"));
    }
    lines.push(format!("rtsp:me:{PASSWORD}@host/x"));
    lines.push(format!("rtsp://me:{PASSWORD}/@{refused}/x"));
    for (source, json) in lines.iter().zip(["", " --json"].into_iter().cycle()) {
        let line = format!("publish {source} cam0 --read-timeout 0.5{json}");
        let output = place.run(&line);
        assert!(!output.status.success(), "{line}");
        assert_without_secrets(&line, &output);
    }
}

#[test]
fn command_with_a_misplaced_url_repeats_no_secret() {
    let place = Place::new();
    let url = format!("rtsp://me:{PASSWORD}@host/x?token={TOKEN}");
    let lines = [
        format!("publish {url} cam0 more"),
        format!("publish cam0 {url}"),
        format!("publish film.mp4 cam0 {url}"),
        format!("publish {url} cam0 --no-such-option"),
        format!("publish {url} cam0 --size {url}"),
        format!("publish film.mp4 cam0 --format {url}"),
        format!("publish {url} cam0 --raw bgr8:4x4"),
        format!("publish /nowhere/a.mp4 cam0 --ffmpeg-option decryption_key={PASSWORD}"),
        format!("subscribe {url}"),
        format!("info {url}"),
        format!("receive {url} cam0"),
        format!("receive {url}"),
        format!("send cam0 {url}"),
        format!("send {url} cam0"),
        format!("run {url} detect.py"),
        format!("list {url}"),
        url.clone(),
        format!("serve --listen {url}"),
    ];
    for (line, json) in lines.iter().zip(["", " --json"].into_iter().cycle()) {
        let line = format!("{line}{json}");
        let output = place.run(&line);
        assert!(!output.status.success(), "{line}");
        assert_without_secrets(&line, &output);
    }
}

#[test]
fn arguments_with_secrets_are_hidden_from_ps() {
    let (asked, requests) = std::sync::mpsc::channel();
    let address = serve(move |_| {
        asked.send(()).unwrap();
        None
    });
    let place = Place::new();
    let line = format!("publish {} cam0 --json --ffmpeg-option headers=X-Key:{PASSWORD}", url(&address));
    let mut publisher = place.start(&line);
    let path = format!("/proc/{}/cmdline", publisher.child.id());
    let shown = || String::from_utf8_lossy(&std::fs::read(&path).unwrap()).replace('\0', " ");
    let deadline = Instant::now() + TIMEOUT;
    while !shown().contains("***") {
        assert!(Instant::now() < deadline, "{}", shown());
        std::thread::yield_now();
    }
    let expected = format!(
        "publish http://me:***@{address}/clip?token=***&channel=1 cam0 --json --ffmpeg-option headers=***"
    );
    assert!(shown().contains(&expected), "{}", shown());
    assert!(!shown().contains(PASSWORD) && !shown().contains(TOKEN), "{}", shown());
    // The arguments are hidden before signals are handled. Once it has connected, both are done.
    requests.recv_timeout(TIMEOUT).expect("a request");
    publisher.signal(Signal::INT);
    assert_eq!(publisher.end().code(), Some(130));
}

#[test]
fn secret_of_the_environment_or_a_file_reaches_the_server() {
    let clip = y4m(32, 24, 2);
    // me:p@ss/w in base64.
    let address = serve(move |request| {
        Some(if request.contains("Basic bWU6cEBzcy93") {
            with_status("200 OK", &clip)
        } else {
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
                .to_vec()
        })
    });
    let place = Place::new();
    let line = format!("publish http://me:***@{address}/clip cam0 --rate max");
    let file = place.path().join("secret");
    std::fs::write(&file, "p@ss/w\n").unwrap();
    let with_mode = |mode| {
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        place.run(&format!("{line} --secret-file {}", file.display()))
    };
    let readable = with_mode(0o644);
    let text = String::from_utf8_lossy(&readable.stderr);
    assert!(!readable.status.success() && text.contains("the secret file"), "{text}");
    assert!(text.contains("chmod 600") && !text.contains("p@ss"), "{text}");
    let of_file = with_mode(0o600);
    let mut command = place.command(&line);
    let of_variable = command.env("FRAMELANE_SECRET", "p@ss/w").stdin(Stdio::null()).output().unwrap();
    for output in [of_file, of_variable] {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("2 frames"), "{text}");
        assert!(!text.contains("p@ss") && !text.contains("p%40ss"), "{text}");
    }
    let none = place.run(&line);
    let text = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success() && text.contains("set FRAMELANE_SECRET"), "{text}");
}

#[test]
fn link_with_a_secret_in_its_peer_is_shown_without_it() {
    let place = Place::new();
    let mut publisher = framelane::PublisherOptions::new().directory(place.path()).create("cam0").unwrap();
    let mut link = framelane::LinkStatus::default();
    link.peer = format!("rtsp://me:{PASSWORD}@host/x?token={TOKEN}");
    (link.connected, link.live) = (true, true);
    publisher.set_link(&link);
    for line in ["info cam0", "info cam0 --json", "list", "list --json", "top --count 1"] {
        let output = place.run(line);
        assert_without_secrets(line, &output);
    }
    let control = std::fs::read(place.path().join("cam0.control")).unwrap();
    assert!(!String::from_utf8_lossy(&control).contains(PASSWORD));
}

/// Returns whether a program that ends by SIGABRT leaves a core dump on this machine.
fn can_dump(place: &Place) -> bool {
    // A handler of core dumps gets them at any limit, and decides itself.
    if std::fs::read("/proc/sys/kernel/core_pattern").is_ok_and(|pattern| pattern.starts_with(b"|")) {
        return false;
    }
    let shell = std::process::Command::new("sh")
        .args(["-c", "ulimit -c unlimited && kill -ABRT $$"])
        .current_dir(place.path())
        .status()
        .unwrap();
    shell.core_dumped()
}

#[test]
fn command_with_keys_or_secrets_leaves_no_core_dump() {
    let place = Place::new();
    if !can_dump(&place) {
        skip("core-dumps", "this machine writes no core dumps");
        return;
    }
    let config = place.path().join("config");
    let dumps = |line: &str, event: &str, secret: Option<&str>| {
        let program = env!("CARGO_BIN_EXE_framelane");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -c unlimited && exec {program} {line} --json")]);
        command.current_dir(place.path()).env("FRAMELANE_DIR", place.path().join("channels"));
        command.env("FRAMELANE_CONFIG", &config).env_remove("FRAMELANE_TOKEN").stdin(Stdio::null());
        command.envs(secret.map(|secret| ("FRAMELANE_TOKEN", secret)));
        let mut running = support::Running::spawn(&mut command);
        running.wait_for(event);
        running.signal(Signal::ABORT);
        running.end().core_dumped()
    };
    let mut token = place.command("identity token lab --read **");
    let token = token.env("FRAMELANE_CONFIG", &config).output().unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let url = "tcp://127.0.0.1:9/cam0";
    for (line, event, secret) in [
        ("serve --listen tcp://127.0.0.1:0", "listening", None),
        ("publish testsrc=64x48 c1", "started", Some(token.trim())),
        (&*format!("receive {url} c2"), "started", None),
    ] {
        assert!(!dumps(line, event, secret), "{line}");
    }
    // A program without secrets can be examined after a crash.
    assert!(dumps("publish testsrc=64x48 c3", "started", None));
}
