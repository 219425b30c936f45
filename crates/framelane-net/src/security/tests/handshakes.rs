//! Handshakes that succeed, and the errors of those that fail.

use framelane::{Error, ErrorKind};
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, RootCertStore, ServerConfig};

use super::*;
use crate::security::tls::{client_config_unchecked, server_config_unchecked};
use crate::security::{
    ALPN, Fingerprint, ServerTrust, client_config, peer_fingerprint, server_config, tls_error,
    tls_error_of_client,
};

fn trusting(server: &Identity) -> Arc<ClientConfig> {
    client_config(&ServerTrust::Fingerprint(server.fingerprint()), None).unwrap()
}

fn trusting_as(server: &Identity, client: &Identity) -> Arc<ClientConfig> {
    client_config_unchecked(&ServerTrust::Fingerprint(server.fingerprint()), Some(client)).unwrap()
}

/// The client trusts what is in this PEM.
fn trusting_authority(pem: &str) -> Result<Arc<ClientConfig>, Error> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.crt");
    std::fs::write(&path, pem).unwrap();
    client_config(&ServerTrust::Ca(path), None)
}

/// Returns an authority, and a server that it has signed, with this validity.
fn signed(not_before: SystemTime, not_after: SystemTime) -> (String, Identity) {
    let authority = made(Role::Authority, now() - DAY, now() + DAY);
    let pem = authority.certificate_pem.clone();
    let options =
        IdentityOptions::new(Role::Server, "cam").names(["cam.example".to_owned(), "::1".to_owned()]);
    let server = options.make(not_before, not_after, Some(&authority.into_issuer().unwrap())).unwrap();
    (pem, identity_of(&server))
}

/// A server below a second authority, which the first has signed: the first's PEM, and the server with its
/// chain.
fn signed_below(path_len: rcgen::BasicConstraints) -> (String, Identity) {
    let authority = |name: &str, constraints| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(constraints);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params
    };
    let root = authority("root", path_len);
    let root_key = rcgen::KeyPair::generate().unwrap();
    let pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(root, root_key);
    let below = authority("below", rcgen::BasicConstraints::Constrained(0));
    let below_key = rcgen::KeyPair::generate().unwrap();
    let below_certificate = below.signed_by(&below_key, &issuer).unwrap().der().clone();
    let issuer = rcgen::Issuer::new(below, below_key);
    let options = IdentityOptions::new(Role::Server, "cam").names(["cam.example".to_owned()]);
    let server = options.make(now() - DAY, now() + DAY, Some(&issuer)).unwrap();
    let certificate = CertificateDer::from_pem_slice(server.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).unwrap();
    (pem, Identity::new(vec![certificate, below_certificate], Zeroizing::new(key)).unwrap())
}

#[test]
fn authority_below_a_path_length_of_zero_is_refused() {
    use rcgen::BasicConstraints::{Constrained, Unconstrained};

    for constraints in [Unconstrained, Constrained(1)] {
        let (pem, server) = signed_below(constraints);
        let mut link = Link::new(trusting_authority(&pem).unwrap(), server_config(&server).unwrap());
        assert_eq!(link.shake_hands(), (Ok(()), Ok(())));
    }
    let (pem, server) = signed_below(Constrained(0));
    let client = trusting_authority(&pem).unwrap();
    let (_, told) = refused_by_client(Link::new(client, server_config(&server).unwrap()));
    assert_eq!(told.kind(), ErrorKind::PermissionDenied);
    assert!(told.message().contains("path length"), "{told}");
    // Another root in the file, which has not signed it, allows nothing.
    let (other, _) = signed_below(Unconstrained);
    let client = trusting_authority(&format!("{other}{pem}")).unwrap();
    refused_by_client(Link::new(client, server_config(&server).unwrap()));
}

#[test]
fn authority_outside_its_time_is_refused() {
    let authority = made(Role::Authority, now() - 3 * DAY, now() - DAY);
    let pem = authority.certificate_pem.clone();
    let options = IdentityOptions::new(Role::Server, "cam").names(["cam.example".to_owned()]);
    let server = options.make(now() - DAY, now() + DAY, Some(&authority.into_issuer().unwrap())).unwrap();
    let client = trusting_authority(&pem).unwrap();
    let link = Link::new(client, server_config(&identity_of(&server)).unwrap());
    let (_, told) = refused_by_client(link);
    assert!(told.message().contains("expired"), "{told}");
}

