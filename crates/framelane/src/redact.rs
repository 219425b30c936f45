//! Hides secrets in URLs before they reach a message, a log, JSON or shared memory.
//!
//! Three kinds of text are secret: the password of `user:password@`, a user name without a password (it is
//! often a token), and the values of parameters such as `token=` or `password=`, in the query or in the path.
//! A value that merely looks random is hidden too. In doubt the text is hidden: a message stays readable
//! without it.

use std::borrow::Cow;
use std::ops::Range;

/// Replaces each secret.
pub const HIDDEN: &str = "***";

/// A parameter is secret when its name contains one of these.
const SECRET_PARTS: &[&str] = &[
    "pas", "pwd", "psw", "secret", "token", "key", "sig", "auth", "cred", "jwt", "sess", "hmac", "hash",
    "md5", "login", "ticket", "nonce", "hdn", "policy", "cookie", "bearer", "streamid", "license", "pin",
];
/// A parameter is secret when this is its whole name.
const SECRET_NAMES: &[&str] = &["p", "pw", "k", "s", "sas", "st", "t", "sid", "code", "otp"];
/// Parameters of framelane's own URLs, which are public.
const PUBLIC_NAMES: &[&str] = &["fingerprint", "ca", "certificate", "token-file"];
/// A value of this length with letters and digits looks random.
const RANDOM_CHARS: usize = 16;
/// The word for a password in framelane's own help texts.
const PLACEHOLDER: &str = "PASSWORD";

/// Hides the secrets of all URLs in a text, and of `Authorization:` and `Cookie:` headers.
///
/// A URL ends at white space, or at the closing quote when it is quoted.
///
/// ```
/// use framelane::redact::text;
/// assert_eq!(text("cannot open rtsp://me:secret@host/a?token=b: refused"),
///     "cannot open rtsp://me:***@host/a?token=***: refused");
/// ```
pub fn text(text: &str) -> Cow<'_, str> {
    let mut hidden = headers(text);
    let mut at = 0;
    while let Some(url) = next_url(text, at) {
        hidden.extend(spans(&text[url.clone()]).map(|span| span.start + url.start..span.end + url.start));
        at = url.end.max(at + 1);
    }
    replace(text, hidden)
}

/// Hides the secrets of a string that is one URL, file name or command-line argument.
///
/// Unlike [`text`], the URL may contain white space and quotes.
pub fn url(url: &str) -> Cow<'_, str> {
    let mut hidden: Vec<_> = spans(url).collect();
    hidden.extend(headers(url));
    replace(url, hidden)
}

/// Hides the value of `NAME=VALUE` when the name marks it as secret, or the secrets within the value.
pub fn assignment(text: &str) -> Cow<'_, str> {
    match text.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret_option(name) => {
            Cow::Owned(format!("{name}={HIDDEN}"))
        }
        _ => url(text),
    }
}

/// Returns whether an option of this name holds a secret, such as a key or HTTP headers.
pub fn is_secret_option(name: &str) -> bool {
    is_secret_name(name) || name.eq_ignore_ascii_case("headers")
}

/// Returns the secrets of a URL: what [`url`] hides, as written and with `%XX` decoded.
pub fn secrets(url: &str) -> Vec<String> {
    let mut found = Vec::new();
    for span in spans(url) {
        let raw = &url[span];
        let decoded = percent_decoded(raw);
        if decoded != raw {
            found.push(decoded);
        }
        found.push(raw.to_owned());
    }
    found
}

