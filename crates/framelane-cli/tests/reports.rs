//! Output of `list`, `info`, `doctor`, `bench` and `--help`.

mod support;

use framelane_test_kit::skip;
use rustix::process::Signal;
use serde_json::Value;
use support::{Place, Running};

/// A publisher that has published, and a subscriber that reads every frame of it.
fn channel(place: &Place, name: &str) -> (Running, Running) {
    let mut publisher =
        place.start(&format!("publish testsrc=64x48@100 {name} --json --slots 9 --format i420"));
    publisher.wait_for("started");
    let mut subscriber = place.start(&format!("subscribe {name} --json --delivery every --per-frame"));
    subscriber.wait_for("frame");
    (publisher, subscriber)
}

#[test]
fn list_and_info_tell_all_of_a_channel() {
    let place = Place::new();
    assert_eq!(place.json("list --json")["channels"], Value::Array(vec![]));
    let (publisher, subscriber) = channel(&place, "hall/cam1");
    let info = place.json("info hall/cam1 --json");
    assert_eq!((&info["name"], &info["state"]), (&"hall/cam1".into(), &"live".into()));
    assert_eq!(info["publisher_pid"], publisher.child.id());
    assert_eq!((&info["slots"], &info["backpressure"]), (&9.into(), &"drop".into()));
    let layout = &info["layout"];
    assert_eq!(
        (&layout["width"], &layout["height"], &layout["format"]),
        (&64.into(), &48.into(), &"i420".into())
    );
    assert_eq!(layout["planes"].as_array().unwrap().len(), 3);
    for positive in
        ["epoch", "generation", "sequence", "memory_bytes", "newest_published_ns", "newest_age_ns"]
    {
        assert!(info[positive].as_u64().unwrap() > 0, "{positive}: {info}");
    }
    assert!(info["color"]["range"].is_string());
    let reader = &info["subscribers"][0];
    assert_eq!((&reader["pid"], &reader["delivery"]), (&subscriber.child.id().into(), &"every".into()));
    assert!(reader["received"].as_u64().unwrap() > 0 && reader["cursor"].as_u64().unwrap() > 0, "{reader}");

    let list = place.json("list --json");
    assert_eq!(list["channels"].as_array().unwrap().len(), 1);
    assert_eq!(list["channels"][0]["name"], "hall/cam1");
    let table = String::from_utf8(place.run("list").stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("CHANNEL") && lines[1].starts_with("hall/cam1"), "{table}");
    // The publisher may get no processor for a second.
    let states = ["live", "stalled"];
    assert!(lines[1].contains("64x48") && states.iter().any(|state| lines[1].contains(state)), "{table}");
    let text = String::from_utf8(place.run("info hall/cam1").stdout).unwrap();
    assert!(text.contains("64x48 i420") && text.contains("every"), "{text}");
}

