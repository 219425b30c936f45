//! Access checks for each request, before any handler runs.
//!
//! A page of another site must reach nothing, although its requests come from the user's own browser. So the
//! `Host` must name this machine (a site can point its own name at 127.0.0.1), and `Origin` and
//! `Sec-Fetch-Site` must name this server.

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use framelane::{Error, ErrorKind};
use framelane_net::security::Token;
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

use crate::fault::Fault;

/// Prefix of the cookie that the page has after it presented the token. Cookies ignore ports, so the port is
/// part of the name.
const COOKIE: &str = "framelane_";
/// Longest request target.
const MAX_TARGET: usize = 2048;

/// Headers of every response: no other site may use it, and the page runs its own files only.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Decides which requests are served.
pub(crate) struct Guard {
    token: Option<Secrets>,
    cookie: String,
}

struct Secrets {
    token: Token,
    /// Value of the cookie, new for each run.
    session: Token,
}

impl Guard {
    pub(crate) fn new(token: Option<Token>, port: u16) -> Result<Self, Error> {
        let secrets = |token| Ok::<_, Error>(Secrets { token, session: Token::generate()? });
        Ok(Guard { token: token.map(secrets).transpose()?, cookie: format!("{COOKIE}{port}") })
    }

    /// Returns the reason to refuse a request.
    fn refusal(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<(StatusCode, Error)> {
        let refuse = |status, message: &str, hint: &str| {
            Some((status, Error::new(ErrorKind::PermissionDenied, message).with_hint(hint)))
        };
        if uri.authority().is_some() || uri.path_and_query().is_none_or(|p| p.as_str().len() > MAX_TARGET) {
            return refuse(
                StatusCode::BAD_REQUEST,
                "expected a path of at most 2048 bytes in the request",
                "request a path of this server, as in /api/channels",
            );
        }
        let Some(host) = single(headers, &header::HOST).filter(|host| is_this_machine(host)) else {
            return refuse(
                StatusCode::MISDIRECTED_REQUEST,
                "expected localhost or a loopback address in the Host header",
                "open the address that `framelane dashboard` prints",
            );
        };
        if headers.contains_key(header::ORIGIN) {
            let own = |origin: &str| {
                origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host))
            };
            if !single(headers, &header::ORIGIN).is_some_and(own) {
                return refuse(
                    StatusCode::FORBIDDEN,
                    "expected a request of this server's own page, found another origin",
                    "open the dashboard itself",
                );
            }
        }
        if !is_same_site(method, uri, headers) {
            return refuse(
                StatusCode::FORBIDDEN,
                "expected a request of this server's own page, found one of another site",
                "open the dashboard itself",
            );
        }
        if !is_public(uri.path()) && !self.is_authorized(headers) {
            return refuse(
                StatusCode::UNAUTHORIZED,
                "expected the token of this dashboard",
                "send the token of --token-file in the header `Authorization: Bearer TOKEN`",
            );
        }
        None
    }

    /// Returns whether the request has the token, or the cookie that was set for it.
    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let Some(secrets) = &self.token else { return true };
        let same = |text: &str, secret: &Token| bool::from(text.as_bytes().ct_eq(secret.expose().as_bytes()));
        let bearer = single(headers, &header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        if bearer.is_some_and(|bearer| same(bearer.trim(), &secrets.token)) {
            return true;
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        cookies.flat_map(|cookies| cookies.split(';')).any(|cookie| {
            cookie
                .trim()
                .split_once('=')
                .is_some_and(|(name, value)| name == self.cookie && same(value, &secrets.session))
        })
    }

    /// Returns the cookie of a page that has presented the token.
    pub(crate) fn set_cookie(&self) -> Option<HeaderValue> {
        let secrets = self.token.as_ref()?;
        let cookie =
            format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie, secrets.session.expose());
        HeaderValue::from_str(&cookie).ok()
    }
}

/// The middleware.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let mut response = match guard.refusal(request.method(), request.uri(), request.headers()) {
        Some((status, error)) => Fault { status, error }.into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Files without secrets: a page needs them to ask for the token.
fn is_public(path: &str) -> bool {
    path == "/" || path == "/healthz" || path.starts_with("/assets/")
}

