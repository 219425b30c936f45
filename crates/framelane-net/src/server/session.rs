//! One connection of a client.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Delivery, Error, ErrorKind, Origin};
use framelane_codec::{Codec, Decoder};
use rustls::ServerConnection;

use super::held_channels::Claim;
use super::limits::{Counted, network_of};
use super::listen::Guest;
use super::{Access, Server, ServerEvent};
use crate::coder::{Member, Wanted};
use crate::fault::Fault;
use crate::incoming::{self, ReceiveStatistics, Receiving};
use crate::messages::{MessageReader, opening, unexpected, write_all};
use crate::outgoing::{self, Means, SendStatistics, Terms};
use crate::proto::{Challenge, ChannelRequest, Direction, Message, Refusal, Request, Sink, Welcome};
use crate::remote::backpressure_of;
use crate::resume::known;
use crate::security::{
    AccessList, Fingerprint, Grant, Transcript, is_none, nonce, peer_fingerprint, tls_error_of_client, user,
};
use crate::time::{machine, realtime_ns};
use crate::transport::{END_POLL_INTERVAL, Socket, Tls, Transport};

/// How often it is looked whether a client is still allowed what it does.
const ACCESS_CHECK: Duration = Duration::from_secs(1);

pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) connection: u64,
    pub(super) peer: &'a str,
    /// The client's name in the clients file, once it has proved it.
    pub(super) client: OnceLock<String>,
    pub(super) counted: Mutex<Counted<'a>>,
    pub(super) events: &'a (dyn Fn(ServerEvent<'_>) + Sync),
    pub(super) keep: &'a (dyn Fn() -> bool + Sync),
}

/// Who the client is, and what it wants.
struct Agreed {
    stream: Arc<dyn Transport>,
    messages: MessageReader,
    request: ChannelRequest,
    request_received_ns: u64,
    codec: Codec,
    /// `None`: anybody.
    grant: Option<Grant>,
    /// Connections of the same client are the same owner.
    owner: String,
    /// The name that limits are counted for: the client, or its network.
    account: String,
}

/// An open connection whose client has not proved who it is.
struct Opened {
    stream: Arc<dyn Transport>,
    certificate: Option<Fingerprint>,
    /// Of TLS; else zeros.
    binding: [u8; 32],
}

/// Tells a connection that there is no room for it, without waiting.
pub(super) fn turn_away(guest: &Guest, secure: bool, error: &Error) {
    // Inside TLS it would take a handshake, which is what there is no room for.
    if !secure {
        let bytes = opening(&Message::Refused(Refusal::of(error, true)));
        let _ = guest.socket.write(&bytes, false, Duration::ZERO);
    }
    guest.socket.shut();
}

impl<'a> Session<'a> {
    pub(super) fn run(&self, socket: Socket, ip: Option<IpAddr>, secure: bool) {
        let agreed = match self.agree(socket, ip, secure) {
            Ok(agreed) => agreed,
            Err(fault) => {
                self.refused(&fault.error);
                return;
            }
        };
        let result = match agreed.request.direction {
            Direction::Receive => self.send_frames(agreed),
            Direction::Send => self.receive_frames(agreed),
        };
        if let Err(fault) = result {
            self.refused(&fault.error);
        }
    }

    fn refused(&self, error: &Error) {
        let client = self.client.get().map(String::as_str);
        (self.events)(ServerEvent::Refused { peer: self.peer, client, error });
    }

    fn go_on(&self) -> Result<(), Fault> {
        if (self.keep)() {
            Ok(())
        } else {
            Err(Fault::passing(Error::new(ErrorKind::ChannelClosed, "the server is shutting down")))
        }
    }

    fn agree(&self, socket: Socket, ip: Option<IpAddr>, secure: bool) -> Result<Agreed, Fault> {
        let deadline = Instant::now() + self.server.options.handshake_timeout;
        let opened = self.open(socket, ip, secure, deadline)?;
        let stream = opened.stream.clone();
        // The first message of this side begins with the magic bytes.
        let mut begun = false;
        self.shake_hands(opened, ip, deadline, &mut begun)
            .inspect_err(|fault| self.refuse(&*stream, fault, begun))
    }

