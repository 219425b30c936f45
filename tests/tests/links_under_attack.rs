//! Attackers on separate hosts: `framelane serve` stays small under every attack, and serves a client that
//! connects meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use framelane_net::{Access, Address, Server, ServerEvent, ServerOptions};
use framelane_tests::links::{Reader, Running, command, program, start, start_command};
use framelane_tests::{Camera, Channels, Hosts, Place, Wire, wait_until};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

const CHANNEL: &str = "cam0";
const PLAIN: u16 = 7420;
const SECURE: u16 = 7421;
/// Connections from one address, and in all.
const MOST: usize = 30;
/// Limit of the growth of the server's memory, for any number of attackers: for each accepted connection, an
/// encrypted record with its buffers, and the stack of one more thread.
const MOST_BYTES: u64 = 32 << 20;
const FRAME_BYTES: usize = 20_000;

/// A server under attack from host 2, with a client on host 1 that has been there all the time.
struct Site {
    hosts: Hosts,
    server: Running,
    reader: Reader,
    before: Use,
    files: tempfile::TempDir,
    // Before their directories: a publisher whose files were removed fails.
    _receiver: Running,
    _camera: Camera,
    there: Place,
    here: Place,
}

/// Resources of the server.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    bytes: u64,
    threads: u64,
    descriptors: u64,
}

impl Use {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        Use { bytes: field("RssAnon:") * 1024, threads: field("Threads:"), descriptors }
    }
}

impl Site {
    fn new() -> Option<Self> {
        let hosts = Hosts::unless_skipped(3, Wire::default())?;
        let (here, there, files) = (Place::new(), Place::new(), tempfile::tempdir().unwrap());
        let address = hosts[0].address();
        let publisher = here.publisher().create(CHANNEL).unwrap();
        let camera = Camera::start(publisher, FRAME_BYTES, 30.0);
        for line in ["ca".to_owned(), format!("server --ca --name {address}")] {
            let mut identity = Command::new(program());
            identity.arg("identity").args(line.split(' ')).env("FRAMELANE_CONFIG", files.path());
            assert!(identity.output().unwrap().status.success());
        }
        let (plain, secure) = (format!("tcp://{address}:{PLAIN}"), format!("tls://{address}:{SECURE}"));
        let most = MOST.to_string();
        let mut serve = command(
            &hosts[0],
            &here,
            &["serve", "--listen", &plain, "--listen", &secure, "--insecure", "--anonymous"],
        );
        serve.env("FRAMELANE_CONFIG", files.path());
        serve.args(["--max-per-address", &most, "--handshake-timeout", "2", "--idle-timeout", "3"]);
        serve.args(["--max-bytes", "1000000", "--reconnect-grace", "5"]);
        let mut server = start_command(serve);
        server.wait_for("listening");
        let url = format!("{plain}/{CHANNEL}?insecure");
        let receiver = start(&hosts[1], &there, &["receive", &url]);
        let mut reader = Reader::new(there.subscriber().open(CHANNEL).unwrap());
        drop(reader.take(10));
        let before = Use::of(server.id());
        let mut site =
            Site { hosts, server, reader, before, files, there, here, _receiver: receiver, _camera: camera };
        // The first connection with TLS sets things up that stay.
        site.serves_somebody_new();
        site.before = Use::of(site.server.id());
        Some(site)
    }

    fn connect(&self, port: u16) -> TcpStream {
        let address = self.hosts[0].address();
        self.hosts[2].run(|| TcpStream::connect((address, port)).unwrap())
    }

