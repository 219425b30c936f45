//! The error type of set-up and I/O, and the table of its kinds.

use std::borrow::Cow;
use std::fmt;

use crate::redact;

/// Declares [`ErrorKind`] from one table: variant, stable number, stable name, meaning, general hint.
macro_rules! error_kinds {
    ($($variant:ident = $code:literal, $name:literal, $doc:literal, $hint:literal;)*) => {
        /// The kind of an error: a stable number and a stable name, the same in every language.
        ///
        /// C has `FRAMELANE_ERROR_` codes, C++ has `Code`, Python has an exception for each kind, with the
        /// same names. `spec/errors.md` lists them all.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ErrorKind {
            $(#[doc = $doc] $variant = $code,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$variant,)*];

            /// The stable number. Never reused for another meaning.
            pub fn code(self) -> u32 {
                self as u32
            }

            /// The stable name, in `snake_case`.
            pub fn name(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => $name,)*
                }
            }

            /// The name of the variant, also used in C++ and Python.
            pub fn type_name(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => stringify!($variant),)*
                }
            }

            /// The meaning, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => $doc,)*
                }
            }

            /// The hint for an error without a specific one.
            pub fn hint(self) -> &'static str {
                match self {
                    $(ErrorKind::$variant => $hint,)*
                }
            }
        }
    };
}

error_kinds! {
    InvalidName = 1, "invalid_name", "The channel name violates the rules for names.",
        "use letters, digits, '.', '_' and '-', with '/' between parts";
    ChannelBusy = 2, "channel_busy", "Another live publisher holds the channel.",
        "end the other publisher, or publish under another name";
    NotFound = 3, "not_found", "The channel, file or device does not exist.",
        "check the name of the file or channel (`framelane list` shows channels)";
    NoSpace = 4, "no_space", "The file system of the channel directory has no space.",
        "free space in the file system of the channel directory (`framelane doctor` names it), or use fewer \
         slots";
    PermissionDenied = 5, "permission_denied", "The operating system or the peer refuses access.",
        "check the owner and mode of the file (`ls -l`), or the access rights at the peer";
    IncompatibleVersion = 6, "incompatible_version", "The channel was made by an incompatible version of \
                                                      the layout.",
        "use the same version of framelane on both sides";
    Damaged = 7, "damaged", "The content of a file, a stream or shared memory is invalid.",
        "check the input with `ffprobe`, or restart the publisher of the channel";
    FrameTooLarge = 8, "frame_too_large", "The frame exceeds a limit, or the size of its slot.",
        "publish smaller frames";
    InvalidFrame = 9, "invalid_frame", "Size, format, planes and bytes of a frame do not match.",
        "check the size and the format of the frames";
    TooManySubscribers = 10, "too_many_subscribers", "All 64 subscriber records of the channel are in use.",
        "end a subscriber (`framelane info CHANNEL` lists them)";
    TooManyLeases = 11, "too_many_leases", "The subscriber holds its maximum number of frames.",
        "drop frames sooner, or give the channel more slots";
    NoFreeSlot = 12, "no_free_slot", "All slots are in use: leased, on loan, or the newest frame.",
        "drop frames sooner, or give the channel more slots";
    Timeout = 13, "timeout", "The timeout has expired.",
        "check that the peer is running, or allow more time";
    ChannelClosed = 14, "channel_closed", "The publisher, or this program, closed the channel.",
        "open the channel again when its publisher has restarted";
    Interrupted = 15, "interrupted", "The caller cancelled the wait.",
        "repeat the call";
    Forked = 16, "forked", "The handle was opened before this process was forked.",
        "open the channel in the child process itself";
    InvalidOption = 17, "invalid_option", "An option or argument is outside its range.",
        "see the documentation of the option, or --help of the command";
    SystemFailure = 18, "system_failure", "The operating system reports another error.",
        "see the operating system's error in the message, or check the channel directory with `framelane \
         doctor`";
    InternalFailure = 19, "internal_failure", "A bug in framelane.",
        "report the message to the developers of framelane";
    ChannelRemoved = 20, "channel_removed", "Another program removed the files of the channel.",
        "start the publisher again";
    Misuse = 21, "misuse", "The program calls an object that cannot be called in this context.",
        "read the documentation of the call";
}

impl fmt::Display for ErrorKind {
    /// Writes the stable name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for ErrorKind {
    type Err = Error;

    /// Parses the stable name.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] for another text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().copied().find(|kind| kind.name() == text);
        found.ok_or_else(|| {
            let message = format!("expected the name of an error kind, found {text:?}");
            Error::new(ErrorKind::InvalidOption, message)
        })
    }
}

/// An error: its kind, its message and a hint.
///
/// `Display` prints the message, and the hint in a second sentence. Secrets in URLs are
/// hidden by [`redact::text`](crate::redact::text) when the error is created.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error. `message` states what was expected and found.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { kind, message: hidden(message.into()), hint: None, source: None }))
    }

    /// Creates an error from an error of the operating system in the operation `what`.
    ///
    /// The kind is [`ErrorKind::NotFound`], [`ErrorKind::PermissionDenied`] or [`ErrorKind::NoSpace`] where
    /// the error is one of these, and [`ErrorKind::SystemFailure`] otherwise.
    pub fn from_io(what: impl fmt::Display, error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            std::io::ErrorKind::StorageFull => ErrorKind::NoSpace,
            _ => ErrorKind::SystemFailure,
        };
        let mut made = Error::new(kind, format!("{what}: {error}"));
        #[cfg(not(loom))]
        {
            made.0.hint = crate::os::hint(&error).map(str::to_owned);
        }
        made.0.source = Some(Box::new(error));
        made
    }

    /// Returns true if this process, or the system, has exhausted a resource. The object of the operation is
    /// then not at fault.
    #[cfg(not(loom))]
    pub(crate) fn is_exhaustion(&self) -> bool {
        let source = self.0.source.as_ref().and_then(|source| source.downcast_ref());
        source.and_then(crate::os::hint).is_some()
    }

    /// Adds a hint.
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

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable number of the kind.
    pub fn code(&self) -> u32 {
        self.0.kind.code()
    }

    /// The message: what was expected, and what was found.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the specific hint of this error. [`Error::advice`] falls back to the hint of the kind.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Returns the hint of this error, or else that of its kind.
    pub fn advice(&self) -> &str {
        self.hint().unwrap_or(self.kind().hint())
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
        write!(f, "{}. Hint: {}", self.0.message, self.advice())
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

/// The error of every call on a handle of the parent process after a fork.
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
    fn error_without_a_hint_has_that_of_its_kind() {
        for &kind in ErrorKind::ALL {
            let error = Error::new(kind, "found a test");
            assert_eq!((error.hint(), error.advice()), (None, kind.hint()));
            assert_eq!(error.to_string(), format!("found a test. Hint: {}", kind.hint()));
            assert!(!kind.hint().is_empty() && !kind.hint().ends_with('.'), "{kind:?}");
            assert_eq!(Error::new(kind, "found").with_hint("own").advice(), "own");
        }
    }

    #[test]
    fn error_with_a_url_hides_its_secrets() {
        let error = Error::new(ErrorKind::SystemFailure, "cannot open rtsp://me:secret@host/x")
            .with_hint("try http://host/?token=secret")
            .context("while opening http://secret@host/");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn display_has_context_message_and_hint() {
        let error = Error::new(ErrorKind::NoSpace, "need 4 bytes, found 2")
            .with_hint("free some")
            .context("channel cam0");
        assert_eq!(error.to_string(), "channel cam0: need 4 bytes, found 2. Hint: free some");
    }
}
