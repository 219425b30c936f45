//! A key and the certificate that goes with it: read from files, or made.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use framelane::{Error, ErrorKind};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::certificate::{Details, Validity};
use super::fault::certificate_fault;
use super::files;
use super::fingerprint::Fingerprint;
use super::verifier::provider;

/// Clocks differ: what was just made is valid where it is an hour earlier too.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A hundred years: the end date of a certificate has bounds.
const MAX_DAYS: u32 = 36_500;
/// Maximum number of bytes of a common name.
const MAX_NAME_BYTES: usize = 64;

/// Purpose of an identity, which also names its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Offers channels.
    Server,
    /// Connects to servers.
    Client,
    /// Signs the certificates of servers.
    Authority,
}

impl Role {
    /// Every role.
    pub const ALL: &'static [Role] = &[Role::Server, Role::Client, Role::Authority];

    /// Returns the name of the role in file names: `server`, `client` or `ca`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Client => "client",
            Role::Authority => "ca",
        }
    }

    /// Returns the path of its certificate.
    pub fn certificate_file(self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.crt", self.name()))
    }

    /// Returns the path of its key.
    pub fn key_file(self, directory: &Path) -> PathBuf {
        directory.join(format!("{}.key", self.name()))
    }
}

/// A certificate with its key.
///
/// Cloning shares them. `Debug` shows the fingerprint only.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    fingerprint: Fingerprint,
    details: Details,
}

impl Identity {
    /// Reads a certificate (with its intermediates, if it has some) and its key, in PEM. Keys are PKCS#8,
    /// PKCS#1 or SEC1.
    ///
    /// # Errors
    /// When a file cannot be read or others may read the key, a file does not hold what it must, or the key
    /// belongs to another certificate. An expired certificate is an error of
    /// [`Server::bind`](crate::Server::bind), not of this function.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let chain = files::read_public(certificate, "the certificate")?;
        let key_text = files::read_secret(key, "the key")?;
        let damaged = |path: &Path, expected: &str| {
            Error::new(ErrorKind::Damaged, format!("{}: expected {expected} in PEM", path.display()))
                .with_hint("give the right file, or make a new identity with `framelane identity`")
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .ok()
            .filter(|chain: &Vec<_>| !chain.is_empty())
            .ok_or_else(|| damaged(certificate, "a certificate"))?;
        let key_der = PrivateKeyDer::from_pem_slice(key_text.as_bytes())
            .map_err(|_| damaged(key, "a key without a passphrase"))?;
        Self::new(chain, Zeroizing::new(key_der)).map_err(|error| error.context(certificate.display()))
    }

