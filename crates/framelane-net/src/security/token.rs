//! The secret of a client without a certificate.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use framelane::{Error, ErrorKind};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::files;

/// Variable with a client's token, unless the token is in a file.
pub const TOKEN_VARIABLE: &str = "FRAMELANE_TOKEN";

/// Lets scanners for secrets know one when they see it in a log or a repository.
const PREFIX: &str = "framelane_";
const DIGITS: usize = 64;
const HINT: &str =
    "give the token that `framelane identity token NAME` has printed, in FRAMELANE_TOKEN or a file";

/// A secret that identifies a client: `framelane_` and 64 hexadecimal digits, made by [`Token::generate`].
///
/// It never leaves the machine: links carry a proof of it. `Debug` does not show it, there is no `Display`,
/// and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new token with 256 random bits.
    ///
    /// # Errors
    /// When the system returns no random numbers.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *bytes).map_err(|_| {
            Error::new(ErrorKind::SystemFailure, "cannot make a token: the system returns no random numbers")
                .with_hint("check that this process may call getrandom (a sandbox may forbid it)")
        })?;
        // With room for all of it from the start: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * bytes.len()));
        text.push_str(PREFIX);
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).expect("four bits are one digit"));
            }
        }
        Ok(Token(text))
    }

    /// The token in `$FRAMELANE_TOKEN`; `None` when that is not set, or empty.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] when the variable holds no valid token.
    pub fn from_environment() -> Result<Option<Self>, Error> {
        match std::env::var(TOKEN_VARIABLE) {
            Ok(text) if text.is_empty() => Ok(None),
            Ok(text) => Zeroizing::new(text).parse().map(Some).map_err(|e: Error| e.context(TOKEN_VARIABLE)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(invalid("other characters".to_owned()).context(TOKEN_VARIABLE))
            }
        }
    }

    /// Reads the token from a file that no other user may read; surrounding white space is removed.
    ///
    /// # Errors
    /// When the file is not there, others may read or write to it, or what it holds cannot be a token.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let text = files::read_secret(path, "the token file")?;
        text.parse().map_err(|error: Error| error.context(format!("the token file {}", path.display())))
    }

    /// The secret itself, for the file or the terminal of its user and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl FromStr for Token {
    type Err = Error;

    /// Takes what [`Token::generate`] makes, and nothing else: a password could be guessed from a proof.
    /// Errors do not repeat the text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim_ascii();
        let digits = text.strip_prefix(PREFIX).ok_or_else(|| invalid("another text".to_owned()))?;
        if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid("other characters".to_owned()));
        }
        if digits.len() != DIGITS {
            return Err(invalid(format!("{} digits", digits.len())));
        }
        Ok(Token(Zeroizing::new(text.to_owned())))
    }
}

fn invalid(found: String) -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        format!("expected a token, which is {PREFIX} and {DIGITS} hexadecimal digits, found {found}"),
    )
    .with_hint(HINT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_are_new_each_time_and_read_back() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert!(one.expose().starts_with("framelane_") && one.expose().len() == 74);
        assert_eq!(format!("{}\n", one.expose()).parse::<Token>().unwrap().id(), one.id());
    }

    #[test]
    fn neither_debug_nor_an_error_shows_the_secret() {
        let token = Token::generate().unwrap();
        assert!(!format!("{token:?}").contains(&token.expose()[10..]));
        let spaced = format!("{} secret words", token.expose());
        let long = "secret".repeat(50);
        let short = format!("{PREFIX}{}", "secret".repeat(10));
        for text in ["", "secret", &spaced, &long, &short, "framelane_sécret-that-is-long-enough"] {
            let error = text.parse::<Token>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(!error.to_string().contains("cret"), "{error}");
        }
    }

    #[test]
    fn a_token_file_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let token = Token::generate().unwrap();
        std::fs::write(&path, format!("{}\n", token.expose())).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let error = Token::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.hint().unwrap().contains("chmod 600"), "{error}");
        mode(0o600);
        assert_eq!(Token::from_file(&path).unwrap().expose(), token.expose());
        std::fs::write(&path, "secret words").unwrap();
        assert!(!Token::from_file(&path).unwrap_err().to_string().contains("secret"));
    }
}
