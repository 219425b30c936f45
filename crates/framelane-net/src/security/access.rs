//! Access of clients: the clients file as a server reads it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use framelane::{Error, ErrorKind};

use super::clients::{Client, Credential, parse};
use super::files;
use super::fingerprint::Fingerprint;
use super::patterns::Patterns;
use super::proof::{Proof, TokenId, Transcript, Verifier};
use super::token::Token;

/// A file that was changed more recently may change again without a new time.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Rights of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Grant {
    /// Name of the client in messages and logs.
    pub name: String,
    /// Channels that it may receive.
    pub read: Patterns,
    /// Channels that it may publish.
    pub write: Patterns,
    credential: Credential,
}

impl Grant {
    fn of(client: &Client) -> Self {
        Grant {
            name: client.name.clone(),
            read: client.read.clone(),
            write: client.write.clone(),
            credential: client.credential.clone(),
        }
    }
}

/// The clients of a server, from a file that is read again when it has changed.
///
/// A look at an unchanged file is one system call. When the file is missing or damaged, or other users may
/// write to it, no client has access, not even connected ones, until it is repaired: its last content may
/// grant access that was to be revoked.
#[derive(Debug)]
pub struct AccessList {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None`: to be read again in any case.
    stamp: Option<Stamp>,
    clients: Arc<[Client]>,
}

/// Attributes that identify the file that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    mode: u32,
    owner: u32,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
            owner: metadata.uid(),
        }
    }

    /// Returns true if a later change would show: times have steps, and an inode's number may be used again.
    fn is_settled(metadata: &Metadata) -> bool {
        let changed = metadata.ctime().try_into().map(Duration::from_secs).unwrap_or_default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.checked_sub(changed).is_some_and(|age| age > SETTLED_AFTER)
    }
}

impl AccessList {
    /// Reads the clients file.
    ///
    /// # Errors
    /// When it is missing or damaged, or others may write to it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let state = read(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_hint(
                "add a client with `framelane identity token NAME` or `framelane identity allow NAME \
                 FINGERPRINT`",
            ),
            _ => error,
        })?;
        Ok(AccessList { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// The rights of the client with this token, or with a certificate whose key it has proved to hold.
    ///
    /// A token decides, and must be right, with or without a certificate.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the client is not known. The client may see that error.
    /// [`ErrorKind::Damaged`] when the clients file cannot be used (its path and lines are in the message,
    /// which is for the operator only).
    pub fn authorize(&self, token: Option<&Token>, certificate: Option<Fingerprint>) -> Result<Grant, Error> {
        match token {
            Some(token) => self.grant(|verifier| verifier.is_of(token), token.id()),
            None => self.authorize_certificate(certificate),
        }
    }

    /// The server's proof that it knows a client's token.
    ///
    /// # Errors
    /// As [`AccessList::authorize`].
    pub(crate) fn prove(&self, transcript: &Transcript) -> Result<Proof, Error> {
        let clients = self.clients()?;
        let verifier = verifier_of(&clients, transcript.token_id).ok_or_else(unknown_token)?.1;
        Ok(verifier.prove(transcript))
    }

    /// The rights of the client that has proved to know its token.
    ///
    /// # Errors
    /// As [`AccessList::authorize`].
    pub(crate) fn authorize_proof(
        &self,
        transcript: &Transcript,
        request: &[u8],
        proof: &Proof,
    ) -> Result<Grant, Error> {
        self.grant(|verifier| verifier.accepts(transcript, request, proof), transcript.token_id)
    }

    /// The rights of the client with a certificate.
    ///
    /// # Errors
    /// As [`AccessList::authorize`].
    pub(crate) fn authorize_certificate(&self, certificate: Option<Fingerprint>) -> Result<Grant, Error> {
        let clients = self.clients()?;
        let wanted = certificate.map(Credential::Certificate);
        let found = clients.iter().find(|client| wanted.as_ref() == Some(&client.credential));
        found.map(Grant::of).ok_or_else(|| unknown_certificate(certificate))
    }

    fn grant(&self, check: impl Fn(&Verifier) -> bool, id: TokenId) -> Result<Grant, Error> {
        let clients = self.clients()?;
        let found = verifier_of(&clients, id).filter(|(_, verifier)| check(verifier));
        found.map(|(client, _)| Grant::of(client)).ok_or_else(unknown_token)
    }

    /// Returns true if the client is still there, with the same rights: to be asked now and then while it is
    /// connected.
    pub fn still_allows(&self, grant: &Grant) -> bool {
        self.clients().is_ok_and(|clients| {
            clients.iter().any(|client| {
                client.name == grant.name
                    && client.credential == grant.credential
                    && client.read == grant.read
                    && client.write == grant.write
            })
        })
    }

    fn clients(&self) -> Result<Arc<[Client]>, Error> {
        // A panic elsewhere leaves a state that is whole: it is replaced in one assignment.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if now.is_none() || state.stamp != now {
            match read(&self.path) {
                Ok(fresh) => *state = fresh,
                Err(error) => {
                    state.stamp = None;
                    let hint = error.hint().unwrap_or("mend it, or put it back").to_owned();
                    return Err(Error::new(
                        ErrorKind::Damaged,
                        format!(
                            "no client has access, because the clients file cannot be used: {}",
                            error.message()
                        ),
                    )
                    .with_hint(hint));
                }
            }
        }
        Ok(state.clients.clone())
    }
}

fn read(path: &Path) -> Result<State, Error> {
    let (text, metadata) = files::read_guarded(path, "the clients file")?;
    let clients =
        parse(&text).map_err(|error| error.context(format!("the clients file {}", path.display())))?;
    let stamp = Stamp::is_settled(&metadata).then(|| Stamp::of(&metadata));
    Ok(State { stamp, clients: clients.into() })
}

/// The client whose token has this id. The id is public, so the search may take any time.
fn verifier_of(clients: &[Client], id: TokenId) -> Option<(&Client, &Verifier)> {
    clients.iter().find_map(|client| match &client.credential {
        Credential::Token(verifier) if verifier.id == id => Some((client, &**verifier)),
        _ => None,
    })
}

fn unknown_token() -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        "expected the token of a client that this server knows, found an unknown or revoked one",
    )
    .with_hint("use the token that `framelane identity token NAME` printed on the server, or get a new one")
}

fn unknown_certificate(certificate: Option<Fingerprint>) -> Error {
    let (message, hint) = match certificate {
        Some(certificate) => (
            format!("expected a certificate that this server knows, found {certificate}"),
            format!("on the server, run `framelane identity allow NAME {certificate} --read PATTERNS`"),
        ),
        None => (
            "expected a token or a certificate, found neither".to_owned(),
            "set FRAMELANE_TOKEN, give a token file (--token-file FILE), or the folder of a certificate that the server \
             allows (--certificate DIRECTORY; `framelane identity client NAME` creates one)"
                .to_owned(),
        ),
    };
    Error::new(ErrorKind::PermissionDenied, message).with_hint(hint)
}
