//! The hello examples: any publisher works with any subscriber.

mod support;

use framelane_test_kit::{Place, finish_all};
use support::example;

const LANGUAGES: [&str; 4] = ["rust", "c", "cpp", "python"];

fn rust(name: &str) -> &'static str {
    if name == "publish" {
        env!("CARGO_BIN_EXE_hello-publish")
    } else {
        env!("CARGO_BIN_EXE_hello-subscribe")
    }
}

/// One publisher, and a subscriber of each language at once.
fn run(publisher: &str) {
    let place = Place::new();
    let Some(publish) = example(publisher, "hello", "publish", rust) else { return };
    let (names, mut programs): (Vec<_>, Vec<_>) = LANGUAGES
        .into_iter()
        .filter_map(|language| {
            let subscribe = example(language, "hello", "subscribe", rust)?;
            Some((language, place.start_command(subscribe)))
        })
        .unzip();
    programs.push(place.start_command(publish));
    for (language, text) in names.into_iter().zip(finish_all(programs)) {
        for line in text.lines() {
            let (sequence, rest) = line.split_once(": 640x480 brightness ").unwrap();
            assert_eq!(sequence.parse::<u32>().unwrap(), rest.parse::<u32>().unwrap() + 1, "{line}");
        }
        assert_eq!(text.lines().last(), Some("100: 640x480 brightness 99"), "{publisher} to {language}");
    }
}

#[test]
fn rust_to_all() {
    run("rust");
}

#[test]
fn c_to_all() {
    run("c");
}

#[test]
fn cpp_to_all() {
    run("cpp");
}

#[test]
fn python_to_all() {
    run("python");
}
