//! `framelane identity token`, `allow`, `list` and `revoke`: the clients file of this server.

use std::path::{Path, PathBuf};

use framelane::internals::folder::{Folder, NewFile};
use framelane::{Error, ErrorKind};
use framelane_net::security::{Client, ClientsFile, Fingerprint, Patterns, Token as Secret};

use crate::failure::Failure;
use crate::global::Global;
use crate::reporter::Reporter;
use crate::table::columns;

/// Rights of a client.
#[derive(Debug, clap::Args)]
struct Rights {
    /// Channels that the client may receive, as in 'cam*,hall/**' [default: none]
    #[arg(long, value_name = "PATTERNS", default_value = "", hide_default_value = true)]
    read: Patterns,
    /// Channels that the client may send to [default: none]
    #[arg(long, value_name = "PATTERNS", default_value = "", hide_default_value = true)]
    write: Patterns,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity token viewer --read 'cam*'
  framelane identity token camera --write cam0 --out camera.token
On the client, put the token into FRAMELANE_TOKEN, or copy the file. It is never sent: the client \
proves that it knows the token. The server stores keys to check the proof, so the token cannot be \
printed again.")]
pub struct Token {
    /// The client's name on this server
    name: String,
    #[command(flatten)]
    rights: Rights,
    /// Write the token to a new private file, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity allow laptop sha256:1f2e... --read '**'
  framelane identity allow camera sha256:3d4c... --write 'cam0,cam0/*'
`framelane identity client NAME` on the client prints the fingerprint.")]
pub struct Allow {
    /// The client's name on this server
    name: String,
    /// Fingerprint of the client's certificate
    fingerprint: Fingerprint,
    #[command(flatten)]
    rights: Rights,
}

#[derive(Debug, clap::Args)]
pub struct List {}

#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// The client's name in `framelane identity list`
    name: String,
}

#[derive(serde::Serialize)]
struct Report {
    name: String,
    kind: &'static str,
    fingerprint: Option<String>,
    read: String,
    write: String,
    made: String,
}

impl Report {
    fn new(client: &Client) -> Self {
        Report {
            name: client.name.clone(),
            kind: if client.certificate().is_some() { "certificate" } else { "token" },
            fingerprint: client.certificate().map(|fingerprint| fingerprint.to_string()),
            read: client.read.to_string(),
            write: client.write.to_string(),
            made: client.added.clone(),
        }
    }

    /// Returns the rights for people.
    fn rights(&self) -> String {
        let may =
            [("read", &self.read), ("write", &self.write)].into_iter().filter(|(_, what)| !what.is_empty());
        may.map(|(verb, what)| format!("{verb} {what}")).collect::<Vec<_>>().join(" and ")
    }
}

#[derive(serde::Serialize)]
struct TokenReport<'t> {
    #[serde(flatten)]
    client: Report,
    /// The token, unless a file has it.
    token: Option<&'t str>,
    file: Option<&'t Path>,
}

impl Token {
    pub fn run(&self, global: &Global, file: &ClientsFile) -> Result<(), Failure> {
        let token = Secret::generate()?;
        let Rights { read, write } = &self.rights;
        let client = Client::with_token(&self.name, &token, read.clone(), write.clone());
        let out = self.out.as_deref().map(|path| write_new(path, &token)).transpose()?;
        file.add(&client)?;
        let printed = self.print(global, &client, &token);
        if printed.is_err() && out.is_none() {
            // It was not printed, and it cannot be printed again.
            file.revoke(&self.name)?;
        }
        if let Some(out) = out {
            out.keep();
        }
        printed
    }

    fn print(&self, global: &Global, client: &Client, token: &Secret) -> Result<(), Failure> {
        let out = self.out.as_deref();
        let token = out.is_none().then(|| token.expose());
        let report = TokenReport { client: Report::new(client), token, file: out };
        Reporter::new(global.json).result(&report, || match (token, out) {
            // The token alone, for a pipe to a store of secrets.
            (Some(token), _) => token.to_owned(),
            (None, out) => {
                let (client, out) = (&report.client, out.unwrap_or(Path::new("")).display());
                format!("{} may {}; its token is in {out}", client.name, client.rights())
            }
        })
    }
}

/// Writes a token to a new file, which is removed again unless it is kept.
fn write_new(path: &Path, token: &Secret) -> Result<NewFile, Error> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let message = format!("expected a new file, found {}", path.display());
            Error::new(ErrorKind::InvalidOption, message)
                .with_hint("name a file that does not exist, or remove this one")
        }
        _ => Error::from_io(format!("the token file {}", path.display()), error)
            .with_hint("give a file in a directory that you may write to"),
    };
    let (folder, name) = Folder::of(path)?;
    let mut file = folder.new_file(&name, 0o600).map_err(failed)?;
    file.write(token.expose().as_bytes()).and_then(|()| file.write(b"\n")).map_err(failed)?;
    Ok(file)
}

impl Allow {
    pub fn run(&self, global: &Global, file: &ClientsFile) -> Result<(), Failure> {
        let Rights { read, write } = &self.rights;
        let client = Client::with_certificate(&self.name, self.fingerprint, read.clone(), write.clone());
        file.add(&client)?;
        let report = Report::new(&client);
        Reporter::new(global.json).result(&report, || format!("{} may {}", report.name, report.rights()))
    }
}

#[derive(serde::Serialize)]
struct Clients {
    file: PathBuf,
    clients: Vec<Report>,
}

impl List {
    pub fn run(&self, global: &Global, file: &ClientsFile) -> Result<(), Failure> {
        let clients: Vec<_> = file.list()?.iter().map(Report::new).collect();
        let report = Clients { file: file.path().to_owned(), clients };
        Reporter::new(global.json).result(&report, || report.text())
    }
}

impl Clients {
    fn text(&self) -> String {
        if self.clients.is_empty() {
            return "no clients; `framelane identity token NAME --read PATTERNS` adds one".to_owned();
        }
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let heading = ["CLIENT", "SHOWS", "READS", "WRITES", "SINCE", "FINGERPRINT"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(self.clients.iter().map(|client| {
            vec![
                client.name.clone(),
                client.kind.to_owned(),
                or_dash(&client.read),
                or_dash(&client.write),
                client.made.clone(),
                or_dash(client.fingerprint.as_deref().unwrap_or_default()),
            ]
        }));
        columns(&rows)
    }
}

impl Revoke {
    pub fn run(&self, global: &Global, file: &ClientsFile) -> Result<(), Failure> {
        let report = Report::new(&file.revoke(&self.name)?);
        let text = || format!("access of {} revoked, its open connections end", report.name);
        Reporter::new(global.json).result(&report, text)
    }
}