#[test]
fn list_and_info_tell_of_the_link_that_feeds_a_channel() {
    let place = Place::new();
    let publisher = |name: &str| framelane::PublisherOptions::new().directory(place.path()).create(name);
    let _here = publisher("here").unwrap();
    assert_eq!(place.json("info here --json")["link"], Value::Null);
    assert!(!String::from_utf8(place.run("list").stdout).unwrap().contains("LINK"));
    let mut linked = publisher("linked").unwrap();
    let mut link = framelane::LinkStatus::default();
    link.peer = "tls://camera:7420/cam0".to_owned();
    link.connected = true;
    link.live = true;
    link.connections = 3;
    link.clock_offset_ns = -3_400_000;
    link.round_trip_ns = 1_200_000;
    link.latency_ns = 12_000_000;
    link.received_bytes = 4096;
    link.missed = 17;
    linked.set_link(&link);
    let info = place.json("info linked --json");
    assert_eq!(
        info["link"],
        serde_json::json!({
            "peer": "tls://camera:7420/cam0", "connected": true, "live": true, "connections": 3,
            "clock_offset_ns": -3_400_000, "round_trip_ns": 1_200_000, "latency_ns": 12_000_000, "received_bytes": 4096, "missed": 17
        })
    );
    assert_eq!(place.json("list --json")["channels"][1]["link"], info["link"]);
    let text = String::from_utf8(place.run("info linked").stdout).unwrap();
    let row = text.lines().find(|line| line.starts_with("link ")).unwrap();
    assert!(row.contains("tls://camera:7420/cam0, connected (3 times)"), "{text}");
    assert!(row.contains("clock behind by 3.40 ms") && row.ends_with("4.0 KiB received"), "{text}");

    let no_slot = |wanted: &str| {
        let text = String::from_utf8(place.run("info linked").stdout).unwrap();
        let row = text.lines().find(|line| line.starts_with("dropped ")).unwrap();
        assert!(row.ends_with(&format!(" {wanted} found no free slot")), "{text}");
        let table = String::from_utf8(place.run("list").stdout).unwrap();
        let at = table.lines().next().unwrap().find("DROPPED").unwrap();
        let cell = table.lines().last().unwrap()[at..].split_whitespace().next();
        assert_eq!(cell, wanted.split_whitespace().next(), "{table}");
    };
    // Counted by the link, and not yet by the channel.
    no_slot("0 frames");
    linked.skip_many(18);
    no_slot("1 frame");
    assert_eq!(place.json("info linked --json")["dropped"], 18);

    link.live = false;
    linked.set_link(&link);
    assert_eq!(place.json("info linked --json")["link"]["live"], false);
    let text = String::from_utf8(place.run("info linked").stdout).unwrap();
    assert!(text.contains("cam0, connected (3 times), no publisher there, round trip"), "{text}");
    let table = String::from_utf8(place.run("list").stdout).unwrap();
    assert!(table.trim_end().ends_with("tls://camera:7420/cam0 (no publisher there)"), "{table}");

    link.connected = false;
    linked.set_link(&link);
    let table = String::from_utf8(place.run("list").stdout).unwrap();
    let ends: Vec<_> = table.lines().map(|line| line.rsplit("  ").next().unwrap().trim()).collect();
    assert_eq!(ends, ["LINK", "-", "tls://camera:7420/cam0 (not connected)"], "{table}");
}

#[test]
fn a_channel_of_another_user_is_not_called_damaged() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48 cam0 --json");
    publisher.wait_for("started");
    // The directory is readable, the channel's files only for their owner.
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let as_nobody = |line: &str| {
        let mut command = place.command(line);
        std::os::unix::process::CommandExt::uid(&mut command, 65534).output()
    };
    let Ok(output) = as_nobody("list --json") else {
        skip("root", "this user cannot run the program as another");
        return;
    };
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let channel = &report["channels"][0];
    assert_eq!(channel["state"], "no_access", "{report}");
    assert!(channel["damage"].as_str().unwrap().contains("ermission"), "{channel}");
    let table = String::from_utf8(as_nobody("list").unwrap().stdout).unwrap();
    let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(&row[..4], ["cam0", "no", "access", "-"], "{table}");
}

#[test]
fn rates_are_from_the_first_frame_to_the_last() {
    let place = Place::new();
    let mut publisher = place.start("publish testsrc=64x48@50 cam0 --json");
    publisher.wait_for("started");
    let rate_of = |count: u32| {
        let output = place.run(&format!("subscribe cam0 --delivery every --json --count {count}"));
        let text = String::from_utf8(output.stdout).unwrap();
        let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(summary["frames"], count, "{summary}");
        summary["frames_per_second"].clone()
    };
    assert_eq!(rate_of(1), Value::Null);
    for count in [2, 20] {
        let rate = rate_of(count).as_f64().unwrap();
        assert!(rate > 0.0 && rate.is_finite(), "{count}: {rate}");
    }
    let text = String::from_utf8(place.run("subscribe cam0 --count 1").stdout).unwrap();
    assert!(text.contains("1 frame in") && text.contains("- frames/s"), "{text}");

    let summary_of = |frames: u32| {
        place.start(&format!("publish testsrc=64x48@50 other --json --count {frames}")).wait_for("summary")
    };
    assert_eq!(summary_of(1)["frames_per_second"], Value::Null);
    let summary = summary_of(11);
    let [rate, elapsed] =
        ["frames_per_second", "elapsed_seconds"].map(|name| summary[name].as_f64().unwrap());
    // The start of the source is no part of it.
    assert!(rate >= 10.0 / elapsed && rate.is_finite(), "{summary}");
}

