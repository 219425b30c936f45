//! Connects to a server and sends the request.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use framelane::{Error, ErrorKind, Origin};
use framelane_codec::Codec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::fault::Fault;
use crate::messages::{MessageReader, opening, send, unexpected, write_all};
use crate::proto::{ChannelRequest, Direction, Hello, Message, Request, Welcome, violation};
use crate::security::{
    Fingerprint, Identity, Proof, Role, ServerTrust, Token, Transcript, client_config, is_none, nonce,
    tls_error, user,
};
use crate::time::{machine, realtime_ns};
use crate::transport::{END_POLL_INTERVAL, Socket, Tls, Transport};
use crate::url::{Address, LinkOptions, LinkUrl};

/// Time limit for connecting to one address of a host.
const CONNECT: Duration = Duration::from_secs(5);
/// Time limit for everything before the first frame.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A link whose two sides have agreed.
pub(crate) struct Connected {
    pub stream: Arc<dyn Transport>,
    pub messages: MessageReader,
    pub welcome: Welcome,
    pub codec: Codec,
    /// Times of our hello and of the welcome: with its own times, the first sample of the clocks.
    pub times: [u64; 4],
}

/// Connects and agrees. `keep` is called several times a second.
///
/// `last` is the newest frame that this program has received, or sent.
///
/// The request is sent only after the server has authenticated itself: by its certificate (TLS), its user
/// (Unix socket) or the token that both sides know. A `tcp://` server without a token is not authenticated.
pub(crate) fn connect(
    url: &LinkUrl,
    direction: Direction,
    last: Option<Origin>,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Connected, Fault> {
    let options = &url.options;
    let token = match (&url.address, &options.token) {
        // The kernel reports the users of both ends.
        (Address::Unix(_), _) => None,
        (_, Some(token)) => Some(token.clone()),
        (_, None) => Token::from_environment().map_err(Fault::lasting)?,
    };
    let peer = url.address.to_string();
    let Opened { stream, binding, deadline } = open(&url.address, options, keep)?;
    let secure = matches!(url.address, Address::Tls { .. });
    let explain = |fault: Fault| if secure { explain_tls(fault, &peer) } else { fault };
    let mut messages = MessageReader::new();
    if !matches!(url.address, Address::Tcp { .. }) {
        messages.authenticated();
    }

    let token_id = token.as_ref().map(Token::id).unwrap_or_default();
    let client_nonce = nonce().map_err(Fault::passing)?;
    let hello = Message::Hello(Hello { nonce: client_nonce, token_id });
    write_all(&*stream, &opening(&hello), false, &peer, keep).map_err(explain)?;
    let challenge = match messages.expect(&*stream, &peer, deadline, keep).map_err(explain)? {
        Message::Challenge(challenge) => challenge,
        other => return Err(unexpected("CHALLENGE", &other)),
    };
    let transcript = Transcript { client_nonce, server_nonce: challenge.nonce, token_id, binding };
    let token = match token {
        // Its certificate has authenticated it, and it accepts all clients.
        Some(_) if secure && is_none(&challenge.proof) => None,
        Some(token) if token.accepts(&transcript, &challenge.proof) => Some(token),
        Some(_) => return Err(Fault::lasting(no_proof(&url.address, &challenge.proof))),
        None => None,
    };
    if token.is_some() {
        messages.authenticated();
    }

    let last = last.unwrap_or_default();
    let sent_ns = realtime_ns();
    let request = ChannelRequest {
        direction,
        delivery: options.delivery,
        max_milli_fps: options.max_milli_fps(),
        size: options.size.unwrap_or_default(),
        max_payload: options.max_bytes,
        last: (last.epoch, last.sequence),
        sent_ns,
        machine: machine(),
        channel: url.channel.clone(),
        codec: options.codec.to_string(),
    };
    let body = request.encode();
    let proof = token.map(|token| token.prove(&transcript, &body)).unwrap_or_default();
    send(&*stream, &Message::Request(Request { proof, body }), &peer, keep).map_err(explain)?;
    let welcome = match messages.expect(&*stream, &peer, deadline, keep).map_err(explain)? {
        Message::Welcome(welcome) => welcome,
        other => return Err(unexpected("WELCOME", &other)),
    };
    let received_ns = realtime_ns();
    if welcome.codec != request.codec {
        // The user of this process decides which decoder gets payloads of that server.
        return Err(Fault::lasting(violation(format_args!(
            "expected codec {}, found another",
            options.codec
        ))));
    }
    let times = [sent_ns, welcome.received_ns, welcome.sent_ns, received_ns];
    Ok(Connected { stream, messages, welcome, codec: options.codec, times })
}

/// The error for a server that does not know our token.
fn no_proof(address: &Address, proof: &Proof) -> Error {
    let found = if is_none(proof) { "no proof" } else { "a wrong proof" };
    Error::new(
        ErrorKind::PermissionDenied,
        format!("expected {address} to prove that it knows the token of this client, found {found}"),
    )
    .with_hint(
        "check that it is your server, and not another program at its port. For a server without clients \
         (serve --anonymous), unset FRAMELANE_TOKEN or use tls://",
    )
}

/// An open connection.
struct Opened {
    stream: Arc<dyn Transport>,
    /// Of TLS; else zeros.
    binding: [u8; 32],
    /// The end of the handshake.
    deadline: Instant,
}

impl Opened {
    fn plain(socket: Socket) -> Self {
        Opened { stream: Arc::new(socket), binding: [0; 32], deadline: Instant::now() + HANDSHAKE }
    }
}

fn open(
    address: &Address,
    options: &LinkOptions,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Opened, Fault> {
    match address {
        Address::Unix(path) => {
            let socket = Socket::unix(unix(path)?);
            let uid = socket.peer_uid().map_err(|error| {
                Fault::passing(Error::from_io(format!("looking up the user of {address}"), error))
            })?;
            user::check_server(uid, options.server_uid).map_err(Fault::lasting)?;
            Ok(Opened::plain(socket))
        }
        Address::Tcp { host, port } => {
            let found = resolve(host, *port)?;
            if !options.insecure && !found.iter().all(|address| address.ip().is_loopback()) {
                return Err(Fault::lasting(insecure(address)));
            }
            Ok(Opened::plain(tcp(address, &found, keep)?))
        }
        Address::Tls { host, port } => {
            let identity = options
                .certificate
                .as_deref()
                .map(|directory| Identity::from_directory(directory, Role::Client));
            let identity = identity.transpose().map_err(Fault::lasting)?;
            // No certificate has this one: the handshake fails, and the error names the server's fingerprint.
            let nobody = ServerTrust::Fingerprint(Fingerprint::from([0; 32]));
            let trust = options.trust.as_ref().unwrap_or(&nobody);
            let config = client_config(trust, identity.as_ref()).map_err(Fault::lasting)?;
            let name = ServerName::try_from(host.clone()).map_err(|_| {
                Fault::lasting(Error::new(
                    ErrorKind::InvalidOption,
                    format!("expected the name of a host, found {host:?}"),
                ))
            })?;
            let connection = ClientConnection::new(config, name)
                .map_err(|error| Fault::lasting(tls_error(&error, host)))?;
            let socket = tcp(address, &resolve(host, *port)?, keep)?;
            let deadline = Instant::now() + HANDSHAKE;
            let mut ended = None;
            let shaken = Tls::shake_hands(socket, connection.into(), deadline, &mut || {
                ended = keep().err();
                ended.is_none()
            });
            if let Some(fault) = ended {
                return Err(fault);
            }
            let tls = shaken.map_err(|error| {
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    return hung_up(address);
                }
                let fault = explain_tls(Fault::io(host, error), &address.to_string());
                if options.trust.is_none() && fault.error.kind() == ErrorKind::PermissionDenied {
                    return Fault::lasting(unknown_server(address, &fault.error));
                }
                fault
            })?;
            let binding = tls.binding().map_err(|error| Fault::io(host, error))?;
            Ok(Opened { stream: Arc::new(tls), binding, deadline })
        }
    }
}

/// A server that speaks no TLS, or is full, ends the connection without a word that TLS would understand.
fn hung_up(address: &Address) -> Fault {
    Fault::passing(
        Error::new(
            ErrorKind::SystemFailure,
            format!("{address} closed the connection during the TLS handshake"),
        )
        .with_hint(
            "check that the server listens there with tls://, and that it is below its --max-connections",
        ),
    )
}

/// Adds the fault that TLS found, if it is the reason that the connection broke.
fn explain_tls(fault: Fault, peer: &str) -> Fault {
    let source =
        std::error::Error::source(&fault.error).and_then(|source| source.downcast_ref::<io::Error>());
    let Some(io) = source else { return fault };
    if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
        let error = tls_error(io, peer);
        // A server that is not trusted now is not trusted in a second either. Other faults may have been
        // caused by the network.
        let lasts = error.kind() == ErrorKind::PermissionDenied;
        return if lasts { Fault::lasting(error) } else { Fault::passing(error) };
    }
    fault
}

