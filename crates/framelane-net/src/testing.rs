//! Parsers of bytes from a network, with the properties of their results: for the fuzzer, and for the test
//! that replays its findings.

use std::time::{Duration, Instant};

use framelane::{Delivery, Origin};

use crate::proto::{ChannelRequest, MAGIC, Message, Parser, Piece, Sink, Source};
use crate::url::LinkUrl;

/// A stream of messages: as much of it as can be read is read, both ends take what they get, and what was
/// read can be said again in the same words.
///
/// The first byte specifies the pieces in which the others arrive.
pub fn link(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let now = Instant::now();
    let (mut source, mut sink) = (
        Source::new(now, 1000, Duration::from_secs(1)),
        Sink::new(now, Delivery::Newest, Some(Origin { epoch: 1, sequence: 1 }), Duration::from_secs(1)),
    );
    let mut parser = Parser::new();
    parser.feed(&MAGIC).expect("the magic bytes");
    let mut rest = bytes;
    while !rest.is_empty() {
        let (taken, later) = rest.split_at(piece.min(parser.wanted()).min(rest.len()));
        rest = later;
        let message = match parser.feed(taken) {
            Ok(Piece::Message(message)) => message,
            Ok(Piece::More) => continue,
            Err(error) => {
                assert!(error.hint().is_some(), "{error}");
                return;
            }
        };
        say_again(&message);
        let _ = source.take(now, 1, &message);
        match &message {
            Message::Frame(head, payload_bytes) => {
                let layout = &head.layout;
                assert!(layout.size_bytes() <= framelane::MAX_FRAME_BYTES);
                for plane in layout.planes() {
                    assert!(plane.offset_bytes < layout.size_bytes());
                }
                while sink.next_message(now, 1).is_some() {}
                let _ = sink.arrival(now, head);
                sink.frame_done(now);
                rest = &rest[rest.len().min(usize::try_from(*payload_bytes).unwrap_or(usize::MAX))..];
            }
            Message::Request(request) => {
                if let Ok(asked) = ChannelRequest::decode(&request.body) {
                    assert_eq!(ChannelRequest::decode(&asked.encode()).ok(), Some(asked));
                }
            }
            other => drop(sink.take(now, 1, other)),
        }
        std::hint::black_box((source.ready(now), sink.clock.to_ours_ns(1), sink.missed(), sink.last()));
    }
}

fn say_again(message: &Message) {
    let mut bytes = MAGIC.to_vec();
    message.encode(&mut bytes);
    let (mut parser, mut rest) = (Parser::new(), bytes.as_slice());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(parser.wanted());
        rest = later;
        if let Piece::Message(again) = parser.feed(now).expect("what was written can be read") {
            assert_eq!(&again, message);
        }
    }
}

/// A URL: read, it can be written, and leads to the same place. Files that it names are not opened.
pub fn url(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.contains("token-file") {
        return;
    }
    if let Ok(url) = LinkUrl::parse(text, framelane::Urls::Trusted) {
        let again: LinkUrl = url.to_string().parse().expect("what was written can be read");
        assert_eq!((again.address, again.channel), (url.address, url.channel));
    }
}

pub use crate::security::testing::parse_security as security;
