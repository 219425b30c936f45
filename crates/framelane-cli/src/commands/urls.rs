//! The kinds of addresses that `send` and `receive` know.

use framelane::{Error, ErrorKind};

/// All of them, each as it is written.
const KNOWN: &[&str] = &["legacy-memory:NAME"];

/// What comes before the first colon: it decides which file goes on.
pub fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

/// The error for an address that no version of this command knows.
pub fn unknown_scheme(url: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("expected an address of a known kind, found {url:?}"))
        .with_remedy(format!("known kinds: {}", KNOWN.join(", ")))
}
