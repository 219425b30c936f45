//! `framelane dashboard`: where it listens, and how it ends.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use support::{Place, json_error};

fn get(url: &str, path: &str, headers: &str) -> String {
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn dashboard_serves_the_list_until_it_is_interrupted() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48@30 cam0 --json");
    publisher.wait_for("started");
    let mut dashboard = place.start("dashboard --listen 127.0.0.1:0 --json");
    let url = dashboard.wait_for("listening")["url"].as_str().unwrap().to_owned();
    let page = get(&url, "/", "");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>framelane</title>"), "{page}");
    let served = get(&url, "/api/channels", "");
    let served: serde_json::Value = serde_json::from_str(served.split_once("\r\n\r\n").unwrap().1).unwrap();
    let listed = place.json("list --json");
    assert_eq!(served["directory"], listed["directory"]);
    let [served, listed] = [&served, &listed]
        .map(|report| report["channels"][0].as_object().unwrap().keys().collect::<Vec<_>>());
    assert_eq!(served, listed);

    let port = url.trim_end_matches('/').rsplit(':').next().unwrap();
    let second = place.run(&format!("dashboard --listen 127.0.0.1:{port} --json"));
    assert_eq!(second.status.code(), Some(1));
    let error = json_error(&second);
    assert!(error["message"].as_str().unwrap().starts_with("cannot listen on 127.0.0.1:"), "{error}");

    dashboard.signal(Signal::INT);
    assert_eq!(dashboard.end().code(), Some(130));
}

#[test]
fn dashboard_refuses_addresses_of_other_machines() {
    let place = Place::new();
    for address in ["0.0.0.0:7480", "[::]:7480"] {
        let output = place.run(&format!("dashboard --listen {address} --json"));
        assert_eq!(output.status.code(), Some(1), "{address}");
        let error = json_error(&output);
        assert!(error["message"].as_str().unwrap().contains("expected a loopback address"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("ssh -L"), "{error}");
    }
    for wrong in ["7480", "127.0.0.1", "127.0.0.1:99999", ""] {
        let output = place.command("dashboard --listen").arg(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn dashboard_with_a_token_file_requires_the_token() {
    let place = Place::new();
    let file = place.path().join("token");
    let mut dashboard =
        place.start(&format!("dashboard --listen 127.0.0.1:0 --json --token-file {}", file.display()));
    let url = dashboard.wait_for("listening")["url"].as_str().unwrap().to_owned();
    let token = std::fs::read_to_string(&file).unwrap();
    assert!(get(&url, "/api/channels", "").starts_with("HTTP/1.1 401"));
    let header = format!("Authorization: Bearer {}\r\n", token.trim());
    assert!(get(&url, "/api/channels", &header).starts_with("HTTP/1.1 200"));
}
