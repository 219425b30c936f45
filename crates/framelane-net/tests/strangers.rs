//! Peers that violate the protocol, or that are not authenticated: the errors that they get, and the limits
//! of their harm.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use framelane::*;
use framelane_net::{Access, Address, Server, ServerEvent, ServerOptions};
use framelane_test_kit::wait_until;
use support::{Served, open};

/// All that an anonymous client says to ask for a channel of any name.
fn hello(major: u8, direction: u8, channel: &str) -> Vec<u8> {
    let mut body = vec![0; 32];
    body.extend_from_slice(&[direction, 0, 0, 0]);
    body.resize(88, 0);
    for text in [channel, "raw"] {
        body.extend_from_slice(&(text.len() as u16).to_le_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut greeting = vec![major, 0, 1, 0];
    greeting.resize(56, 0);
    [opening(1, &greeting), message(11, &body)].concat()
}

/// The first bytes of a side whose first message is of this kind.
fn opening(kind: u8, body: &[u8]) -> Vec<u8> {
    [b"FRMLLINK".to_vec(), message(kind, body)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(body);
    bytes
}

/// Returns the server's answer, and the number of the error with which it refuses.
fn refused(port: u16, bytes: &[u8]) -> (Vec<u8>, u32) {
    use std::io::{Read, Write};

    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(&answer[..8], b"FRMLLINK", "{}", bytes.escape_ascii());
    let mut rest = &answer[8..];
    // A challenge may come before it.
    while rest[0] != 3 {
        let body = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        rest = &rest[16 + body..];
    }
    let code = u32::from_le_bytes(rest[16..20].try_into().unwrap());
    (answer, code)
}

#[test]
fn channel_name_of_a_client_is_never_opened_as_a_url() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    // No connection may arrive here.
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let url = format!("tcp://{}/cam0", elsewhere.local_addr().unwrap());
    for (direction, channel) in
        [(1, url.as_str()), (2, &url), (1, "../x"), (2, "a//b"), (1, "unix:/x.sock/c"), (1, "")]
    {
        let (_, code) = refused(served.port(), &hello(1, direction, channel));
        assert_eq!(code, ErrorKind::InvalidName.code(), "{channel}");
    }
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn who_speaks_another_version_or_another_protocol_is_told_so() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let (answer, code) = refused(served.port(), &hello(2, 1, "cam0"));
    assert_eq!(code, ErrorKind::IncompatibleVersion.code());
    let text = answer.escape_ascii().to_string();
    assert!(text.contains("version 2.1") && text.contains("this framelane 1.1"), "{text}");
    assert_eq!(refused(served.port(), b"GET / HTTP/1.1\r\n\r\n").1, ErrorKind::Damaged.code());
    // A message that is none of a client's.
    assert_eq!(refused(served.port(), &opening(9, &[])).1, ErrorKind::Damaged.code());
}

#[test]
fn reset_before_accept_does_not_delay_other_clients() {
    let mut options = ServerOptions::new(Access::Anyone);
    options.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
    let cancel = options.cancel.clone();
    let server = Server::bind(options).unwrap();
    let Some(&Address::Tcp { port, .. }) = server.addresses().next() else { unreachable!() };
    for _ in 0..20 {
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    let failed = AtomicBool::new(false);
    let events = |event: ServerEvent<'_>| {
        let is_failure = matches!(event, ServerEvent::AcceptFailed { .. });
        failed.fetch_or(is_failure, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| server.run(&events));
        let answer = std::panic::catch_unwind(|| refused(port, &hello(1, 1, "a//b")));
        cancel.cancel();
        assert_eq!(answer.unwrap().1, ErrorKind::InvalidName.code());
    });
    assert!(!failed.load(Ordering::Relaxed), "the server has paused");
}

#[test]
fn a_socket_whose_queue_is_full_holds_up_nobody_who_ends() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let address = SocketAddrUnix::new(&path).unwrap();
    let unix = || socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let (listener, first) = (unix(), unix());
    bind(&listener, &address).unwrap();
    // Room for one connection, which is never accepted.
    listen(&listener, 0).unwrap();
    connect(&first, &address).unwrap();
    framelane_net::register_url_schemes();
    let wait = Some(Duration::from_millis(200));
    let options = SubscriberOptions::new().directory(directory.path()).open_timeout(wait);
    let error = options.open(&format!("unix:{}/cam0", path.display())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let mut options = ServerOptions::new(Access::Anyone);
    options.listen = vec![Address::Unix(path)];
    let error = Server::bind(options).err().unwrap();
    assert!(error.message().contains("in use by another program"), "{error}");
}

#[test]
fn a_server_does_not_choose_what_decodes_its_frames() {
    use std::io::{Read, Write};

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}/cam0?codec=lz4", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut challenge = vec![1, 0, 1, 0];
        challenge.resize(72, 0);
        let mut welcome = vec![0; 48];
        welcome.extend_from_slice(b"\x07\0h264:4M");
        stream.write_all(&[opening(10, &challenge), message(2, &welcome)].concat()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let error = open(&url, Delivery::Newest).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.message().contains("expected codec lz4, found another"), "{error}");
    server.join().unwrap();
}

#[test]
fn a_client_cannot_have_frames_blown_up_beyond_the_limit() {
    let served = Served::start("tcp://127.0.0.1:0", |options, _| options.max_bytes = 1 << 20);
    let _publisher = served.publisher("cam0");
    let error = open(&served.url("cam0?size=32768x32768"), Delivery::Newest).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::FrameTooLarge, "{error}");
    // No URL asks for such sides. Four times their product is 2^64.
    let mut bytes = hello(1, 1, "cam0");
    let sides = 8 + (16 + 56) + 16 + 40;
    bytes[sides..sides + 8].copy_from_slice(&[0, 0, 0, 0x80, 0, 0, 0, 0x80]);
    assert_eq!(refused(served.port(), &bytes).1, ErrorKind::FrameTooLarge.code());
}

#[test]
fn client_errors_reveal_no_files_or_processes_of_the_server() {
    let served = Served::start("tcp://127.0.0.1:0", |_, _| {});
    let _local = served.publisher("cam0");
    let publisher = PublisherOptions::new()
        .directory(tempfile::tempdir().unwrap().path())
        .create(&served.url("cam0"))
        .unwrap();
    // The link retries repeatedly: the reason is in the events of the server, and in the trouble of the
    // client.
    let told = || served.events.lock().unwrap().iter().any(|event| event.contains("already has a publisher"));
    wait_until!(told());
    drop(publisher);
    let mut stream = {
        let Address::Tcp { port, .. } = served.address.clone() else { unreachable!() };
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()
    };
    std::io::Write::write_all(&mut stream, &hello(1, 2, "cam0")).unwrap();
    let mut answer = Vec::new();
    std::io::Read::read_to_end(&mut stream, &mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains("Another live publisher holds the channel"), "{text}");
    assert!(
        !text.contains("process ") && !text.contains(served.directory.path().to_str().unwrap()),
        "{text}"
    );
}