    /// An attacker inside TLS.
    fn connect_securely(&self) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.files.path().join("ca.crt")).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"framelane".to_vec()];
        let name = std::net::IpAddr::from(self.hosts[0].address()).into();
        let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut socket = self.connect(SECURE);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).unwrap();
        }
        rustls::StreamOwned::new(tls, socket)
    }

    /// The client that was there still gets frames, and new ones do, with TLS too.
    fn serves_somebody_new(&mut self) {
        let address = self.hosts[0].address();
        let ca = self.files.path().join("ca.crt");
        for url in [
            format!("tcp://{address}:{PLAIN}/{CHANNEL}?insecure"),
            format!("tls://{address}:{SECURE}/{CHANNEL}?ca={}", ca.display()),
        ] {
            let receive = ["receive", &url, "new", "--count", "2"];
            let output = command(&self.hosts[1], &self.there, &receive).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        drop(self.reader.take(5));
    }

    /// That it has not grown.
    fn stays_small(&self, what: &str) {
        let now = Use::of(self.server.id());
        println!("attack: {what}: {:?}, then {now:?}", self.before);
        assert!(now.bytes < self.before.bytes + MOST_BYTES, "{what}: {:?}, then {now:?}", self.before);
        // Each accepted connection has a thread that writes and one that reads.
        assert!(now.threads <= self.before.threads + 2 * MOST as u64, "{what}: {now:?}");
        // And a socket, with the four descriptors of a channel and a watch over its directory.
        assert!(now.descriptors <= self.before.descriptors + 10 * MOST as u64, "{what}: {now:?}");
    }

    /// When the attack is over nothing is left of it.
    fn recovers(mut self) {
        wait_until!({
            let Use { threads, descriptors, .. } = Use::of(self.server.id());
            threads <= self.before.threads && descriptors <= self.before.descriptors
        });
        self.serves_somebody_new();
        self.stays_small("afterwards");
        self.server.terminate();
        // Its own channel only: the camera's.
        assert!(self.here.files().iter().all(|name| name.starts_with(CHANNEL)), "{:?}", self.here.files());
    }
}

/// The bytes of a message.
fn message(number: u16, body: &[u8], payload_bytes: u64) -> Vec<u8> {
    let head = [&number.to_le_bytes()[..], &[0; 2], &(body.len() as u32).to_le_bytes()].concat();
    [&head[..], &payload_bytes.to_le_bytes(), body].concat()
}

fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Asks, without a token, to receive a channel (1), or to send to it (2).
fn hello(direction: u8, channel: &str) -> Vec<u8> {
    let greeting = [&[1, 0, 1, 0][..], &[0; 52]].concat();
    let mut body = [&[0; 32][..], &[direction, 0, 0, 0], &[0; 12]].concat();
    body.extend(words(&[1 << 30, 0, 0, 0, 0]));
    for text in [channel, "raw"] {
        body.extend((text.len() as u16).to_le_bytes());
        body.extend(text.as_bytes());
    }
    [b"FRMLLINK", &message(1, &greeting, 0)[..], &message(11, &body, 0)].concat()
}

/// The head of a frame of grey pixels in one row; its pixels are to follow.
fn frame(sequence: u64, width: u32) -> Vec<u8> {
    let bytes = u64::from(width);
    let mut body = words(&[1, sequence, 0, 0, 0, 0, 0, bytes]);
    // Standalone, not coded.
    let code = framelane::PixelFormat::Gray8.code();
    for word in [0, 1 << 17, code, width, 1, 1] {
        body.extend(word.to_le_bytes());
    }
    body.extend(words(&[0, bytes, 0, 0, 0, 0, 0, 0]));
    message(4, &body, bytes)
}

const CREDIT: u16 = 5;
const PING: u16 = 6;
const UNKNOWN_OPTIONAL: [u8; 16] = [99, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Reads until the server has had enough. Takes as long as it does.
fn until_it_hangs_up(mut stream: impl Read) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Reset, or cut off inside TLS.
            Err(_) => return,
        }
    }
}