    /// Reads the files of a role in a directory: those that [`IdentityOptions::create`] makes.
    ///
    /// # Errors
    /// As [`Identity::load`]; [`ErrorKind::NotFound`] when they have not been made,
    /// [`ErrorKind::InvalidOption`] when this is no directory.
    pub fn from_directory(directory: &Path, role: Role) -> Result<Self, Error> {
        if directory.is_file() {
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            let name = role.name();
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "expected the folder with {name}.crt and {name}.key, found the file {}",
                    directory.display()
                ),
            )
            .with_hint(format!("give the folder: {}", parent.unwrap_or(Path::new(".")).display())));
        }
        let certificate = role.certificate_file(directory);
        Self::load(&certificate, &role.key_file(directory)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                let argument = if role == Role::Client { " NAME" } else { "" };
                error.with_hint(format!("make it with `framelane identity {}{argument}`", role.name()))
            }
            _ => error,
        })
    }

    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: Zeroizing<PrivateKeyDer<'static>>,
    ) -> Result<Self, Error> {
        let first = chain.first().expect("a chain has a certificate");
        let (fingerprint, details) = (Fingerprint::of(first), Details::read(first)?);
        let certified = CertifiedKey::from_der(chain, key.clone_key(), &provider()).map_err(|error| {
            let found = match error {
                rustls::Error::InconsistentKeys(_) => "the key of another certificate".to_owned(),
                other => other.to_string(),
            };
            Error::new(ErrorKind::Damaged, format!("expected the key of this certificate, found {found}"))
                .with_hint(
                    "give the two files that belong together, or make a new identity with `framelane \
                            identity`",
                )
        })?;
        Ok(Identity { certified: Arc::new(certified), fingerprint, details })
    }

    /// Returns the fingerprint, which identifies this identity to the peer.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// From when to when its certificate is valid.
    pub fn validity(&self) -> Validity {
        self.details.validity
    }

    /// The host names and addresses that its certificate is for; none for a client.
    pub fn names(&self) -> &[String] {
        &self.details.names
    }

    /// Returns the name in its certificate.
    pub fn common_name(&self) -> &str {
        &self.details.common_name
    }

    /// Refuses a certificate that is not valid now, before every peer does.
    pub(super) fn check_valid(&self, whose: &str) -> Result<(), Error> {
        let checked = self.validity().check(UnixTime::now());
        checked.map_err(|error| certificate_fault(whose, &error).into_error(ErrorKind::InvalidOption))
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// Returns the identity of an attacker who copied this certificate, which is public: it has another key.
    #[cfg(test)]
    pub(super) fn stolen_by(&self, other: &Identity) -> Self {
        let certified = CertifiedKey::new(self.certified.cert.clone(), other.certified.key.clone());
        Identity { certified: Arc::new(certified), ..self.clone() }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

/// Options of a new identity.
#[derive(Clone, Debug)]
pub struct IdentityOptions {
    role: Role,
    common_name: String,
    names: Vec<String>,
    days: u32,
    replace: bool,
    signed: bool,
}

impl IdentityOptions {
    /// A certificate for three years that signs itself.
    pub fn new(role: Role, common_name: impl Into<String>) -> Self {
        let common_name = common_name.into();
        IdentityOptions { role, common_name, names: Vec::new(), days: 3 * 365, replace: false, signed: false }
    }

    /// Host names and addresses under which clients reach a server.
    #[must_use]
    pub fn names(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.names = names.into_iter().collect();
        self
    }

    /// For how many days it is valid: 1 to 36500.
    #[must_use]
    pub fn days(mut self, days: u32) -> Self {
        self.days = days;
        self
    }

    /// Replaces an existing identity if true.
    #[must_use]
    pub fn replace(mut self, replace: bool) -> Self {
        self.replace = replace;
        self
    }

    /// Lets the authority in the same directory sign the certificate if true.
    #[must_use]
    pub fn signed_by_authority(mut self, signed: bool) -> Self {
        self.signed = signed;
        self
    }

    /// Makes key and certificate, and writes them to the directory; the key with mode 0600.
    ///
    /// # Errors
    /// When there is one already and it is not to be replaced, an option is outside its range, the authority
    /// is missing, or the files cannot be written.
    pub fn create(&self, directory: &Path) -> Result<Identity, Error> {
        self.check()?;
        let locked = files::lock(directory, true)?;
        let (certificate, key) = (self.role.certificate_file(directory), self.role.key_file(directory));
        if let Some(there) =
            [&key, &certificate].into_iter().find(|path| locked.has(path.file_name().unwrap_or_default()))
            && !self.replace
        {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("expected no identity yet, found {}", there.display()),
            )
            .with_hint(
                "keep it (`framelane identity show`), or replace it with --force: the peers then need the \
                 new fingerprint",
            ));
        }
        let issuer = if self.signed { Some(authority(directory)?) } else { None };
        let now = SystemTime::now();
        let made = self.make(now - CLOCK_TOLERANCE, now + DAY * self.days, issuer.as_ref())?;
        locked.replace(&key, made.key_pem.as_bytes(), 0o600)?;
        locked.replace(&certificate, made.certificate_pem.as_bytes(), 0o644)?;
        Identity::load(&certificate, &key)
    }

    fn check(&self) -> Result<(), Error> {
        if !(1..=MAX_DAYS).contains(&self.days) {
            return Err(invalid(format!("expected 1 to {MAX_DAYS} days, found {}", self.days)));
        }
        if self.role == Role::Client {
            // The name under which servers are asked to allow it.
            super::clients::check_client_name(&self.common_name)?;
        }
        let is_plain = |c: char| !c.is_control();
        if !(1..=MAX_NAME_BYTES).contains(&self.common_name.len()) || !self.common_name.chars().all(is_plain)
        {
            let found = super::fingerprint::quoted(&self.common_name);
            return Err(invalid(format!("expected a name of 1 to {MAX_NAME_BYTES} bytes, found {found}")));
        }
        match self.names.iter().find(|name| ServerName::try_from(name.as_str()).is_err()) {
            None => Ok(()),
            Some(bad) => {
                let found = super::fingerprint::quoted(bad);
                Err(invalid(format!("expected a host name or an address, found {found}")))
            }
        }
    }

    /// Makes them without a file, valid from and until any moment.
    pub(super) fn make(
        &self,
        not_before: SystemTime,
        not_after: SystemTime,
        issuer: Option<&Issuer<'_, KeyPair>>,
    ) -> Result<Made, Error> {
        let failed = |error: rcgen::Error| {
            Error::new(ErrorKind::InternalFailure, format!("a certificate could not be made: {error}"))
                .with_hint("report this, with the options that were given")
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(self.names.clone()).map_err(failed)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name.as_str());
        (params.not_before, params.not_after) = (not_before.into(), not_after.into());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = issuer.is_some();
        match self.role {
            Role::Server => {
                params.is_ca = IsCa::ExplicitNoCa;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }
            Role::Client => {
                params.is_ca = IsCa::ExplicitNoCa;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }
            Role::Authority => {
                // It signs certificates of servers only, no further authorities.
                params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            }
        }
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        let certificate = certificate.map_err(failed)?;
        Ok(Made { certificate_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()) })
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOption, message).with_hint("see `framelane identity --help`")
}