    fn open(
        &self,
        socket: Socket,
        ip: Option<IpAddr>,
        secure: bool,
        deadline: Instant,
    ) -> Result<Opened, Fault> {
        if !secure {
            let allowed = match ip {
                Some(_) => Ok(()),
                None => socket
                    .peer_uid()
                    .map_err(|error| Error::from_io("looking up the user of a client", error))
                    .and_then(user::check_client),
            };
            if let Err(error) = allowed {
                let fault = Fault::lasting(error);
                self.refuse(&socket, &fault, false);
                return Err(fault);
            }
            return Ok(Opened { stream: Arc::new(socket), certificate: None, binding: [0; 32] });
        }
        let config = self.server.tls.clone().expect("there is one when a listener is secure");
        let connection = ServerConnection::new(config)
            .map_err(|error| Fault::lasting(tls_error_of_client(&error, self.peer)))?;
        let shaken = Tls::shake_hands(socket, connection.into(), deadline, &mut || (self.keep)());
        let tls = shaken.map_err(|error| match self.go_on() {
            Ok(()) => Fault::lasting(tls_error_of_client(&error, self.peer)),
            Err(ended) => ended,
        })?;
        let certificate = tls.with_peer_certificates(peer_fingerprint);
        let binding = tls.binding().map_err(|error| Fault::io(self.peer, error))?;
        Ok(Opened { stream: Arc::new(tls), certificate, binding })
    }

    /// Finds out who the client is and what it wants. Nothing that it asks for is read before it has proved
    /// who it is.
    fn shake_hands(
        &self,
        opened: Opened,
        ip: Option<IpAddr>,
        deadline: Instant,
        begun: &mut bool,
    ) -> Result<Agreed, Fault> {
        let Opened { stream, certificate, binding } = opened;
        let mut messages = MessageReader::new();
        let hello = match self.expect(&mut messages, &*stream, deadline)? {
            Message::Hello(hello) => hello,
            other => return Err(unexpected("HELLO", &other)),
        };
        // The kernel has said who a client on this machine is.
        let list = match &self.server.options.access {
            Access::Clients(list) if ip.is_some() => Some(list),
            _ => None,
        };
        let server_nonce = nonce().map_err(|error| Fault::private(error, true))?;
        let transcript =
            Transcript { client_nonce: hello.nonce, server_nonce, token_id: hello.token_id, binding };
        let list = list.map(|list| (list, !is_none(&hello.token_id)));
        let proof = match list {
            Some((list, true)) => list.prove(&transcript).map_err(|error| self.denied(error))?,
            _ => [0; 32],
        };
        let challenge = Message::Challenge(Challenge { nonce: server_nonce, proof });
        *begun = true;
        self.write(&*stream, &opening(&challenge), deadline)?;
        let request = match self.expect(&mut messages, &*stream, deadline)? {
            Message::Request(request) => request,
            other => return Err(unexpected("REQUEST", &other)),
        };
        let request_received_ns = realtime_ns();
        let grant = self.authorize(list, &transcript, &request, certificate)?;
        if let Some(grant) = &grant {
            let _ = self.client.set(grant.name.clone());
        }
        if grant.is_some() || ip.is_none() {
            messages.authenticated();
        }
        let request = ChannelRequest::decode(&request.body).map_err(Fault::lasting)?;
        let codec = self.admit(&request, grant.as_ref())?;
        if let Some(grant) = &grant {
            let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
            let limited = |limit| Fault::passing(Error::new(ErrorKind::TooManySubscribers, limit));
            counted.count_for(&grant.name).map_err(limited)?;
        }
        let owner = match (&grant, ip) {
            (Some(grant), _) => grant.name.clone(),
            (None, Some(ip)) => ip.to_string(),
            (None, None) => "this machine".to_owned(),
        };
        let account = match (&grant, ip) {
            (None, Some(ip)) => network_of(ip).to_string(),
            _ => owner.clone(),
        };
        Ok(Agreed { stream, messages, request, request_received_ns, codec, grant, owner, account })
    }

    fn expect(
        &self,
        messages: &mut MessageReader,
        stream: &dyn Transport,
        deadline: Instant,
    ) -> Result<Message, Fault> {
        messages.expect(stream, self.peer, deadline, &mut || self.go_on()).map_err(|fault| {
            let source =
                std::error::Error::source(&fault.error).and_then(|error| error.downcast_ref::<io::Error>());
            match source {
                // A client that does not trust us says so only now.
                Some(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                    Fault::lasting(tls_error_of_client(error, self.peer))
                }
                _ => fault,
            }
        })
    }

