//! Which channels: patterns over their names.
//!
//! A name has parts between slashes, as in `cam0/detections`. In a pattern `*` matches any characters within
//! a part, also none, and a part `**` any number of parts, also none: `cam*` matches `cam0` but not
//! `cam0/detections`, `cam0/**` matches both, `**` matches every channel.
//!
//! A match takes steps at most in proportion to the length of the pattern times that of the name: at a
//! mismatch only the last star is tried again, further on. That is enough, because what an earlier star could
//! give up, the later one can take.

use std::fmt;
use std::str::FromStr;

use framelane::{Error, ErrorKind};

/// Bounds of what an authorization costs.
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN_BYTES: usize = 200;
/// Maximum number of bytes of a channel name.
const MAX_NAME_BYTES: usize = 200;

/// Patterns over channel names, with commas between them; none of them matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Patterns that match no channel.
    pub fn none() -> Self {
        Patterns::default()
    }

    /// Returns true if one of them matches the name. What is not the name of a channel is never matched.
    pub fn matches(&self, channel: &str) -> bool {
        is_channel_name(channel) && self.0.iter().any(|pattern| pattern_matches(pattern, channel))
    }

    /// Returns true if there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

impl FromStr for Patterns {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Patterns::none());
        }
        let patterns: Vec<_> = text.split(',').take(MAX_PATTERNS + 1).map(str::to_owned).collect();
        if patterns.len() > MAX_PATTERNS {
            return Err(invalid(format!("expected {MAX_PATTERNS} patterns at most, found more")));
        }
        for pattern in &patterns {
            if let Some(fault) = fault_of(pattern) {
                let shown = super::fingerprint::quoted(pattern);
                return Err(invalid(format!("the pattern {shown} is not valid: {fault}")));
            }
        }
        Ok(Patterns(patterns))
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOption, message).with_hint(
        "give names of channels with commas between them, `*` for any characters between slashes and `**` for any \
         parts, as in cam0,cam1/**",
    )
}

/// Returns the fault of a pattern, if it has one: a pattern that can match no channel is a mistake to report.
fn fault_of(pattern: &str) -> Option<String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '*');
    if pattern.is_empty() {
        return Some("it is empty".to_owned());
    }
    if pattern.len() > MAX_PATTERN_BYTES {
        return Some(format!("it has {} bytes, {MAX_PATTERN_BYTES} are allowed", pattern.len()));
    }
    if let Some(bad) = pattern.chars().find(|&c| !is_known(c)) {
        return Some(format!("it contains {bad:?}"));
    }
    pattern.split('/').find_map(|part| match part {
        "**" => None,
        _ if part.is_empty() || part.bytes().all(|byte| byte == b'.') => {
            Some("a part between slashes is empty, or only dots".to_owned())
        }
        _ if part.contains("**") => Some("`**` stands for whole parts, as in cam0/**".to_owned()),
        _ => None,
    })
}

/// The core's rule for names.
fn is_channel_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_part = |part: &str| part.bytes().all(is_known) && !part.bytes().all(|byte| byte == b'.');
    name.len() <= MAX_NAME_BYTES && name.split('/').all(is_part)
}

fn pattern_matches(pattern: &str, channel: &str) -> bool {
    let patterns: Vec<_> = pattern.split('/').collect();
    let parts: Vec<_> = channel.split('/').collect();
    wildcard(&patterns, &parts, |pattern| *pattern == "**", |pattern, part| part_matches(pattern, part))
}

fn part_matches(pattern: &str, part: &str) -> bool {
    wildcard(pattern.as_bytes(), part.as_bytes(), |byte| *byte == b'*', |pattern, byte| pattern == byte)
}

