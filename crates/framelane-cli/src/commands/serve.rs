//! `framelane serve`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};
use framelane_net::security::{AccessList, ClientsFile, Identity, Patterns, Role, config_directory};
use framelane_net::{Access, Address, Server, ServerEvent, ServerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use super::refusals::Network;
use super::serve_log::{Counted, Line, Log};
use crate::Global;
use crate::failure::{Failure, json, print_json};
use crate::notes::Notes;
use crate::parse;
use crate::signals::Stop;
use crate::table::{counted, human_bytes};

/// How long the last lines may take to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Offer this machine's channels to others.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity server && framelane identity token lab --read '**'
      a certificate for this server, and a token for a client (once)
  framelane serve --listen tls://0.0.0.0:7420
      all channels, to the clients that `framelane identity list` shows
  framelane serve --listen tls://0.0.0.0:7420 --read 'cam*' --write 'cam*/detections'
      only some, whatever the clients may; detections may come back
  framelane serve --listen unix:/run/user/1000/framelane.sock
      for this user on this machine: containers that share the socket and not /dev/shm
  framelane serve --listen tcp://127.0.0.1:7420 --anonymous
      without TLS and without names, on this machine only
  framelane serve --listen tcp://0.0.0.0:7420 --anonymous --insecure
      the same for everybody who can reach this machine

On the other machine: framelane receive tls://HOST:7420/cam0 --fingerprint sha256:…
The port is 7420 unless another is named. One connection carries one channel; a receiver that is
slower than the channel gets the newest frame each time, and slows nobody else. A client that is
revoked (`framelane identity revoke`) is disconnected within a second.")]
pub struct Serve {
    /// Where to listen: tls://HOST[:7420], tcp://HOST[:7420] or unix:PATH.sock; may be given several times
    #[arg(long, value_name = "ADDRESS", required = true)]
    listen: Vec<Address>,
    /// Channels that may be received: patterns with commas between them; * within a part, ** over parts
    #[arg(long, default_value = "**", value_name = "PATTERNS")]
    read: Patterns,
    /// Channels that may be sent to
    #[arg(long, default_value = "**", value_name = "PATTERNS")]
    write: Patterns,
    /// Let anybody in who can connect, with no token or certificate
    #[arg(long)]
    anonymous: bool,
    /// The file of clients [default: that of `framelane identity`]
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous")]
    clients: Option<PathBuf>,
    /// The folder with this server's certificate [default: that of `framelane identity server`]
    #[arg(long, value_name = "DIRECTORY")]
    identity: Option<PathBuf>,
    /// Offer tcp:// beyond this machine: everybody on the way can read and change frames
    #[arg(long)]
    insecure: bool,
    /// Slots of channels that clients send to, 2 to 128
    #[arg(long, default_value = "6", value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    slots: u8,
    /// Connections at a time
    #[arg(long, default_value = "256", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_connections: u32,
    /// Connections at a time of one client, or of one address or IPv6 network (/64) whose client is not known
    #[arg(long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_per_address: u32,
    /// The largest frame that clients may send
    #[arg(long, default_value = "167772160", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    max_bytes: u64,
    /// Memory for all clients: channels that they send to, and frames on their way. One client may use half
    /// of it
    #[arg(long, default_value = "2147483648", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_memory: u64,
    /// Encoders for all clients. One client may use half of them; links of one channel, codec and size share
    /// one
    #[arg(long, default_value = "32", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_encoders: u32,
    /// Pixels of the frames of all encoders. One client may use half, and send coded frames of half
    #[arg(long, default_value = "67108864", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_pixels: u64,
    /// How long a client may take to say who it is and what it wants
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = parse::seconds)]
    handshake_timeout: Duration,
    /// Disconnect a client that sends nothing for so many seconds, 2 or more
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = parse::seconds)]
    idle_timeout: Duration,
    /// How long a channel that a client has sent to stays open after its connection was lost
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = parse::seconds)]
    reconnect_grace: Duration,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'e> {
    Listening {
        address: String,
        fingerprint: Option<String>,
    },
    Connected {
        connection: u64,
        peer: &'e str,
        client: Option<&'e str>,
        channel: &'e str,
        direction: &'static str,
        codec: &'e str,
    },
    Ended {
        connection: u64,
        peer: &'e str,
        channel: &'e str,
        frames: u64,
        /// Left out at the source, or missed on the way here.
        skipped: u64,
        bytes: u64,
        reason: Option<String>,
    },
    Refused {
        peer: &'e str,
        reason: String,
    },
    AcceptFailed {
        reason: String,
    },
    Stopped,
}

