//! How a browser has reached the server, which `Host` does not say: a proxy may put its own name there.
//!
//! **Invariant:** `--public-url` decides; then `X-Forwarded-Proto` of a proxy that is trusted, or the server's own TLS; then what the
//! browser says itself in `Origin`. `Host` is asked last, and only where nothing hints at a proxy.

use std::str::FromStr;

use axum::extract::Request;
use axum::http::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri};
use url::{Host, Url};

use super::App;
use super::address::Client;
use crate::loopback::is_loopback;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where browsers find the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// As a browser writes it.
    pub origin: String,
    /// As it stands before the port in `Host`.
    pub host: String,
    /// Path under which it is mounted; empty, or with a slash at the beginning and none at the end.
    pub path: String,
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` must be an address such as https://notify.example or https://app.example/notify");
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(wrong)?;
        let is_more = url.query().is_some() || url.fragment().is_some() || !url.username().is_empty();
        let path = url.path().trim_end_matches('/');
        // It becomes the path of a cookie.
        let fits = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%/".contains(&b)) && !path.contains("//");
        if is_more || !fits {
            return Err(wrong());
        }
        let host = url.host_str().ok_or_else(wrong)?.to_owned();
        Ok(PublicUrl { origin: url.origin().ascii_serialization(), host, path: path.to_owned() })
    }
}

/// How a browser is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connected {
    /// Over TLS, as far as is known: nothing says that it is not.
    Securely,
    /// In plain text, from this machine.
    Locally,
    /// In plain text, as the operator has said (`--public-url http://...`).
    PlainlyByIntent,
    /// In plain text over a network: a browser drops a `Secure` cookie that comes so.
    Plainly,
}

impl Connected {
    pub(super) fn of(app: &App, headers: &HeaderMap, client: Client) -> Connected {
        Self::known(app, headers, client).unwrap_or_else(|| match headers.get(ORIGIN).and_then(url) {
            Some(origin) if origin.scheme() == "http" => {
                let is_local = origin.host().is_some_and(|host| is_loopback(&host));
                if is_local { Self::Locally } else { Self::Plainly }
            }
            Some(origin) if origin.scheme() == "https" => Self::Securely,
            _ => Self::by_host(headers),
        })
    }

    /// The same for a cookie that is read, for which the page that asks does not matter.
    pub(super) fn of_cookie(app: &App, headers: &HeaderMap, client: Client) -> Connected {
        Self::known(app, headers, client).unwrap_or_else(|| Self::by_host(headers))
    }

    /// As the operator or a proxy that is trusted has said.
    fn known(app: &App, headers: &HeaderMap, client: Client) -> Option<Connected> {
        if let Some(public) = &app.options.public_url {
            let is_secure = public.origin.starts_with("https:");
            return Some(if is_secure { Self::Securely } else { Self::PlainlyByIntent });
        }
        if app.options.has_tls {
            return Some(Self::Securely);
        }
        let scheme = headers.get(FORWARDED_PROTO).filter(|_| client.is_behind_trusted)?.to_str().ok()?;
        // Each proxy may add its own; the first one is the browser's.
        let is_secure = scheme.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"));
        Some(if is_secure { Self::Securely } else { Self::Plainly })
    }

    fn by_host(headers: &HeaderMap) -> Connected {
        if is_of_this_machine(headers) && !is_forwarded(headers) { Self::Locally } else { Self::Securely }
    }
}

/// The request that a proxy would have passed on which takes away the path under which the server is mounted.
pub(super) fn without_path(mut request: Request, path: &str) -> Request {
    let asked = request.uri().path_and_query().map_or("/", |asked| asked.as_str());
    let rest = asked.strip_prefix(path).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    if let Some(rest) = rest.filter(|_| !path.is_empty()) {
        let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = rest.parse().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

fn url(origin: &HeaderValue) -> Option<Url> {
    Url::parse(origin.to_str().ok()?).ok()
}

/// Whether a proxy says that it has passed the request on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    [FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, VIA].iter().any(|name| headers.contains_key(name))
}

/// Whether an `Origin` is that of this server.
pub(super) fn is_own_origin(app: &App, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()) else { return false };
    if app.options.public_url.as_ref().is_some_and(|public| public.origin.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let of_origin = origin.split_once("://").map(|(_, host)| host);
    of_origin.is_some_and(|of_origin| host.is_some_and(|host| host.eq_ignore_ascii_case(of_origin)))
}

/// Whether a request asks for this machine, or for one of these names.
pub(super) fn is_asked_for(names: &[String], headers: &HeaderMap) -> bool {
    let is_one_of_them = |host: Authority| names.iter().any(|name| name.eq_ignore_ascii_case(host.host()));
    is_of_this_machine(headers) || host(headers).is_some_and(is_one_of_them)
}

fn is_of_this_machine(headers: &HeaderMap) -> bool {
    host(headers).is_some_and(|host| Host::parse(host.host()).is_ok_and(|host| is_loopback(&host)))
}

/// Which host is asked for.
fn host(headers: &HeaderMap) -> Option<Authority> {
    headers.get(HOST)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_has_an_origin_and_may_have_a_path() {
        for (text, origin, host, path) in [
            ("https://notify.example", "https://notify.example", "notify.example", ""),
            ("HTTPS://Notify.Example:443/", "https://notify.example", "notify.example", ""),
            ("http://10.0.0.7:8000/notify/", "http://10.0.0.7:8000", "10.0.0.7", "/notify"),
            ("https://[2001:db8::1]:8443/a/b", "https://[2001:db8::1]:8443", "[2001:db8::1]", "/a/b"),
        ] {
            let public: PublicUrl = text.parse().expect(text);
            assert_eq!((&*public.origin, &*public.host, &*public.path), (origin, host, path));
        }
        for text in [
            "notify.example",
            "ftp://x",
            "https://x/?a",
            "https://x/#a",
            "https://u@x/",
            "https://x/a;b",
            "https://x/a//b",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_path_under_which_the_server_is_mounted_is_taken_away_where_a_proxy_has_left_it() {
        for (asked, wanted) in [
            ("/notify", "/"),
            ("/notify/", "/"),
            ("/notify?user_id=1", "/?user_id=1"),
            ("/notify/v1/inbox?a=b", "/v1/inbox?a=b"),
            ("/v1/inbox?a=b", "/v1/inbox?a=b"),
            ("/notifyme", "/notifyme"),
            ("/notifications?user_id=1", "/notifications?user_id=1"),
        ] {
            let request = Request::builder().uri(asked).body(axum::body::Body::empty()).expect("valid");
            assert_eq!(without_path(request, "/notify").uri(), wanted, "{asked}");
        }
    }

    /// Mutant: whatever the name.
    #[test]
    fn a_name_that_only_leads_here_is_not_ours() {
        let ours = ["notify.example".to_owned(), "[2001:db8::1]".to_owned()];
        for (host, asked_for) in [
            ("127.0.0.1:8000", true),
            ("LOCALHOST", true),
            ("shop.localhost:8000", true),
            ("[::1]:8000", true),
            ("Notify.example:443", true),
            ("[2001:db8::1]:8000", true),
            ("evil.example", false),
            ("notify.example.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1@evil.example", false),
            ("10.0.0.7", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(HOST, host.parse().expect("valid"))]);
            assert_eq!(is_asked_for(&ours, &headers), asked_for, "{host}");
        }
        assert!(!is_asked_for(&ours, &HeaderMap::new()));
    }
}
