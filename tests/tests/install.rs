//! `make install` without its prerequisites.

use std::path::Path;
use std::process::{Command, Output};

fn install(prefix: &Path, parts: &[&str], path: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/install");
    let mut command = Command::new("bash");
    command.arg(script).arg(prefix).args(parts);
    command.env("PATH", path).env("PKG_CONFIG_LIBDIR", "/nonexistent").env_remove("PKG_CONFIG_PATH");
    command.output().unwrap()
}

#[test]
fn install_without_ffmpeg_names_what_is_missing_at_once() {
    let prefix = tempfile::tempdir().unwrap();
    let output = install(prefix.path(), &[], &std::env::var("PATH").unwrap());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for expected in ["libavcodec", "libavdevice", "nothing was installed", "hint:", "scripts/install"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(output.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(std::fs::read_dir(prefix.path()).unwrap().count(), 0);
}

#[test]
fn install_of_an_unknown_part_installs_nothing() {
    let prefix = tempfile::tempdir().unwrap();
    let output = install(prefix.path(), &["library", "commnd"], &std::env::var("PATH").unwrap());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_dir(prefix.path()).unwrap().count(), 0);
}
