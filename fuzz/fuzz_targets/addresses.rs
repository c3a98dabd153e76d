//! Whatever stands in the address and the headers of a request: it is answered, or refused with a code.
//!
//! The first byte is the method and the headers that are given, the second the operation; then lines: the address from
//! where the operation leaves it open, and the values of the headers.
#![no_main]

use axum::body::Body;
use axum::http::{HeaderValue, Request, Uri};
use libfuzzer_sys::fuzz_target;
use pregon_fuzz::ask;

const METHODS: [&str; 8] = ["GET", "HEAD", "GET", "OPTIONS", "DELETE", "PUT", "POST", "PATCH"];

/// What addresses begin with.
const BEGINNINGS: [&str; 16] = [
    "/",
    "/?user_id=1&",
    "/notifications?user_id=1&",
    "/v1/stream?user_id=1&",
    "/v1/stream?",
    "/v1/notifications/",
    "/v1/topics/",
    "/v1/keys/",
    "/v1/users/",
    "/v1/inbox?user_id=1&",
    "/v1/inbox/counts?user_id=1&",
    "/v1/inbox/",
    "/assets/",
    "/docs",
    "/v1/topics/news/subscribers/",
    "/v1/",
];

/// Headers that the server reads.
const HEADERS: [&str; 12] = [
    "host",
    "authorization",
    "last-event-id",
    "cookie",
    "accept",
    "accept-language",
    "accept-encoding",
    "x-forwarded-for",
    "origin",
    "x-request-id",
    "if-none-match",
    "idempotency-key",
];

fuzz_target!(|input: &[u8]| {
    let [how, operation, rest @ ..] = input else { return };
    let mut lines = rest.split(|byte| *byte == b'\n');
    let mut address = BEGINNINGS[usize::from(*operation) % BEGINNINGS.len()].as_bytes().to_vec();
    address.extend_from_slice(lines.next().unwrap_or_default());
    // What HTTP itself does not let through never reaches us.
    let Ok(uri) = Uri::try_from(address.as_slice()) else { return };
    let method = METHODS[usize::from(how & 7)];
    // Whoever polls waits, however it is written that she does.
    let may_wait = uri.query().is_some_and(|query| query.contains('%') || query.contains("poll"));
    let mut request = Request::builder().method(method).uri(uri).header("sec-fetch-site", "same-origin");
    let first = usize::from(how >> 3);
    for (number, value) in lines.take(HEADERS.len()).enumerate() {
        let name = HEADERS[(first + number) % HEADERS.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request = request.header(name, value);
        }
    }
    ask(request.body(Body::empty()).expect("a request"), may_wait);
});
