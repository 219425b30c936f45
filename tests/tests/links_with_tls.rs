//! Access over TLS: accepted and refused clients, their errors, and secrecy of tokens.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use framelane_tests::links::{Reader, Running, command, program, start, start_command};
use framelane_tests::{Camera, Channels, Hosts, Place, Wire, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

const CHANNEL: &str = "cam0";

/// A server with TLS on one host, and an authorised client on another.
struct Site {
    _camera: Camera,
    hosts: Hosts,
    here: Place,
    there: Place,
    /// The directory of certificates and clients.
    files: tempfile::TempDir,
    fingerprint: String,
    token: String,
}

impl Site {
    fn new() -> Option<Self> {
        let hosts = Hosts::unless_skipped(2, Wire::default())?;
        let (here, there) = (Place::new(), Place::new());
        let camera = Camera::start(here.publisher().create(CHANNEL).unwrap(), 2_000, 20.0);
        let files = tempfile::tempdir().unwrap();
        let mut site = Site {
            _camera: camera,
            hosts,
            here,
            there,
            files,
            fingerprint: String::new(),
            token: String::new(),
        };
        site.identity("server", "ca");
        let name = site.hosts[0].address().to_string();
        let made: Value =
            serde_json::from_str(&site.identity("server", &format!("server --ca --name {name} --json")))
                .unwrap();
        site.fingerprint = made["fingerprint"].as_str().unwrap().to_owned();
        site.token = site.identity("server", "token viewer --read cam*");
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The output of `framelane identity LINE`, with the configuration of this name.
    fn identity(&self, config: &str, line: &str) -> String {
        let mut command = Command::new(program());
        command.arg("identity").args(line.split(' ')).env("FRAMELANE_CONFIG", self.path(config));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn address(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.hosts[0].address())
    }

    /// `framelane serve`, which is not started yet.
    fn server(&self, more: &[&str]) -> Command {
        let tls = self.address("tls");
        let mut server = command(&self.hosts[0], &self.here, &[&["serve", "--listen", &tls], more].concat());
        server.env("FRAMELANE_CONFIG", self.path("server"));
        server
    }

    fn serve(&self, more: &[&str]) -> Running {
        let mut server = start_command(self.server(more));
        server.wait_for("listening");
        server
    }

    fn url(&self, options: &str) -> String {
        format!("{}/{CHANNEL}?{options}", self.address("tls"))
    }

    /// `framelane receive` from the other host, with a token or none.
    fn receive(&self, url: &str, token: Option<&str>, more: &[&str]) -> Command {
        let mut receive = command(&self.hosts[1], &self.there, &[&["receive", url], more].concat());
        receive.env("FRAMELANE_CONFIG", self.path("nobody")).stdin(Stdio::null());
        if let Some(token) = token {
            receive.env("FRAMELANE_TOKEN", token);
        }
        receive
    }

    /// That three frames come this way.
    fn gets_frames(&self, url: &str, token: Option<&str>, more: &[&str]) {
        let mut receive = self.receive(url, token, &[more, &["--count", "3"]].concat());
        let output = receive.output().unwrap();
        assert!(output.status.success(), "{url} {more:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The final error of a refused client: kind and text.
    fn is_refused(&self, url: &str, token: Option<&str>, more: &[&str]) -> (String, String) {
        let mut receive = self.receive(url, token, &[more, &["--json"]].concat());
        let output = receive.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{url} {more:?}");
        let error: Value = serde_json::from_slice(&output.stderr).unwrap();
        let error = &error["error"];
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{error}");
        (error["kind"].as_str().unwrap().to_owned(), error.to_string())
    }

    /// A certificate that was valid in the last century, in the folder of this name; also its fingerprint.
    fn expired(&self, name: &str, role: &str) -> (PathBuf, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new([self.hosts[0].address().to_string()]).unwrap();
        parameters.not_before = rcgen::date_time_ymd(1998, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(1999, 1, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        let folder = self.path(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        for (suffix, text) in [("crt", certificate.pem()), ("key", key.serialize_pem())] {
            use std::io::Write;
            let mut options = File::options();
            let file = options.write(true).create_new(true).mode(0o600);
            file.open(folder.join(format!("{role}.{suffix}"))).unwrap().write_all(text.as_bytes()).unwrap();
        }
        let fingerprint = framelane_net::security::Fingerprint::of(certificate.der());
        (folder, fingerprint.to_string())
    }
}

#[test]
fn whoever_shows_what_it_must_gets_frames_and_nobody_else_does() {
    let Some(site) = Site::new() else { return };
    let laptop = site.path("laptop");
    let made = site.identity("laptop", &format!("client laptop --out {} --json", laptop.display()));
    let made: Value = serde_json::from_str(&made).unwrap();
    let allow = format!("allow laptop {} --read **", made["fingerprint"].as_str().unwrap());
    site.identity("server", &allow);
    let _server = site.serve(&[]);
    let (ours, token) = (format!("fingerprint={}", site.fingerprint), Some(site.token.as_str()));
    let authority = format!("ca={}", site.path("server/ca.crt").display());
    let certificate = ["--certificate", laptop.to_str().unwrap()];

    site.gets_frames(&site.url(&ours), token, &[]);
    site.gets_frames(&site.url(&authority), token, &["--codec", "lz4"]);
    site.gets_frames(&site.url(&ours), None, &certificate);
    let file = site.path("token");
    std::fs::write(&file, format!("{}\n", site.token)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    site.gets_frames(&site.url(&ours), None, &["--token-file", file.to_str().unwrap()]);

    let zeros = format!("fingerprint=sha256:{}", "0".repeat(64));
    site.identity("stranger", "ca");
    let stranger = format!("ca={}", site.path("stranger/ca.crt").display());
    let other = site.identity("stranger", "token viewer --read **");
    let unknown = site.path("unknown");
    site.identity("unknown", &format!("client laptop --out {}", unknown.display()));
    let unknown = ["--certificate", unknown.to_str().unwrap()];
    let none: &[&str] = &[];
    for (what, options, token, more, found) in [
        ("the wrong fingerprint", &zeros, token, none, site.fingerprint.as_str()),
        ("another authority", &stranger, token, none, "authority"),
        ("no idea whose", &String::new(), token, none, "no fingerprint or CA was given"),
        ("no token", &ours, None, none, "found neither"),
        ("the token of another client", &ours, Some(other.as_str()), none, "unknown or revoked"),
        ("what is no token", &ours, Some("letmein"), none, "token"),
        ("an unknown certificate", &ours, None, &unknown, "certificate"),
    ] {
        let (kind, error) = site.is_refused(&site.url(options), token, more);
        assert!(error.contains(found), "{what}: {error}");
        assert!(kind == "permission_denied" || kind == "invalid_option", "{what}: {error}");
    }
    let door = format!("{}/door?{ours}", site.address("tls"));
    let (kind, error) = site.is_refused(&door, token, &[]);
    assert!(kind == "permission_denied" && error.contains("door"), "{error}");
    let sends = ["send", CHANNEL, &site.url(&ours), "--json"];
    let output = command(&site.hosts[1], &site.here, &sends).env("FRAMELANE_TOKEN", &site.token).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "it may read, not write");
    assert!(String::from_utf8_lossy(&output.stderr).contains("permission"));
}

#[test]
fn certificates_that_are_out_of_date_are_refused_by_both_sides() {
    let Some(site) = Site::new() else { return };
    // Our own programs do not even begin with one.
    let (folder, fingerprint) = site.expired("old", "server");
    let output = site.server(&["--identity", folder.to_str().unwrap(), "--json"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("1999-01-01"), "{error}");
    let (client, client_fingerprint) = site.expired("old-client", "client");
    site.identity("server", &format!("allow old {client_fingerprint} --read **"));
    let mut server = site.serve(&[]);
    let ours = format!("fingerprint={}", site.fingerprint);
    let (_, error) = site.is_refused(&site.url(&ours), None, &["--certificate", client.to_str().unwrap()]);
    assert!(error.contains("1999-01-01"), "{error}");

    // The same for the server and the client of another user.
    let pem = |folder: &Path, role: &str| {
        let certificate = CertificateDer::from_pem_file(folder.join(format!("{role}.crt"))).unwrap();
        (vec![certificate], PrivateKeyDer::from_pem_file(folder.join(format!("{role}.key"))).unwrap())
    };
    let (certificates, key) = pem(&folder, "server");
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(certificates, key).unwrap());
    let listener =
        site.hosts[0].run(|| std::net::TcpListener::bind((site.hosts[0].address(), 7000)).unwrap());
    let listens = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = rustls::ServerConnection::new(config).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut socket).is_ok() {}
    });
    let there = format!("{}:7000/{CHANNEL}?fingerprint={fingerprint}", site.address("tls"));
    let (kind, error) = site.is_refused(&there, Some(&site.token), &[]);
    assert!(kind == "permission_denied" && error.contains("1999-01-01"), "{error}");
    listens.join().unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(site.path("server/ca.crt")).unwrap()).unwrap();
    let (certificates, key) = pem(&client, "client");
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates, key)
        .unwrap();
    config.alpn_protocols = vec![b"framelane".to_vec()];
    let address = site.hosts[0].address();
    let name = std::net::IpAddr::from(address).into();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = site.hosts[1].run(|| TcpStream::connect((address, 7420)).unwrap());
    while tls.complete_io(&mut socket).is_ok_and(|(read, written)| read + written > 0) {}
    let refused = server.wait_for("refused");
    assert!(refused["reason"].as_str().unwrap().contains("1999-01-01"), "{refused}");
}

#[test]
fn plain_and_tls_that_meet_are_told_of_each_other() {
    let Some(site) = Site::new() else { return };
    let plain = format!("{}:7000", site.address("tcp"));
    let mut server = site.serve(&["--listen", &plain, "--insecure"]);
    let ours = format!("fingerprint={}", site.fingerprint);
    let (_, error) =
        site.is_refused(&format!("{}/{CHANNEL}?insecure", site.address("tcp")), Some(&site.token), &[]);
    assert!(error.contains("use tls://"), "{error}");
    let refused = server.wait_for("refused");
    assert!(refused["reason"].as_str().unwrap().contains("tls://"), "{refused}");
    // The server may be restarted with TLS at any moment: this is reported, and the client retries.
    let url = format!("{}:7000/{CHANNEL}?{ours}", site.address("tls"));
    let mut receiver = start_command(site.receive(&url, Some(&site.token), &[]));
    let lost = receiver.wait_for("lost");
    assert!(lost["reason"].as_str().unwrap().contains("tls://"), "{lost}");
    let refused = server.wait_for("refused");
    assert!(refused["reason"].as_str().unwrap().contains("it speaks TLS"), "{refused}");
    drop(receiver);
    // Tokens count there too.
    let url = format!("{plain}/{CHANNEL}?insecure");
    site.gets_frames(&url, Some(&site.token), &[]);
    // Without a token the server is not authenticated: its text is not shown.
    let (kind, error) = site.is_refused(&url, None, &[]);
    assert!(kind == "permission_denied" && error.contains("not authenticated"), "{error}");
}

#[test]
fn tcp_to_another_machine_needs_insecure_on_both_sides() {
    let Some(site) = Site::new() else { return };
    let (tcp, all) = (site.address("tcp"), "tcp://0.0.0.0:7420".to_owned());
    for listen in [&tcp, &all] {
        let serve = ["serve", "--listen", listen, "--anonymous", "--json"];
        let output = command(&site.hosts[0], &site.here, &serve).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{listen}");
        assert!(error.contains("--insecure") && error.contains("permission"), "{error}");
    }
    let serve = ["serve", "--listen", &all, "--anonymous", "--insecure"];
    let mut server = start(&site.hosts[0], &site.here, &serve);
    server.wait_for("listening");
    let url = format!("{tcp}/{CHANNEL}");
    for token in [None, Some(site.token.as_str())] {
        let (kind, error) = site.is_refused(&url, token, &[]);
        assert!(kind == "permission_denied" && error.contains("--insecure"), "{error}");
    }
    site.gets_frames(&url, None, &["--insecure"]);
    let local = ["receive", "tcp://127.0.0.1/cam0", "here", "--count", "1"];
    assert!(command(&site.hosts[0], &site.there, &local).status().unwrap().success());
}

#[test]
fn tls_link_over_ipv6_reconnects_after_an_outage() {
    let Some(site) = Site::new() else { return };
    let Some(address) = site.hosts[0].address_v6_unless_skipped() else { return };
    let listen = format!("tls://[{address}]");
    let options = ["--listen", &listen, "--idle-timeout", "2"];
    let mut server = site.serve(&options);
    let url = format!("{listen}/{CHANNEL}?idle-timeout=2&fingerprint={}", site.fingerprint);
    let mut receiver = start_command(site.receive(&url, Some(&site.token), &[]));
    receiver.wait_for("connected");
    let mut reader = Reader::new(site.there.subscriber().open(CHANNEL).unwrap());
    for _ in 0..3 {
        drop(reader.take(3));
        server.kill();
        receiver.wait_for("lost");
        server = site.serve(&options);
        receiver.wait_for("connected");
        drop(reader.take(3));
        site.hosts.partition();
        let lost = receiver.wait_for("lost");
        assert!(lost["reason"].as_str().unwrap().contains("nothing was heard"), "{lost}");
        site.hosts.heal();
        receiver.wait_for("connected");
    }
    drop(reader.take(3));
}

#[test]
fn revoked_token_ends_its_connections() {
    let Some(site) = Site::new() else { return };
    let mut server = site.serve(&[]);
    let url = site.url(&format!("fingerprint={}", site.fingerprint));
    let other = site.identity("server", "token other --read cam*");
    let mut kept = start_command(site.receive(&url, Some(&other), &["kept"]));
    let mut receiver = start_command(site.receive(&url, Some(&site.token), &[]));
    kept.wait_for("connected");
    receiver.wait_for("connected");
    let mut reader = Reader::new(site.there.subscriber().open(CHANNEL).unwrap());
    drop(reader.take(3));
    site.identity("server", "revoke viewer");
    // By itself, within a second or so.
    while reader.recv().is_ok() {}
    assert_eq!(receiver.end().code(), Some(1));
    let ended = server.wait_for("ended");
    assert!(ended["reason"].as_str().unwrap().contains("no longer allowed"), "{ended}");
    let (kind, error) = site.is_refused(&url, Some(&site.token), &[]);
    assert!(kind == "permission_denied" && error.contains("revoked"), "{error}");
    // A new token of the same name is another one.
    let renewed = site.identity("server", "token viewer --read cam*");
    assert!(site.is_refused(&url, Some(&site.token), &[]).1.contains("revoked"));
    site.gets_frames(&url, Some(&renewed), &[]);
    drop(Reader::new(site.there.subscriber().open("kept").unwrap()).take(3));
}

/// Runs it with all its output in a file.
fn logged(mut command: Command, log: &Path) -> Command {
    let file = File::options().create(true).append(true).open(log).unwrap();
    command.stdout(file.try_clone().unwrap()).stderr(file);
    command
}

#[test]
fn tokens_are_in_no_output_no_list_of_processes_and_no_channel() {
    let Some(site) = Site::new() else { return };
    let log = site.path("log");
    let url = site.url(&format!("fingerprint={}", site.fingerprint));
    let wrong = site.identity("stranger", "token viewer --read **");
    let mut command_lines = String::new();
    for json in [&[][..], &["--json"]] {
        let token = site.identity("server", &format!("token client{} --read cam*", json.len()));
        let server = logged(site.server(json), &log).spawn().unwrap();
        let mut running = vec![server, logged(site.receive(&url, Some(&token), json), &log).spawn().unwrap()];
        drop(Reader::new(site.there.subscriber().open(CHANNEL).unwrap()).take(3));
        for (url, token, more) in [
            (url.clone(), Some(wrong.as_str()), &["unknown"][..]),
            (format!("{url}&token={token}"), Some(token.as_str()), &[]),
            (url.replace("://", &format!("://{token}@")), Some(token.as_str()), &[]),
            (url.clone(), Some(token.as_str()), &["elsewhere", "--count", "2"]),
            (url.replace("cam0", "door"), Some(token.as_str()), &[]),
        ] {
            let mut receive = site.receive(&url, token, &[more, json].concat());
            let output = receive.output().unwrap();
            let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
            let said = said.concat();
            assert!(!said.contains(&token.unwrap()["framelane_".len()..]), "{more:?}: {said}");
        }
        for info in ["info", "list"] {
            let arguments = if info == "info" { vec![info, CHANNEL] } else { vec![info] };
            let shows = command(&site.hosts[1], &site.there, &[&arguments[..], json].concat());
            assert!(logged(shows, &log).status().unwrap().success());
        }
        for process in &running {
            let line = std::fs::read(format!("/proc/{}/cmdline", process.id())).unwrap();
            command_lines.push_str(&String::from_utf8_lossy(&line));
        }
        for file in site.there.files().iter().map(|name| site.there.path().join(name)) {
            let bytes = std::fs::read(&file).unwrap();
            let secret = &token.as_bytes()["framelane_".len()..];
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", file.display());
        }
        site.identity("server", &format!("revoke client{}", json.len()));
        // The client ends with the error.
        running.pop().unwrap().wait().unwrap();
        for mut process in running {
            // At its end, it has reported everything.
            kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
            process.wait().unwrap();
        }
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.contains("no longer allowed") && said.contains("unknown or revoked"), "{said}");
        for secret in [&token, &wrong] {
            let secret = &secret["framelane_".len()..];
            assert!(!said.contains(secret) && !command_lines.contains(secret), "{said}{command_lines}");
        }
    }
    wait_until!(site.there.files().is_empty());
}