    /// Sends bytes before the deadline.
    fn write(&self, stream: &dyn Transport, bytes: &[u8], deadline: Instant) -> Result<(), Fault> {
        write_all(stream, bytes, false, self.peer, &mut || {
            if Instant::now() < deadline {
                self.go_on()
            } else {
                Err(Fault::silent(self.peer, self.server.options.handshake_timeout))
            }
        })
    }

    /// Tells the client why it cannot have what it wants.
    fn refuse(&self, stream: &dyn Transport, fault: &Fault, begun: bool) {
        let message = Message::Refused(fault.refusal());
        let mut bytes = Vec::new();
        if begun {
            message.encode(&mut bytes);
        } else {
            bytes = opening(&message);
        }
        let until = Instant::now() + END_POLL_INTERVAL;
        let _ = write_all(stream, &bytes, false, self.peer, &mut || {
            if Instant::now() < until { self.go_on() } else { Err(Fault::stopped()) }
        });
        stream.shut();
    }

    /// The rights of the client; `None`: those of anybody.
    fn authorize(
        &self,
        list: Option<(&AccessList, bool)>,
        transcript: &Transcript,
        request: &Request,
        certificate: Option<Fingerprint>,
    ) -> Result<Option<Grant>, Fault> {
        let grant = match list {
            None => return Ok(None),
            Some((list, true)) => list.authorize_proof(transcript, &request.body, &request.proof),
            Some((list, false)) => list.authorize_certificate(certificate),
        };
        grant.map(Some).map_err(|error| self.denied(error))
    }

    /// The fault of a client that is not let in.
    fn denied(&self, error: Error) -> Fault {
        if error.kind() == ErrorKind::PermissionDenied {
            return Fault::lasting(error);
        }
        // Faults of our own files are not shown to unauthenticated clients.
        self.refused(&error);
        let error = Error::new(ErrorKind::SystemFailure, "the server cannot look up its clients now");
        Fault::passing(error.with_hint("read the log of `framelane serve` there"))
    }

    /// Whether the client may have the channel that it asks for. Errors do not repeat its text: it may be
    /// anybody.
    fn admit(&self, request: &ChannelRequest, grant: Option<&Grant>) -> Result<Codec, Fault> {
        // Before anything is looked at that takes names: a URL would have this server connect to where a
        // stranger says.
        framelane::check_name(&request.channel).map_err(|_| {
            Fault::lasting(
                Error::new(ErrorKind::InvalidName, "expected the name of a channel, found another text")
                    .with_hint(
                        "use parts of A-Z, a-z, 0-9, '.', '_' and '-' between slashes, as in cam0/left",
                    ),
            )
        })?;
        let options = &self.server.options;
        let (offered, allowed, verb) = match request.direction {
            Direction::Receive => (&options.read, grant.map(|grant| &grant.read), "be received"),
            Direction::Send => (&options.write, grant.map(|grant| &grant.write), "be sent to"),
        };
        if !offered.matches(&request.channel)
            || allowed.is_some_and(|allowed| !allowed.matches(&request.channel))
        {
            // The same words whether the server does not offer it or this client may not: neither is a
            // stranger's business.
            let error = Error::new(
                ErrorKind::PermissionDenied,
                format!("channel {} may not {verb} by this client", request.channel),
            );
            return Err(Fault::lasting(error.with_hint(
                "on the server, `framelane serve --read PATTERNS --write PATTERNS` offers channels, and \
                 `framelane identity list` shows what each client may do",
            )));
        }
        request.codec.parse().map_err(|_| {
            Fault::lasting(
                Error::new(
                    ErrorKind::InvalidOption,
                    "expected a codec that this framelane knows, found another",
                )
                .with_hint("use raw, lz4, jpeg or h264; install the same version on both sides"),
            )
        })
    }

