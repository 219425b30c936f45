//! `framelane serve`

mod log;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind};
use framelane_net::security::{AccessList, ClientsFile, Identity, Patterns, Role, config_directory};
use framelane_net::{Access, Address, Direction, Server, ServerEvent, ServerOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;

use self::log::{Cause, Counted, Line, Log};
use crate::failure::{Failure, json};
use crate::global::Global;
use crate::line_limit::Party;
use crate::parse;
use crate::reporter::Reporter;
use crate::signals::Stop;
use crate::table::{counted, human_bytes};

/// Time for the last lines to be written at the end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Offer this machine's channels to other machines.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  framelane identity server && framelane identity token lab --read '**'
      a certificate for this server, and a token for a client (once)
  framelane serve --listen tls://0.0.0.0:7420
      all channels, to the clients that `framelane identity list` shows
  framelane serve --listen tls://0.0.0.0:7420 --read 'cam*' --write 'cam*/detections'
      limits all clients to these channels; they may send detections
  framelane serve --listen unix:/run/user/1000/framelane.sock
      for this user on this machine, as for containers that share the socket but not /dev/shm
  framelane serve --listen tcp://127.0.0.1:7420 --anonymous
      without TLS and authentication, on this machine only
  framelane serve --listen tcp://0.0.0.0:7420 --anonymous --insecure
      the same for all clients that can reach this machine

On the other machine: framelane receive tls://HOST:7420/cam0 --fingerprint sha256:…
The default port is 7420. One connection carries one channel. A slow receiver skips frames and does \
not slow other receivers. A client whose access is revoked (`framelane identity revoke`) is \
disconnected within a second.")]
pub struct Serve {
    /// Listen at tls://HOST[:7420], tcp://HOST[:7420] or unix:PATH.sock; repeatable
    #[arg(long, value_name = "ADDRESS", required = true)]
    listen: Vec<Address>,
    /// Channels that clients may receive: patterns separated by commas; * within a part, ** over parts
    #[arg(long, default_value = "**", value_name = "PATTERNS")]
    read: Patterns,
    /// Channels that clients may send to
    #[arg(long, default_value = "**", value_name = "PATTERNS")]
    write: Patterns,
    /// Accept all clients, without token or certificate
    #[arg(long)]
    anonymous: bool,
    /// Clients file [default: that of `framelane identity`]
    #[arg(long, value_name = "FILE", conflicts_with = "anonymous")]
    clients: Option<PathBuf>,
    /// Directory with this server's certificate [default: that of `framelane identity server`]
    #[arg(long, value_name = "DIRECTORY")]
    identity: Option<PathBuf>,
    /// Allow tcp:// for other machines; every party on the network can read and change frames
    #[arg(long)]
    insecure: bool,
    /// Slots of channels that clients send to, 2 to 128
    #[arg(long, default_value = "6", value_name = "N", value_parser = clap::value_parser!(u8).range(2..=128))]
    slots: u8,
    /// Limit the connections
    #[arg(long, default_value = "256", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_connections: u32,
    /// Limit the connections of a known client, or of the address (IPv6: /64 network) of an unknown one
    #[arg(long, default_value = "64", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    max_per_address: u32,
    /// Limit the bytes of a frame that a client sends
    #[arg(long, default_value = "167772160", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    max_bytes: u64,
    /// Limit the memory of all clients: channels that they send to, and frames in flight. One client may use
    /// half of it
    #[arg(long, default_value = "2147483648", value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    max_memory: u64,
    /// Limit the encoders of all clients. One client may use half of them. Links of one channel, codec and
    /// size share one
    #[arg(long, default_value = "32", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_encoders: u32,
    /// Limit the pixels of the frames in all encoders. One client may use half, and send coded frames up to
    /// half
    #[arg(long, default_value = "67108864", value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_pixels: u64,
    /// Limit the time for a client's authentication and request
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = parse::seconds)]
    handshake_timeout: Duration,
    /// Disconnect a client that sends nothing for this time, 2 or more
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = parse::seconds)]
    idle_timeout: Duration,
    /// Keep a channel open this long for a client that lost its connection
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
        /// Skipped at the source, or missed on the path to here.
        skipped: u64,
        bytes: u64,
        reason: Option<String>,
    },
    Refused {
        peer: &'e str,
        client: Option<&'e str>,
        reason: String,
    },
    AcceptFailed {
        reason: String,
    },
    Stopped,
}

