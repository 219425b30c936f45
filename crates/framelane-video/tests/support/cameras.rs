//! Stand-ins for cameras: servers that drop, stall, return and change size as a test wants.
#![allow(dead_code, reason = "every test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns the output of `ffmpeg ARGUMENTS -`.
pub fn by_ffmpeg(arguments: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-f", "lavfi"])
        .args(arguments.split_whitespace())
        .arg("-")
        .stdin(Stdio::null())
        .output()
        .expect("the ffmpeg program runs");
    assert!(output.status.success(), "ffmpeg {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Serves each connection on a separate thread, with its number from 1.
pub fn serve(answer: impl Fn(TcpStream, u64) + Send + Sync + 'static) -> SocketAddr {
    serve_on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
}

pub fn serve_on(
    listener: TcpListener,
    answer: impl Fn(TcpStream, u64) + Send + Sync + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for number in 1.. {
            let Ok((stream, _)) = listener.accept() else { return };
            let answer = answer.clone();
            std::thread::spawn(move || answer(stream, number));
        }
    });
    address
}

/// Reads the head of a request; empty at the end of the connection.
pub fn request(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        // Interleaved RTCP of an RTSP client.
        if head.is_empty() && byte[0] == b'$' {
            let mut rest = [0; 3];
            let _ = stream.read_exact(&mut rest);
            let _ = stream.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([rest[1], rest[2]]))]);
            continue;
        }
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// JPEGs of a moving picture.
pub fn jpegs(width: u32, height: u32, count: u32) -> Vec<Vec<u8>> {
    let bytes =
        by_ffmpeg(&format!("-i testsrc2=size={width}x{height}:rate=25 -frames:v {count} -q:v 9 -f mjpeg"));
    let starts: Vec<_> =
        bytes.windows(3).enumerate().filter(|(_, at)| **at == [0xff, 0xd8, 0xff]).map(|(at, _)| at).collect();
    let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
    starts.iter().zip(ends).map(|(&start, end)| bytes[start..end].to_vec()).collect()
}

/// An MJPEG camera's answer to one request.
pub struct Mjpeg(TcpStream);

impl Mjpeg {
    pub fn accept(mut stream: TcpStream) -> Self {
        request(&mut stream);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        Mjpeg(stream)
    }

    /// False once the client has gone.
    pub fn send(&mut self, jpeg: &[u8]) -> bool {
        let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        let part = [head.as_bytes(), jpeg, b"\r\n"].concat();
        self.0.write_all(&part).is_ok()
    }

    /// Sends nothing more, and waits for the client to hang up.
    pub fn stall(mut self) {
        request(&mut self.0);
    }
}

/// The access units of an H.264 stream, each as its NAL units.
pub fn h264(width: u32, height: u32, count: u32) -> Vec<Vec<Vec<u8>>> {
    let bytes = by_ffmpeg(&format!(
        "-i testsrc2=size={width}x{height}:rate=25 -frames:v {count} -pix_fmt yuv420p -c:v libx264 -bf 0 -g 5 \
         -x264-params aud=1:repeat-headers=1:slices=1 -f h264"
    ));
    let mut starts: Vec<_> =
        bytes.windows(3).enumerate().filter(|(_, at)| **at == [0, 0, 1]).map(|(at, _)| at + 3).collect();
    starts.push(bytes.len() + 3);
    let mut units: Vec<Vec<Vec<u8>>> = Vec::new();
    for pair in starts.windows(2) {
        let end = (pair[1] - 3).max(pair[0]);
        let nal = bytes[pair[0]..end].strip_suffix(&[0]).unwrap_or(&bytes[pair[0]..end]).to_vec();
        // An access unit delimiter begins each.
        match nal[0] & 31 {
            9 => units.push(Vec::new()),
            _ => units.last_mut().expect("the stream begins with a delimiter").push(nal),
        }
    }
    units
}

/// The RTSP session of one connection, over which RTP goes.
pub struct Rtsp {
    stream: TcpStream,
    /// `None`: interleaved with RTSP over TCP.
    udp: Option<(UdpSocket, SocketAddr)>,
    sequence: u16,
    time: u32,
}

impl Rtsp {
    /// Answers requests until the client wants to play; `None` when it goes before. A transport that is not
    /// `over_udp` is refused where that was asked for, and the other way round.
    pub fn accept(mut stream: TcpStream, over_udp: bool) -> Option<Self> {
        let mut udp = None;
        loop {
            let request = request(&mut stream);
            let header = |name: &str| {
                let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
                line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
            };
            let sequence = header("cseq:")?;
            let mut answer = |status: &str, rest: &str| {
                let head = format!("RTSP/1.0 {status}\r\nCSeq: {sequence}\r\nSession: 1\r\n{rest}");
                stream.write_all(head.as_bytes()).ok()
            };
            match request.split(' ').next()? {
                "DESCRIBE" => {
                    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
                               m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n";
                    let length = sdp.len();
                    answer(
                        "200 OK",
                        &format!("Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"),
                    )?;
                }
                "SETUP" => {
                    let transport = header("transport:")?;
                    let ports = transport.split(';').find_map(|part| part.strip_prefix("client_port="));
                    let port = ports.and_then(|ports| ports.split('-').next()?.parse::<u16>().ok());
                    if port.is_some() != over_udp {
                        answer("461 Unsupported Transport", "\r\n")?;
                        continue;
                    }
                    let mut transport = transport;
                    if let Some(port) = port {
                        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                        let own = socket.local_addr().unwrap().port();
                        transport = format!("{transport};server_port={own}-{}", own.saturating_add(1));
                        udp = Some((socket, SocketAddr::from(([127, 0, 0, 1], port))));
                    }
                    answer("200 OK", &format!("Transport: {transport}\r\n\r\n"))?;
                }
                "PLAY" => {
                    answer("200 OK", "\r\n")?;
                    return Some(Rtsp { stream, udp, sequence: 0, time: 0 });
                }
                _ => answer("200 OK", "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n")?,
            }
        }
    }

    /// Sends one picture as RTP (RFC 6184, single NAL units). False once the client has gone.
    pub fn send(&mut self, unit: &[Vec<u8>]) -> bool {
        self.time = self.time.wrapping_add(3600);
        for (index, nal) in unit.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let marker = if index + 1 == unit.len() { 0x80 } else { 0 };
            let mut packet = vec![0x80, 96 | marker];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(self.time.to_be_bytes());
            packet.extend(7_u32.to_be_bytes());
            packet.extend(nal);
            let sent = match &self.udp {
                Some((socket, client)) => socket.send_to(&packet, client).is_ok(),
                None => {
                    let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
                    let framed = [&[b'$', 0, length[0], length[1]], &packet[..]].concat();
                    self.stream.write_all(&framed).is_ok()
                }
            };
            if !sent {
                return false;
            }
        }
        true
    }

    /// Sends nothing more, and waits for the client to hang up.
    pub fn stall(mut self) {
        while !request(&mut self.stream).is_empty() {}
    }
}

/// A number that one thread raises and another one reads.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::SeqCst);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}
