//! The clients file, as the commands write it and as the server reads it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use framelane::ErrorKind;
use proptest::prelude::*;

use crate::security::clients::parse;
use crate::security::testing::parse_security;
use crate::security::{AccessList, Client, ClientsFile, Fingerprint, Patterns, Token};

fn patterns(text: &str) -> Patterns {
    text.parse().unwrap()
}

fn file() -> (tempfile::TempDir, ClientsFile) {
    let directory = tempfile::tempdir().unwrap();
    let file = ClientsFile::in_directory(&directory.path().join("framelane"));
    (directory, file)
}

fn add_token(file: &ClientsFile, name: &str, read: &str, write: &str) -> Token {
    let token = Token::generate().unwrap();
    file.add(&Client::with_token(name, &token, patterns(read), patterns(write))).unwrap();
    token
}

fn fingerprint(byte: u8) -> Fingerprint {
    Fingerprint::from([byte; 32])
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_token_gives_the_rights_that_were_written_with_it() {
    let (_place, file) = file();
    let viewer = add_token(&file, "viewer", "cam*,hall/**", "");
    let camera = add_token(&file, "camera", "", "cam0");
    let list = AccessList::load(file.path()).unwrap();
    let grant = list.authorize(Some(&viewer), None).unwrap();
    assert_eq!(grant.name, "viewer");
    assert!(grant.read.matches("hall/1/detections") && !grant.read.matches("office"));
    assert!(!grant.write.matches("cam0"));
    assert!(list.authorize(Some(&camera), None).unwrap().write.matches("cam0"));
}

#[test]
fn an_unknown_token_is_refused_without_being_repeated() {
    let (_place, file) = file();
    let known = add_token(&file, "viewer", "**", "");
    let list = AccessList::load(file.path()).unwrap();
    let (most, last) = known.expose().split_at(known.expose().len() - 1);
    let almost = format!("{most}{}", if last == "0" { "1" } else { "0" }).parse::<Token>().unwrap();
    for token in [Token::generate().unwrap(), almost] {
        let error = list.authorize(Some(&token), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!error.to_string().contains(&token.expose()[..20]), "{error}");
    }
    let error = list.authorize(None, None).unwrap_err();
    let hint = error.hint().unwrap();
    assert!(["FRAMELANE_TOKEN", "--certificate DIRECTORY"].iter().all(|way| hint.contains(way)), "{error}");
}

#[test]
fn keys_of_the_clients_file_are_no_token() {
    let (_place, file) = file();
    let token = add_token(&file, "viewer", "**", "");
    let text = fs::read_to_string(file.path()).unwrap();
    assert!(!text.contains(token.expose()) && !text.contains(&token.expose()[10..]));
    let keys = text.split("token=hmac-sha256:").nth(1).unwrap().split(' ').next().unwrap();
    let list = AccessList::load(file.path()).unwrap();
    for key in keys.split(':').skip(1) {
        let shown = format!("framelane_{key}").parse().unwrap();
        assert!(list.authorize(Some(&shown), None).is_err());
        assert!(list.authorize(None, Some(key.parse().unwrap())).is_err());
    }
}

#[test]
fn a_certificate_is_known_by_its_fingerprint() {
    let (_place, file) = file();
    file.add(&Client::with_certificate("laptop", fingerprint(1), patterns("**"), patterns(""))).unwrap();
    let list = AccessList::load(file.path()).unwrap();
    assert_eq!(list.authorize(None, Some(fingerprint(1))).unwrap().name, "laptop");
    let error = list.authorize(None, Some(fingerprint(2))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.message().contains(&fingerprint(2).to_string()), "{error}");
    assert!(error.hint().unwrap().contains("identity allow"), "{error}");
}

#[test]
fn a_token_that_is_shown_decides_whatever_the_certificate() {
    let (_place, file) = file();
    let token = add_token(&file, "viewer", "cam0", "");
    file.add(&Client::with_certificate("laptop", fingerprint(1), patterns("**"), patterns("**"))).unwrap();
    let list = AccessList::load(file.path()).unwrap();
    assert_eq!(list.authorize(Some(&token), Some(fingerprint(1))).unwrap().name, "viewer");
    assert!(list.authorize(Some(&Token::generate().unwrap()), Some(fingerprint(1))).is_err());
}

#[test]
fn whoever_is_revoked_is_neither_let_in_nor_allowed_to_stay() {
    let (_place, file) = file();
    let tokens = ["one", "two"].map(|name| add_token(&file, name, "**", ""));
    let list = AccessList::load(file.path()).unwrap();
    let grants = tokens.each_ref().map(|token| list.authorize(Some(token), None).unwrap());
    assert!(grants.iter().all(|grant| list.still_allows(grant)));
    assert_eq!(file.revoke("one").unwrap().name, "one");
    assert_eq!(grants.each_ref().map(|grant| list.still_allows(grant)), [false, true]);
    assert!(
        list.authorize(Some(&tokens[0]), None).is_err() && list.authorize(Some(&tokens[1]), None).is_ok()
    );
    assert_eq!(file.revoke("one").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn changed_rights_end_what_was_granted_before() {
    let (_place, file) = file();
    let token = add_token(&file, "viewer", "**", "");
    let list = AccessList::load(file.path()).unwrap();
    let grant = list.authorize(Some(&token), None).unwrap();
    let text = fs::read_to_string(file.path()).unwrap();
    fs::write(file.path(), text.replace("read=**", "read=c1")).unwrap();
    assert!(!list.still_allows(&grant));
    assert_eq!(list.authorize(Some(&token), None).unwrap().read, patterns("c1"));
}

#[test]
fn clients_that_are_added_while_the_server_runs_are_let_in() {
    let (_place, file) = file();
    add_token(&file, "first", "**", "");
    let list = AccessList::load(file.path()).unwrap();
    // One change after another, faster than the resolution of file times.
    for number in 0..20 {
        let token = add_token(&file, &format!("client{number}"), "**", "");
        assert!(list.authorize(Some(&token), None).is_ok(), "{number}");
        file.revoke(&format!("client{number}")).unwrap();
        assert!(list.authorize(Some(&token), None).is_err(), "{number}");
    }
}

#[test]
fn missing_or_damaged_clients_file_refuses_all_clients() {
    let (_place, file) = file();
    let token = add_token(&file, "viewer", "**", "");
    let list = AccessList::load(file.path()).unwrap();
    let grant = list.authorize(Some(&token), None).unwrap();
    let whole = fs::read(file.path()).unwrap();
    for damage in [
        None,
        Some(&b""[..]),
        Some(&whole[..whole.len() / 2]),
        Some(b"\xff\xfe"),
        Some(b"framelane-clients 1\n"),
    ] {
        match damage {
            None => fs::remove_file(file.path()).unwrap(),
            Some(bytes) => fs::write(file.path(), bytes).unwrap(),
        }
        mode(file.path().parent().unwrap(), 0o700);
        let error = list.authorize(Some(&token), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.hint().is_some() && !list.still_allows(&grant));
        fs::write(file.path(), &whole).unwrap();
        mode(file.path(), 0o600);
        assert!(list.still_allows(&grant) && list.authorize(Some(&token), None).is_ok());
    }
}

#[test]
fn clients_file_that_others_may_use_is_refused() {
    let (_place, file) = file();
    let token = add_token(&file, "viewer", "**", "");
    let list = AccessList::load(file.path()).unwrap();
    let directory = file.path().parent().unwrap().to_owned();
    for (path, bad, good) in [
        (file.path(), 0o620, 0o600),
        (file.path(), 0o602, 0o640),
        (file.path(), 0o604, 0o600),
        (&directory, 0o770, 0o700),
        (&directory, 0o707, 0o755),
    ] {
        mode(path, bad);
        let error = AccessList::load(file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{bad:o}");
        assert!(error.hint().unwrap().contains("chmod"), "{error}");
        assert!(file.list().is_err(), "{bad:o}");
        if path == file.path() {
            assert_eq!(list.authorize(Some(&token), None).unwrap_err().kind(), ErrorKind::Damaged);
        }
        mode(path, good);
        assert!(list.authorize(Some(&token), None).is_ok());
    }
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clients");
    assert_eq!(AccessList::load(&path).unwrap_err().kind(), ErrorKind::NotFound);
    fs::create_dir(&path).unwrap();
    assert_eq!(AccessList::load(&path).unwrap_err().kind(), ErrorKind::InvalidOption);
    fs::remove_dir(&path).unwrap();
    // Opening it for reading would wait for a writer.
    let fifo =
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0);
    fifo.unwrap();
    assert_eq!(AccessList::load(&path).unwrap_err().kind(), ErrorKind::InvalidOption);
    fs::remove_file(&path).unwrap();
    fs::write(&path, vec![b'#'; 2 << 20]).unwrap();
    mode(&path, 0o600);
    assert!(AccessList::load(&path).unwrap_err().message().contains("mebibyte"));
}

#[test]
fn files_are_private_and_nothing_is_left_beside_them() {
    let (_place, file) = file();
    add_token(&file, "viewer", "**", "");
    let directory = file.path().parent().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(directory), mode(file.path())), (0o700, 0o600));
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["clients", "lock"]);
}

