//! Requests that must be refused, and clients that break rules.

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use framelane_net::security::Token;
use serde_json::json;
use support::{Place, Response, Server, publisher, send, wait_until};
use tungstenite::Message;

#[test]
fn request_of_another_site_is_refused() {
    let place = Place::new();
    let server = Server::new(&place);
    let own = server.address.to_string();
    let port = server.address.port();
    let from = |headers: &[(&str, &str)]| server.request("GET", "/api/channels", headers).status;
    assert_eq!(from(&[("Host", &own)]), 200);
    assert_eq!(from(&[("Host", &format!("localhost:{port}"))]), 200);
    assert_eq!(from(&[("Host", &own), ("Origin", &format!("http://{own}"))]), 200);
    // DNS rebinding: the name of an attacker resolves to this machine.
    assert_eq!(from(&[("Host", &format!("evil.example:{port}"))]), 421);
    assert_eq!(from(&[]), 421);
    for origin in ["http://evil.example", "null", "https://localhost"] {
        assert_eq!(from(&[("Host", &own), ("Origin", origin)]), 403, "{origin}");
        assert_eq!(server.page_with(&[("origin", origin)]).err(), Some(403), "{origin}");
    }
    assert_eq!(server.page_with(&[("host", "evil.example")]).err(), Some(421));
    assert_eq!(from(&[("Host", &own), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]), 403);
    assert!(server.page_with(&[("origin", &format!("http://{own}"))]).is_ok());
}

