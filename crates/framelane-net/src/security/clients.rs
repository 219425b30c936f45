//! The clients file: clients that may connect, and their channels.
//!
//! ```text
//! framelane-clients 2
//! # a comment
//! laptop certificate=sha256:HEX read=** write= made=2026-11-25
//! camera token=hmac-sha256:ID:STORED_KEY:SERVER_KEY read= write=hall/* made=2026-11-25
//! ```
//!
//! One client a line, after a first line that names the format. An unknown key is an error: a condition that
//! a later version adds must not be ignored by an earlier one. The keys of a token check its client and prove
//! the server. They are not the token, and still secret: a program that reads them can impersonate this
//! server where there is no TLS.

use std::fmt;
use std::path::{Path, PathBuf};

use framelane::{Error, ErrorKind};

use super::certificate::today;
use super::files;
use super::fingerprint::{Fingerprint, quoted};
use super::patterns::Patterns;
use super::proof::Verifier;
use super::token::Token;

const FIRST_LINE: &str = "framelane-clients 2";
const MAX_NAME_BYTES: usize = 64;
const WHAT: &str = "the clients file";

/// Credential of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// By a token.
    Token(Box<Verifier>),
    /// By a certificate.
    Certificate(Fingerprint),
}

impl Credential {
    fn key(&self) -> &'static str {
        match self {
            Credential::Token(_) => "token",
            Credential::Certificate(_) => "certificate",
        }
    }

    /// The public name of the credential, which no two clients share.
    fn id(&self) -> Vec<u8> {
        match self {
            Credential::Token(verifier) => verifier.id.to_vec(),
            Credential::Certificate(fingerprint) => fingerprint.as_bytes().to_vec(),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Token(verifier) => verifier.fmt(f),
            Credential::Certificate(fingerprint) => fingerprint.fmt(f),
        }
    }
}

/// A client of the clients file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// Name of the client in messages and logs.
    pub name: String,
    /// Channels that it may receive.
    pub read: Patterns,
    /// Channels that it may publish.
    pub write: Patterns,
    /// The day it was added, as in 2026-11-25.
    pub added: String,
    pub(super) credential: Credential,
}

impl Client {
    /// A client with a token, added today.
    pub fn with_token(name: impl Into<String>, token: &Token, read: Patterns, write: Patterns) -> Self {
        Self::new(name.into(), Credential::Token(Box::new(Verifier::of(token))), read, write)
    }

    /// A client that shows a certificate, added today.
    pub fn with_certificate(
        name: impl Into<String>,
        certificate: Fingerprint,
        read: Patterns,
        write: Patterns,
    ) -> Self {
        Self::new(name.into(), Credential::Certificate(certificate), read, write)
    }

    fn new(name: String, credential: Credential, read: Patterns, write: Patterns) -> Self {
        Client { name, read, write, added: today(), credential }
    }

    /// The fingerprint of its certificate; `None` when it has a token.
    pub fn certificate(&self) -> Option<Fingerprint> {
        match self.credential {
            Credential::Certificate(fingerprint) => Some(fingerprint),
            Credential::Token(_) => None,
        }
    }

    fn line(&self) -> String {
        let Client { name, read, write, added, credential } = self;
        format!("{name} {}={} read={read} write={write} made={added}", credential.key(), credential)
    }

    fn check(&self) -> Result<(), Error> {
        check_client_name(&self.name)?;
        if self.read.is_empty() && self.write.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("expected channels that {} may read or write, found none", self.name),
            )
            .with_hint("give --read or --write, as in --read 'cam*'"));
        }
        Ok(())
    }
}

/// Checks what a client may be called, here and by itself.
pub(super) fn check_client_name(name: &str) -> Result<(), Error> {
    if is_client_name(name) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidOption, format!("the client's name {} is not valid", quoted(name)))
        .with_hint("use 1 to 64 letters, digits, '.', '_' and '-'"))
}

fn is_client_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_known)
}

/// Reads the text of a clients file. The error names the invalid line.
pub(super) fn parse(text: &str) -> Result<Vec<Client>, Error> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    match lines.next() {
        Some((_, FIRST_LINE)) => {}
        found => {
            let found = found.map_or("an empty file".to_owned(), |(_, line)| quoted(line));
            return Err(damaged(format!("line 1: expected {FIRST_LINE:?}, found {found}")));
        }
    }
    let mut clients: Vec<Client> = Vec::new();
    // Sets, because a file of a mebibyte has ten thousand lines.
    let (mut names, mut ids) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let client = parse_line(line).map_err(|fault| damaged(format!("line {number}: {fault}")))?;
        if !names.insert(client.name.clone()) {
            return Err(damaged(format!("line {number}: {} is there twice", client.name)));
        }
        if !ids.insert(client.credential.id()) {
            return Err(damaged(format!("line {number}: the {} of another client", client.credential.key())));
        }
        clients.push(client);
    }
    Ok(clients)
}

