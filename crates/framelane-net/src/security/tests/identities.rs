//! Identities as files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use framelane::ErrorKind;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn server() -> IdentityOptions {
    IdentityOptions::new(Role::Server, "cam").names(["cam.example".to_owned(), "192.0.2.1".to_owned()])
}

#[test]
fn an_identity_is_read_back_as_it_was_made() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("config");
    let made = server().days(10).create(&directory).unwrap();
    assert_eq!(
        (made.names(), made.common_name()),
        (&["cam.example".to_owned(), "192.0.2.1".to_owned()][..], "cam")
    );
    assert_eq!(made.validity().days_left(now() + Duration::from_secs(60)), 9);
    let read = Identity::from_directory(&directory, Role::Server).unwrap();
    assert_eq!(read.fingerprint(), made.fingerprint());
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(
        (mode(&Role::Server.key_file(&directory)), mode(&Role::Server.certificate_file(&directory))),
        (0o600, 0o644)
    );
}

#[test]
fn neither_debug_nor_an_error_shows_a_key() {
    let place = tempfile::tempdir().unwrap();
    let made = server().create(place.path()).unwrap();
    assert_eq!(format!("{made:?}"), format!("Identity({})", made.fingerprint()));
    // The key where the certificate belongs.
    let key = Role::Server.key_file(place.path());
    let line = fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
    let error = Identity::load(&key, &key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(!error.to_string().contains(&line[..16]), "{error}");
}

#[test]
fn an_identity_that_is_there_is_kept_unless_it_may_be_replaced() {
    let place = tempfile::tempdir().unwrap();
    let first = server().create(place.path()).unwrap();
    let error = server().create(place.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.hint().unwrap().contains("--force"), "{error}");
    assert_eq!(
        Identity::from_directory(place.path(), Role::Server).unwrap().fingerprint(),
        first.fingerprint()
    );
    let second = server().replace(true).create(place.path()).unwrap();
    assert_ne!(second.fingerprint(), first.fingerprint());
    // Another role is another identity.
    IdentityOptions::new(Role::Client, "laptop").create(place.path()).unwrap();
}

#[test]
fn a_key_that_others_may_use_is_refused() {
    let place = tempfile::tempdir().unwrap();
    server().create(place.path()).unwrap();
    let key = Role::Server.key_file(place.path());
    for (mode, is_good) in [(0o604, false), (0o660, false), (0o602, false), (0o640, true), (0o400, true)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        match Identity::from_directory(place.path(), Role::Server) {
            Ok(_) => assert!(is_good, "{mode:o}"),
            Err(error) => {
                assert!(!is_good, "{mode:o}");
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                assert!(error.hint().unwrap().contains("chmod 600"), "{error}");
            }
        }
    }
}

#[test]
fn files_that_do_not_belong_together_are_told_of() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    server().create(one.path()).unwrap();
    server().create(other.path()).unwrap();
    let (certificate, key) = (Role::Server.certificate_file(one.path()), Role::Server.key_file(other.path()));
    let error = Identity::load(&certificate, &key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("the key of another certificate"), "{error}");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
    assert_eq!(Identity::load(&certificate, &key).unwrap_err().kind(), ErrorKind::Damaged);
    fs::write(&key, "").unwrap();
    assert!(Identity::load(&certificate, &key).unwrap_err().message().contains("a key"));
}

#[test]
fn an_identity_that_was_never_made_says_how_to_make_it() {
    let place = tempfile::tempdir().unwrap();
    for &role in Role::ALL {
        let error = Identity::from_directory(place.path(), role).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.hint().unwrap().contains(&format!("identity {}", role.name())), "{error}");
    }
}

#[test]
fn a_file_in_place_of_the_folder_is_told_of_with_the_folder() {
    let place = tempfile::tempdir().unwrap();
    IdentityOptions::new(Role::Client, "laptop").create(place.path()).unwrap();
    let file = Role::Client.certificate_file(place.path());
    let error = Identity::from_directory(&file, Role::Client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.message().contains("the folder with client.crt and client.key"), "{error}");
    assert!(error.hint().unwrap().ends_with(place.path().to_str().unwrap()), "{error}");
}

#[test]
fn options_out_of_range_are_refused_before_any_write() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("config");
    let long = "a".repeat(65);
    for options in [
        server().days(0),
        server().days(36_501),
        server().names(["not a name".to_owned()]),
        server().names(["".to_owned()]),
        IdentityOptions::new(Role::Client, ""),
        IdentityOptions::new(Role::Client, "my laptop"),
        IdentityOptions::new(Role::Authority, "a\nb"),
        IdentityOptions::new(Role::Client, long),
    ] {
        assert_eq!(options.create(&directory).unwrap_err().kind(), ErrorKind::InvalidOption);
    }
    assert!(!directory.exists());
    // A hundred years reach beyond what certificates could first say.
    assert!(server().days(36_500).create(&directory).unwrap().validity().not_after().as_str() > "2100");
}

#[test]
fn an_authority_signs_servers_that_its_certificate_vouches_for() {
    let place = tempfile::tempdir().unwrap();
    let missing = server().signed_by_authority(true).create(place.path()).unwrap_err();
    assert!(missing.hint().unwrap().contains("identity ca"), "{missing}");
    IdentityOptions::new(Role::Authority, "our cameras").create(place.path()).unwrap();
    let server = server().signed_by_authority(true).create(place.path()).unwrap();
    let trust = crate::security::ServerTrust::Ca(Role::Authority.certificate_file(place.path()));
    let client = crate::security::client_config(&trust, None).unwrap();
    let mut link = Link::new(client, crate::security::server_config(&server).unwrap());
    assert_eq!(link.shake_hands(), (Ok(()), Ok(())));
}

#[test]
fn a_directory_that_others_may_write_to_gets_no_keys() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = server().create(place.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.hint().unwrap().contains("chmod 700"), "{error}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