#[test]
fn every_response_forbids_use_by_other_sites() {
    let place = Place::new();
    let server = Server::new(&place);
    for path in ["/", "/assets/page.js", "/api/channels", "/metrics", "/nothing", "/channels/x/snapshot.jpg"]
    {
        let headers = server.get(path).headers;
        let policy = &headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[test]
fn client_without_the_token_is_refused() {
    let place = Place::new();
    let token = Token::generate().unwrap();
    let right = format!("Bearer {}", token.expose());
    let wrong = format!("Bearer {}", Token::generate().unwrap().expose());
    let server = Server::with(&place, |options| options.token = Some(token));
    let host = server.address.to_string();
    let paths = ["/api/channels", "/metrics", "/channels/cam0/snapshot.jpg", "/channels/cam0/stream.mjpg"];
    for path in paths {
        assert_eq!(server.get(path).status, 401, "{path}");
        assert_eq!(
            server.request("GET", path, &[("Host", &host), ("Authorization", &wrong)]).status,
            401,
            "{path}"
        );
    }
    assert_eq!(server.page_with(&[]).err(), Some(401));
    assert_eq!(server.page_with(&[("authorization", &wrong)]).err(), Some(401));
    assert_eq!((server.get("/").status, server.get("/healthz").status), (200, 200));

    assert_eq!(server.request("POST", "/session", &[("Host", &host), ("Authorization", &wrong)]).status, 401);
    let opened = server.request("POST", "/session", &[("Host", &host), ("Authorization", &right)]);
    let cookie = opened.headers["set-cookie"].clone();
    assert!(
        opened.status == 204 && cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    assert!(!cookie.contains(&right[7..]), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(server.request("GET", "/api/channels", &[("Host", &host), ("Cookie", cookie)]).status, 200);
    assert!(server.page_with(&[("cookie", cookie)]).is_ok());
    assert_eq!(server.request("GET", "/metrics", &[("Host", &host), ("Authorization", &right)]).status, 200);
}

#[test]
fn path_that_leaves_the_channels_is_refused() {
    let place = Place::new();
    let server = Server::new(&place);
    for path in [
        "/../Cargo.toml",
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/assets//etc/passwd",
        "/channels/../../etc/passwd/snapshot.jpg",
        "/channels/%2e%2e/%2e%2e/etc/snapshot.jpg",
        "/channels/..%2f..%2fetc/snapshot.jpg",
        "/channels/cam0%00/snapshot.jpg",
        "/channels/%ff/snapshot.jpg",
        "/channels//snapshot.jpg",
        "/channels/snapshot.jpg",
        "/channels/tcp:%2f%2f127.0.0.1:1%2fcam0/snapshot.jpg",
        "/channels/cam0@x/stream.mjpg",
        "/channels/cam0/other.jpg",
        "/channels/cam0/snapshot.jpg?size=9999",
        "/channels/cam0/snapshot.jpg",
    ] {
        let response = server.get(path);
        assert!((400..500).contains(&response.status), "{path}: {}", response.status);
    }
    let long = format!("/{}", "a".repeat(4000));
    assert_eq!(server.get(&long).status, 400);
    let host = server.address.to_string();
    assert_eq!(server.request("GET", &format!("http://{host}/"), &[("Host", &host)]).status, 400);
    assert_eq!(server.request("POST", "/api/channels", &[("Host", &host)]).status, 405);
    let missing = server.get("/channels/cam0/snapshot.jpg");
    assert_eq!((missing.status, &missing.json()["error"]["kind"]), (404, &"not_found".into()));
}

#[test]
fn page_that_breaks_the_protocol_is_closed() {
    let place = Place::new();
    let server = Server::new(&place);
    for text in [
        "",
        "{",
        "[]",
        r#"{"type":"other"}"#,
        r#"{"type":"watch"}"#,
        r#"{"type":"watch","channels":{"cam0":"huge"}}"#,
        r#"{"type":"ack","channel":"cam0","size":"tile","sequence":-1}"#,
    ] {
        let mut page = server.page();
        page.socket.send(Message::text(text)).unwrap();
        assert_eq!(page.closed(), Some(1008), "{text}");
    }
    let mut page = server.page();
    page.socket.send(Message::binary(vec![0; 10])).unwrap();
    assert_eq!(page.closed(), Some(1003));
    let mut page = server.page();
    let many: Vec<_> = (0..200).map(|index| format!("cam{index}")).collect();
    page.watch(&many.iter().map(|name| (name.as_str(), "tile")).collect::<Vec<_>>());
    assert_eq!(page.closed(), Some(1008));
    // Names that are none, and acknowledgements of pictures that were never sent, change nothing.
    let mut page = server.page();
    page.watch(&[("../../etc/passwd", "tile"), ("tls://host/cam0", "full"), ("", "tile")]);
    page.send(&json!({"type": "ack", "channel": "x", "size": "tile", "sequence": 1}));
    page.send(&json!({"type": "clock", "sent": 1.5}));
    assert_eq!(page.text("clock")["sent"], 1.5);
}

#[test]
fn oversized_message_closes_the_page() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut page = server.page();
    // The server may close the connection before all of it is written.
    let _ = page.socket.send(Message::text("x".repeat(1 << 20)));
    assert!(matches!(page.closed(), None | Some(1009)));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn slow_request_head_is_disconnected() {
    let place = Place::new();
    let server = Server::with(&place, |options| options.head_timeout = Duration::from_millis(200));
    let mut slow: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for (index, stream) in slow.iter_mut().enumerate() {
        write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\n{}", "X-A: b\r\n".repeat(index)).unwrap();
    }
    assert_eq!(server.get("/healthz").status, 200);
    for stream in &mut slow {
        // A reset is an end too.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
    // A connection that is kept open and not used ends too.
    let mut idle = server.connect();
    write!(idle, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(Response::read(&mut idle).status, 200);
}

#[test]
fn oversized_request_head_is_refused() {
    let place = Place::new();
    let server = Server::new(&place);
    let many: Vec<_> = (0..100).map(|index| format!("X-{index}")).collect();
    let mut headers = vec![("Host", "localhost")];
    headers.extend(many.iter().map(|name| (name.as_str(), "x")));
    assert_eq!(server.request("GET", "/healthz", &headers).status, 431);
    let mut stream = server.connect();
    // The server stops reading at its limit.
    let _ = write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn page_beyond_the_limit_is_refused_until_another_leaves() {
    let place = Place::new();
    let server = Server::with(&place, |options| options.max_clients = 2);
    let mut camera = publisher(place.path(), "cam0");
    send(&mut camera, (64, 48), [1, 2, 3]);
    let pages = [server.page(), server.page()];
    assert_eq!(server.page_with(&[]).err(), Some(503));
    assert_eq!(server.get("/channels/cam0/snapshot.jpg").status, 503);
    assert_eq!(server.get("/api/channels").status, 200);
    drop(pages);
    wait_until!(server.get("/channels/cam0/snapshot.jpg").status == 200);
    wait_until!(server.page_with(&[]).is_ok());
}
