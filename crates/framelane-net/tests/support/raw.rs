//! One side of a link, written from `spec/link.md` alone: it sends what it likes.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use framelane::{Layout, Origin};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

pub const HELLO: u16 = 1;
pub const WELCOME: u16 = 2;
pub const REFUSED: u16 = 3;
pub const FRAME: u16 = 4;
pub const CREDIT: u16 = 5;
pub const STATE: u16 = 8;
pub const CHALLENGE: u16 = 10;
pub const REQUEST: u16 = 11;
const MAGIC: &[u8] = b"FRMLLINK";
/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A client or a server.
pub struct Raw {
    stream: TcpStream,
    heard_magic: bool,
    /// Credits that have come so far.
    pub credits: u64,
}

/// The request of a client.
pub struct Wish<'w> {
    /// 1: to receive, 2: to send.
    pub direction: u8,
    pub channel: &'w str,
    pub codec: &'w str,
    pub size: (u32, u32),
}

/// Names no frame.
const NONE: Origin = Origin { epoch: 0, sequence: 0 };

impl Raw {
    /// Connects from an address of this machine.
    pub fn connect(from: Ipv4Addr, port: u16) -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
        connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).unwrap();
        Self::of(socket.into())
    }

    pub fn accept(listener: &TcpListener) -> Self {
        Self::of(listener.accept().unwrap().0)
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Raw { stream, heard_magic: false, credits: 0 }
    }

    /// Asks for a channel and waits for the answer.
    pub fn ask(port: u16, wish: &Wish<'_>) -> (Self, u16, Vec<u8>) {
        let mut client = Self::connect(Ipv4Addr::LOCALHOST, port);
        let (kind, body) = client.hello(wish);
        (client, kind, body)
    }

    pub fn hello(&mut self, wish: &Wish<'_>) -> (u16, Vec<u8>) {
        self.hello_after(wish, NONE)
    }

    /// Asks for a channel with the last frame that was received or sent.
    pub fn hello_after(&mut self, wish: &Wish<'_>, last: Origin) -> (u16, Vec<u8>) {
        let mut body = vec![1, 0, 1, 0, 0, 0, 0, 0];
        // A nonce and no token.
        body.extend([7; 32]);
        body.extend([0; 16]);
        self.stream.write_all(MAGIC).unwrap();
        self.say(HELLO, &body);
        let (kind, answer) = self.hear();
        if kind != CHALLENGE {
            return (kind, answer);
        }
        let mut body = vec![0; 32];
        body.extend([wish.direction, 0, 0, 0, 0, 0, 0, 0]);
        body.extend(wish.size.0.to_le_bytes());
        body.extend(wish.size.1.to_le_bytes());
        body.extend(words(&[1 << 30, last.epoch, last.sequence, 0, 0]));
        for text in [wish.channel, wish.codec] {
            body.extend((text.len() as u16).to_le_bytes());
            body.extend(text.as_bytes());
        }
        self.say(REQUEST, &body);
        self.hear()
    }

    /// Hears a client, and answers as a server that uses no tokens and claims to have a frame already.
    pub fn welcome(&mut self, codec: &str, last: Origin) {
        assert_eq!(self.hear().0, HELLO);
        let mut body = vec![1, 0, 1, 0, 0, 0, 0, 0];
        body.extend([7; 32]);
        body.extend([0; 32]);
        self.stream.write_all(MAGIC).unwrap();
        self.say(CHALLENGE, &body);
        assert_eq!(self.hear().0, REQUEST);
        let mut body = words(&[0, 0, 1 << 30, last.epoch, last.sequence, 0]);
        body.extend((codec.len() as u16).to_le_bytes());
        body.extend(codec.as_bytes());
        self.say(WELCOME, &body);
    }

    pub fn say(&mut self, kind: u16, body: &[u8]) {
        // A peer that has had enough resets the connection.
        let _ = self.stream.write_all(&message(kind, body, 0));
    }

    /// Sends a frame; its payload may be anything.
    pub fn frame(&mut self, origin: Origin, layout: &Layout, coded: bool, payload: &[u8]) {
        let mut body = words(&[origin.epoch, origin.sequence, 0, 0, 0, 0, 0, layout.size_bytes() as u64]);
        let flags = 1 << 17 | u32::from(coded) << 18;
        let planes = layout.planes();
        let format = layout.format().code();
        for word in [0, flags, format, layout.width(), layout.height(), planes.len() as u32] {
            body.extend(word.to_le_bytes());
        }
        for at in 0..4 {
            let (offset, stride) =
                planes.get(at).map_or((0, 0), |plane| (plane.offset_bytes, plane.stride_bytes));
            body.extend(words(&[offset as u64, stride as u64]));
        }
        let _ = self.stream.write_all(&message(FRAME, &body, payload.len() as u64));
        let _ = self.stream.write_all(payload);
    }

    /// The next message that is not a payload.
    pub fn hear(&mut self) -> (u16, Vec<u8>) {
        if !self.heard_magic {
            let mut magic = [0; 8];
            self.stream.read_exact(&mut magic).unwrap();
            assert_eq!(magic, MAGIC);
            self.heard_magic = true;
        }
        let mut head = [0; 16];
        self.stream.read_exact(&mut head).unwrap();
        let kind = u16::from_le_bytes(head[..2].try_into().unwrap());
        let length = u32::from_le_bytes(head[4..8].try_into().unwrap());
        let payload = u64::from_le_bytes(head[8..].try_into().unwrap());
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).unwrap();
        std::io::copy(&mut (&self.stream).take(payload), &mut std::io::sink()).unwrap();
        if kind == CREDIT {
            self.credits = u64::from_le_bytes(body[..8].try_into().unwrap());
        }
        (kind, body)
    }

    /// The next message of this kind; others are skipped.
    pub fn hear_kind(&mut self, wanted: u16) -> Vec<u8> {
        loop {
            let (kind, body) = self.hear();
            assert!(kind != REFUSED || wanted == REFUSED, "{}", reason(&body));
            if kind == wanted {
                return body;
            }
        }
    }

    /// Waits until the peer has taken so many frames. It grants two more than that.
    pub fn until_taken(&mut self, frames: u64) {
        while self.credits < frames + 2 {
            self.hear_kind(CREDIT);
        }
    }

    /// Grants frames and takes them all, until the peer refuses or ends; the reason of a refusal.
    pub fn take_frames(&mut self, most: u64) -> Option<String> {
        self.say(CREDIT, &words(&[most]));
        let mut taken = 0;
        while taken < most {
            match self.hear() {
                (REFUSED, body) => return Some(reason(&body)),
                (FRAME, _) => taken += 1,
                _ => {}
            }
        }
        None
    }
}

/// Returns the texts of a refusal.
pub fn reason(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[8..]).into_owned()
}

pub fn words(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn message(kind: u16, body: &[u8], payload_bytes: u64) -> Vec<u8> {
    let head = [&kind.to_le_bytes()[..], &[0; 2], &(body.len() as u32).to_le_bytes()].concat();
    [&head[..], &payload_bytes.to_le_bytes(), body].concat()
}
