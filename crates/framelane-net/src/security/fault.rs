//! Reasons for failed handshakes, as errors with hints.

use std::io;

use framelane::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError};

use super::certificate::date;
use super::verifier::Distrust;

/// An error of a handshake: rustls's own, or one of reading and writing, which may hold one of rustls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TlsFault<'e> {
    /// A fault that TLS found.
    Tls(&'e rustls::Error),
    /// An error that the system reported.
    Io(&'e io::Error),
}

impl<'e> From<&'e rustls::Error> for TlsFault<'e> {
    fn from(error: &'e rustls::Error) -> Self {
        TlsFault::Tls(error)
    }
}

impl<'e> From<&'e io::Error> for TlsFault<'e> {
    fn from(error: &'e io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(tls) => TlsFault::Tls(tls),
            None => TlsFault::Io(error),
        }
    }
}

/// Returns the error of a client whose connection to `host` failed.
///
/// [`ErrorKind::PermissionDenied`] when one side does not trust the other, [`ErrorKind::SystemFailure`] when
/// they share no version or protocol, or the connection broke.
pub(crate) fn tls_error<'e>(error: impl Into<TlsFault<'e>>, host: &str) -> Error {
    match error.into() {
        TlsFault::Io(error) => broken(error, host),
        TlsFault::Tls(rustls::Error::InvalidCertificate(error)) => {
            let whose = format!("the certificate of {host}");
            certificate_fault(&whose, error).into_error(ErrorKind::PermissionDenied)
        }
        TlsFault::Tls(rustls::Error::AlertReceived(alert)) => client_alert(*alert, host),
        TlsFault::Tls(rustls::Error::InvalidMessage(_)) => Fault::new(
            format!("expected {host} to speak TLS, found something else"),
            "check the port; for a server without TLS, in a network that you trust, the address begins with tcp://",
        )
        .into_error(ErrorKind::SystemFailure),
        TlsFault::Tls(rustls::Error::PeerIncompatible(found)) => no_common_tls(host, &format!("{found:?}")),
        TlsFault::Tls(rustls::Error::NoApplicationProtocol) => another_protocol(host),
        TlsFault::Tls(error) => other(error, host),
    }
}

/// Returns the error of a server for a failed connection of the client at `peer`.
///
/// Kinds as for [`tls_error`].
pub(crate) fn tls_error_of_client<'e>(error: impl Into<TlsFault<'e>>, peer: &str) -> Error {
    match error.into() {
        TlsFault::Io(error) => broken(error, peer),
        TlsFault::Tls(rustls::Error::InvalidCertificate(error)) => {
            certificate_fault(&format!("the certificate of the client at {peer}"), error)
                .into_error(ErrorKind::PermissionDenied)
        }
        TlsFault::Tls(rustls::Error::AlertReceived(alert)) if is_about_certificates(*alert) => Fault::new(
            format!("the client at {peer} does not trust this server's certificate ({alert:?})"),
            "give the client the fingerprint that `framelane identity show` prints here, or the authority that has \
             signed this server's certificate",
        )
        .into_error(ErrorKind::PermissionDenied),
        TlsFault::Tls(rustls::Error::InvalidMessage(_)) => Fault::new(
            format!("expected the client at {peer} to speak TLS, found something else"),
            "on the client, let the address begin with tls://",
        )
        .into_error(ErrorKind::SystemFailure),
        TlsFault::Tls(rustls::Error::PeerIncompatible(found)) => no_common_tls(peer, &format!("{found:?}")),
        TlsFault::Tls(rustls::Error::NoApplicationProtocol) => Fault::new(
            format!("expected the client at {peer} to name the protocol framelane (ALPN), found none or \
                     another"),
            "connect with framelane, or with a program that follows its link protocol",
        )
        .into_error(ErrorKind::SystemFailure),
        TlsFault::Tls(error) => other(error, peer),
    }
}

/// A fault and its hint.
pub(super) struct Fault {
    message: String,
    hint: String,
}

impl Fault {
    fn new(message: String, hint: impl Into<String>) -> Self {
        Fault { message, hint: hint.into() }
    }

    pub fn into_error(self, kind: ErrorKind) -> Error {
        Error::new(kind, self.message).with_hint(self.hint)
    }
}

