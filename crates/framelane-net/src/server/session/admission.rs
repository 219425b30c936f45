//! Admission of a client: its authentication and its request.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use framelane::{Error, ErrorKind};
use framelane_codec::Codec;
use rustls::ServerConnection;

use super::{Agreed, Session};
use crate::fault::Fault;
use crate::messages::{MessageReader, opening, unexpected, write_all};
use crate::proto::{Challenge, ChannelRequest, Direction, Message, Request};
use crate::security::{
    AccessList, Fingerprint, Grant, Transcript, is_none, nonce, peer_fingerprint, tls_error_of_client, user,
};
use crate::server::Access;
use crate::server::limits::network_of;
use crate::time::realtime_ns;
use crate::transport::{END_POLL_INTERVAL, Socket, Tls, Transport};

/// An open connection whose client is not authenticated yet.
struct Opened {
    stream: Arc<dyn Transport>,
    certificate: Option<Fingerprint>,
    /// Of TLS; else zeros.
    binding: [u8; 32],
}

impl Session<'_> {
    pub(super) fn agree(&self, socket: Socket, ip: Option<IpAddr>, secure: bool) -> Result<Agreed, Fault> {
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
        let shaken = Tls::shake_hands(socket, connection.into(), deadline, &mut || self.go_on().is_ok());
        let tls = shaken.map_err(|error| match self.go_on() {
            Ok(()) => Fault::lasting(tls_error_of_client(&error, self.peer)),
            Err(ended) => ended,
        })?;
        let certificate = tls.with_peer_certificates(peer_fingerprint);
        let binding = tls.binding().map_err(|error| Fault::io(self.peer, error))?;
        Ok(Opened { stream: Arc::new(tls), certificate, binding })
    }

    /// Authenticates the client and reads its request. The request is not read before the client is
    /// authenticated.
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
        // The kernel has reported the user of a client on this machine.
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
                // A client that does not trust this server reports that only now.
                Some(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                    Fault::lasting(tls_error_of_client(error, self.peer))
                }
                _ => fault,
            }
        })
    }

    /// Sends bytes before the deadline.
    pub(super) fn write(&self, stream: &dyn Transport, bytes: &[u8], deadline: Instant) -> Result<(), Fault> {
        write_all(stream, bytes, false, self.peer, &mut || {
            if Instant::now() < deadline {
                self.go_on()
            } else {
                Err(Fault::silent(self.peer, self.server.options.handshake_timeout))
            }
        })
    }

    /// Sends the client the reason of the refusal.
    pub(super) fn refuse(&self, stream: &dyn Transport, fault: &Fault, begun: bool) {
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

    /// The rights of the client; `None`: those of an anonymous client.
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

    /// Returns the fault of a client without access.
    fn denied(&self, error: Error) -> Fault {
        if error.kind() == ErrorKind::PermissionDenied {
            return Fault::lasting(error);
        }
        // Faults of our own files are not shown to unauthenticated clients.
        self.refused(&error);
        let error = Error::new(ErrorKind::SystemFailure, "the server cannot look up its clients now");
        Fault::passing(error.with_hint("read the log of `framelane serve` there"))
    }

    /// Checks that the client may have the requested channel. Errors do not repeat its text, because the
    /// client may be unauthenticated.
    fn admit(&self, request: &ChannelRequest, grant: Option<&Grant>) -> Result<Codec, Fault> {
        // Before any call that takes channel names: a URL would make this server connect to an address that
        // the client chooses.
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
            // The same words whether the server does not offer it or this client may not receive it: an
            // unauthenticated client must learn neither.
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
}