fn unknown_server(address: &Address, found: &Error) -> Error {
    // The fingerprint that was found is named last; the expected one was a placeholder.
    let found = match found.message().rsplit_once("sha256:") {
        Some((_, hash)) => format!("found the fingerprint sha256:{}", hash.trim_end()),
        None => found.message().to_owned(),
    };
    Error::new(
        ErrorKind::PermissionDenied,
        format!("cannot verify {address}: no fingerprint or CA was given, {found}"),
    )
    .with_hint(
        "compare the fingerprint with the output of `framelane identity show` on the server, then pass it \
         (--fingerprint sha256:…, or ?fingerprint= in the URL), or pass the file of an authority (--ca, ?ca=)",
    )
}

/// The error for a link without TLS beyond this machine.
pub(crate) fn insecure(address: &Address) -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        format!("expected TLS beyond this machine, found {address}: every party on the network path could \
                 read and change frames"),
    )
    .with_hint(
        "let the address begin with tls:// (`framelane identity server` makes what it needs), or, in a network that you \
         trust, add --insecure (?insecure=1 in a URL)",
    )
}

fn unix(path: &Path) -> Result<UnixStream, Fault> {
    connect_unix(path).map_err(|error| {
        let error = Error::from_io(format!("connecting to {}", path.display()), error);
        Fault::passing(
            error.with_hint("check that `framelane serve` runs as your user and listens at this path"),
        )
    })
}