/// A new certificate and its key, in PEM.
pub(super) struct Made {
    pub certificate_pem: String,
    pub key_pem: Zeroizing<String>,
}

impl Made {
    /// The right to sign, of an authority.
    pub fn into_issuer(self) -> Result<Issuer<'static, KeyPair>, Error> {
        let damaged = |error: rcgen::Error| {
            Error::new(
                ErrorKind::Damaged,
                format!("expected an authority's certificate and key, found: {error}"),
            )
            .with_hint("make a new one with `framelane identity ca --force`")
        };
        let key = KeyPair::from_pem(&self.key_pem).map_err(damaged)?;
        Issuer::from_ca_cert_pem(&self.certificate_pem, key).map_err(damaged)
    }
}

fn authority(directory: &Path) -> Result<Issuer<'static, KeyPair>, Error> {
    // Read as an identity first: that checks that the two belong together, and returns the better errors.
    let identity = Identity::from_directory(directory, Role::Authority)?;
    identity.check_valid("the authority's certificate")?;
    let certificate_pem =
        files::read_public(&Role::Authority.certificate_file(directory), "the authority's certificate")?;
    let key_pem = files::read_secret(&Role::Authority.key_file(directory), "the authority's key")?;
    Made { certificate_pem, key_pem }.into_issuer()
}

/// Returns the directory of identities and the clients file: `$FRAMELANE_CONFIG`, else `framelane` in
/// `$XDG_CONFIG_HOME` or `~/.config`.
///
/// Neither creates nor opens anything.
///
/// # Errors
/// [`ErrorKind::InvalidOption`] when none of them is set.
pub fn config_directory() -> Result<PathBuf, Error> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(named) = variable("FRAMELANE_CONFIG") {
        return Ok(named);
    }
    // The base directory specification has relative paths ignored.
    let base = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    base.or_else(|| variable("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("framelane"))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOption,
                "expected a directory for keys in FRAMELANE_CONFIG or HOME, found neither",
            )
            .with_hint("set FRAMELANE_CONFIG to a directory of your own")
        })
}
