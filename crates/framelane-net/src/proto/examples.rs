//! One of each message; and the vectors of `spec/link.md`, which are those messages.
//!
//! `FRAMELANE_WRITE_VECTORS=1 cargo test -p framelane-net vectors` writes them again, after a change of the
//! protocol.

use std::path::Path;

use framelane::{Color, ColorRange, Delivery, FrameInfo, Layout, Origin, PixelFormat};

use super::FrameHead;
use super::handshake::{Challenge, ChannelRequest, Direction, Hello, Request};
use super::message::{ChannelState, MAGIC, Message, Refusal, Welcome};
use super::parser::{Parser, Piece};
use crate::security::{Token, Transcript, server_proof};

/// A handshake with a token over TLS whose exporter is 32 times 0x33.
struct Handshake {
    token: Token,
    hello: Hello,
    challenge: Challenge,
    request: Request,
}

impl Handshake {
    fn new() -> Self {
        let token: Token = format!("framelane_{}", "0123456789abcdef".repeat(4)).parse().unwrap();
        let (client_nonce, server_nonce) = ([0x11; 32], [0x22; 32]);
        let transcript = Transcript { client_nonce, server_nonce, token_id: token.id(), binding: [0x33; 32] };
        let request = ChannelRequest {
            direction: Direction::Send,
            delivery: Delivery::Every,
            max_milli_fps: 29_970,
            size: (1280, 720),
            max_payload: 1 << 27,
            last: (7, 8),
            sent_ns: 1_700_000_000_123_456_789,
            machine: 0x1122_3344_5566_7788,
            channel: "cam0/detections".to_owned(),
            codec: "jpeg:80".to_owned(),
        };
        let body = request.encode();
        assert_eq!(ChannelRequest::decode(&body).unwrap(), request);
        Handshake {
            hello: Hello { nonce: client_nonce, token_id: token.id() },
            challenge: Challenge { nonce: server_nonce, proof: server_proof(&token, &transcript) },
            request: Request { proof: token.prove(&transcript, &body), body },
            token,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn messages() -> Vec<Message> {
    let hand = Handshake::new();
    let head = FrameHead {
        origin: Origin { epoch: 3, sequence: 4 },
        layout: Layout::packed(PixelFormat::I420, 5, 3).unwrap(),
        info: FrameInfo::default()
            .with_timestamp_ns(10)
            .with_pts_ns(-5)
            .with_color(Color { matrix: 1, primaries: 1, transfer: 13, range: ColorRange::Full })
            .with_rotation_degrees(90)
            .with_keyframe(true),
        standalone: true,
        coded: true,
        sent_ns: 11,
        sent_monotonic_ns: 12,
    };
    let refusal =
        Refusal { code: 5, try_again: false, message: "nein — no".to_owned(), hint: "ask".to_owned() };
    let welcome = Welcome {
        received_ns: 1,
        sent_ns: 2,
        max_payload: 3,
        last: (4, 5),
        machine: 6,
        codec: "raw".to_owned(),
    };
    vec![
        Message::Hello(hand.hello),
        Message::Challenge(hand.challenge),
        Message::Request(hand.request),
        Message::Welcome(welcome),
        Message::Refused(refusal),
        Message::Credit(5),
        Message::Ping { sent_ns: 6 },
        Message::Pong { ping_sent_ns: 7, received_ns: 8, sent_ns: 9 },
        Message::State(ChannelState::Closed),
        Message::Keyframe,
        Message::Life(Origin { epoch: 10, sequence: 11 }),
        Message::Unknown,
        Message::Frame(Box::new(head), 23),
    ]
}

fn asked_fields(asked: &ChannelRequest) -> String {
    format!(
        "\"direction\": {}, \"delivery\": {}, \"max_milli_fps\": {}, \"size\": [{}, {}], \"max_payload\": \"{}\", \
         \"last\": [\"{}\", \"{}\"], \"sent_ns\": \"{}\", \"machine\": \"{}\", \"channel\": {:?}, \
           \"codec\": {:?}",
        if asked.direction == Direction::Receive { 1 } else { 2 },
        asked.delivery as u8,
        asked.max_milli_fps,
        asked.size.0,
        asked.size.1,
        asked.max_payload,
        asked.last.0,
        asked.last.1,
        asked.sent_ns,
        asked.machine,
        asked.channel,
        asked.codec
    )
}

/// The fields of a message as JSON; numbers that may not fit into a double as text.
fn fields(message: &Message) -> String {
    match message {
        Message::Hello(hello) => format!(
            "\"type\": 1, \"nonce\": \"{}\", \"token_id\": \"{}\"",
            hex(&hello.nonce),
            hex(&hello.token_id)
        ),
        Message::Challenge(challenge) => format!(
            "\"type\": 10, \"nonce\": \"{}\", \"proof\": \"{}\"",
            hex(&challenge.nonce),
            hex(&challenge.proof)
        ),
        Message::Request(request) => {
            let asked = ChannelRequest::decode(&request.body).unwrap();
            format!(
                "\"type\": 11, \"proof\": \"{}\", \"token\": \"{}\", \"binding\": \"{}\", {}",
                hex(&request.proof),
                Handshake::new().token.expose(),
                hex(&[0x33; 32]),
                asked_fields(&asked)
            )
        }
        Message::Welcome(welcome) => format!(
            "\"type\": 2, \"received_ns\": \"{}\", \"sent_ns\": \"{}\", \"max_payload\": \"{}\", \"last\": [\"{}\", \"{}\"], \
             \"machine\": \"{}\", \"codec\": {:?}",
            welcome.received_ns,
            welcome.sent_ns,
            welcome.max_payload,
            welcome.last.0,
            welcome.last.1,
            welcome.machine,
            welcome.codec
        ),
        Message::Refused(refusal) => format!(
            "\"type\": 3, \"code\": {}, \"try_again\": {}, \"message\": {:?}, \"hint\": {:?}",
            refusal.code, refusal.try_again, refusal.message, refusal.hint
        ),
        Message::Frame(head, payload_bytes) => {
            let planes = head.layout.planes().iter();
            let planes: Vec<_> =
                planes.map(|plane| format!("[{}, {}]", plane.offset_bytes, plane.stride_bytes)).collect();
            let info = &head.info;
            let color = info.color;
            format!(
                "\"type\": 4, \"payload_bytes\": \"{payload_bytes}\", \"epoch\": \"{}\", \"sequence\": \"{}\", \
                 \"timestamp_ns\": \"{}\", \"pts_ns\": \"{}\", \"duration_ns\": null, \"sent_ns\": \"{}\", \
                 \"sent_monotonic_ns\": \"{}\", \"size_bytes\": {}, \"color\": [{}, {}, {}, {}], \"rotation_degrees\": {}, \
                 \"keyframe\": {}, \"standalone\": {}, \"coded\": {}, \"format\": {:?}, \"width\": {}, \"height\": {}, \
                 \"planes\": [{}]",
                head.origin.epoch,
                head.origin.sequence,
                info.timestamp_ns.unwrap(),
                info.pts_ns.unwrap(),
                head.sent_ns,
                head.sent_monotonic_ns,
                head.layout.size_bytes(),
                color.matrix,
                color.primaries,
                color.transfer,
                color.range as u8,
                info.rotation_degrees,
                info.keyframe,
                head.standalone,
                head.coded,
                head.layout.format().name(),
                head.layout.width(),
                head.layout.height(),
                planes.join(", ")
            )
        }
        Message::Credit(total) => format!("\"type\": 5, \"total\": \"{total}\""),
        Message::Ping { sent_ns } => format!("\"type\": 6, \"sent_ns\": \"{sent_ns}\""),
        Message::Pong { ping_sent_ns, received_ns, sent_ns } => format!(
            "\"type\": 7, \"ping_sent_ns\": \"{ping_sent_ns}\", \"received_ns\": \"{received_ns}\", \
             \"sent_ns\": \"{sent_ns}\""
        ),
        Message::State(state) => format!("\"type\": 8, \"state\": {}", *state as u8),
        Message::Keyframe => "\"type\": 9".to_owned(),
        Message::Life(life) => format!(
            "\"type\": 12, \"flags\": 1, \"epoch\": \"{}\", \"sequence\": \"{}\"",
            life.epoch, life.sequence
        ),
        Message::Unknown => "\"type\": 65535, \"flags\": 1".to_owned(),
    }
}

#[test]
fn messages_are_written_and_read_as_the_vectors_say() {
    let (mut bytes, mut lines) = (MAGIC.to_vec(), Vec::new());
    for message in messages() {
        let at = bytes.len();
        message.encode(&mut bytes);
        lines.push(format!("  {{\"at\": {at}, \"bytes\": {}, {}}}", bytes.len() - at, fields(&message)));
    }
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors");
    if std::env::var_os("FRAMELANE_WRITE_VECTORS").is_some() {
        std::fs::write(folder.join("link.bin"), &bytes).unwrap();
        std::fs::write(folder.join("link.json"), &text).unwrap();
    }
    assert_eq!(std::fs::read(folder.join("link.bin")).unwrap(), bytes);
    assert_eq!(std::fs::read_to_string(folder.join("link.json")).unwrap(), text);
    let vector = std::fs::read(folder.join("link.bin")).unwrap();
    let (mut parser, mut rest, mut found) = (Parser::new(), vector.as_slice(), Vec::new());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(parser.wanted());
        if let Piece::Message(message) = parser.feed(now).unwrap() {
            found.push(message);
        }
        rest = later;
    }
    assert_eq!(found, messages());
}
