//! Reports of the commands when subscribers hold every slot of a channel.

mod support;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use framelane::{Frame, Subscriber, SubscriberOptions, status};
use serde_json::Value;
use support::{Place, Running};

fn subscribe(place: &Place) -> Subscriber {
    SubscriberOptions::new().directory(place.path()).open("cam0").unwrap()
}

/// Two subscribers that hold all slots but the newest, as long as the frames live.
fn hold_all(place: &Place) -> Vec<Frame> {
    let (mut one, mut other, mut held) = (subscribe(place), subscribe(place), Vec::new());
    while held.len() < one.max_leases() {
        held.push(one.recv().unwrap());
    }
    while status(Some(place.path()), "cam0").unwrap().starvation().is_none() {
        held.extend(other.recv_timeout(Duration::ZERO));
    }
    held
}

fn publish(place: &Place) -> Running {
    let mut publisher = place.start("publish testsrc=64x48@100 cam0 --json");
    publisher.wait_for("started");
    publisher
}

/// All that a command prints on standard output.
fn text(place: &Place, line: &str) -> String {
    String::from_utf8(place.run(line).stdout).unwrap()
}

#[test]
fn holders_of_all_slots_are_named_by_every_command() {
    let place = Place::new();
    let mut publisher = publish(&place);
    for line in ["list", "top --count 1 --interval 0.1"] {
        assert!(!text(&place, line).contains("HELD"), "{line}");
    }
    assert!(!text(&place, "info cam0").contains("held slots"));
    let held = hold_all(&place);
    let process = format!("by process {} (", std::process::id());
    for line in ["list", "top --count 1 --interval 0.1"] {
        let table = text(&place, line);
        let mut lines = table.lines();
        assert!(lines.next().unwrap().contains("HELD"), "{table}");
        assert!(lines.next().unwrap().contains(&process), "{table}");
    }
    let info = text(&place, "info cam0");
    let row = info.lines().find(|line| line.starts_with("held slots")).unwrap();
    assert!(row.contains(&process) && row.ends_with("no slot is free"), "{info}");

    let is_named = |channel: &Value| {
        let holder = &channel["holders"][0];
        assert_eq!(holder["pid"], std::process::id(), "{channel}");
        assert!(holder["name"].is_string(), "{channel}");
        assert!(channel["held_slots"].as_u64().unwrap() + 1 >= channel["slots"].as_u64().unwrap());
    };
    is_named(&place.json("info cam0 --json"));
    is_named(&place.json("list --json")["channels"][0]);
    is_named(&place.json("top --json --count 1 --interval 0.1")["channels"][0]);

    let named = format!("process {} (", std::process::id());
    let doctor = place.run("doctor");
    assert_eq!(doctor.status.code(), Some(1));
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("no free slot") && doctor.contains(&named), "{doctor}");
    let report: Value = serde_json::from_slice(&place.run("doctor --json").stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["kind"] == "slots").unwrap();
    assert!(finding["message"].as_str().unwrap().contains(&named), "{finding}");
    assert!(finding["hint"].as_str().unwrap().contains("copy"), "{finding}");

    let starved = publisher.wait_for("starved");
    assert!(starved["message"].as_str().unwrap().contains(&named), "{starved}");
    assert!(starved["hint"].as_str().unwrap().contains("--slots"), "{starved}");
    drop(held);
    publisher.wait_for("slots_free");
    assert!(!text(&place, "list").contains("HELD"));
}

#[test]
fn publish_names_the_holders_on_standard_error() {
    for backpressure in ["drop", "block"] {
        let place = Place::new();
        let mut publish =
            place.command(&format!("publish testsrc=64x48@100 cam0 --backpressure {backpressure}"));
        let mut publish = publish.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(publish.stderr.take().unwrap()).lines();
        let held = hold_all(&place);
        let mut lines = lines.map(Result::unwrap);
        let warning = lines.find(|line| line.starts_with("warning: ")).unwrap();
        let outcome = if backpressure == "drop" { "frames are dropped" } else { "new frames wait" };
        assert!(warning.contains(outcome), "{warning}");
        assert!(warning.contains(&format!("process {} (", std::process::id())), "{warning}");
        drop(held);
        assert!(lines.any(|line| line.contains("slots are free again")));
        publish.kill().unwrap();
        publish.wait().unwrap();
    }
}