#[test]
fn certificate_of_a_server_is_no_authority() {
    let server = made(Role::Server, now() - DAY, now() + DAY);
    let error = trusting_authority(&server.certificate_pem).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("--fingerprint"), "{error}");
}

/// Returns the client's errors when the handshake fails on its side; the server must get an error too.
fn refused_by_client(mut link: Link) -> (rustls::Error, Error) {
    let (client, server) = link.shake_hands();
    let error = client.unwrap_err();
    let alert = server.unwrap_err();
    assert!(matches!(alert, rustls::Error::AlertReceived(_)), "{alert:?}");
    let told = tls_error_of_client(&alert, "peer");
    assert!(told.message().contains("does not trust") && told.hint().is_some(), "{told}");
    let told = tls_error(&error, "cam.example");
    (error, told)
}

/// Returns the errors of both sides when the server refuses the client's certificate.
fn refused_by_server(mut link: Link) -> (Error, Error) {
    let (client, server) = link.shake_hands();
    let by_server = tls_error_of_client(&server.unwrap_err(), "192.0.2.1:5");
    let by_client = tls_error(&client.unwrap_err(), "cam.example");
    for told in [&by_server, &by_client] {
        assert_eq!(told.kind(), ErrorKind::PermissionDenied, "{told}");
        assert!(told.hint().is_some(), "{told}");
    }
    (by_client, by_server)
}

#[test]
fn the_server_that_was_named_is_trusted_under_any_host_name() {
    let server = identity(Role::Server);
    let mut link = Link::to("elsewhere.example", trusting(&server), server_config(&server).unwrap());
    assert_eq!(link.shake_hands(), (Ok(()), Ok(())));
    assert_eq!(link.client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!((link.client.alpn_protocol(), link.server.alpn_protocol()), (Some(ALPN), Some(ALPN)));
    assert_eq!(peer_fingerprint(link.client.peer_certificates()), Some(server.fingerprint()));
    assert_eq!(peer_fingerprint(link.server.peer_certificates()), None);
}

#[test]
fn another_server_is_refused_and_both_fingerprints_are_told() {
    let (named, found) = (identity(Role::Server), identity(Role::Server));
    let (_, told) = refused_by_client(Link::new(trusting(&named), server_config(&found).unwrap()));
    assert_eq!(told.kind(), ErrorKind::PermissionDenied);
    for part in [named.fingerprint().to_string(), found.fingerprint().to_string(), "cam.example".to_owned()] {
        assert!(told.message().contains(&part), "{told}");
    }
}

#[test]
fn server_with_a_certificate_but_not_its_key_is_refused() {
    let named = identity(Role::Server);
    let thief = named.stolen_by(&identity(Role::Server));
    let (error, told) = refused_by_client(Link::new(trusting(&named), server_config(&thief).unwrap()));
    assert_eq!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature));
    assert!(told.message().contains("without proof"), "{told}");
}

#[test]
fn a_server_outside_its_time_is_refused_although_it_was_named() {
    for (server, word) in [(expired(Role::Server), "expired"), (not_yet_valid(Role::Server), "not valid yet")]
    {
        let link = Link::new(trusting(&server), server_config_unchecked(&server).unwrap());
        let (_, told) = refused_by_client(link);
        assert_eq!(told.kind(), ErrorKind::PermissionDenied);
        let day =
            if word == "expired" { server.validity().not_after() } else { server.validity().not_before() };
        assert!(told.message().contains(word) && told.message().contains(&day), "{told}");
    }
}

#[test]
fn expired_local_certificate_is_reported_before_connecting() {
    let trust = ServerTrust::Fingerprint(identity(Role::Server).fingerprint());
    for (error, whose) in [
        (server_config(&expired(Role::Server)).unwrap_err(), "the server's certificate has expired"),
        (
            client_config(&trust, Some(&expired(Role::Client))).unwrap_err(),
            "the client's certificate has expired",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.message().starts_with(whose) && error.hint().unwrap().contains("--force"), "{error}");
    }
}