/// Its errors do not repeat what may be a token, put there by mistake.
fn parse_line(line: &str) -> Result<Client, String> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    if !is_client_name(name) {
        return Err("expected a client's name of 1 to 64 letters, digits, '.', '_' and '-'".to_owned());
    }
    let (mut credential, mut read, mut write, mut made) = (None, None, None, None);
    for word in words {
        let (key, value) =
            word.split_once('=').ok_or("expected KEY=VALUE after the name, found a word without =")?;
        let hash = || {
            value
                .parse::<Fingerprint>()
                .map_err(|_| format!("expected sha256: and 64 hexadecimal digits after {key}="))
        };
        let verifier = || {
            value.parse().map_err(|()| {
                "expected hmac-sha256:ID:STORED_KEY:SERVER_KEY in hexadecimal after token=".to_owned()
            })
        };
        let patterns = || value.parse().map_err(|error: Error| error.message().to_owned());
        let is_new = match key {
            "token" => credential.replace(Credential::Token(Box::new(verifier()?))).is_none(),
            "certificate" => credential.replace(Credential::Certificate(hash()?)).is_none(),
            "read" => read.replace(patterns()?).is_none(),
            "write" => write.replace(patterns()?).is_none(),
            "made" if is_date(value) => made.replace(value.to_owned()).is_none(),
            "made" => return Err(format!("expected a day as in 2026-11-25, found {}", quoted(value))),
            _ => {
                return Err(format!(
                    "expected token, certificate, read, write or made, found {}",
                    quoted(key)
                ));
            }
        };
        if !is_new {
            return Err(format!("expected {key} once (and either a token or a certificate), found it again"));
        }
    }
    let missing = |key: &str| format!("expected {key}=, found none");
    Ok(Client {
        name: name.to_owned(),
        credential: credential.ok_or_else(|| missing("token= or certificate"))?,
        read: read.ok_or_else(|| missing("read"))?,
        write: write.ok_or_else(|| missing("write"))?,
        added: made.ok_or_else(|| missing("made"))?,
    })
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

fn damaged(message: String) -> Error {
    Error::new(ErrorKind::Damaged, message)
        .with_hint("correct or remove that line; `framelane identity token` and `allow` write correct ones")
}

/// The clients file of a server, to read and to change.
///
/// Changes wait for those of other processes, and are put in place in one step. Servers see them with the
/// next client.
#[derive(Clone, Debug)]
pub struct ClientsFile {
    path: PathBuf,
}

impl ClientsFile {
    /// The clients file at this path. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        ClientsFile { path: path.into() }
    }

    /// The clients file in a directory of the configuration.
    pub fn in_directory(directory: &Path) -> Self {
        Self::new(directory.join("clients"))
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All clients, in the order of the file; none when there is no file.
    ///
    /// # Errors
    /// When it cannot be read, others may write to it, or a line is wrong.
    pub fn list(&self) -> Result<Vec<Client>, Error> {
        match self.read() {
            Ok((_, clients)) => Ok(clients),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Adds a client; makes the file, and its directory, if they are missing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] when it may do nothing, its name is not valid or taken, or its
    /// certificate is there; else as [`ClientsFile::list`].
    pub fn add(&self, client: &Client) -> Result<(), Error> {
        client.check()?;
        let directory = files::lock(self.directory(), true)?;
        let (mut text, clients) = match self.read() {
            Err(error) if error.kind() == ErrorKind::NotFound => (format!("{FIRST_LINE}\n"), Vec::new()),
            read => read?,
        };
        let taken = clients
            .iter()
            .find(|other| other.name == client.name || other.credential.id() == client.credential.id());
        if let Some(taken) = taken {
            let found = match taken.name == client.name {
                true => format!("expected a new client, found {} in the clients file", taken.name),
                false => format!("expected a new certificate, found it as that of {}", taken.name),
            };
            return Err(Error::new(ErrorKind::InvalidOption, found).with_hint(format!(
                "choose another name, or run `framelane identity revoke {}` first",
                taken.name
            )));
        }
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&client.line());
        text.push('\n');
        directory.replace(&self.path, text.as_bytes(), 0o600)
    }

    /// Takes a client out; its open connections end when the server looks next.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none of this name; else as [`ClientsFile::list`].
    pub fn revoke(&self, name: &str) -> Result<Client, Error> {
        let unknown = || {
            Error::new(ErrorKind::NotFound, format!("expected a client called {}, found none", quoted(name)))
                .with_hint("see `framelane identity list`")
        };
        if self.path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return Err(unknown());
        }
        let directory = files::lock(self.directory(), false)?;
        let (text, clients) = self.read()?;
        let client = clients.into_iter().find(|client| client.name == name).ok_or_else(unknown)?;
        // Comments, and the order of the others, are the operator's.
        let is_other = |line: &&str| line.split_ascii_whitespace().next() != Some(name);
        let kept: String = text
            .lines()
            .enumerate()
            .filter(|(index, line)| *index == 0 || is_other(line))
            .flat_map(|(_, line)| [line, "\n"])
            .collect();
        directory.replace(&self.path, kept.as_bytes(), 0o600)?;
        Ok(client)
    }

    fn directory(&self) -> &Path {
        self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn read(&self) -> Result<(String, Vec<Client>), Error> {
        let (mut text, _) = files::read_guarded(&self.path, WHAT)?;
        let clients =
            parse(&text).map_err(|error| error.context(format!("{WHAT} {}", self.path.display())))?;
        Ok((std::mem::take(&mut *text), clients))
    }
}