    fn welcome(&self, agreed: &Agreed, last: Option<Origin>) -> Result<(), Fault> {
        let last = last.unwrap_or_default();
        let welcome = Welcome {
            received_ns: agreed.request_received_ns,
            sent_ns: realtime_ns(),
            max_payload: self.server.options.max_bytes,
            last: (last.epoch, last.sequence),
            machine: machine(),
            codec: agreed.codec.to_string(),
        };
        let mut bytes = Vec::new();
        Message::Welcome(welcome).encode(&mut bytes);
        self.write(&*agreed.stream, &bytes, Instant::now() + self.server.options.handshake_timeout)
    }

    fn connected(&self, agreed: &Agreed, direction: Direction) {
        (self.events)(ServerEvent::Connected {
            connection: self.connection,
            peer: self.peer,
            client: agreed.grant.as_ref().map(|grant| grant.name.as_str()),
            channel: &agreed.request.channel,
            direction,
            codec: agreed.codec.to_string(),
        });
    }

    /// Whether the client may still do what it does; looked at every second.
    fn still_allowed(&self, agreed: &Agreed) -> impl Fn() -> Result<(), Fault> + Sync + use<'_, 'a> {
        let grant = agreed.grant.clone();
        let checked = Mutex::new(Instant::now());
        move || {
            self.go_on()?;
            let (Access::Clients(list), Some(grant)) = (&self.server.options.access, &grant) else {
                return Ok(());
            };
            let mut checked = checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.elapsed() < ACCESS_CHECK {
                return Ok(());
            }
            *checked = Instant::now();
            drop(checked);
            if list.still_allows(grant) {
                return Ok(());
            }
            let error = Error::new(
                ErrorKind::PermissionDenied,
                format!("client {} is no longer allowed what it was when it connected", grant.name),
            );
            Err(Fault::lasting(error.with_hint(
                "ask whoever runs the server for a new token, or to allow your certificate; `framelane identity list` \
                 there shows what each client may do",
            )))
        }
    }

