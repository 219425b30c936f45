//! JSON, metrics and pictures for programs.

mod support;

use std::io::{Read, Write};

use serde_json::Value;
use support::{Place, Server, decode, is_about, publisher, send, send_until, wait_until};

/// Checks a value against a schema of the OpenAPI description.
fn check(schema: &Value, value: &Value, all: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        return check(&all["components"]["schemas"][name.rsplit('/').next().unwrap()], value, all, at);
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        let variant = variants.iter().find(|variant| (variant["type"] == "null") == value.is_null());
        return check(variant.unwrap(), value, all, at);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        kind => vec![kind.as_str().unwrap_or_else(|| panic!("{at}: {schema}"))],
    };
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&found), "{at}: expected {kinds:?}, found {value}");
    if let Some(names) = schema["enum"].as_array() {
        assert!(names.contains(value), "{at}: {value}");
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        check(&schema["items"], value, all, &format!("{at}[{index}]"));
    }
    if let Value::Object(fields) = value {
        for name in schema["required"].as_array().unwrap() {
            assert!(fields.contains_key(name.as_str().unwrap()), "{at}: {name} is missing");
        }
        for (name, value) in fields {
            check(&schema["properties"][name], value, all, &format!("{at}.{name}"));
        }
    }
}

#[test]
fn channels_match_their_description() {
    let place = Place::new();
    let server = Server::new(&place);
    let described = server.get("/api/openapi.json").json();
    let paths: Vec<_> = described["paths"].as_object().unwrap().keys().cloned().collect();
    let mut camera = publisher(place.path(), "a/cam0");
    let mut link = framelane::LinkStatus::default();
    link.peer = "tls://host/cam0".to_owned();
    camera.set_link(&link);
    let mut source = framelane::SourceStatus::default();
    source.name = "rtsp://host/".to_owned();
    camera.set_source(&source);
    send(&mut camera, (64, 48), [1, 2, 3]);
    let mut subscriber = framelane::SubscriberOptions::new().directory(place.path()).open("a/cam0").unwrap();
    let _held = subscriber.recv().unwrap();
    let _empty = publisher(place.path(), "empty");
    for path in paths.iter().filter(|path| !path.ends_with(".mjpg")) {
        let response = server.get(&path.replace("{channel}", "a/cam0"));
        assert_eq!(response.status, 200, "{path}: {}", String::from_utf8_lossy(&response.body));
    }
    let channels = server.get("/api/channels").json();
    check(&described["components"]["schemas"]["Report"], &channels, &described, "report");
    assert_eq!(channels["directory"], place.path().display().to_string());
    let [cam, empty] = [0, 1].map(|index| &channels["channels"][index]);
    assert_eq!(
        (&cam["name"], &cam["layout"]["width"], &cam["link"]["peer"]),
        (&"a/cam0".into(), &64.into(), &"tls://host/cam0".into())
    );
    assert_eq!((&empty["name"], &empty["layout"]), (&"empty".into(), &Value::Null));
    let error = server.get("/channels/none/snapshot.jpg").json();
    check(&described["components"]["schemas"]["Error"], &error, &described, "error");
}

#[test]
fn metrics_count_frames_readers_and_latencies() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "cam0");
    send(&mut camera, (64, 48), [1, 2, 3]);
    assert_eq!(server.metric("framelane_frames_total{channel=\"cam0\"}"), Some(1.0));
    assert_eq!(server.metric("framelane_live{channel=\"cam0\"}"), Some(1.0));
    // A scrape begins the measurement.
    let count = "framelane_latency_seconds_count{channel=\"cam0\",hop=\"publish_to_receive\"}";
    send_until(&mut camera, "latencies are measured", |_| server.metric(count) > Some(2.0));
    wait_until!(server.metric("framelane_subscribers{channel=\"cam0\"}") == Some(1.0));
    let text = server.get("/metrics").text();
    for name in [
        "framelane_dropped_frames_total{channel=\"cam0\"} 0",
        "framelane_latency_seconds_bucket{channel=\"cam0\",hop=\"capture_to_publish\",le=\"+Inf\"}",
        "# TYPE framelane_latency_seconds histogram",
        "# TYPE framelane_frames_total counter",
        "framelane_leases{channel=\"cam0\"} ",
        "framelane_subscriber_received_frames_total{channel=\"cam0\",pid=",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    // No picture was encoded: nothing views the channel.
    assert!(text.contains("framelane_dashboard_encodes_total{channel=\"cam0\",size=\"full\"} 0"), "{text}");
}

#[test]
fn snapshot_is_the_newest_frame() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "a/b/cam0");
    for color in [[1, 2, 3], [200, 100, 50]] {
        send(&mut camera, (600, 300), color);
        let response = server.get("/channels/a/b/cam0/snapshot.jpg?size=tile");
        assert_eq!(response.headers["content-type"], "image/jpeg");
        let (width, height, pixels) = decode(&response.body);
        assert_eq!((width, height), (480, 240));
        assert!(is_about(&pixels, [color[2], color[1], color[0]]), "{:?}", &pixels[..3]);
        // The next request subscribes again.
        wait_until!(framelane::status(Some(place.path()), "a/b/cam0").unwrap().subscribers.is_empty());
    }
}

#[test]
fn stream_has_the_newest_pictures() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "cam0");
    send(&mut camera, (64, 48), [0, 0, 0]);
    let mut stream = server.connect();
    write!(stream, "GET /channels/cam0/stream.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    let mut received = Vec::new();
    let mut pictures = 0;
    let mut buffer = vec![0; 1 << 16];
    while pictures < 3 {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the stream ended");
        received.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&received);
        assert!(!text.starts_with("HTTP/1.1 4") && !text.starts_with("HTTP/1.1 5"), "{text}");
        let found = text.matches("--framelane\r\nContent-Type: image/jpeg\r\n").count();
        if found > pictures {
            pictures = found;
            send(&mut camera, (64, 48), [pictures as u8 * 50, 0, 0]);
        }
    }
    let text = String::from_utf8_lossy(&received);
    assert!(text.contains("multipart/x-mixed-replace; boundary=framelane"), "{text}");
}

#[test]
fn updates_carry_rates_and_latencies() {
    let place = Place::new();
    let server = Server::new(&place);
    let mut camera = publisher(place.path(), "cam0");
    send(&mut camera, (64, 48), [0, 0, 0]);
    let mut page = server.page();
    page.watch(&[("cam0", "tile")]);
    let update = std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            loop {
                let update = page.text("channels");
                let channel = &update["channels"][0];
                if channel["frames_per_second"].as_f64() > Some(1.0)
                    && channel["latency"]["publish_to_receive"]["count"].as_u64() > Some(1)
                {
                    return update;
                }
            }
        });
        send_until(&mut camera, "an update has rates", |_| reading.is_finished());
        reading.join().unwrap()
    });
    let channel = &update["channels"][0];
    let latency = &channel["latency"]["publish_to_receive"];
    assert!(latency["p50_ms"].as_f64() <= latency["p99_ms"].as_f64(), "{channel}");
    assert_eq!(
        (&channel["viewers"], &channel["fault"], &channel["state"]),
        (&1.into(), &Value::Null, &"live".into())
    );
}