#[test]
fn the_directory_can_be_given_with_dir() {
    let (place, other) = (Place::new(), Place::new());
    let dir = format!("--dir {}", place.path().display());
    let mut publisher = other.start(&format!("{dir} publish testsrc=64x48 cam0 --json --permissions 640"));
    publisher.wait_for("started");
    assert_eq!(other.json("list --json")["channels"].as_array().unwrap().len(), 0);
    assert_eq!(other.json(&format!("list {dir} --json"))["channels"].as_array().unwrap().len(), 1);
    assert!(other.run(&format!("subscribe cam0 --count 1 {dir}")).status.success());
    let metadata = std::fs::metadata(place.path().join("cam0.control")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o640);
}

#[test]
fn doctor_finds_what_a_kill_left_and_leaves_the_living_alone() {
    let place = Place::new();
    assert_eq!(place.json("doctor --json")["healthy"], true);
    let (_alive, mut reader) = channel(&place, "alive");
    let (mut dead, mut orphan) = channel(&place, "dead");
    dead.signal(Signal::KILL);
    dead.end();

    let found = place.run("doctor --json");
    assert_eq!(found.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!((&report["healthy"], &report["live_channels"]), (&false.into(), &1.into()));
    let leftover = &report["leftovers"][0];
    assert_eq!((&leftover["channel"], &leftover["removed"]), (&"dead".into(), &false.into()));
    assert!(
        leftover["bytes"].as_u64().unwrap() > 64 * 48 && leftover["files"].as_array().unwrap().len() == 3
    );
    let text = place.run("doctor");
    assert_eq!(text.status.code(), Some(1));
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("left over: channel dead") && text.contains("doctor --fix"), "{text}");

    let fixed = place.json("doctor --fix --json");
    assert_eq!((&fixed["healthy"], &fixed["leftovers"][0]["removed"]), (&true.into(), &true.into()));
    assert!(place.files().iter().all(|file| file.starts_with("alive.")), "{:?}", place.files());
    // Subscribers of the dead publisher find the channel closed. Others continue.
    orphan.wait_for("summary");
    assert!(orphan.end().success());
    reader.wait_for("frame");
    assert_eq!(place.json("doctor --json")["leftovers"], Value::Array(vec![]));
}

#[test]
fn doctor_warns_of_a_directory_that_anyone_may_change() {
    let place = Place::new();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let output = place.run("doctor --json");
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["kind"] == "permissions").unwrap();
    assert!(finding["hint"].as_str().unwrap().contains("chmod"), "{finding}");
}

#[test]
fn a_benchmark_gives_percentiles_in_order() {
    let place = Place::new();
    for options in
        ["--fps 200", "--free --readers 2", "--free --delivery every", "--fps 200 --write --format i420"]
    {
        let report = place.json(&format!("bench --json --duration 0.3 --size 320x240 {options}"));
        for measure in ["publish", "wake"] {
            let percentiles = &report[measure];
            assert!(percentiles["count"].as_u64().unwrap() > 0, "{options}: {report}");
            let values =
                ["p50_us", "p90_us", "p99_us", "p999_us", "max_us"].map(|p| percentiles[p].as_f64().unwrap());
            assert!(values.is_sorted() && values[0] > 0.0, "{options}: {measure} {values:?}");
        }
        assert!(report["frames_per_second"].as_f64().unwrap() > 0.0);
        let readers = report["each_reader"].as_array().unwrap();
        assert_eq!(readers.len() as u64, report["readers"].as_u64().unwrap());
        if options.contains("every") {
            assert_eq!((&readers[0]["frames"], &readers[0]["dropped"]), (&report["frames"], &0.into()));
        }
        assert!(place.files().is_empty());
    }
    let text = String::from_utf8(place.run("bench --duration 0.2 --size 64x48").stdout).unwrap();
    assert!(text.contains("p99.9") && text.contains("wake") && text.contains("frames/s"), "{text}");
}

#[test]
fn every_command_has_help_with_examples() {
    let place = Place::new();
    for command in ["", "publish", "subscribe", "list", "info", "top", "doctor", "bench"] {
        let output = place.run(&format!("{command} --help"));
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("Examples:\n  framelane "), "{command}: {help}");
        assert!(help.contains("--json") && help.contains("--dir"), "{command}");
        assert!(!help.contains("bench-reader"));
    }
    let version = String::from_utf8(place.run("--version").stdout).unwrap();
    assert_eq!(version.trim(), format!("framelane {}", env!("CARGO_PKG_VERSION")));
}