    /// What frames are scaled to takes memory here, for each receiver.
    fn check_size(&self, size: Option<(u32, u32)>) -> Result<(), Error> {
        let Some((width, height)) = size else { return Ok(()) };
        let most = self.server.options.max_bytes;
        if u128::from(width) * u128::from(height) * 4 <= most.into() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::FrameTooLarge,
            format!("expected a size of at most {most} bytes at four a pixel, found {width}x{height}"),
        )
        .with_hint("ask for a smaller size; `framelane serve --max-bytes` is the limit"))
    }

    /// Returns the encoder of the client, which may be shared with others.
    fn coder(&self, agreed: &Agreed, size: Option<(u32, u32)>) -> Result<Member<'a>, Fault> {
        let (request, codec, client) = (&agreed.request, agreed.codec, &agreed.account);
        match (codec, size, request.delivery) {
            // Nothing is encoded.
            (Codec::Raw, None, _) => Member::alone(codec, size),
            (_, _, Delivery::Every) => self.server.coders.own(codec, size, client),
            _ => {
                let paced = matches!(codec, Codec::H264 { .. });
                let max_milli_fps = if paced { request.max_milli_fps } else { 0 };
                let wanted = Wanted { channel: request.channel.clone(), codec, size, max_milli_fps };
                self.server.coders.join(wanted, client)
            }
        }
    }

    /// The client receives.
    fn send_frames(&self, mut agreed: Agreed) -> Result<(), Fault> {
        let request = &agreed.request;
        let size = (request.size != (0, 0)).then_some(request.size);
        // Said at the door rather than at the first frame.
        let possible = self.check_size(size).map_err(Fault::lasting).and_then(|()| self.coder(&agreed, size));
        let coder = match possible {
            Ok(coder) => coder,
            Err(fault) => {
                self.refuse(&*agreed.stream, &fault, true);
                return Err(fault);
            }
        };
        let copies = Some(self.server.budgets.memory.share_of(&agreed.account));
        let mut means = Means { coder, copies };
        let terms = Terms {
            channel: request.channel.clone(),
            subscriber: self.server.options.subscriber().delivery(request.delivery),
            max_milli_fps: request.max_milli_fps,
            max_payload: request.max_payload,
            last: known(request.last),
            idle_timeout: self.server.options.idle_timeout,
            ends_with_channel: false,
            count: None,
        };
        self.welcome(&agreed, None)?;
        self.connected(&agreed, Direction::Receive);
        let allowed = self.still_allowed(&agreed);
        let watch = |_: &SendStatistics| allowed();
        let (stream, messages) = (&*agreed.stream, &mut agreed.messages);
        let result = outgoing::run(stream, messages, self.peer, &terms, &mut None, &mut means, &watch);
        let (sent, error) = match result {
            Ok(sent) => (sent, None),
            Err((fault, sent)) => (sent, ended_by(fault)),
        };
        (self.events)(ServerEvent::Ended {
            connection: self.connection,
            peer: self.peer,
            channel: &terms.channel,
            sent: Some(&sent),
            received: None,
            error: error.as_ref(),
        });
        Ok(())
    }

    /// The client sends.
    fn receive_frames(&self, mut agreed: Agreed) -> Result<(), Fault> {
        let options = &self.server.options;
        let publisher = options.publisher().backpressure(backpressure_of(agreed.request.delivery));
        let claimed = Decoder::new(agreed.codec).map_err(Fault::lasting).and_then(|_| {
            let channels = &self.server.held_channels;
            let owner = (agreed.owner.as_str(), agreed.account.as_str());
            channels.claim(&agreed.request.channel, owner, &agreed.stream, &publisher)
        });
        let mut claim: Claim<'_> = match claimed {
            Ok(claim) => claim,
            Err(fault) => {
                self.refuse(&*agreed.stream, &fault, true);
                return Err(fault);
            }
        };
        let is_inherited = claim.held().inherit(known(agreed.request.last));
        let last = claim.held().received.last;
        self.welcome(&agreed, last)?;
        self.connected(&agreed, Direction::Send);
        let allowed = self.still_allowed(&agreed);
        let replaced = claim.replaced.clone();
        let mut sink = Sink::new(Instant::now(), agreed.request.delivery, last, options.idle_timeout);
        sink.clock.compare_machines(machine(), agreed.request.machine);
        if is_inherited {
            sink.doubt_last();
        }
        let held = claim.held();
        let before = held.received.clone();
        sink.begin_missed(held.received.missed);
        held.received.link.peer = format!("{} (it sends here)", self.peer);
        let receiving = Receiving {
            stream: &*agreed.stream,
            messages: &mut agreed.messages,
            peer: self.peer,
            publisher: &mut held.publisher,
            origins: Some(&mut held.origins),
            sink,
            codec: agreed.codec,
            limits: incoming::Limits {
                max_bytes: options.max_bytes,
                max_pixels: self.server.budgets.pixels.most_of_one(),
                ring: &mut held.ring,
                buffers: self.server.budgets.memory.share_of(&agreed.account),
                turns: self.server.turns.of(&agreed.account),
            },
            idle_timeout: options.idle_timeout,
            ends_with_channel: true,
            received: &mut held.received,
            watch: &mut |_| {
                if replaced.is_set() {
                    return Err(Fault::lasting(
                        Error::new(
                            ErrorKind::ChannelBusy,
                            "a newer connection of the same client sends to the channel",
                        )
                        .with_hint("end one of the two, or give each a token and a channel of its own"),
                    ));
                }
                allowed()
            },
        };
        let result = receiving.run();
        let closed = result.is_ok();
        let error = result.err().and_then(ended_by);
        // Closed there: so it is here. Lost: it may come again.
        let revoked = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied);
        claim.stays = !closed && !revoked && (self.keep)();
        (self.events)(ServerEvent::Ended {
            connection: self.connection,
            peer: self.peer,
            channel: &agreed.request.channel,
            sent: None,
            received: Some(&since(&before, &claim.held().received)),
            error: error.as_ref(),
        });
        Ok(())
    }
}

/// What one connection has brought to a channel that had others before.
fn since(before: &ReceiveStatistics, now: &ReceiveStatistics) -> ReceiveStatistics {
    ReceiveStatistics {
        frames: now.frames - before.frames,
        missed: now.missed - before.missed,
        dropped: now.dropped - before.dropped,
        damaged: now.damaged - before.damaged,
        bytes: now.bytes - before.bytes,
        ..now.clone()
    }
}

/// Why a connection has ended, when its client has not ended it.
fn ended_by(fault: Fault) -> Option<Error> {
    (fault.error.kind() != ErrorKind::Interrupted).then_some(fault.error)
}
