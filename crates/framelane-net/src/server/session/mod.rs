//! One connection of a client.

mod admission;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use framelane::{Delivery, Error, ErrorKind, Origin};
use framelane_codec::{Codec, Decoder};

use super::held_channels::Claim;
use super::limits::Counted;
use super::listen::Guest;
use super::{Access, Server, ServerEvent};
use crate::coder::{Member, Wanted};
use crate::fault::Fault;
use crate::link::incoming::{self, Line, ReceiveStatistics, Receiving};
use crate::link::outgoing::{self, Means, SendStatistics, Terms};
use crate::link::resume::known;
use crate::messages::{MessageReader, opening};
use crate::proto::{ChannelRequest, Direction, Message, Refusal, Sink, Welcome};
use crate::remote::backpressure_of;
use crate::security::Grant;
use crate::time::{machine, realtime_ns};
use crate::transport::{Socket, Transport};

/// Interval at which the rights of a client are checked.
const ACCESS_CHECK: Duration = Duration::from_secs(1);

pub(super) struct Session<'a> {
    pub(super) server: &'a Server,
    pub(super) connection: u64,
    pub(super) peer: &'a str,
    /// The client's name in the clients file, once it has proved it.
    pub(super) client: OnceLock<String>,
    pub(super) counted: Mutex<Counted<'a>>,
    pub(super) events: &'a (dyn Fn(ServerEvent<'_>) + Sync),
}

/// The client and its request.
struct Agreed {
    stream: Arc<dyn Transport>,
    messages: MessageReader,
    request: ChannelRequest,
    request_received_ns: u64,
    codec: Codec,
    /// `None`: an anonymous client.
    grant: Option<Grant>,
    /// Connections of the same client are the same owner.
    owner: String,
    /// The name that limits are counted for: the client, or its network.
    account: String,
}

/// Refuses a connection above the limit, without waiting.
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
        if self.server.options.cancel.ends_wait() {
            Err(Fault::passing(Error::new(ErrorKind::ChannelClosed, "the server is shutting down")))
        } else {
            Ok(())
        }
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

    /// Returns a function that checks once a second that the client still has its access.
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

    /// Checks the requested size: a scaled frame takes memory here, for each receiver.
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
            line: Line {
                stream: &*agreed.stream,
                peer: self.peer,
                sink,
                idle_timeout: options.idle_timeout,
                received: &mut held.received,
                watch: &mut |_| {
                    if replaced.is_set() {
                        return Err(Fault::lasting(
                            Error::new(
                                ErrorKind::ChannelBusy,
                                "a newer connection of the same client sends to the channel",
                            )
                            .with_hint("end one of the two, or give each a separate token and channel"),
                        ));
                    }
                    allowed()
                },
            },
            messages: &mut agreed.messages,
            publisher: &mut held.publisher,
            origins: Some(&mut held.origins),
            codec: agreed.codec,
            limits: incoming::Limits {
                max_bytes: options.max_bytes,
                max_pixels: self.server.budgets.pixels.most_of_one(),
                ring: &mut held.ring,
                buffers: self.server.budgets.memory.share_of(&agreed.account),
                turns: self.server.turns.of(&agreed.account),
            },
            ends_with_channel: true,
        };
        let result = receiving.run();
        let closed = result.is_ok();
        let error = result.err().and_then(ended_by);
        // Closed by the client: the channel is closed here too. Lost: the client may connect again.
        let revoked = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied);
        claim.stays = !closed && !revoked && self.go_on().is_ok();
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

/// Returns the frames of one connection to a channel that had others before.
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

/// Returns the error that ended a connection, when its client has not ended it.
fn ended_by(fault: Fault) -> Option<Error> {
    (fault.error.kind() != ErrorKind::Interrupted).then_some(fault.error)
}
