use framelane::Delivery;
use framelane_codec::Codec;
use proptest::prelude::*;

use super::options::MAX_BYTES;
use super::*;

fn url(text: &str) -> LinkUrl {
    trusted(text).unwrap()
}

fn trusted(text: &str) -> Result<LinkUrl, Error> {
    LinkUrl::parse(text, Urls::Trusted)
}

#[test]
fn urls_are_read_with_their_defaults() {
    let tls = |host: &str, port| Address::Tls { host: host.to_owned(), port };
    assert_eq!(url("tls://camera/cam0").address, tls("camera", 7420));
    assert_eq!(url("tls://10.0.0.2:99/cam0/detections").channel, "cam0/detections");
    assert_eq!(url("tls://[fe80::1%eth0]:7/c").address, tls("fe80::1%eth0", 7));
    assert_eq!(url("tls://[::1]/c").address, tls("::1", 7420));
    assert_eq!(url("tcp://h/c").to_string(), "tcp://h:7420/c");
    let unix = url("unix:/run/x.sock/cam0/left");
    assert_eq!((unix.address, unix.channel.as_str()), (Address::Unix("/run/x.sock".into()), "cam0/left"));
    assert_eq!(url("unix:///run/x.sock/cam0").to_string(), "unix:/run/x.sock/cam0");
}

#[test]
fn displayed_socket_path_with_leading_slashes_parses_back() {
    for slashes in 1..8 {
        let text = format!("unix:{}run/x.sock/cam0", "/".repeat(slashes));
        let read = url(&text);
        assert_eq!(url(&read.to_string()).address, read.address, "{text}");
        let address: Address = read.address.to_string().parse().unwrap();
        assert_eq!(address, read.address, "{text}");
    }
}

#[test]
fn options_are_read_and_what_is_wrong_is_named() {
    let options = url(
        "tcp://h/c?codec=jpeg:70&delivery=every&size=640x480&max-fps=12.5&insecure&idle-timeout=2&max-bytes=9",
    )
    .options;
    assert_eq!((options.codec, options.delivery), (Codec::Jpeg { quality: 70 }, Delivery::Every));
    assert_eq!((options.size, options.max_milli_fps()), (Some((640, 480)), 12_500));
    assert_eq!((options.insecure, options.max_bytes), (true, 9));
    for wrong in [
        "codec=x",
        "delivery=x",
        "size=0x1",
        "max-fps=0",
        "insecure=x",
        "idle-timeout=1.9",
        "max-bytes=0",
        "slots=1",
        "x=1",
    ] {
        let error = trusted(&format!("tcp://h/c?{wrong}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{wrong}");
    }
}

#[test]
fn options_that_weaken_need_a_trusted_url() {
    let large = format!("max-bytes={}", MAX_BYTES + 1);
    for option in [
        "insecure",
        "insecure=1",
        "insecure=true",
        "insecure=x",
        "token-file=/etc/shadow",
        "certificate=/root",
        "server-uid=1000",
        &large,
        "max-memory=1073741825",
        "max-pixels=33554433",
    ] {
        let text = format!("tls://h/c?codec=raw&{option}");
        for urls in [Urls::Safe, Urls::Refuse] {
            let error = LinkUrl::parse(&text, urls).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption, "{option}");
            assert!(!error.to_string().contains("shadow"), "{error}");
        }
        let error = text.parse::<LinkUrl>().unwrap_err();
        assert!(error.message().contains(option.split('=').next().unwrap()), "{error}");
        assert!(error.hint().unwrap().contains("trusted"), "{error}");
    }
    for option in [
        "insecure=0",
        "insecure=false",
        "max-bytes=1000",
        "max-memory=1000000",
        "delivery=every",
        "slots=9",
        "ca=x",
    ] {
        assert!(format!("tls://h/c?{option}").parse::<LinkUrl>().is_ok(), "{option}");
    }
    assert_eq!(url("unix:/x.sock/c?server-uid=1000").options.server_uid, Some(1000));
    assert!(trusted("tls://h/c?server-uid=1000").is_err());
}