#[test]
fn what_a_killed_writer_left_does_not_stop_the_next() {
    let (_place, file) = file();
    add_token(&file, "viewer", "**", "");
    fs::write(file.path().with_extension("part"), "half a li").unwrap();
    add_token(&file, "camera", "", "cam0");
    assert_eq!(file.list().unwrap().len(), 2);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    let (_place, file) = file();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let file = &file;
            scope.spawn(move || {
                for number in 0..10 {
                    add_token(file, &format!("w{writer}-{number}"), "**", "");
                    if number % 2 == 1 {
                        file.revoke(&format!("w{writer}-{}", number - 1)).unwrap();
                    }
                }
            });
        }
        let reader = &file;
        scope.spawn(move || {
            for _ in 0..50 {
                reader.list().unwrap();
            }
        });
    });
    assert_eq!(file.list().unwrap().len(), 4 * 5);
}

#[test]
fn names_and_certificates_are_given_once() {
    let (_place, file) = file();
    let laptop =
        |name: &str, byte| Client::with_certificate(name, fingerprint(byte), patterns("**"), patterns(""));
    file.add(&laptop("laptop", 1)).unwrap();
    for (client, word) in [(laptop("laptop", 2), "laptop"), (laptop("other", 1), "that of laptop")] {
        let error = file.add(&client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.message().contains(word) && error.hint().unwrap().contains("revoke laptop"), "{error}");
    }
    let nothing = Client::with_certificate("idle", fingerprint(3), Patterns::none(), Patterns::none());
    assert!(file.add(&nothing).unwrap_err().hint().unwrap().contains("--read"));
    for name in ["", "a b", "a\nb", "#a", "a=b", &"a".repeat(65)] {
        assert_eq!(file.add(&laptop(name, 4)).unwrap_err().kind(), ErrorKind::InvalidOption, "{name}");
    }
}