/// The value of a header that occurs once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Returns whether a `Host` is `localhost` or a loopback address. The port may differ: `ssh -L` changes it.
fn is_this_machine(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit())) {
        return false;
    }
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Returns whether a browser says that this server's page made the request. A link of another site may open
/// the page. Clients that are no browsers do not send the header.
fn is_same_site(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name: &'static str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        None => !headers.contains_key("sec-fetch-site"),
        Some("same-origin" | "none") => true,
        Some(_) => {
            method == Method::GET
                && uri.path() == "/"
                && text("sec-fetch-mode") == Some("navigate")
                && text("sec-fetch-dest") == Some("document")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(guard: &Guard, target: &str, lines: &[(&str, &str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        guard.refusal(&Method::GET, &target.parse().unwrap(), &headers).map(|(status, _)| status.as_u16())
    }

    #[test]
    fn host_other_than_this_machine_is_refused() {
        let guard = Guard::new(None, 7480).unwrap();
        for host in ["localhost", "LOCALHOST:7480", "127.0.0.1:7480", "127.9.9.9", "[::1]:7480", "[::1]"] {
            assert_eq!(status(&guard, "/api/channels", &[("host", host)]), None, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:7480",
            "0.0.0.0:7480",
            "a@localhost",
            "localhost:",
            "localhost:7480:1",
            "10.0.0.1",
            "[::]:7480",
            "[::1",
            "localhost:74x",
        ] {
            assert_eq!(status(&guard, "/", &[("host", host)]), Some(421), "{host}");
        }
        assert_eq!(status(&guard, "/", &[]), Some(421));
        assert_eq!(status(&guard, "/", &[("host", "localhost"), ("host", "localhost")]), Some(421));
        assert_eq!(status(&guard, "http://localhost/", &[("host", "localhost")]), Some(400));
    }

    #[test]
    fn origin_of_another_site_is_refused() {
        let guard = Guard::new(None, 7480).unwrap();
        let with = |origin| status(&guard, "/ws", &[("host", "localhost:7480"), ("origin", origin)]);
        assert_eq!(with("http://localhost:7480"), None);
        for origin in [
            "null",
            "",
            "http://localhost",
            "http://localhost:7481",
            "https://localhost:7480",
            "http://127.0.0.1:7480",
            "http://localhost:7480.evil.example",
        ] {
            assert_eq!(with(origin), Some(403), "{origin}");
        }
    }

    #[test]
    fn another_site_may_only_open_the_page() {
        let guard = Guard::new(None, 7480).unwrap();
        let with = |target, site, mode, destination| {
            let lines = [
                ("host", "localhost"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", destination),
            ];
            status(&guard, target, &lines)
        };
        assert_eq!(with("/channels/a/snapshot.jpg", "same-origin", "no-cors", "image"), None);
        assert_eq!(with("/metrics", "none", "navigate", "document"), None);
        assert_eq!(with("/", "cross-site", "navigate", "document"), None);
        assert_eq!(with("/", "cross-site", "navigate", "iframe"), Some(403));
        assert_eq!(with("/channels/a/snapshot.jpg", "cross-site", "no-cors", "image"), Some(403));
        assert_eq!(with("/channels/a/snapshot.jpg", "same-site", "no-cors", "image"), Some(403));
    }

    #[test]
    fn wrong_token_is_refused_and_files_stay_public() {
        let token = Token::generate().unwrap();
        let right = format!("Bearer {}", token.expose());
        let guard = Guard::new(Some(token), 7480).unwrap();
        let cookie = guard.set_cookie().unwrap();
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        let with = |target: &str, name: &str, value: &str| {
            status(&guard, target, &[("host", "localhost"), (name, value)])
        };
        for public in ["/", "/healthz", "/assets/page.js"] {
            assert_eq!(with(public, "x", ""), None, "{public}");
        }
        assert_eq!(with("/ws", "authorization", &right), None);
        assert_eq!(with("/ws", "cookie", &format!("a=b; {cookie}; c")), None);
        for (name, value) in [
            ("x", ""),
            ("authorization", "Bearer "),
            ("authorization", &right[..right.len() - 1]),
            ("authorization", &right.replace("Bearer", "Basic")),
            ("cookie", "framelane_7480="),
            ("cookie", &cookie.replace("7480", "7481")),
            ("cookie", &format!("framelane_7480={}", &right[7..])),
        ] {
            assert_eq!(with("/ws", name, value), Some(401), "{name}: {value}");
        }
    }
}