#[test]
fn secrets_in_urls_are_refused_and_not_repeated() {
    for text in ["tls://h/c?token=framelane_secret_of_somebody", "tls://secret:secret@h/c"] {
        let error = text.parse::<LinkUrl>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error.hint().unwrap().contains("token-file"));
    }
}

#[test]
fn what_is_no_url_is_refused_with_an_example() {
    for text in [
        "",
        "cam0",
        "tls://",
        "tls://h",
        "tls://h/",
        "tls:///c",
        "tls://h:x/c",
        "tls://h:70000/c",
        "http://h/c",
        "tls://[::1/c",
        "tls://[::1]x/c",
        "tls://::1/c",
        "unix:",
        "unix:/run/x/cam0",
        "unix:/run/x.sock",
        "unix:/run/x.sock/",
        "tls://h/cam 0",
    ] {
        let error = text.parse::<LinkUrl>().unwrap_err();
        assert!(error.hint().is_some(), "{text}: {error}");
    }
}

#[test]
fn a_socket_that_no_url_can_name_is_no_address() {
    for text in [
        "unix:/run/x",
        "unix:/run/x.sock/y",
        "unix:/run/x.sock/y.sock",
        "unix:/run/x?y.sock",
        "unix:/x.sock?",
    ] {
        let error = text.parse::<Address>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{text}");
        assert!(error.message().contains(".sock"), "{text}: {error}");
    }
    for text in ["unix:/run/x.sock", "unix:x.sock", "unix:/x.socket/y.sock"] {
        assert_eq!(url(&format!("{text}/cam0")).address, text.parse().unwrap());
    }
}

#[test]
fn options_twice_or_against_each_other_are_refused() {
    let print = format!("fingerprint=sha256:{}", "0a".repeat(32));
    for query in [format!("{print}&ca=x"), format!("ca=x&{print}"), "codec=raw&codec=raw".to_owned()] {
        let error = format!("tls://h/c?{query}").parse::<LinkUrl>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.message().contains("expected each option of a URL once"), "{error}");
    }
    assert!("tls://h/c?ca=x&codec=raw&delivery=every".parse::<LinkUrl>().is_ok());
}

#[test]
fn options_of_tls_are_refused_where_there_is_none() {
    let print = format!("fingerprint=sha256:{}", "0a".repeat(32));
    for option in [print.as_str(), "ca=ca.crt", "certificate=keys"] {
        let name = option.split('=').next().unwrap();
        for address in ["tcp://127.0.0.1", "unix:/x.sock"] {
            let error = trusted(&format!("{address}/c?{option}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
            assert!(error.message().contains(&format!("option {name}")), "{error}");
            assert!(error.hint().unwrap().contains("tls://"), "{error}");
        }
        let mut link = url(&format!("tls://h/c?{option}"));
        link.address = url("tcp://h/c").address;
        assert!(link.check().is_err());
    }
}

#[test]
fn options_without_a_question_mark_are_refused_and_not_repeated() {
    for text in [
        "tls://h/cam0&token=secret",
        "tls://h/cam0=secret?codec=x",
        "unix:/x.sock/cam0&a=secret?token=secret",
    ] {
        let error = text.parse::<LinkUrl>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName);
        assert!(error.message().contains("\"cam0\"") && !error.to_string().contains("secret"), "{error}");
        assert!(error.hint().unwrap().contains("begin with ?"), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_url_or_an_error(text in ".{0,60}", scheme in "(tls://|tcp://|unix:)?") {
        if let Ok(url) = format!("{scheme}{text}").parse::<LinkUrl>() {
            let again: LinkUrl = url.to_string().parse().unwrap();
            prop_assert_eq!(again.address, url.address);
            prop_assert_eq!(again.channel, url.channel);
        }
    }
}