#[test]
fn server_signed_by_the_authority_is_trusted_by_its_names_only() {
    let (authority, server) = signed(now() - DAY, now() + DAY);
    let client = trusting_authority(&authority).unwrap();
    for name in ["cam.example", "CAM.example", "::1"] {
        let mut link = Link::to(name, client.clone(), server_config(&server).unwrap());
        assert_eq!(link.shake_hands(), (Ok(()), Ok(())), "{name}");
    }
    for name in ["other.example", "x.cam.example", "127.0.0.1"] {
        let mut link = Link::to(name, client.clone(), server_config(&server).unwrap());
        let told = tls_error(&link.shake_hands().0.unwrap_err(), name);
        assert_eq!(told.kind(), ErrorKind::PermissionDenied);
        assert!(told.message().contains("cam.example") && told.message().contains(name), "{told}");
        assert!(told.hint().unwrap().contains(&format!("--name {name}")), "{told}");
    }
}

#[test]
fn server_of_another_authority_is_refused_with_its_fingerprint() {
    let (authority, _) = signed(now() - DAY, now() + DAY);
    let (_, of_another) = signed(now() - DAY, now() + DAY);
    for server in [of_another, identity(Role::Server)] {
        let client = trusting_authority(&authority).unwrap();
        let (_, told) = refused_by_client(Link::new(client, server_config(&server).unwrap()));
        assert_eq!(told.kind(), ErrorKind::PermissionDenied);
        assert!(told.message().contains(&server.fingerprint().to_string()), "{told}");
        assert!(told.message().contains("no authority"), "{told}");
    }
}

#[test]
fn a_signed_server_outside_its_time_is_refused() {
    for (from, to, word) in [(3, -1, "expired"), (-1, 3, "not valid yet")] {
        let day =
            |days: i32| if days < 0 { now() - DAY * days.unsigned_abs() } else { now() + DAY * days as u32 };
        let (authority, server) = signed(day(-from), day(to));
        let client = trusting_authority(&authority).unwrap();
        let (_, told) = refused_by_client(Link::new(client, server_config_unchecked(&server).unwrap()));
        assert!(told.message().contains(word), "{told}");
    }
}

#[test]
fn client_certificate_is_refused_as_a_server_certificate() {
    let authority = made(Role::Authority, now() - DAY, now() + DAY);
    let client = trusting_authority(&authority.certificate_pem).unwrap();
    let options = IdentityOptions::new(Role::Client, "laptop").names(["cam.example".to_owned()]);
    let issuer = authority.into_issuer().unwrap();
    let server = identity_of(&options.make(now() - DAY, now() + DAY, Some(&issuer)).unwrap());
    let mut link = Link::new(client, server_config(&server).unwrap());
    let told = tls_error(&link.shake_hands().0.unwrap_err(), "cam.example");
    assert!(told.message().contains("another purpose"), "{told}");
}

#[test]
fn a_file_without_authorities_is_told_of() {
    let key = made(Role::Server, now() - DAY, now() + DAY);
    for pem in ["", "no PEM", &key.key_pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
    {
        let error = trusting_authority(pem).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.message().contains("ca.crt") && error.hint().is_some(), "{error}");
    }
}

#[test]
fn a_clients_certificate_arrives_as_its_fingerprint() {
    let (server, client) = (identity(Role::Server), identity(Role::Client));
    let mut link = Link::new(trusting_as(&server, &client), server_config(&server).unwrap());
    assert_eq!(link.shake_hands(), (Ok(()), Ok(())));
    assert_eq!(peer_fingerprint(link.server.peer_certificates()), Some(client.fingerprint()));
}

#[test]
fn client_with_a_certificate_but_not_its_key_is_refused() {
    let (server, client) = (identity(Role::Server), identity(Role::Client));
    let thief = client.stolen_by(&identity(Role::Client));
    let link = Link::new(trusting_as(&server, &thief), server_config(&server).unwrap());
    let (_, by_server) = refused_by_server(link);
    assert!(by_server.message().contains("without proof"), "{by_server}");
}