impl Serve {
    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let (options, fingerprint) = self.options(global)?;
        allow_files();
        let server = Server::bind(options)?;
        let notes = Notes::new(global.json);
        for address in server.addresses() {
            let fingerprint = fingerprint.clone().filter(|_| matches!(address, Address::Tls { .. }));
            let shown =
                fingerprint.as_ref().map_or_else(String::new, |shown| format!(", fingerprint {shown}"));
            notes.say(&format!("listening on {address}{shown}"));
            if global.json {
                print_json(&Event::Listening { address: address.to_string(), fingerprint })?;
            }
        }
        let (log, writer) = Log::new(notes, global.json);
        let log = Arc::new(log);
        let weak = Arc::downgrade(&log);
        let (ended, has_ended) = std::sync::mpsc::channel();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                writer
                    .run(&|| weak.upgrade().map_or_else(Counted::default, |log| log.counted(Instant::now())));
                let _ = ended.send(());
            })
            .map_err(|error| Error::from_io("starting the thread of the log", error))?;
        server.run(&|event| tell(&log, global.json, &event), &|| !stop.is_set());
        log.finish();
        drop(log);
        // Unless nobody takes the output any more.
        let _ = has_ended.recv_timeout(LAST_WORDS);
        if global.json {
            print_json(&Event::Stopped)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn options(&self, global: &Global) -> Result<(ServerOptions, Option<String>), Error> {
        let tls = self.listen.iter().any(|address| matches!(address, Address::Tls { .. }));
        let identity = if tls {
            let directory = self.identity.clone().map_or_else(config_directory, Ok)?;
            Some(Identity::from_directory(&directory, Role::Server)?)
        } else {
            None
        };
        let fingerprint = identity.as_ref().map(|identity| identity.fingerprint().to_string());
        let needs_clients = self.listen.iter().any(|address| !matches!(address, Address::Unix(_)));
        let access = if self.anonymous || !needs_clients {
            Access::Anyone
        } else {
            let path = match &self.clients {
                Some(path) => path.clone(),
                None => ClientsFile::in_directory(&config_directory()?).path().to_owned(),
            };
            Access::Clients(AccessList::load(&path).map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::new(error.kind(), error.message()).with_hint(
                    "add a client with `framelane identity token NAME --read '**'`, or let anybody in with --anonymous",
                ),
                _ => error,
            })?)
        };
        let mut options = ServerOptions::new(access);
        options.listen.clone_from(&self.listen);
        options.identity = identity;
        options.read = self.read.clone();
        options.write = self.write.clone();
        options.insecure = self.insecure;
        options.directory.clone_from(&global.dir);
        options.slots = self.slots.into();
        options.max_connections = self.max_connections as usize;
        options.max_per_address = self.max_per_address as usize;
        options.max_bytes = self.max_bytes;
        options.max_memory = self.max_memory;
        options.max_encoders = self.max_encoders as usize;
        options.max_pixels = self.max_pixels;
        options.handshake_timeout = self.handshake_timeout;
        options.idle_timeout = self.idle_timeout;
        options.reconnect_grace = self.reconnect_grace;
        Ok((options, fingerprint))
    }
}

/// Lets us open as many files as we may. A connection takes three or four, and so does a channel that waits
/// for its sender to come again: more than the 1024 that a process is usually given first.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn tell(log: &Log, as_json: bool, event: &ServerEvent<'_>) {
    let refused = match event {
        ServerEvent::Refused { peer, .. } => Some(Network::of(peer)),
        _ => None,
    };
    let (text, event) = match event {
        ServerEvent::Connected { connection, peer, client, channel, role, codec } => {
            let who = client.map_or_else(|| (*peer).to_owned(), |client| format!("{client} ({peer})"));
            let (direction, verb) = match role {
                framelane_net::Role::Receives => ("receives", "receives"),
                framelane_net::Role::Sends => ("sends", "sends to"),
            };
            (
                format!("#{connection} {who} {verb} {channel} ({codec})"),
                Event::Connected {
                    connection: *connection,
                    peer,
                    client: *client,
                    channel,
                    direction,
                    codec,
                },
            )
        }
        ServerEvent::Ended { connection, peer, channel, sent, received, error } => {
            let (frames, skipped, bytes) = match (sent, received) {
                (Some(sent), _) => (sent.frames, sent.skipped, sent.bytes),
                (None, Some(received)) => (received.frames, received.missed, received.bytes),
                (None, None) => (0, 0, 0),
            };
            let reason = error.map(ToString::to_string);
            let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let count = counted(usize::try_from(frames).unwrap_or(usize::MAX), "frame");
            (
                format!(
                    "#{connection} {channel} ended after {count} ({}), {skipped} left out{why}",
                    human_bytes(bytes)
                ),
                Event::Ended { connection: *connection, peer, channel, frames, skipped, bytes, reason },
            )
        }
        ServerEvent::Refused { peer, error } => {
            (format!("{peer} refused: {error}"), Event::Refused { peer, reason: error.to_string() })
        }
        ServerEvent::AcceptFailed { error } => {
            (format!("nobody can come in: {error}"), Event::AcceptFailed { reason: error.to_string() })
        }
        _ => return,
    };
    log.tell(Line { text, json: as_json.then(|| json(&event)), refused });
}