impl Serve {
    /// Returns the contradiction among the options, if there is one.
    pub fn conflict(&self) -> Option<String> {
        // Port 0 is another port each time.
        let is_fixed = |address: &Address| match address {
            Address::Tls { port, .. } | Address::Tcp { port, .. } => *port != 0,
            _ => true,
        };
        let mut earlier = self.listen.iter().enumerate().filter(|(_, address)| is_fixed(address));
        if let Some((_, address)) = earlier.find(|(index, address)| self.listen[..*index].contains(address)) {
            return Some(format!("expected each address once, found --listen {address} twice"));
        }
        let has = |kind: fn(&Address) -> bool| self.listen.iter().any(kind);
        let has_tls = has(|address| matches!(address, Address::Tls { .. }));
        let has_tcp = has(|address| matches!(address, Address::Tcp { .. }));
        let of_clients = "tls:// or tcp://: clients of unix: are known by their user";
        [
            ("clients", self.clients.is_some() && !has_tls && !has_tcp, of_clients),
            ("identity", self.identity.is_some() && !has_tls, "tls://"),
            ("insecure", self.insecure && !has_tcp, "tcp://"),
        ]
        .into_iter()
        .find(|(_, is_idle, _)| *is_idle)
        .map(|(option, _, schemes)| format!("--{option} needs a --listen address with {schemes}"))
    }

    pub fn run(&self, global: &Global, stop: &Stop) -> Result<ExitCode, Failure> {
        let (mut options, fingerprint) = self.options(global)?;
        options.cancel = stop.token();
        allow_files();
        let server = Server::bind(options)?;
        let reporter = Reporter::new(global.json);
        for address in server.addresses() {
            let fingerprint = fingerprint.clone().filter(|_| matches!(address, Address::Tls { .. }));
            let shown =
                fingerprint.as_ref().map_or_else(String::new, |shown| format!(", fingerprint {shown}"));
            reporter.event(
                &Event::Listening { address: address.to_string(), fingerprint },
                &format!("listening on {address}{shown}"),
            )?;
        }
        let (log, writer) = Log::new(reporter.clone());
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
        server.run(&|event| log_event(&log, global.json, &event));
        log.finish();
        drop(log);
        // A blocked output does not block the end.
        let _ = has_ended.recv_timeout(LAST_WORDS);
        reporter.json(&Event::Stopped)?;
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
                    "add a client with `framelane identity token NAME --read '**'`, or accept all clients with \
                     --anonymous",
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

/// Raises the limit of open files to its maximum. A connection needs three or four, and so does a channel
/// that waits for its sender to reconnect. The usual limit is 1024.
fn allow_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn log_event(log: &Log, as_json: bool, event: &ServerEvent<'_>) {
    let cause = match event {
        ServerEvent::Refused { peer, client, .. } => Cause::Refusal(Party::of(*client, peer)),
        ServerEvent::Connected { connection, peer, client, .. } => {
            Cause::Connection { number: *connection, party: Party::of(*client, peer) }
        }
        ServerEvent::Ended { connection, .. } => Cause::End { number: *connection },
        _ => Cause::Server,
    };
    let who = |client: &Option<&str>, peer: &str| match client {
        Some(client) => format!("{client} ({peer})"),
        None => peer.to_owned(),
    };
    let (text, event) = match event {
        ServerEvent::Connected { connection, peer, client, channel, direction, codec, .. } => {
            let (direction, verb) = match direction {
                Direction::Receive => ("receives", "receives"),
                Direction::Send => ("sends", "sends to"),
            };
            (
                format!("#{connection} {} {verb} {channel} ({codec})", who(client, peer)),
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
        ServerEvent::Ended { connection, peer, channel, sent, received, error, .. } => {
            let (frames, skipped, bytes) = match (sent, received) {
                (Some(sent), _) => (sent.frames, sent.skipped, sent.bytes),
                (None, Some(received)) => (received.frames, received.missed, received.bytes),
                (None, None) => (0, 0, 0),
            };
            let reason = error.map(ToString::to_string);
            let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            let count = counted(frames, "frame");
            (
                format!(
                    "#{connection} {channel} ended after {count} ({}), {skipped} skipped{why}",
                    human_bytes(bytes)
                ),
                Event::Ended { connection: *connection, peer, channel, frames, skipped, bytes, reason },
            )
        }
        ServerEvent::Refused { peer, client, error, .. } => (
            format!("{} refused: {error}", who(client, peer)),
            Event::Refused { peer, client: *client, reason: error.to_string() },
        ),
        ServerEvent::AcceptFailed { error, .. } => {
            (format!("cannot accept connections: {error}"), Event::AcceptFailed { reason: error.to_string() })
        }
        _ => return,
    };
    log.log(Line { text, json: as_json.then(|| json(&event)), cause });
}