#[test]
fn comments_and_order_survive_a_revocation() {
    let (_place, file) = file();
    for name in ["a", "b", "c"] {
        add_token(&file, name, "**", "");
    }
    let text = fs::read_to_string(file.path()).unwrap().replace("\nb ", "\n\n# the hall\nb ");
    fs::write(file.path(), &text).unwrap();
    file.revoke("b").unwrap();
    let kept = fs::read_to_string(file.path()).unwrap();
    let expected: Vec<_> = text.lines().filter(|line| !line.starts_with("b ")).collect();
    assert_eq!(kept.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn damage_is_told_with_its_line_and_without_secrets() {
    let hash = fingerprint(7);
    let good = format!("a certificate={hash} read=** write= made=2026-11-25");
    assert_eq!(parse(&format!("framelane-clients 2\n\n# x\n  {good}  \n")).unwrap().len(), 1);
    let secret = Token::generate().unwrap();
    let secret = secret.expose();
    for line in [
        "a".to_owned(),
        format!("a {secret}"),
        format!("{secret} token={hash} read=** write= made=2026-11-25"),
        format!("a token={secret} read=** write= made=2026-11-25"),
        format!("{good} expires=2026-11-26"),
        format!("{good} read=cam0"),
        format!("{good} token={hash}"),
        format!("a token={hash} read=** write= made=2026-11-25"),
        format!("a token=hmac-sha256:{secret}:{secret}:{secret} read=** write= made=2026-11-25"),
        good.replace(" write=", ""),
        good.replace("2026-11-25", "yesterday"),
        good.replace("read=**", "read=a,,b"),
        format!("{good}\n{good}"),
        format!("{good}\n{}", good.replacen('a', "b", 1)),
    ] {
        let error = parse(&format!("framelane-clients 2\n# x\n{line}\n")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.message().starts_with("line ") && error.hint().is_some(), "{error}");
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_do_harm_to_what_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse_security(&bytes);
    }

    #[test]
    fn no_change_of_a_clients_file_does_harm(at in 0usize..140, byte in any::<u8>(), cut in 0usize..140) {
        let own = fingerprint(9);
        let text = format!("framelane-clients 2\nlaptop certificate={own} read=** write= made=2026-11-25\n");
        let mut bytes = text.into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        parse_security(&bytes);
        bytes.truncate(cut);
        parse_security(&bytes);
    }
}
