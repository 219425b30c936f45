//! Shared by the tests: a dashboard, HTTP requests over plain sockets, and pages over WebSockets.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

use framelane::{CancelToken, FrameInfo, Layout, PixelFormat, Publisher, PublisherOptions};
use framelane_dashboard::{Dashboard, DashboardOptions};
pub use framelane_test_kit::{Place, deadline, wait_until};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// A dashboard that runs in a thread.
pub struct Server {
    pub address: SocketAddr,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn new(place: &Place) -> Self {
        Self::with(place, |_| {})
    }

    pub fn with(place: &Place, change: impl FnOnce(&mut DashboardOptions)) -> Self {
        let mut options = DashboardOptions::new("127.0.0.1:0".parse().unwrap());
        options.directory = Some(place.path().to_owned());
        change(&mut options);
        let cancel = options.cancel.clone();
        let dashboard = Dashboard::bind(options).unwrap();
        let address = dashboard.address();
        let thread = std::thread::spawn(move || dashboard.run().unwrap());
        Server { address, cancel, thread: Some(thread) }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(deadline())).unwrap();
        stream.set_write_timeout(Some(deadline())).unwrap();
        stream
    }

    /// Requests a path with the right `Host`.
    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[("Host", &self.address.to_string())])
    }

    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut stream = self.connect();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        write!(stream, "{method} {path} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n").unwrap();
        Response::read(&mut stream)
    }

    /// Opens a page, or returns the status of the refusal.
    pub fn page_with(&self, headers: &[(&'static str, &str)]) -> Result<Page, u16> {
        let mut request = format!("ws://{}/ws", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tungstenite::client(request, self.connect()) {
            Ok((socket, _)) => Ok(Page { socket }),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                Err(response.status().as_u16())
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub fn page(&self) -> Page {
        self.page_with(&[]).unwrap()
    }

    /// The value of a metric with exactly these labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.text());
        let text = response.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let (Some(thread), false) = (self.thread.take(), std::thread::panicking()) {
            thread.join().unwrap();
        }
    }
}

pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of the head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Response { status, headers, body: bytes[end + 4..].to_vec() }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// The WebSocket of a page.
pub struct Page {
    pub socket: WebSocket<TcpStream>,
}

impl Page {
    pub fn send(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    pub fn watch(&mut self, channels: &[(&str, &str)]) {
        let channels: BTreeMap<_, _> = channels.iter().copied().collect();
        self.send(&json!({"type": "watch", "channels": channels}));
    }

    pub fn acknowledge(&mut self, head: &Value) {
        let mut message = json!({"type": "ack"});
        for field in ["channel", "size", "sequence"] {
            message[field] = head[field].clone();
        }
        self.send(&message);
    }

    /// The next picture with its head. It is acknowledged.
    pub fn picture(&mut self) -> (Value, Vec<u8>) {
        loop {
            if let Message::Binary(bytes) = self.socket.read().unwrap() {
                let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
                let head: Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
                self.acknowledge(&head);
                return (head, bytes[4 + length..].to_vec());
            }
        }
    }

    /// The next message in JSON of this type.
    pub fn text(&mut self, kind: &str) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == kind {
                    return message;
                }
            }
        }
    }

    /// The code with which the server closes the socket; `None` when it just ends.
    pub fn closed(&mut self) -> Option<u16> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

pub fn publisher(directory: &Path, channel: &str) -> Publisher {
    PublisherOptions::new().directory(directory).create(channel).unwrap()
}

/// Publishes a frame of one colour, as blue, green, red.
pub fn send(publisher: &mut Publisher, (width, height): (u32, u32), color: [u8; 3]) -> u64 {
    let layout = Layout::packed(PixelFormat::Bgr8, width, height).unwrap();
    let bytes = color.repeat((width * height) as usize);
    publisher.send(&layout, &FrameInfo::default(), &bytes).unwrap().unwrap()
}

/// Publishes frames until the condition holds, about 100 a second.
pub fn send_until(publisher: &mut Publisher, awaited: &str, mut condition: impl FnMut(u64) -> bool) {
    wait_until(awaited, || {
        let sequence = send(publisher, (64, 48), [10, 200, 30]);
        std::thread::sleep(std::time::Duration::from_millis(10));
        condition(sequence)
    });
}

/// Decodes a JPEG to red, green, blue.
pub fn decode(jpeg: &[u8]) -> (u32, u32, Vec<u8>) {
    let framelane_codec::jpeg::Header { width, height, .. } = framelane_codec::jpeg::header(jpeg).unwrap();
    let layout = Layout::packed(PixelFormat::Rgb8, width, height).unwrap();
    let mut pixels = vec![0; layout.size_bytes()];
    framelane_codec::jpeg::Decompressor::new().unwrap().decode(jpeg, &layout, &mut pixels).unwrap();
    (width, height, pixels)
}

/// Returns true if all pixels are about this colour.
pub fn is_about(pixels: &[u8], color: [u8; 3]) -> bool {
    pixels.chunks(3).all(|pixel| pixel.iter().zip(color).all(|(found, wanted)| found.abs_diff(wanted) <= 6))
}