/// Returns the fault of `whose` certificate.
pub(super) fn certificate_fault(whose: &str, error: &CertificateError) -> Fault {
    let day = |time: &rustls::pki_types::UnixTime| date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
    match error {
        CertificateError::Other(inner) => match inner.0.downcast_ref() {
            Some(Distrust::WrongCertificate { expected, found }) => Fault::new(
                format!("{whose} is not the one that was named: expected {expected}, found {found}"),
                "run `framelane identity show` on the server: if it shows what was found, its certificate was \
                 replaced, and this fingerprint must be passed here; if not, another program answers",
            ),
            Some(Distrust::UnknownAuthority { found }) => Fault::new(
                format!("{whose} ({found}) is signed by no authority in the file that was given"),
                "give the authority that has signed it, or the fingerprint that `framelane identity show` prints on \
                 the server",
            ),
            Some(Distrust::PathTooLong { found }) => Fault::new(
                format!(
                    "{whose} ({found}) is signed by an authority that the given one does not allow: its path length is \
                     limited"
                ),
                "sign the server's certificate with the given authority itself, or give the file of one \
                 that allows more",
            ),
            None => untrusted(whose, error),
        },
        CertificateError::ExpiredContext { time, not_after } => Fault::new(
            format!(
                "{whose} has expired: expected one that is valid on {}, found its end on {}",
                day(time),
                day(not_after)
            ),
            "make a new one there with `framelane identity server --force` (a client's: `framelane identity client \
             NAME --force`); if the first day is wrong, set this machine's clock",
        ),
        CertificateError::NotValidYetContext { time, not_before } => Fault::new(
            format!(
                "{whose} is not valid yet: expected one that is valid on {}, found its beginning on {}",
                day(time),
                day(not_before)
            ),
            "set the clocks of both machines; one of them is wrong",
        ),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> =
                presented.iter().take(10).map(|name| super::fingerprint::quoted(name)).collect();
            Fault::new(
                format!(
                    "{whose} is for other names: expected {}, found {}",
                    expected.to_str(),
                    names.join(", ")
                ),
                format!(
                    "connect under a name that it has, or replace it on the server: `framelane identity server \
                     --ca --name {} --force`",
                    expected.to_str()
                ),
            )
        }
        CertificateError::BadSignature => Fault::new(
            format!("{whose} was shown without proof that its key is there too"),
            "make sure that key and certificate belong together; if they do, another program shows a \
             copied certificate",
        ),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => Fault::new(
            format!("{whose} is for another purpose"),
            "create one with `framelane identity server` for servers, `framelane identity client NAME` for \
             clients",
        ),
        _ => untrusted(whose, error),
    }
}

fn untrusted(whose: &str, error: &CertificateError) -> Fault {
    Fault::new(
        format!("{whose} cannot be trusted: {error}"),
        "make a new one with `framelane identity`, and pass its fingerprint to the peer",
    )
}

fn is_about_certificates(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::CertificateRequired
    )
}

/// Returns the error for an alert of the server.
fn client_alert(alert: AlertDescription, host: &str) -> Error {
    match alert {
        AlertDescription::CertificateExpired => Fault::new(
            format!("{host} refuses this client's certificate: its clock is outside the validity period"),
            "check its dates with `framelane identity show`, and both clocks; make a new one with `framelane \
             identity client NAME --force`",
        )
        .into_error(ErrorKind::PermissionDenied),
        alert if is_about_certificates(alert) => Fault::new(
            format!("{host} refuses this client's certificate ({alert:?})"),
            "make a new one with `framelane identity client NAME --force`, and allow its fingerprint on the \
             server",
        )
        .into_error(ErrorKind::PermissionDenied),
        AlertDescription::ProtocolVersion => no_common_tls(host, "an older version"),
        AlertDescription::NoApplicationProtocol => another_protocol(host),
        alert => Fault::new(format!("{host} ended the handshake ({alert:?})"), "see the log of the peer")
            .into_error(ErrorKind::SystemFailure),
    }
}

fn another_protocol(host: &str) -> Error {
    Fault::new(
        format!("expected {host} to be a framelane server, found a server for something else"),
        "check the address and the port",
    )
    .into_error(ErrorKind::SystemFailure)
}

fn no_common_tls(host: &str, found: &str) -> Error {
    Fault::new(
        format!("expected {host} to speak TLS 1.3, found that it does not ({found})"),
        "check the address, and use a version of framelane that fits on both sides",
    )
    .into_error(ErrorKind::SystemFailure)
}

fn other(error: &rustls::Error, host: &str) -> Error {
    Fault::new(
        format!("the encrypted link to {host} failed: {error}"),
        "connect again; report this if it stays",
    )
    .into_error(ErrorKind::SystemFailure)
}

fn broken(error: &io::Error, host: &str) -> Error {
    use io::ErrorKind as Kind;
    let (found, hint) = match error.kind() {
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => (
            "it was closed",
            "check the log of the peer; it may have no TLS (tcp://), refuse this side, or have ended",
        ),
        Kind::TimedOut | Kind::WouldBlock => {
            ("no answer came in time", "check that a framelane server is at the other end")
        }
        _ => ("the system reported an error", "check the network and the address"),
    };
    Fault::new(format!("expected a TLS handshake with {host}, found that {found}: {error}"), hint)
        .into_error(ErrorKind::SystemFailure)
}
