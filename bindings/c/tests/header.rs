//! The committed header matches the sources.
//!
//! `FRAMELANE_UPDATE=1 cargo test -p framelane-c --test header` updates it.

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
        "\n/* Ignoring an error is a fault of the program. */\n\
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

/// The enumerators of C++, from the one table of kinds.
fn cpp_codes() -> String {
    let mut text = String::new();
    for kind in ErrorKind::ALL {
        let _ = writeln!(text, "  {} = FRAMELANE_ERROR_{},", kind.type_name(), kind.name().to_uppercase());
    }
    text
}

/// The rows of the specification, from the one table of kinds.
fn spec_rows() -> String {
    let mut text = String::new();
    for kind in ErrorKind::ALL {
        let (code, name, hint) = (kind.code(), kind.name(), kind.hint());
        let _ =
            writeln!(text, "| {code} | `{name}` | `{}` | {} | {hint} |", kind.type_name(), kind.meaning());
    }
    text
}

/// Compares what is between two texts of a file with `expected`, or writes it there.
fn compare_part(file: &str, begin: &str, end: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let from = text.find(begin).expect("the beginning") + begin.len();
    let to = from + text[from..].find(end).expect("the end");
    if std::env::var_os("FRAMELANE_UPDATE").is_some() {
        std::fs::write(&path, [&text[..from], expected, &text[to..]].concat()).unwrap();
    } else {
        let stale = "is stale: FRAMELANE_UPDATE=1 cargo test -p framelane-c --test header";
        assert_eq!(&text[from..to], expected, "{file} {stale}");
    }
}

#[test]
fn cpp_codes_match_the_core() {
    compare_part(
        "bindings/cpp/include/framelane/error.hpp",
        "enum class Code : std::uint32_t {\n",
        "};",
        &cpp_codes(),
    );
}

#[test]
fn specified_error_kinds_match_the_core() {
    compare_part("spec/errors.md", "|---|---|---|---|---|\n", "\nNumbers", &spec_rows());
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