/// Writes `bytes`, one at a time, while the peer reads.
fn trickle(mut stream: &TcpStream, bytes: &[u8], pace: Duration) {
    for byte in bytes {
        // The pace of the attack; nothing waits for it.
        std::thread::sleep(pace);
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
}

#[test]
fn silent_and_slow_clients_are_disconnected() {
    let Some(mut site) = Site::new() else { return };
    let hello = hello(1, CHANNEL);
    // The first half of what a client says to begin TLS.
    let mut beginning = Vec::new();
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("camera.example").unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    tls.write_tls(&mut beginning).unwrap();
    let half = beginning[..beginning.len() / 2].to_vec();
    std::thread::scope(|scope| {
        let (mut silent, slow) = (Vec::new(), Duration::from_millis(100));
        for number in 0..MOST {
            let (hello, beginning, half) = (&hello, &beginning, &half);
            match number % 6 {
                0 => silent.push(site.connect(PLAIN)),
                1 => silent.push(site.connect(SECURE)),
                2 => {
                    let mut stream = site.connect(SECURE);
                    stream.write_all(half).unwrap();
                    silent.push(stream);
                }
                3 => {
                    let stream = site.connect(PLAIN);
                    scope.spawn(move || trickle(&stream, &hello[..hello.len() - 1], slow));
                }
                4 => {
                    let stream = site.connect(SECURE);
                    scope.spawn(move || trickle(&stream, &beginning[..beginning.len() - 1], slow));
                }
                _ => {
                    // Inside TLS, a record that would take half an hour.
                    let stream = site.connect_securely().sock;
                    let record = [&[0x17, 3, 3, 0x40, 0][..], &[0; 16 << 10]].concat();
                    scope.spawn(move || trickle(&stream, &record, slow));
                }
            }
        }
        site.stays_small("30 slow clients");
        site.serves_somebody_new();
        silent.into_iter().for_each(until_it_hangs_up);
    });
    site.recovers();
}

#[test]
fn flood_of_connections_is_limited_for_each_address() {
    let Some(mut site) = Site::new() else { return };
    let mut held = Vec::new();
    for round in 0..10 {
        for port in [PLAIN, SECURE].repeat(50) {
            held.push(site.connect(port));
        }
        if round % 3 == 0 {
            site.stays_small("a flood of connections");
            site.serves_somebody_new();
        }
    }
    // Connections that the system has not delivered yet would wait indefinitely.
    drop(held);
    site.recovers();
}

#[test]
fn protocol_violation_disconnects_before_it_costs_memory() {
    let Some(mut site) = Site::new() else { return };
    let send = hello(2, "attack");
    let magic = b"FRMLLINK".to_vec();
    let giant_body = [&magic[..], &[1, 0, 0, 0], &[0xFF; 4], &[0; 8]].concat();
    let giant_payload = [&send[..], &message(PING, &[0; 8], u64::MAX)].concat();
    let too_large = [&send[..], &frame(1, 1_000_001)].concat();
    let mut lying = frame(1, 1000);
    lying[8..16].copy_from_slice(&999_u64.to_le_bytes());
    let lying = [&send[..], &lying].concat();
    let credits = [hello(1, CHANNEL), message(CREDIT, &words(&[1 << 40]), 0)].concat();
    let two_hellos = [&send[..], &send[8..]].concat();
    let unknown = [&magic[..], &UNKNOWN_OPTIONAL.repeat(1000)].concat();
    let nonsense = [&magic[..], &[0xA5; 5000]].concat();
    for (what, bytes, reason) in [
        ("a message of 4 GiB", giant_body, "at most 16384 bytes"),
        ("a payload where there is none", giant_payload, "a payload with frames only"),
        ("a frame above the limit", too_large, "at most 1000000 bytes"),
        ("a payload that is not the frame's", lying, "expected 1000 bytes of a frame, found 999"),
        ("more credits than anybody needs", credits, "at most 4096 credits"),
        ("a second hello", two_hellos, "does not send HELLO"),
        ("what is not a hello", unknown, "expected HELLO"),
        ("nonsense", nonsense, "at most 16384 bytes"),
        ("a browser", b"GET / HTTP/1.1\r\nHost: camera\r\n\r\n".to_vec(), "looks like HTTP"),
    ] {
        for port in [PLAIN, SECURE] {
            if port == PLAIN {
                let mut stream = site.connect(port);
                let _ = stream.write_all(&bytes);
                until_it_hangs_up(stream);
            } else {
                let mut stream = site.connect_securely();
                let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
                until_it_hangs_up(stream);
            }
            let attacker = site.hosts[2].address().to_string();
            let event = site.server.wait_for_that(reason, |event| {
                let peer = event["peer"].as_str().unwrap_or_default();
                peer.starts_with(&attacker) && event["reason"].is_string()
            });
            let said = event["reason"].as_str().unwrap();
            assert!(said.contains(reason), "{what} at port {port}: {event}");
        }
        site.stays_small(what);
    }
    site.serves_somebody_new();
    site.recovers();
}

#[test]
fn client_that_reads_no_answer_blocks_only_itself() {
    let Some(mut site) = Site::new() else { return };
    let mut held = Vec::new();
    for _ in 0..10 {
        let stream = site.connect(PLAIN);
        stream.set_nonblocking(true).unwrap();
        // Frames too, as many as it may.
        let credits = message(CREDIT, &words(&[64]), 0);
        (&stream).write_all(&[hello(1, CHANNEL), credits].concat()).unwrap();
        held.push((stream, 0));
    }
    // Longer than the idle timeout; each of them is heard all the time.
    let ping = message(PING, &[0; 8], 0);
    let pings = ping.repeat(1000);
    // And one that sends frames without waiting for credits.
    let mut flood = site.connect(PLAIN);
    flood.write_all(&hello(2, "attack")).unwrap();
    let pixels = |sequence| [frame(sequence, 1000), vec![7; 1000]].concat();
    let (start, mut sent, mut frames) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(5) {
        for (stream, at) in &mut held {
            // As much as the server takes, from where it was.
            let len = stream.write(&pings[*at..]).unwrap_or(0);
            *at = (*at + len) % ping.len();
            sent += len;
        }
        let many: Vec<u8> = (frames + 1..=frames + 100).flat_map(pixels).collect();
        flood.write_all(&many).unwrap();
        frames += 100;
        drop(site.reader.take(2));
    }
    site.stays_small(&format!("{} pings, {frames} frames without credit", sent / ping.len()));
    site.serves_somebody_new();
    drop((held, flood));
    site.recovers();
}

#[test]
fn abandoned_channels_of_clients_are_limited() {
    let Some(mut site) = Site::new() else { return };
    for number in 0..300 {
        let mut stream = site.connect(PLAIN);
        let first = [frame(1, 100), vec![7; 100]].concat();
        stream.write_all(&[hello(2, &format!("attack/{number}")), first].concat()).unwrap();
        // It may have been turned away; what counts is that it is gone.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        until_it_hangs_up(stream);
    }
    let files = site.here.files().len();
    site.stays_small(&format!("{files} files after 300 channels"));
    // Three of each channel: those that wait for their sender, one that still ends, and the camera's.
    assert!(files <= 3 * (MOST + 2), "{files} files");
    site.serves_somebody_new();
    wait_until!(site.here.files().iter().all(|name| name.starts_with(CHANNEL)));
    site.recovers();
}

#[test]
fn endless_frame_takes_no_memory_and_blocks_no_end() {
    let Some(mut site) = Site::new() else { return };
    let mut stream = site.connect(PLAIN);
    stream.write_all(&[hello(2, "attack"), frame(1, 1_000_000)].concat()).unwrap();
    std::thread::scope(|scope| {
        // Half an hour, unless the server ends.
        scope.spawn(|| trickle(&stream, &[7; 60_000], Duration::from_millis(30)));
        wait_until!(site.here.files().iter().any(|name| name.starts_with("attack")));
        drop(site.reader.take(20));
        // Six slots of a megabyte each are created when a frame has arrived, not when one is announced.
        assert!(site.here.used_bytes() < 1_000_000, "{} bytes", site.here.used_bytes());
        site.server.terminate();
        until_it_hangs_up(&stream);
    });
}

/// The events of a server about a refusal for this reason.
fn refused_for(server: &mut Running, reason: &str) {
    server
        .wait_for_that(reason, |event| event["reason"].as_str().is_some_and(|found| found.contains(reason)));
}

#[test]
fn receivers_of_giant_sizes_cost_neither_frames_nor_memory() {
    let Some(hosts) = Hosts::unless_skipped(2, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    let mut publisher = here.publisher().create(CHANNEL).unwrap();
    let layout = framelane::Layout::packed(framelane::PixelFormat::Bgr8, 320, 240).unwrap();
    let bytes = vec![80; layout.size_bytes()];
    let mut server = framelane_tests::links::serve(&hosts[0], &here, &[]);
    let before = Use::of(server.id());
    let giant = framelane_tests::links::url(&hosts[0], CHANNEL, "codec=h264&size=4096x4096");
    let names = ["a", "b", "c", "d", "e"];
    let mut attackers: Vec<_> = names
        .iter()
        .map(|name| {
            let mut receive = command(&hosts[1], &there, &["receive", &giant, name]);
            receive.stderr(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    let mut sent = 0;
    let mut most = before;
    loop {
        publisher.send(&layout, &framelane::FrameInfo::default(), &bytes).unwrap();
        sent += 1;
        let now = Use::of(server.id());
        most.bytes = most.bytes.max(now.bytes);
        let ended = attackers.iter_mut().all(|attacker| attacker.try_wait().unwrap().is_some());
        if ended && sent >= 60 {
            break;
        }
        // The pace of a camera.
        std::thread::sleep(Duration::from_millis(33));
    }
    assert_eq!(publisher.dropped(), 0, "of {sent} frames");
    println!("attack: giant sizes: {before:?}, then {most:?}");
    assert!(most.bytes < before.bytes + MOST_BYTES, "{before:?}, then {most:?}");
    assert!(attackers.iter_mut().all(|attacker| !attacker.wait().unwrap().success()));
    for _ in names {
        refused_for(&mut server, "expected a size of at most 2073600 pixels");
    }
    server.terminate();
}

#[test]
fn server_without_descriptors_serves_again_when_they_return() {
    let Some(hosts) = Hosts::unless_skipped(3, Wire::default()) else { return };
    let (here, there) = (Place::new(), Place::new());
    let camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), FRAME_BYTES, 30.0);
    let listen = format!("tcp://{}", hosts[0].address());
    let script = "ulimit -n 60 && exec \"$0\" \"$@\"";
    let path = program();
    let serve = ["serve", "--listen", &listen, "--insecure", "--anonymous", "--handshake-timeout", "3"];
    let arguments =
        [&["-c", script, path.to_str().unwrap()], &serve[..], &["--max-per-address", "200"]].concat();
    let mut limited = hosts[0].command("sh", &arguments);
    limited.env("FRAMELANE_DIR", here.path());
    let mut server = start_command(limited);
    server.wait_for("listening");
    let url = framelane_tests::links::url(&hosts[0], CHANNEL, "");
    let _receiver = start(&hosts[1], &there, &["receive", &url]);
    let mut reader = Reader::new(there.subscriber().open(CHANNEL).unwrap());
    drop(reader.take(10));
    let address = hosts[0].address();
    let held: Vec<_> =
        (0..100).map(|_| hosts[2].run(|| TcpStream::connect((address, PLAIN)).unwrap())).collect();
    server.wait_for("accept_failed");
    // The existing client continues.
    drop(reader.take(30));
    drop(held);
    let again = ["receive", &url, "new", "--count", "2"];
    assert!(command(&hosts[1], &there, &again).output().unwrap().status.success());
    server.terminate();
    drop(camera);
}

#[test]
fn full_channel_directory_ends_the_sender_and_no_other_channel() {
    let name = "full_channel_directory_ends_the_sender_and_no_other_channel";
    framelane_tests::on_small_tmpfs(name, 16, |directory| {
        let mut options = ServerOptions::new(Access::Anyone);
        options.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        options.write = "**".parse().unwrap();
        options.directory = Some(directory.into());
        let cancel = options.cancel.clone();
        let server = Server::bind(options).unwrap();
        let Address::Tcp { port, .. } = *server.addresses().next().unwrap() else { unreachable!() };
        let place = framelane::PublisherOptions::new().directory(directory);
        let mut publisher = place.create(CHANNEL).unwrap();
        let layout = framelane::Layout::packed(framelane::PixelFormat::Gray8, 100, 100).unwrap();
        let mut send = || publisher.send(&layout, &framelane::FrameInfo::default(), &[7; 10_000]).unwrap();
        send();
        let events = Mutex::new(Vec::new());
        let log = |event: ServerEvent<'_>| events.lock().unwrap().push(format!("{event:?}"));
        std::thread::scope(|scope| {
            scope.spawn(|| server.run(&log));
            // Six slots of 4 MB have no room.
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.write_all(&hello(2, "attack")).unwrap();
            until_credit(&mut stream);
            let _ = stream.write_all(&frame(1, 4_000_000)).and_then(|()| stream.write_all(&[9; 4_000_000]));
            until_it_hangs_up(&stream);
            cancel.cancel();
        });
        assert!(send().is_some());
        let events = events.into_inner().unwrap();
        assert!(events.iter().any(|event| event.contains("no_space")), "{events:#?}");
        let names = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
        let mut left = names.filter(|name| !name.to_string_lossy().starts_with(CHANNEL));
        assert_eq!(left.next(), None);
    });
}

/// Reads until the server grants frames.
fn until_credit(stream: &mut TcpStream) {
    stream.read_exact(&mut [0; 8]).unwrap();
    let mut head = [0; 16];
    while head[0] != CREDIT as u8 {
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_le_bytes(head[4..8].try_into().unwrap());
        stream.read_exact(&mut vec![0; length as usize]).unwrap();
    }
}
