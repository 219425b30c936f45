//! The names of options' values: the same in URLs, commands, JSON and Python.

/// Implements the names of an enum: `name()`, `Display`, and `FromStr` with an error that lists all of them.
macro_rules! names {
    ($type:ty, $what:literal: $($value:ident = $name:literal),+) => {
        impl $type {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The name that [`FromStr`](std::str::FromStr) reads.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name),+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::Error;

            /// Parses the names that [`name`](Self::name) returns.
            ///
            /// # Errors
            /// [`ErrorKind::InvalidOption`](crate::ErrorKind::InvalidOption), which lists the names.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.name() == text).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|value| value.name()).collect();
                    let message = format!("{}: expected {}, found {text:?}", $what, names.join(" or "));
                    crate::Error::new(crate::ErrorKind::InvalidOption, message)
                })
            }
        }
    };
}

pub(crate) use names;

names!(crate::ring::Delivery, "delivery": Newest = "newest", Every = "every");
names!(crate::ring::Backpressure, "backpressure": Drop = "drop", Block = "block");

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Backpressure, Delivery, ErrorKind, Urls};

    fn round<T: std::str::FromStr<Err = crate::Error> + ToString + PartialEq + std::fmt::Debug>(all: &[T]) {
        for value in all {
            assert_eq!(&value.to_string().parse::<T>().unwrap(), value);
        }
        let error = "other".parse::<T>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        for value in all {
            assert!(error.message().contains(&value.to_string()), "{error}");
        }
    }

    #[test]
    fn names_are_parsed_as_they_are_displayed() {
        round(Backpressure::ALL);
        round(Delivery::ALL);
        round(Urls::ALL);
    }
}