/// Returns true if `items` match `pattern`, in which a star matches any number of items.
fn wildcard<P, I>(
    pattern: &[P],
    items: &[I],
    is_star: impl Fn(&P) -> bool,
    is_match: impl Fn(&P, &I) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    // Position to continue from after the last star, and the first item that it does not take.
    let mut retry: Option<(usize, usize)> = None;
    while item < items.len() {
        match pattern.get(at) {
            Some(star) if is_star(star) => {
                at += 1;
                retry = Some((at, item));
            }
            Some(single) if is_match(single, &items[item]) => {
                at += 1;
                item += 1;
            }
            _ => {
                let Some((after, taken)) = retry else { return false };
                (at, item) = (after, taken + 1);
                retry = Some((at, item));
            }
        }
    }
    pattern[at..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(text: &str) -> Patterns {
        text.parse().unwrap()
    }

    /// Matches as the definition does, with every choice tried.
    fn naive(pattern: &[&str], parts: &[&str]) -> bool {
        match (pattern.split_first(), parts.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), None) => naive(rest, parts),
            (Some((&"**", rest)), Some((_, others))) => naive(rest, parts) || naive(pattern, others),
            (Some((first, rest)), Some((part, others))) => {
                naive_part(first.as_bytes(), part.as_bytes()) && naive(rest, others)
            }
            _ => false,
        }
    }

    fn naive_part(pattern: &[u8], part: &[u8]) -> bool {
        match (pattern.split_first(), part.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => naive_part(rest, part),
            (Some((b'*', rest)), Some((_, others))) => naive_part(rest, part) || naive_part(pattern, others),
            (Some((first, rest)), Some((byte, others))) => first == byte && naive_part(rest, others),
            _ => false,
        }
    }

    #[test]
    fn stars_stay_within_a_part_and_double_stars_cross_parts() {
        for (pattern, matched, others) in [
            ("cam0", &["cam0"][..], &["cam1", "cam0/detections", "xcam0", ""][..]),
            ("cam*", &["cam", "cam0", "cam-west"], &["cam0/detections", "acam"]),
            ("cam0/**", &["cam0", "cam0/detections", "cam0/a/b"], &["cam1", "cam00"]),
            ("**", &["a", "a/b/c", "-"], &["", "../a", "a//b", "a b", "/a", "a/"]),
            (
                "**/detections",
                &["detections", "cam0/detections", "a/b/detections"],
                &["cam0", "detections/a"],
            ),
            ("a*b*c/**/z", &["abc/z", "axbxc/y/z", "abbcc/y/y/z"], &["ab/z", "abc", "abcd/z"]),
            ("cam0,hall/*", &["cam0", "hall/1"], &["cam1", "hall", "hall/1/x"]),
        ] {
            let patterns = patterns(pattern);
            assert!(matched.iter().all(|name| patterns.matches(name)), "{pattern}");
            assert!(!others.iter().any(|name| patterns.matches(name)), "{pattern}");
        }
        assert!(patterns("").is_empty() && !patterns("").matches("cam0"));
    }

    #[test]
    fn patterns_that_can_match_nothing_are_told_of() {
        let many = ["a"; 65].join(",");
        let long = "a".repeat(201);
        for text in ["a,,b", ",", "a b", "a//b", "/a", "..", "a/../b", "a**", "***", "ä", &many, &long, "a\n"]
        {
            let error = text.parse::<Patterns>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{text}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_length_times_length() {
        // Trying every choice would take longer than the universe has.
        let part = format!("{}b", "*a".repeat(60));
        let name = "a".repeat(200);
        assert!(!patterns(&part).matches(&name));
        let parts = format!("{}b", "**/a/".repeat(30));
        let name = ["a"; 100].join("/");
        assert!(!patterns(&parts).matches(&name));
    }

    fn pattern_text() -> impl Strategy<Value = String> {
        let part = prop_oneof![3 => "[ab*]{1,5}".prop_filter("one star", |p| !p.contains("**")), 1 => Just("**".to_owned())];
        prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
    }

    proptest! {
        #[test]
        fn matches_agree_with_a_naive_matcher(
            pattern in pattern_text(),
            parts in prop::collection::vec("[ab]{1,4}", 1..5),
        ) {
            let name = parts.join("/");
            let pattern_parts: Vec<_> = pattern.split('/').collect();
            let name_parts: Vec<_> = name.split('/').collect();
            prop_assert_eq!(patterns(&pattern).matches(&name), naive(&pattern_parts, &name_parts));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "[a*./,-]{0,30}") {
            if let Ok(read) = text.parse::<Patterns>() {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }
}
