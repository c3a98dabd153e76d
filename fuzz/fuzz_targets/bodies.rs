//! Whatever body is sent to an operation that takes one, of whatever type, by whoever may: it is done or refused with a code.
//!
//! The first byte is the operation, the second the type and who asks; the rest is the body.
#![no_main]

use axum::body::Body;
use axum::http::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use libfuzzer_sys::fuzz_target;
use pregon_fuzz::{SERVER_KEY, ask};

/// All that take a body. Whoever asks for an inbox is the user whom the address names, in these tests.
const OPERATIONS: [(&str, &str); 16] = [
    ("POST", "/v1/notifications"),
    ("POST", "/v1/notifications/batch"),
    ("POST", "/v1/users/1/notifications"),
    ("POST", "/v1/topics/news/notifications"),
    ("POST", "/v1/broadcast"),
    ("PATCH", "/v1/notifications/01a20cb5-116e-716b-aa33-fad3da96c4bc"),
    ("POST", "/v1/keys"),
    ("POST", "/v1/tokens"),
    ("POST", "/v1/session"),
    ("POST", "/v1/stream/tickets"),
    ("POST", "/v1/inbox/read-all?user_id=1"),
    ("POST", "/v1/inbox/seen?user_id=1"),
    ("POST", "/v1/inbox/bulk?user_id=1"),
    ("PUT", "/v1/inbox/preferences?user_id=1"),
    ("PATCH", "/v1/inbox/01a20cb5-116e-716b-aa33-fad3da96c4bc?user_id=1"),
    ("POST", "/?user_id=1"),
];

const TYPES: [&str; 4] =
    ["application/json", "application/x-ndjson", "text/plain", "application/x-www-form-urlencoded"];

fuzz_target!(|input: &[u8]| {
    let [operation, how, body @ ..] = input else { return };
    let (method, address) = OPERATIONS[usize::from(*operation) % OPERATIONS.len()];
    let mut request = Request::builder()
        .method(method)
        .uri(address)
        .header("host", "127.0.0.1")
        // The page's forms are believed only if its own page has sent them.
        .header("sec-fetch-site", "same-origin")
        .header(CONTENT_TYPE, TYPES[usize::from(how & 3)]);
    if how & 4 == 0 && !address.contains("user_id") {
        request = request.header(AUTHORIZATION, format!("Bearer {SERVER_KEY}"));
    }
    ask(request.body(Body::from(body.to_vec())).expect("a request"), false);
});
