//! `framelane identity`

mod clients;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use framelane::{Error, ErrorKind};
use framelane_net::security::{
    ClientsFile, Identity as KeyAndCertificate, IdentityOptions, Role, config_directory,
};

use self::clients::{Allow, List, Revoke, Token};
use crate::failure::Failure;
use crate::global::Global;
use crate::reporter::Reporter;

/// Limit of X.509 for a common name, in characters.
const MAX_COMMON_NAME: usize = 64;

/// Create keys and certificates; define which clients may connect.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity server                         creates this server's key and certificate
  framelane identity token viewer --read 'cam*'     creates a client's token and prints it once
  framelane identity list                           clients and their channels
  framelane identity revoke viewer                  revokes access, also of open connections
  framelane identity show                           fingerprints and expiry dates

A client can use a certificate instead of a token. This command on the client prints its fingerprint:
  framelane identity client laptop
This command on the server allows it:
  framelane identity allow laptop sha256:1f2e... --read '**'

Patterns are channel names, separated by commas. * matches any characters between slashes, ** any \
number of parts: cam* matches cam0 but not cam0/detections, cam0/** matches both, ** every channel. \
Files are in $FRAMELANE_CONFIG, else in $XDG_CONFIG_HOME/framelane or ~/.config/framelane. A client \
reads its token from $FRAMELANE_TOKEN or a file. It cannot be an argument.")]
pub struct Identity {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create this server's key and certificate
    Server(Server),
    /// Create this client's key and certificate
    Client(Client),
    /// Create an authority that signs servers' certificates, so that clients need no fingerprints
    Ca(Ca),
    /// Allow a client with a new token, which is printed once
    Token(Token),
    /// Allow a client with a certificate
    Allow(Allow),
    /// List the clients and their channels
    List(List),
    /// Revoke a client's access
    Revoke(Revoke),
    /// Show the fingerprints and expiry dates of certificates
    Show(Show),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity server
  framelane identity server --name cams.example.org --name 192.0.2.7
  framelane identity server --ca --force      replaced, signed by `framelane identity ca`")]
struct Server {
    /// Host name or address in the URLs of clients; repeatable [default: this host's name, localhost]
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Validity in days
    #[arg(long, default_value_t = 3 * 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Sign it with the authority from `framelane identity ca`
    #[arg(long)]
    ca: bool,
    /// Replace an existing certificate; clients need the new fingerprint
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity client laptop
  framelane identity client kiosk --out ./kiosk      to copy to another machine")]
struct Client {
    /// The client's name: letters, digits, '.', '_' and '-'
    name: String,
    /// Validity in days
    #[arg(long, default_value_t = 3 * 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Directory for client.crt and client.key [default: that of `framelane identity`]
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Replace an existing certificate; servers need the new fingerprint
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity ca && framelane identity server --ca
Clients need ca.crt, and a URL with a --name of the server's certificate. Keep ca.key secret: it can \
create a certificate for any server.")]
struct Ca {
    /// The authority's name
    #[arg(long, default_value = "framelane authority")]
    name: String,
    /// Validity in days
    #[arg(long, default_value_t = 10 * 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// Replace an existing authority; clients need the new ca.crt
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct Show {}

impl Identity {
    pub fn run(&self, global: &Global) -> Result<ExitCode, Failure> {
        let directory = config_directory()?;
        match &self.action {
            Action::Server(server) => server.run(global, &directory)?,
            Action::Client(client) => client.run(global, &directory)?,
            Action::Ca(ca) => ca.run(global, &directory)?,
            Action::Token(token) => token.run(global, &ClientsFile::in_directory(&directory))?,
            Action::Allow(allow) => allow.run(global, &ClientsFile::in_directory(&directory))?,
            Action::List(list) => list.run(global, &ClientsFile::in_directory(&directory))?,
            Action::Revoke(revoke) => revoke.run(global, &ClientsFile::in_directory(&directory))?,
            Action::Show(show) => show.run(global, &directory)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(serde::Serialize)]
struct Report {
    role: &'static str,
    fingerprint: String,
    common_name: String,
    names: Vec<String>,
    not_before: String,
    not_after: String,
    days_left: i64,
    certificate: PathBuf,
    key: PathBuf,
}

impl Report {
    fn new(role: Role, identity: &KeyAndCertificate, directory: &Path) -> Self {
        let validity = identity.validity();
        Report {
            role: role.name(),
            fingerprint: identity.fingerprint().to_string(),
            common_name: identity.common_name().to_owned(),
            names: identity.names().to_vec(),
            not_before: validity.not_before(),
            not_after: validity.not_after(),
            days_left: validity.days_left(SystemTime::now()),
            certificate: role.certificate_file(directory),
            key: role.key_file(directory),
        }
    }

    fn text(&self) -> String {
        let names = if self.names.is_empty() { self.common_name.clone() } else { self.names.join(", ") };
        let state = match self.days_left {
            ..0 => "expired",
            0..30 => "ends soon",
            _ => "valid",
        };
        format!(
            "{} ({names})\n  fingerprint  {}\n  {state:<11}  until {}\n  certificate  {}\n  key          {}",
            self.role,
            self.fingerprint,
            self.not_after,
            self.certificate.display(),
            self.key.display()
        )
    }

    /// Prints the report, and the next step.
    fn print(&self, global: &Global, next: &str) -> Result<(), Failure> {
        Reporter::new(global.json).result(self, || format!("{}\n\n{next}", self.text()))
    }
}

impl Server {
    fn run(&self, global: &Global, directory: &Path) -> Result<(), Failure> {
        let names = if self.names.is_empty() { default_names() } else { self.names.clone() };
        let common_name: String =
            names.first().into_iter().flat_map(|n| n.chars()).take(MAX_COMMON_NAME).collect();
        let identity = IdentityOptions::new(Role::Server, common_name)
            .names(names)
            .days(self.days)
            .replace(self.force)
            .signed_by_authority(self.ca)
            .create(directory)?;
        let host = identity.names().first().map_or("HOST", String::as_str);
        let address = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let trust = match self.ca {
            true => "ca=ca.crt".to_owned(),
            false => format!("fingerprint={}", identity.fingerprint()),
        };
        let next = format!(
            "Clients connect with\n  'tls://{address}:7420/CHANNEL?{trust}'\nand need a token (`framelane identity \
             token NAME`) or a certificate (`framelane identity allow`)."
        );
        Report::new(Role::Server, &identity, directory).print(global, &next)
    }
}

/// Names that clients on this machine and in a small network use in URLs.
fn default_names() -> Vec<String> {
    let system = rustix::system::uname();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let host = system.nodename().to_str().ok().filter(|name| !name.is_empty() && name.chars().all(is_name));
    let mut names: Vec<_> = host.map(str::to_owned).into_iter().collect();
    names.extend(
        ["localhost", "127.0.0.1", "::1"].iter().filter(|&&name| host != Some(name)).map(ToString::to_string),
    );
    names
}

impl Client {
    fn run(&self, global: &Global, directory: &Path) -> Result<(), Failure> {
        let directory = self.out.as_deref().unwrap_or(directory);
        let identity = IdentityOptions::new(Role::Client, &self.name)
            .days(self.days)
            .replace(self.force)
            .create(directory)?;
        let next = format!(
            "Allow the client, on the server:\n  framelane identity allow {} {} --read '**'\nThen connect with\n  \
             'tls://HOST:7420/CHANNEL?fingerprint=SERVER&certificate={}'",
            self.name,
            identity.fingerprint(),
            directory.display()
        );
        Report::new(Role::Client, &identity, directory).print(global, &next)
    }
}

impl Ca {
    fn run(&self, global: &Global, directory: &Path) -> Result<(), Failure> {
        let identity = IdentityOptions::new(Role::Authority, &self.name)
            .days(self.days)
            .replace(self.force)
            .create(directory)?;
        let next = "Create certificates of servers with\n  framelane identity server --ca\nClients need a copy of \
                    ca.crt, and connect with\n  'tls://HOST:7420/CHANNEL?ca=ca.crt'";
        Report::new(Role::Authority, &identity, directory).print(global, next)
    }
}

#[derive(serde::Serialize)]
struct Identities {
    directory: PathBuf,
    identities: Vec<Report>,
}

impl Show {
    fn run(&self, global: &Global, directory: &Path) -> Result<(), Failure> {
        let mut identities = Vec::new();
        for &role in Role::ALL {
            match KeyAndCertificate::from_directory(directory, role) {
                Ok(identity) => identities.push(Report::new(role, &identity, directory)),
                // A key without its certificate, or the other way round, is a fault.
                Err(error) if error.kind() == ErrorKind::NotFound && !is_begun(directory, role) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if identities.is_empty() {
            let message = format!("expected an identity in {}, found none", directory.display());
            return Err(Error::new(ErrorKind::NotFound, message)
                .with_hint("create one with `framelane identity server` or `framelane identity client NAME`")
                .into());
        }
        let text = identities.iter().map(Report::text).collect::<Vec<_>>().join("\n\n");
        let report = Identities { directory: directory.to_owned(), identities };
        Reporter::new(global.json).result(&report, || text)
    }
}

fn is_begun(directory: &Path, role: Role) -> bool {
    [role.certificate_file(directory), role.key_file(directory)].iter().any(|path| path.exists())
}
