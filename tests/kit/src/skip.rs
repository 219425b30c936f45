//! Tests, or parts of them, that cannot run on this machine.

use std::fmt::Display;
use std::io::Write;

/// Reports that the running test, or a part of it, lacks `need` and is skipped for `reason`.
///
/// `$FRAMELANE_SKIP_LOG` names a file that gets a line for each skip. With `FRAMELANE_REQUIRE_ALL=1` the test
/// fails instead, unless the comma-separated list `$FRAMELANE_MAY_LACK` contains the need.
///
/// # Panics
/// When the test is required, or when the log cannot be written.
#[track_caller]
pub fn skip(need: &str, reason: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    println!("skipped: {test} needs {need}: {reason}");
    if let Some(log) = std::env::var_os("FRAMELANE_SKIP_LOG") {
        let mut log = std::fs::File::options().append(true).create(true).open(log).expect("the log of skips");
        // One write, since tests in other processes append too.
        log.write_all(format!("{need}\t{test}\t{reason}\n").as_bytes()).expect("the log of skips");
    }
    let required = std::env::var("FRAMELANE_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let may_lack = std::env::var("FRAMELANE_MAY_LACK").unwrap_or_default();
    let allowed = may_lack.split(',').any(|allowed| allowed == need);
    assert!(
        !required || allowed,
        "cannot skip {test}: FRAMELANE_REQUIRE_ALL is set; it needs {need}: {reason}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;

    /// Runs the test `skips` with these variables; returns whether it passes, and the log.
    fn outcome(require_all: &str, may_lack: &str) -> (bool, String) {
        let place = Place::new();
        let log = place.path().join("skips");
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["skip::tests::skips", "--exact", "--ignored"])
            .env("FRAMELANE_SKIP_LOG", &log)
            .env("FRAMELANE_REQUIRE_ALL", require_all)
            .env("FRAMELANE_MAY_LACK", may_lack)
            .output()
            .unwrap();
        (test.status.success(), std::fs::read_to_string(log).unwrap())
    }

    #[test]
    fn skip_is_logged_and_fails_when_all_are_required() {
        let log = "moon\tskip::tests::skips\tno such device\n".to_owned();
        assert_eq!(outcome("", ""), (true, log.clone()));
        assert_eq!(outcome("0", ""), (true, log.clone()));
        assert_eq!(outcome("1", "media"), (false, log.clone()));
        assert_eq!(outcome("1", "media,moon"), (true, log));
    }

    #[test]
    #[ignore = "the test above runs it and expects it to skip"]
    fn skips() {
        skip("moon", "no such device");
    }
}
