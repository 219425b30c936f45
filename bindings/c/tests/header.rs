//! The committed header is the one that the sources give.
//!
//! `FRAMELANE_UPDATE=1 cargo test -p framelane-c --test header` writes it anew.

use std::fmt::Write;
use std::path::Path;

use framelane::ErrorKind;

/// The codes, from the one table of kinds.
fn error_codes() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!("\n/** The version of this header. */\n#define FRAMELANE_VERSION \"{version}\"\n");
    text.push_str("\n/* Why a call failed; the numbers and names never change their meaning. */\n");
    for kind in ErrorKind::ALL {
        let name = kind.name().to_uppercase();
        let _ = writeln!(text, "/** {} */\n#define FRAMELANE_ERROR_{name} {}", kind.meaning(), kind.code());
    }
    text.push_str(
        "\n/* An error that nobody looks at is a fault of the program. */\n\
         #if defined(__GNUC__)\n#define FRAMELANE_MUST_USE __attribute__((warn_unused_result))\n\
         #else\n#define FRAMELANE_MUST_USE\n#endif\n\n\
         /* INT64_MIN, which no literal can say in one. */\n\
         #define FRAMELANE_NO_PTS INT64_MIN\n",
    );
    text
}

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    config.after_includes = Some(error_codes());
    config.export.exclude.push("FRAMELANE_NO_PTS".to_owned());
    let mut header = Vec::new();
    cbindgen::Builder::new().with_crate(root).with_config(config).generate().unwrap().write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_committed_header_is_the_one_that_the_sources_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/framelane.h");
    let header = generated();
    if std::env::var_os("FRAMELANE_UPDATE").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == header,
        "include/framelane.h is stale: FRAMELANE_UPDATE=1 cargo test -p framelane-c --test header"
    );
}
