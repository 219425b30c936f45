//! Offering this machine's channels to others.

mod held_channels;
mod limits;
mod listen;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use framelane::{CancelToken, Error, ErrorKind, PublisherOptions, SubscriberOptions};

use crate::budget::{Budget, Quantity};
use crate::coder::{Budgets, Coders};
use crate::link::incoming::ReceiveStatistics;
use crate::link::outgoing::SendStatistics;
use crate::proto::Direction;
use crate::security::{AccessList, Identity, Patterns, server_config};
use crate::turns::Turns;
use crate::url::{Address, LEAST_IDLE_TIMEOUT};

use held_channels::HeldChannels;
use limits::Limits;
use listen::Listener;
use session::Session;

/// The longest wait for a connection between two checks for the end of the server. Also the pause after a
/// failure.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(250);

/// The shortest time between reports of a listener that cannot accept connections. Clients that open and
/// close connections could cause many.
const ACCEPT_REPORT: Duration = Duration::from_secs(60);

/// Access over TCP and TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum Access {
    /// The clients of this list, each with its channels.
    Clients(AccessList),
    /// Anybody.
    Anyone,
}

/// Options of a server.
#[derive(Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Addresses to listen on.
    pub listen: Vec<Address>,
    /// Access of clients.
    pub access: Access,
    /// For TLS.
    pub identity: Option<Identity>,
    /// Channels that may be received, by whomever.
    pub read: Patterns,
    /// Channels that may be sent to.
    pub write: Patterns,
    /// True if TCP without TLS is offered beyond this machine.
    pub insecure: bool,
    /// The channels' directory, as for [`PublisherOptions::directory`].
    pub directory: Option<PathBuf>,
    /// Slots of channels that clients send to.
    pub slots: usize,
    /// Connections in all, and from one address.
    pub max_connections: usize,
    /// Connections of one client. Where the client is not known: of one IPv4 address, or of one IPv6 network
    /// (/64).
    pub max_per_address: usize,
    /// Memory in bytes that clients use in all: shared memory of the channels that they send to, frames that
    /// are encoded or decoded for them, and frames that wait for them. One client may use half of it. Default
    /// 2 GiB.
    pub max_memory: u64,
    /// Encoders in all. Clients that want the same channel, codec and size share one. One client may use half
    /// of them. Default 32.
    pub max_encoders: usize,
    /// Pixels of the frames of all encoders. One client may use half of them, and a coded frame that a client
    /// sends may have half of them. Default 67,108,864, which is two frames of 8192x4096.
    pub max_pixels: u64,
    /// The largest frame that is taken from a client, in bytes.
    pub max_bytes: u64,
    /// Time limit for everything before the first frame.
    pub handshake_timeout: Duration,
    /// A client that sends nothing for this time is disconnected; at least 2 s.
    pub idle_timeout: Duration,
    /// Time for which a channel of a client stays after its connection was lost. The limit of connections, in
    /// all and of one client, also limits such channels; above it the oldest is closed.
    pub reconnect_grace: Duration,
    /// Ends [`Server::run`].
    pub cancel: CancelToken,
}

impl ServerOptions {
    /// Returns options that offer no channel and grant no access yet.
    pub fn new(access: Access) -> Self {
        ServerOptions {
            listen: Vec::new(),
            access,
            identity: None,
            read: Patterns::none(),
            write: Patterns::none(),
            insecure: false,
            directory: None,
            slots: 6,
            max_connections: 256,
            max_per_address: 64,
            max_memory: 2 << 30,
            max_encoders: 32,
            max_pixels: 64 << 20,
            max_bytes: 160 << 20,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            reconnect_grace: Duration::from_secs(30),
            cancel: CancelToken::new(),
        }
    }

    fn publisher(&self) -> PublisherOptions {
        let options = PublisherOptions::new().slots(self.slots);
        match &self.directory {
            Some(directory) => options.directory(directory),
            None => options,
        }
    }

    fn subscriber(&self) -> SubscriberOptions {
        match &self.directory {
            Some(directory) => SubscriberOptions::new().directory(directory),
            None => SubscriberOptions::new(),
        }
    }
}

