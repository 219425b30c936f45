//! Tokens are proved and never sent: a program that answers at an address learns nothing that is of use
//! elsewhere.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use framelane::*;
use framelane_net::security::{AccessList, Client, ClientsFile, Identity, IdentityOptions, Role, Token};
use framelane_net::{Access, ServerOptions};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{DigitallySignedStruct, SignatureScheme};
use support::{Served, gray, open};

/// The client's first bytes: magic, head and body of HELLO.
const HELLO: usize = 8 + 16 + 56;

/// Lets a client in by a token, whose file is returned.
fn allow(options: &mut ServerOptions, directory: &Path, token: &Token) {
    let file = ClientsFile::in_directory(&directory.join("config"));
    let all = || "**".parse().unwrap();
    file.add(&Client::with_token("lab", token, all(), all())).unwrap();
    options.access = Access::Clients(AccessList::load(file.path()).unwrap());
}

fn token_file(directory: &Path, token: &Token) -> PathBuf {
    let path = directory.join("token");
    std::fs::write(&path, token.expose()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn identity(directory: &Path, name: &str) -> Identity {
    IdentityOptions::new(Role::Server, name).names(["127.0.0.1".to_owned()]).create(directory).unwrap()
}

/// A message of the server, behind the magic bytes.
fn challenge(nonce: [u8; 32], proof: &[u8]) -> Vec<u8> {
    let body = [&[1, 0, 1, 0, 0, 0, 0, 0][..], &nonce, proof].concat();
    [b"FRMLLINK\x0a\0\0\0", &(body.len() as u32).to_le_bytes()[..], &[0; 8], &body].concat()
}

/// Answers one client's HELLO with what `answer` makes of it; returns all that the client has sent.
fn stranger(
    answer: impl FnOnce(&[u8]) -> Vec<u8> + Send + 'static,
) -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = vec![0; HELLO];
        stream.read_exact(&mut heard).unwrap();
        stream.write_all(&answer(&heard)).unwrap();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    (address, thread)
}

#[test]
fn stranger_at_the_port_gets_no_token_and_no_request() {
    framelane_net::register_url_schemes();
    let (token, directory) = (Token::generate().unwrap(), tempfile::tempdir().unwrap());
    let file = token_file(directory.path(), &token);
    type Answer = fn(&[u8]) -> Vec<u8>;
    let answers: [Answer; 4] = [
        |_| challenge([7; 32], &[0; 32]),
        |_| challenge([7; 32], &[9; 32]),
        // What the client has sent, sent back.
        |heard| challenge(heard[32..64].try_into().unwrap(), &heard[32..64]),
        |_| challenge([7; 32], &[]),
    ];
    for answer in answers {
        let (address, thread) = stranger(answer);
        let url = format!("{address}/secret-channel?token-file={}", file.display());
        let error = trusted(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.message().contains("to prove that it knows the token"), "{error}");
        let heard = thread.join().unwrap();
        assert_eq!(heard.len(), HELLO, "sent before the server was known");
    }
}

#[test]
fn text_of_a_stranger_is_not_in_the_error() {
    framelane_net::register_url_schemes();
    let (address, thread) = stranger(|_| {
        let mut body = vec![5, 0, 0, 0, 0, 0, 0, 0];
        for text in ["come to evil.example", "run evil.sh"] {
            body.extend_from_slice(&(text.len() as u16).to_le_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        [b"FRMLLINK\x03\0\0\0", &(body.len() as u32).to_le_bytes()[..], &[0; 8], &body].concat()
    });
    let error = trusted(&format!("{address}/cam0")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(!error.to_string().contains("evil") && error.hint().is_some(), "{error}");
    thread.join().unwrap();
}

/// Passes bytes on between a client and a server, and keeps what the client sends.
fn wire(to: u16) -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let kept = heard.clone();
    std::thread::spawn(move || {
        let Ok((mut client, _)) = listener.accept() else { return };
        let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut back, mut from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from, &mut back));
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = client.read(&mut bytes) {
            kept.lock().unwrap().extend_from_slice(&bytes[..len]);
            if server.write_all(&bytes[..len]).is_err() {
                return;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
    (port, heard)
}

#[test]
fn token_is_not_sent_over_tcp_and_its_proof_cannot_be_reused() {
    let token = Token::generate().unwrap();
    let served = Served::start("tcp://127.0.0.1:0", |options, directory| allow(options, directory, &token));
    let mut publisher = served.publisher("cam0");
    publisher.send(&gray(4, 1), &FrameInfo::default(), &[9; 4]).unwrap();
    let (port, heard) = wire(served.port());
    let file = token_file(served.directory.path(), &token);
    let url = format!("tcp://127.0.0.1:{port}/cam0?token-file={}", file.display());
    let (mut subscriber, _directory) = open(&url, Delivery::Newest).unwrap();
    assert_eq!(subscriber.recv().unwrap().bytes(), [9; 4]);
    drop(subscriber);

    let heard = heard.lock().unwrap().clone();
    let secret = token.expose().trim_start_matches("framelane_").to_owned();
    let digits: String = heard.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = String::from_utf8_lossy(&heard).into_owned();
    assert!(text.contains("cam0"), "the request is there");
    assert!(!text.contains(&secret) && !digits.contains(&secret) && !digits.contains(&secret[..32]));

    let mut again = TcpStream::connect(("127.0.0.1", served.port())).unwrap();
    again.write_all(&heard).unwrap();
    let mut answer = Vec::new();
    let _ = again.read_to_end(&mut answer);
    // A challenge with another nonce, then the end with error 5, permission.
    let refused = &answer[8 + 16 + 72..];
    assert_eq!((refused[0], refused[16]), (3, 5), "{}", answer.escape_ascii());
}

#[test]
fn proof_passed_on_between_two_tls_links_is_refused() {
    let token = Token::generate().unwrap();
    let served = Served::start("tls://127.0.0.1:0", |options, directory| {
        allow(options, directory, &token);
        options.identity = Some(identity(&directory.join("config"), "camera"));
    });
    let _publisher = served.publisher("cam0");
    let keys = tempfile::tempdir().unwrap();
    let fingerprint = identity(keys.path(), "relay").fingerprint();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let port = served.port();
    let relay = std::thread::spawn(move || relay(&listener, keys.path(), port));
    let file = token_file(served.directory.path(), &token);
    // The client trusts the relay, and has the token of the real server.
    let url = format!("tls://{address}/cam0?fingerprint={fingerprint}&token-file={}", file.display());
    let error = trusted(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("to prove that it knows the token"), "{error}");
    relay.join().unwrap();
}

/// A client that trusts any server.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.3 only")
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Reads inside one TLS connection and writes inside another, for one message of each side.
fn relay(listener: &TcpListener, keys: &Path, port: u16) {
    let (socket, _) = listener.accept().unwrap();
    let certificate = CertificateDer::from_pem_file(Role::Server.certificate_file(keys)).unwrap();
    let key = PrivateKeyDer::from_pem_file(Role::Server.key_file(keys)).unwrap();
    let mut config = rustls::ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"framelane".to_vec()];
    let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    let mut client = rustls::StreamOwned::new(connection, socket);
    let mut config = rustls::ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"framelane".to_vec()];
    let name = std::net::IpAddr::from([127, 0, 0, 1]).into();
    let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = rustls::StreamOwned::new(connection, TcpStream::connect(("127.0.0.1", port)).unwrap());
    let mut hello = vec![0; HELLO];
    client.read_exact(&mut hello).unwrap();
    server.write_all(&hello).unwrap();
    let mut challenge = vec![0; 8 + 16 + 72];
    server.read_exact(&mut challenge).unwrap();
    client.write_all(&challenge).unwrap();
    client.flush().unwrap();
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.is_empty(), "the client has gone on");
}

#[test]
fn unix_socket_takes_no_token() {
    let (token, directory) = (Token::generate().unwrap(), tempfile::tempdir().unwrap());
    let file = token_file(directory.path(), &token);
    let socket = directory.path().join("x.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let url = format!("unix:{}/cam0?token-file={}", socket.display(), file.display());
    let error = trusted(&url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    assert!(error.message().contains("option token-file"), "{error}");
}

#[test]
fn name_from_elsewhere_reads_no_secret() {
    framelane_net::register_url_schemes();
    let (token, directory) = (Token::generate().unwrap(), tempfile::tempdir().unwrap());
    let file = token_file(directory.path(), &token);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("tcp://{address}/cam0?token-file={}&insecure=1", file.display());
    let plain = format!("tcp://{address}/cam0");
    for (urls, url, kind) in [
        (Urls::Safe, &url, ErrorKind::InvalidOption),
        (Urls::Refuse, &url, ErrorKind::InvalidName),
        (Urls::Refuse, &plain, ErrorKind::InvalidName),
    ] {
        let subscriber = SubscriberOptions::new().directory(directory.path()).urls(urls).open(url);
        assert_eq!(subscriber.err().unwrap().kind(), kind);
        let publisher = PublisherOptions::new().directory(directory.path()).urls(urls).create(url);
        assert_eq!(publisher.err().unwrap().kind(), kind);
    }
    // The default is the safe one.
    assert_eq!(Subscriber::open(&url).err().unwrap().kind(), ErrorKind::InvalidOption);
    assert_eq!(Publisher::create(&url).err().unwrap().kind(), ErrorKind::InvalidOption);
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "a connection");
}

/// The error of a subscriber of this URL, all of whose options are taken.
fn trusted(url: &str) -> Result<(), Error> {
    open(url, Delivery::Newest).map(drop)
}
