//! Handles after a fork: a child gets errors, disturbs no process, and does not keep a killed parent's
//! channel busy.

use framelane::{FrameInfo, Layout, PixelFormat};
use framelane_tests::{Channels, Place, wait_until};

const FORKER: &str = env!("CARGO_BIN_EXE_forker");

#[test]
fn forked_child_gets_errors_and_disturbs_no_parent() {
    let place = Place::new();
    let mut forker = place.start_program(FORKER, &["refused", "c"]);
    forker.numbers("end");
    assert!(forker.end().success());
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn forked_child_drops_links_without_a_wait() {
    let place = Place::new();
    let mut forker = place.start_program(FORKER, &["links", "c"]);
    forker.numbers("end");
    assert!(forker.end().success());
}

#[test]
fn channel_of_a_killed_publisher_with_a_live_child_is_free() {
    let place = Place::new();
    for _ in 0..20 {
        let mut forker = place.start_program(FORKER, &["publisher", "c"]);
        forker.numbers("ready");
        assert!(place.publisher().create("c").is_err(), "the parent lives");
        forker.kill_but_not_its_children(|| {
            drop(place.publisher().create("c").unwrap());
        });
    }
    assert_eq!(place.files(), [""; 0]);
}

#[test]
fn killed_subscriber_with_a_live_child_releases_its_record() {
    let place = Place::new();
    let mut publisher = place.publisher().slots(2).create("c").unwrap();
    let layout = Layout::packed(PixelFormat::Gray8, 8, 8).unwrap();
    let mut value = 0;
    let mut send = || {
        value += 1;
        let sent = publisher.send(&layout, &FrameInfo::default(), &[value; 64]).unwrap();
        (sent, publisher.subscribers())
    };
    send();
    let mut forker = place.start_program(FORKER, &["subscriber", "c"]);
    forker.numbers("ready");
    assert_eq!(send().1, 1);
    assert_eq!(send().0, None, "one slot is leased, the other the newest");
    forker.kill_but_not_its_children(|| {
        let (sent, subscribers) = send();
        assert!(sent.is_some() && subscribers == 0);
    });
    wait_until!(send().0.is_some());
}