/// Event of a server. `connection` identifies a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'e> {
    /// A client and a channel have found each other.
    #[non_exhaustive]
    Connected {
        /// Counts connections.
        connection: u64,
        /// Its address.
        peer: &'e str,
        /// Its name in the clients file; `None` for an anonymous client.
        client: Option<&'e str>,
        /// The channel.
        channel: &'e str,
        /// Direction that the client requested.
        direction: Direction,
        /// Codec of the frames.
        codec: String,
    },
    /// A connection with an agreed channel has ended.
    #[non_exhaustive]
    Ended {
        /// Number of the connection.
        connection: u64,
        /// Its address.
        peer: &'e str,
        /// The channel.
        channel: &'e str,
        /// Statistics, if the client received.
        sent: Option<&'e SendStatistics>,
        /// Statistics, if the client sent.
        received: Option<&'e ReceiveStatistics>,
        /// Reason of the end; `None` when the client ended it.
        error: Option<&'e Error>,
    },
    /// A connection was refused or lost before a channel was agreed.
    #[non_exhaustive]
    Refused {
        /// Its address.
        peer: &'e str,
        /// The client's name in the clients file. `None` if the client has not authenticated.
        client: Option<&'e str>,
        /// The cause.
        error: &'e Error,
    },
    /// A listener cannot accept connections, for example because the process has too many open files. It
    /// tries again. Reported at most once a minute for each listener.
    #[non_exhaustive]
    AcceptFailed {
        /// The cause.
        error: &'e Error,
    },
}

impl ServerEvent<'_> {
    fn trace(&self) {
        match self {
            ServerEvent::Connected { peer, client, channel, direction, codec, .. } => {
                tracing::info!(peer, client, channel, ?direction, codec, "client connected");
            }
            ServerEvent::Ended { peer, channel, error: None, .. } => {
                tracing::info!(peer, channel, "client disconnected");
            }
            ServerEvent::Ended { peer, channel, error: Some(error), .. } => {
                tracing::warn!(peer, channel, %error, "client lost");
            }
            ServerEvent::Refused { peer, client, error } => {
                tracing::warn!(peer, client, %error, "client refused");
            }
            ServerEvent::AcceptFailed { error } => tracing::error!(%error, "cannot accept connections"),
        }
    }
}

