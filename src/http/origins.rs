//! Origins whose pages may use this server from a browser, beside its own.
//!
//! **Invariant:** CORS and the same-origin gate ask the same list, so a page that may read may also change.

use axum::http::HeaderValue;
use url::Url;

use crate::loopback::is_loopback;

/// The origins that are let in.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// As a browser writes them.
    pub named: Vec<HeaderValue>,
    /// Also every origin of this machine, whatever its port: for `dev`, where the application runs beside the server.
    pub loopback: bool,
}

impl Origins {
    /// Whether no origin is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && !self.loopback
    }

    /// Whether pages of this origin are let in.
    #[must_use]
    pub fn include(&self, origin: &HeaderValue) -> bool {
        self.named.contains(origin) || (self.loopback && is_of_this_machine(origin))
    }
}

fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let url = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
    url.is_some_and(|url| url.host().is_some_and(|host| is_loopback(&host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_of_this_machine_are_loopback() {
        for (origin, expected) in [
            ("http://localhost:3000", true),
            ("https://localhost", true),
            ("http://shop.localhost:5173", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.evil.example", false),
            ("http://evil-localhost", false),
            ("http://10.0.0.7:3000", false),
            ("null", false),
            ("file://", false),
            ("", false),
        ] {
            let origin = HeaderValue::from_static(origin);
            assert_eq!(Origins { named: Vec::new(), loopback: true }.include(&origin), expected, "{origin:?}");
            assert!(!Origins::default().include(&origin), "{origin:?}");
        }
    }
}
