//! The one error type of set-up and I/O, and the table of its kinds.

use std::borrow::Cow;
use std::fmt;

use crate::redact;

/// Declares [`ErrorKind`] from one table: variant, stable number, stable name, meaning.
macro_rules! error_kinds {
    ($($variant:ident = $code:literal, $name:literal, $doc:literal;)*) => {
        /// What went wrong, as a stable number and name that every language shares.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ErrorKind {
            $(#[doc = $doc] $variant = $code,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)*];

            /// The stable number; never reused for another meaning.
            pub fn code(self) -> u32 {
                self as u32
            }

            /// The stable name, in `snake_case`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => $name,)*
                }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => $doc,)*
                }
            }
        }
    };
}

error_kinds! {
    InvalidName = 1, "invalid_name", "The channel's name breaks the rules for names.";
    ChannelBusy = 2, "channel_busy", "Another live publisher holds the channel.";
    NotFound = 3, "not_found", "There is no such channel, file or device.";
    NoSpace = 4, "no_space", "The file system of the channel directory has no room.";
    Permission = 5, "permission", "The operating system refuses access.";
    LayoutVersion = 6, "layout_version", "The channel was made by an incompatible version of the layout.";
    Damaged = 7, "damaged", "A file, a stream or shared memory does not hold what it must.";
    FrameTooLarge = 8, "frame_too_large", "The frame is larger than framelane or its slot allows.";
    InvalidFrame = 9, "invalid_frame", "Size, format, planes and bytes of a frame do not fit together.";
    TooManySubscribers = 10, "too_many_subscribers", "All 64 subscriber records of the channel are taken.";
    TooManyLeases = 11, "too_many_leases", "The subscriber already holds as many frames as it may.";
    NoFreeSlot = 12, "no_free_slot", "Every slot is leased, held or newest.";
    Timeout = 13, "timeout", "The time given has passed.";
    Closed = 14, "closed", "The publisher has closed the channel.";
    Interrupted = 15, "interrupted", "The caller asked to stop waiting.";
    Forked = 16, "forked", "The handle was opened before this process was forked.";
    InvalidOption = 17, "invalid_option", "An option or argument is outside its range.";
    Io = 18, "io", "The operating system reports another error.";
    Internal = 19, "internal", "A fault of framelane itself: please report it.";
    ChannelRemoved = 20, "channel_removed", "Another program removed the files of the channel.";
    Misuse = 21, "misuse", "The program calls an object that cannot be called here.";
}

/// An error with its kind, what was expected and found, and what to do about it.
///
/// `Display` prints the message and, if there is one, the hint in a second sentence. Secrets in URLs are
/// hidden by [`redact::text`](crate::redact::text) when the error is made.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Makes an error; `message` says what was expected and found.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, message: hidden(message.into()), hint: None, source: None }))
    }

    /// Makes an error from an operating-system error met while doing `what`.
    ///
    /// The kind follows from the system's error: not found, permission, no space, else [`ErrorKind::Io`].
    pub fn from_io(what: impl fmt::Display, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Permission,
            std::io::ErrorKind::StorageFull => ErrorKind::NoSpace,
            _ => ErrorKind::Io,
        };
        let mut made = Error::new(kind, format!("{what}: {error}"));
        #[cfg(not(loom))]
        {
            made.0.hint = crate::os::hint(&error).map(str::to_owned);
        }
        made.0.source = Some(Box::new(error));
        made
    }

    /// Whether this process, or the system, has run out of something: that says nothing of what it was met
    /// at.
    #[cfg(not(loom))]
    pub(crate) fn is_exhaustion(&self) -> bool {
        let source = self.0.source.as_ref().and_then(|source| source.downcast_ref());
        source.and_then(crate::os::hint).is_some()
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hidden(hint.into()));
        self
    }

    /// Puts `context` before the message, as in `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = hidden(format!("{context}: {}", self.0.message));
        self
    }

    /// What kind of error it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable number of the kind.
    pub fn code(&self) -> u32 {
        self.0.kind.code()
    }

    /// What was expected and what was found.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, if there is something.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// The text without the secrets of the URLs in it.
fn hidden(text: String) -> String {
    match redact::text(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(hidden) => hidden,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.hint {
            Some(hint) => write!(f, ". Hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {self})", self.0.kind.name())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// The answer of every call on a handle that a fork has carried into a child process.
pub(crate) fn forked(what: &str) -> Error {
    Error::new(
        ErrorKind::Forked,
        format!("this {what} was opened by the parent process, before the fork; a child cannot use it"),
    )
    .with_hint(format!("open the {what} in the child process itself (or start children with spawn)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_of_kinds_are_unique_and_dense() {
        for (index, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(kind.code() as usize, index + 1);
        }
        let names: std::collections::HashSet<_> = ErrorKind::ALL.iter().map(|k| k.name()).collect();
        assert_eq!(names.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn error_with_a_url_hides_its_secrets() {
        let error = Error::new(ErrorKind::Io, "cannot open rtsp://me:secret@host/x")
            .with_hint("try http://host/?token=secret")
            .context("while opening http://secret@host/");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn display_gives_context_message_and_hint() {
        let error = Error::new(ErrorKind::NoSpace, "need 4 bytes, found 2")
            .with_hint("free some")
            .context("channel cam0");
        assert_eq!(error.to_string(), "channel cam0: need 4 bytes, found 2. Hint: free some");
    }
}