/// Replaces the spans, which may overlap.
fn replace(text: &str, mut hidden: Vec<Range<usize>>) -> Cow<'_, str> {
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_by_key(|span| (span.start, span.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for span in hidden {
        if span.start >= at {
            out.push_str(&text[at..span.start]);
            out.push_str(HIDDEN);
        }
        at = at.max(span.end);
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// The values of HTTP headers with credentials, each to the end of its line.
fn headers(text: &str) -> Vec<Range<usize>> {
    if !text.contains(':') {
        return Vec::new();
    }
    let lower = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for name in ["authorization:", "cookie:"] {
        for (at, _) in lower.match_indices(name) {
            let start = at + name.len();
            let rest = &lower[start..];
            let end = start + rest.find(['\r', '\n']).or_else(|| rest.find("\\r")).unwrap_or(rest.len());
            let start = start + (rest.len() - rest.trim_start_matches(' ').len());
            if start < end {
                found.push(start..end);
            }
        }
    }
    found
}

/// The next URL at or after `from`, from its scheme to its end.
fn next_url(text: &str, from: usize) -> Option<Range<usize>> {
    let colon = from + text[from..].find("://")?;
    let scheme =
        text[from..colon].trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+.-:".contains(c));
    let start = from + scheme.len();
    let quote = text[..start].chars().next_back().filter(|c| matches!(c, '"' | '\'' | '`'));
    let rest = &text[colon + 3..];
    let end = match quote.and_then(|quote| closing(rest, quote)) {
        Some(end) => end,
        None => {
            let end = rest.find(|c: char| c.is_whitespace() || c.is_control() || "\"<>`".contains(c));
            let end = end.unwrap_or(rest.len());
            rest[..end].trim_end_matches([':', ',', '.', ';', ')', '\'']).len()
        }
    };
    Some(start..colon + 3 + end)
}

/// Returns the end of the quoted text: a quote that no letter or digit follows.
fn closing(rest: &str, quote: char) -> Option<usize> {
    rest.match_indices(quote).map(|(at, _)| at).find(|&at| {
        let after = rest[at + quote.len_utf8()..].chars().next();
        !rest[..at].ends_with('\\') && after.is_none_or(|c| !c.is_alphanumeric())
    })
}

/// The secret parts of one URL, in order.
fn spans(url: &str) -> impl Iterator<Item = Range<usize>> {
    let mut found = Vec::new();
    let mut next = url.find("://").map(|colon| colon + 3).or_else(|| without_slashes(url));
    while let Some(start) = next {
        let end = user_info(url, start, &mut found);
        next = url[end..].find("://").map(|colon| end + colon + 3);
        let end = parameters(url, end..next.unwrap_or(url.len()), &mut found);
        next = next.filter(|&next| next >= end);
    }
    found.into_iter()
}

/// The place of the credentials in a URL whose slashes were forgotten, such as `rtsp:user:password@host`.
fn without_slashes(url: &str) -> Option<usize> {
    let colon = url.find(':')?;
    let slashes = url[colon + 1..].len() - url[colon + 1..].trim_start_matches('/').len();
    let start = colon + 1 + slashes;
    if url[..colon].contains('/') || !url[start..].contains('@') {
        return None;
    }
    // Without a scheme, the text before the colon is the user.
    let rest = &url[start..];
    Some(if rest[..rest.find('@')?].contains(':') { start } else { 0 })
}

/// Finds the credentials of the authority that begins at `start`, and returns where the rest of the URL
/// begins.
fn user_info(url: &str, start: usize, found: &mut Vec<Range<usize>>) -> usize {
    let rest = &url[start..];
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..authority];
    let at = match host.rfind('@') {
        Some(at) => Some(at),
        // A slash in a password ends the authority early. A port would be a number.
        None if !host.starts_with('[')
            && host.rsplit_once(':').is_some_and(|(_, port)| {
                port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())
            }) =>
        {
            rest.rfind('@')
        }
        None => None,
    };
    let Some(at) = at else { return start + authority };
    let secret = match rest[..at].split_once(':') {
        Some((user, password)) if !password.is_empty() => user.len() + 1..at,
        _ => 0..at,
    };
    if !secret.is_empty() && &rest[secret.clone()] != PLACEHOLDER {
        found.push(start + secret.start..start + secret.end);
    }
    start + at.max(authority)
}

/// Finds the secret values among the parameters of a path and a query, and returns where it stopped: a secret
/// value may contain the `://` at the end of the range.
fn parameters(url: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) -> usize {
    let mut in_query = false;
    let (mut start, mut reached) = (range.start, range.start);
    while start < range.end {
        let separators: &[char] = if in_query { &['&'] } else { &['/', '?', '&', ' ', '|', '#'] };
        let length = |end: usize| url[start..end].find(separators).unwrap_or(end - start);
        let mut end = start + length(range.end);
        if let Some(secret) = value(&url[start..end], in_query) {
            if end == range.end {
                end = start + length(url.len());
            }
            found.push(start + secret.start..end);
        }
        in_query |= url[end..].starts_with('?');
        reached = end;
        start = end + 1;
    }
    reached
}

/// The secret value in `name=value`, if it is one. A camera may put several into one part:
/// `user=a_password=b`.
fn value(part: &str, in_query: bool) -> Option<Range<usize>> {
    let mut name_start = 0;
    for (equals, _) in part.match_indices('=') {
        let name = &part[name_start..equals];
        let name = &name[name.rfind([',', ';', ':', '!', '@']).map_or(0, |at| at + 1)..];
        if is_secret_name(name) && equals + 1 < part.len() {
            return Some(equals + 1..part.len());
        }
        name_start = equals + 1;
    }
    let (name, value) = part.split_once('=').unwrap_or(("", part));
    let public = !in_query || PUBLIC_NAMES.contains(&name);
    (!public && looks_random(value)).then(|| part.len() - value.len()..part.len())
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !PUBLIC_NAMES.contains(&&*name)
        && (SECRET_NAMES.contains(&&*name) || SECRET_PARTS.iter().any(|part| name.contains(part)))
}

fn looks_random(value: &str) -> bool {
    value.len() >= RANDOM_CHARS
        && value.bytes().any(|byte| byte.is_ascii_digit())
        && value.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !value.contains('.')
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn url_with_credentials_hides_the_password() {
        for (source, shown) in [
            ("rtsp://me:secret@host:554/a@b", "rtsp://me:***@host:554/a@b"),
            ("rtsp://me:se:c@ret@host", "rtsp://me:***@host"),
            ("rtsp://me:se/cr?e#t@host/x", "rtsp://me:***@host/x"),
            ("rtsp://me:a://b@host/x", "rtsp://me:***@host/x"),
            ("rtsp://me:p%40ss@[::1]:554/x", "rtsp://me:***@[::1]:554/x"),
            ("rtsp://token@host/", "rtsp://***@host/"),
            ("rtsp://token:@host/", "rtsp://***@host/"),
            ("rtsp://:secret@host/", "rtsp://:***@host/"),
            ("rtsp://me:two words@host/", "rtsp://me:***@host/"),
            ("rtsp:me:secret@host/x", "rtsp:me:***@host/x"),
            ("rtsp:/me:secret@host/x", "rtsp:/me:***@host/x"),
            ("me:secret@host/x", "me:***@host/x"),
            ("concat:http://a:b@h/1|http://c:d@h/2", "concat:http://a:***@h/1|http://c:***@h/2"),
            ("http://proxy/?url=rtsp://me:secret@h/", "http://proxy/?url=rtsp://me:***@h/"),
        ] {
            assert_eq!(url(source), shown);
        }
    }

    #[test]
    fn url_with_secret_parameters_hides_their_values() {
        for (source, shown) in [
            ("http://h/a.m3u8?token=ab/cd==&channel=1", "http://h/a.m3u8?token=***&channel=1"),
            ("http://h/a?user=me&pwd=1234", "http://h/a?user=me&pwd=***"),
            ("http://h/a?loginuse=a&loginpas=b", "http://h/a?loginuse=***&loginpas=***"),
            ("http://h/a?X-Amz-Signature=ab&Expires=5", "http://h/a?X-Amz-Signature=***&Expires=5"),
            ("http://h/a?hdnts=exp=1~hmac=2", "http://h/a?hdnts=***"),
            ("http://h/a?x=0123456789abcdef", "http://h/a?x=***"),
            ("http://h/a?0123456789abcdef", "http://h/a?***"),
            ("rtsp://h/user=me_password=x_channel=1.sdp", "rtsp://h/user=me_password=***"),
            ("rtsp://h/user=me&password=x&channel=1", "rtsp://h/user=me&password=***&channel=1"),
            ("srt://h:1?passphrase=abc&mode=caller", "srt://h:1?passphrase=***&mode=caller"),
            ("srt://h:1?streamid=#!::u=me,s=x", "srt://h:1?streamid=***"),
            ("rtmp://h/app/x?auth=1", "rtmp://h/app/x?auth=***"),
        ] {
            assert_eq!(url(source), shown);
        }
    }

    #[test]
    fn url_without_secrets_is_unchanged() {
        for source in [
            "http://host/a:b@c",
            "http://host:8080/a@b",
            "http://[::1]:8080/a@b",
            "rtsp://10.0.0.5:554/cam/realmonitor?channel=1&subtype=0",
            "tls://host:7420/cam0?fingerprint=sha256:0123456789abcdef&token-file=/home/me/t&ca=/x/y",
            "film.mp4",
            "/dir/a:b@c.mp4",
            "testsrc=1920x1080@60",
            "/dev/video0",
            "C:/films/a.mp4",
        ] {
            assert!(matches!(url(source), Cow::Borrowed(same) if same == source), "{}", url(source));
        }
        let help = "check user and password, as in rtsp://USER:PASSWORD@HOST/";
        assert_eq!(text(help), help);
    }

    #[test]
    fn text_with_urls_hides_each_secret() {
        assert_eq!(
            text("unexpected argument 'rtsp://me:it's two@h/x' found; http://a:b@c, (http://h/?key=d)"),
            "unexpected argument 'rtsp://me:***@h/x' found; http://a:***@c, (http://h/?key=***)"
        );
        assert_eq!(text("Authorization: Basic bWU6\r\nHost: x"), "Authorization: ***\r\nHost: x");
        assert_eq!(text("no url: a=b, c:d@e"), "no url: a=b, c:d@e");
    }

    #[test]
    fn assignment_of_a_secret_option_hides_its_value() {
        assert_eq!(assignment("decryption_key=ab"), "decryption_key=***");
        assert_eq!(assignment("headers=Authorization: Basic x"), "headers=***");
        assert_eq!(assignment("rtsp_transport=tcp"), "rtsp_transport=tcp");
        assert_eq!(assignment("http_proxy=http://a:b@c"), "http_proxy=http://a:***@c");
    }

    #[test]
    fn secrets_of_a_url_are_raw_and_decoded() {
        assert_eq!(secrets("rtsp://me:p%40ss@h/?key=k"), ["p@ss", "p%40ss", "k"]);
    }

    /// A secret that no other part of the URL contains.
    fn secret() -> impl Strategy<Value = String> {
        "([!-~]{0,6}|://)".prop_map(|tail| format!("Zq{tail}Zq"))
    }

    proptest! {
        #[test]
        fn password_of_any_characters_is_hidden(
            scheme in "(rtsp|http|srt|rtmp)",
            user in "[a-z0-9]{1,8}",
            // A path may contain an @, too.
            password in secret().prop_filter("ambiguous", |password| {
                !(password.contains('@') && password.contains(['/', '?', '#']))
            }),
            path in "(/[a-z0-9]{0,5}){0,3}",
        ) {
            let source = format!("{scheme}://{user}:{password}@host{path}");
            let shown = url(&source);
            prop_assert!(!shown.contains("Zq"), "{source} is shown as {shown}");
            prop_assert!(shown.ends_with(&format!("@host{path}")), "{shown}");
            let quoted = format!("cannot open {source:?}: refused");
            prop_assert!(!text(&quoted).contains("Zq"), "{quoted} is shown as {}", text(&quoted));
        }

        #[test]
        fn secret_parameter_of_any_value_is_hidden(
            name in "(token|key|password|signature|access_token|X-Amz-Signature|sig|auth|api_key|pwd)",
            before in "([a-z]{1,3}=[a-z0-9]{0,4}&){0,2}",
            value in secret().prop_filter("no separator", |value| !value.contains('&')),
        ) {
            let source = format!("http://host:80/a?{before}{name}={value}&end=1");
            let shown = url(&source);
            prop_assert!(!shown.contains("Zq"), "{source} is shown as {shown}");
            prop_assert!(shown.ends_with("&end=1"), "{shown}");
        }

        #[test]
        fn redaction_of_any_text_does_not_panic(any in "([ -~é]{0,6}(://|@|[?]|=|/|:)){0,5}[ -~é]{0,6}") {
            let _ = (url(&any), text(&any), secrets(&any), assignment(&any));
        }
    }
}