#[test]
fn a_client_outside_its_time_is_refused_and_both_sides_say_why() {
    let server = identity(Role::Server);
    for (client, word) in [(expired(Role::Client), "expired"), (not_yet_valid(Role::Client), "not valid yet")]
    {
        let link = Link::new(trusting_as(&server, &client), server_config(&server).unwrap());
        let (by_client, by_server) = refused_by_server(link);
        assert!(
            by_server.message().contains(word) && by_server.message().contains("192.0.2.1:5"),
            "{by_server}"
        );
        assert!(by_client.message().contains("validity period"), "{by_client}");
    }
}

#[test]
fn tls_1_2_is_refused_on_both_sides() {
    let server = identity(Role::Server);
    let old_client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let (client, by_server) = Link::new(Arc::new(old_client), server_config(&server).unwrap()).shake_hands();
    assert_eq!(client.unwrap_err(), rustls::Error::AlertReceived(AlertDescription::ProtocolVersion));
    let told = tls_error_of_client(&by_server.unwrap_err(), "peer");
    assert!(told.message().contains("TLS 1.3"), "{told}");

    let old_server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(server.certified())));
    let (client, _) = Link::new(trusting(&server), Arc::new(old_server)).shake_hands();
    let told = tls_error(&client.unwrap_err(), "cam.example");
    assert_eq!(told.kind(), ErrorKind::SystemFailure);
    assert!(told.message().contains("TLS 1.3"), "{told}");
}

#[test]
fn a_server_for_something_else_is_told_apart() {
    let server = identity(Role::Server);
    let mut web = (*server_config(&server).unwrap()).clone();
    web.alpn_protocols = vec![b"h2".to_vec()];
    let (client, _) = Link::new(trusting(&server), Arc::new(web)).shake_hands();
    let told = tls_error(&client.unwrap_err(), "cam.example");
    assert!(told.message().contains("something else"), "{told}");
}

#[test]
fn no_session_can_be_resumed() {
    let (server, client) = (identity(Role::Server), identity(Role::Client));
    let (client, config) = (trusting_as(&server, &client), server_config(&server).unwrap());
    for _ in 0..2 {
        let mut link = Link::new(client.clone(), config.clone());
        assert_eq!(link.shake_hands(), (Ok(()), Ok(())));
        assert_eq!(link.server.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(link.client.tls13_tickets_received(), 0);
    }
    assert_eq!(TLS13.version, rustls::ProtocolVersion::TLSv1_3);
}

#[test]
fn what_does_not_speak_tls_is_told_apart_on_both_sides() {
    let server = identity(Role::Server);
    let mut link = Link::new(trusting(&server), server_config(&server).unwrap());
    link.client.read_tls(&mut &b"framelane 1\r\n"[..]).unwrap();
    let error = std::io::Error::other(link.client.process_new_packets().unwrap_err());
    let told = tls_error(&error, "cam.example");
    assert!(told.message().contains("speak TLS") && told.hint().unwrap().contains("tcp://"), "{told}");
    link.server.read_tls(&mut &b"GET / HTTP/1.1\r\n"[..]).unwrap();
    let told = tls_error_of_client(&link.server.process_new_packets().unwrap_err(), "peer");
    assert!(told.message().contains("speak TLS") && told.hint().unwrap().contains("tls://"), "{told}");
}

#[test]
fn broken_connections_say_whose_and_what_to_look_at() {
    use std::io::ErrorKind as Kind;
    for kind in [Kind::UnexpectedEof, Kind::ConnectionReset, Kind::TimedOut, Kind::Other] {
        let told = tls_error(&std::io::Error::from(kind), "cam.example");
        assert_eq!(told.kind(), ErrorKind::SystemFailure);
        assert!(told.message().contains("cam.example") && told.hint().is_some(), "{told}");
    }
}

#[test]
fn nothing_is_known_of_a_peer_without_certificates() {
    assert_eq!(peer_fingerprint(None), None);
    assert_eq!(peer_fingerprint(Some(&[])), None);
    let certificate = CertificateDer::from(b"abc".to_vec());
    assert_eq!(
        peer_fingerprint(Some(std::slice::from_ref(&certificate))),
        Some(Fingerprint::of(&certificate))
    );
}