/// A server that listens already; clients wait until it [runs](Server::run).
pub struct Server {
    options: ServerOptions,
    listeners: Vec<Listener>,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: Limits,
    budgets: Budgets,
    coders: Coders,
    held_channels: HeldChannels,
    turns: Arc<Turns>,
    connections: AtomicU64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// Errors of the system, if an address is not available. [`ErrorKind::PermissionDenied`] for TCP without
    /// TLS beyond this machine, unless `insecure` is set. [`ErrorKind::InvalidOption`] without an address,
    /// for TLS without an identity, and for an idle timeout that is too short.
    pub fn bind(options: ServerOptions) -> Result<Self, Error> {
        if options.listen.is_empty() {
            return Err(Error::new(ErrorKind::InvalidOption, "expected an address to listen on, found none")
                .with_hint("add --listen tls://0.0.0.0:7420"));
        }
        if options.idle_timeout < LEAST_IDLE_TIMEOUT {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!(
                    "expected an idle timeout of {} s or more, found {:?}",
                    LEAST_IDLE_TIMEOUT.as_secs(),
                    options.idle_timeout
                ),
            )
            .with_hint("use a longer timeout: idle clients send a ping once a second"));
        }
        let wants_tls = options.listen.iter().any(|address| matches!(address, Address::Tls { .. }));
        let tls = match (&options.identity, wants_tls) {
            (Some(identity), true) => Some(server_config(identity)?),
            (None, true) => {
                return Err(Error::new(
                    ErrorKind::InvalidOption,
                    "expected a certificate for tls://, found none",
                )
                .with_hint("create one with `framelane identity server`"));
            }
            (_, false) => None,
        };
        let listeners = options.listen.iter().map(|address| Listener::bind(address, options.insecure));
        let listeners = listeners.collect::<Result<_, _>>()?;
        let limits = Limits::new(options.max_connections, options.max_per_address);
        let encoders = options.max_encoders as u64;
        let budgets = Budgets {
            memory: Budget::new(Quantity::Memory, options.max_memory, "serve --max-memory"),
            encoders: Budget::new(Quantity::Encoders, encoders, "serve --max-encoders"),
            pixels: Budget::new(Quantity::Pixels, options.max_pixels, "serve --max-pixels"),
        };
        let (coders, memory) = (Coders::new(budgets.clone()), budgets.memory.clone());
        let held_channels = HeldChannels::new(
            options.reconnect_grace,
            options.max_per_address,
            options.max_connections,
            memory,
        );
        Ok(Server {
            options,
            listeners,
            tls,
            limits,
            budgets,
            coders,
            held_channels,
            turns: Turns::new(),
            connections: AtomicU64::new(1),
        })
    }

    /// Returns the addresses that it listens on, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().map(|listener| &listener.address)
    }

    /// Serves until [`ServerOptions::cancel`] ends it. Then it informs all clients.
    ///
    /// Blocks. `events` and the check of the token are called from several threads, two for each connection.
    pub fn run(&self, events: &(dyn Fn(ServerEvent<'_>) + Sync)) {
        let events: &(dyn Fn(ServerEvent<'_>) + Sync) = &|event| {
            event.trace();
            events(event);
        };
        std::thread::scope(|scope| {
            for listener in &self.listeners {
                scope.spawn(move || {
                    let mut reported: Option<Instant> = None;
                    while !self.options.cancel.ends_wait() {
                        self.held_channels.expire(Instant::now());
                        let guest = match listener.accept(ACCEPT_INTERVAL) {
                            Ok(Some(guest)) => guest,
                            Ok(None) => continue,
                            Err(error) => {
                                if reported.is_none_or(|at| at.elapsed() >= ACCEPT_REPORT) {
                                    reported = Some(Instant::now());
                                    let error = Error::from_io("accepting a connection", error);
                                    events(ServerEvent::AcceptFailed { error: &error });
                                }
                                // The connection is still there: without a pause this would be a busy loop.
                                std::thread::sleep(ACCEPT_INTERVAL);
                                continue;
                            }
                        };
                        let admitted = match self.limits.admit(guest.ip) {
                            Ok(admitted) => admitted,
                            Err(limit) => {
                                let error = Error::new(ErrorKind::TooManySubscribers, limit);
                                session::turn_away(&guest, listener.secure, &error);
                                events(ServerEvent::Refused {
                                    peer: &guest.name,
                                    client: None,
                                    error: &error,
                                });
                                continue;
                            }
                        };
                        let connection = self.connections.fetch_add(1, Ordering::Relaxed);
                        let name = guest.name.clone();
                        let spawned = std::thread::Builder::new().name("link".to_owned()).spawn_scoped(
                            scope,
                            move || {
                                let (peer, counted) = (&guest.name, Mutex::new(admitted));
                                let client = OnceLock::new();
                                let session =
                                    Session { server: self, connection, peer, client, counted, events };
                                session.run(guest.socket, guest.ip, listener.secure);
                            },
                        );
                        if let Err(error) = spawned {
                            let error = Error::from_io("starting a thread for a connection", error);
                            events(ServerEvent::Refused { peer: &name, client: None, error: &error });
                        }
                    }
                });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Hello, Message};

    #[test]
    fn listener_without_descriptors_pauses_and_recovers() {
        // Of the process, of the system, and of the kernel's memory.
        let failures = [libc::ENOMEM, libc::ENOBUFS, libc::EMFILE, libc::ENFILE, libc::EMFILE];
        let mut options = ServerOptions::new(Access::Anyone);
        options.listen = vec!["tcp://127.0.0.1:0".parse().unwrap()];
        let cancel = options.cancel.clone();
        let server = Server::bind(options).unwrap();
        *server.listeners[0].failures.lock().unwrap() = failures.to_vec();
        let Some(&Address::Tcp { port, .. }) = server.addresses().next() else { unreachable!() };
        let (reports, begun) = (Mutex::new(Vec::new()), Instant::now());
        let events = |event: ServerEvent<'_>| {
            if let ServerEvent::AcceptFailed { error } = event {
                reports.lock().unwrap().push(error.to_string());
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| server.run(&events));
            let answer = std::panic::catch_unwind(|| greet(port));
            cancel.cancel();
            answer.unwrap();
        });
        assert!(begun.elapsed() >= ACCEPT_INTERVAL * failures.len() as u32, "a pause after each failure");
        let reports = reports.into_inner().unwrap();
        assert!(reports.len() == 1 && reports[0].contains("ulimit -n"), "{reports:?}");
    }

    /// Connects, and returns when the server answers.
    fn greet(port: u16) {
        use std::io::{Read, Write};

        let mut client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let hello = Message::Hello(Hello { nonce: [7; 32], token_id: [0; 16] });
        client.write_all(&crate::messages::opening(&hello)).unwrap();
        let mut magic = [0; 8];
        client.read_exact(&mut magic).unwrap();
        assert_eq!(magic, crate::proto::MAGIC);
    }
}