/// Connects without waiting: at a socket whose queue is full that would last for as long as its owner likes.
pub(crate) fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// Connects to one address. The outer error is that of `keep`.
fn connect_tcp(
    address: &SocketAddr,
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<io::Result<TcpStream>, Fault> {
    let begin = || {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match net::connect(&socket, address) {
            Err(error) if error != Errno::INPROGRESS => Err(error),
            _ => Ok(socket),
        }
    };
    let socket = match begin() {
        Ok(socket) => socket,
        Err(error) => return Ok(Err(error.into())),
    };
    let deadline = Instant::now() + CONNECT;
    loop {
        keep()?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(io::ErrorKind::TimedOut.into()));
        }
        let nap = Timespec::try_from(left.min(END_POLL_INTERVAL)).expect("a short time");
        match poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&nap)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => break,
            Err(error) => return Ok(Err(error.into())),
        }
    }
    Ok(match net::sockopt::socket_error(&socket) {
        Ok(Ok(())) => Ok(socket.into()),
        Ok(Err(error)) | Err(error) => Err(error.into()),
    })
}

fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = (host, port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => {
            Err(Fault::passing(Error::new(ErrorKind::NotFound, format!("the name {host} has no address"))))
        }
        Err(error) => Err(Fault::passing(
            Error::new(ErrorKind::NotFound, format!("looking up the name {host}: {error}"))
                .with_hint("check the name, and that this machine can look names up"),
        )),
    }
}

fn tcp(
    address: &Address,
    found: &[SocketAddr],
    keep: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<Socket, Fault> {
    let mut last = None;
    for candidate in found {
        match connect_tcp(candidate, keep)?.and_then(Socket::tcp) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = Some(error),
        }
    }
    let error = last.expect("a name has an address");
    Err(Fault::passing(
        Error::from_io(format!("connecting to {address}"), error)
            .with_hint("check that `framelane serve` runs there and that no firewall is in between"),
    ))
}
