//! The same over HTTP/2, for a proxy that speaks HTTP/1.1 with the server: what has no place in the other's text, or ends it.

use crate::server::KEY;
use crate::smuggling_http1::{target, whole};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

type Field = (&'static str, &'static str);

/// Fields beside the usual ones; `N` is the length of the body. One that is there already takes its place.
const FIELDS: [&[Field]; 40] = [
    &[],
    &[("content-length", "N")],
    &[("content-length", "0")],
    &[("content-length", "1")],
    &[("content-length", "100000")],
    &[("content-length", "+N")],
    &[("content-length", "0xN")],
    &[("content-length", "N, N")],
    &[("content-length", "0, N")],
    &[("content-length", "N"), ("content-length", "0")],
    &[("content-length", "")],
    &[("content-length ", "0")],
    &[("Content-Length", "0")],
    &[("transfer-encoding", "chunked")],
    &[("transfer-encoding", "identity")],
    &[("transfer-encoding", "chunked"), ("content-length", "N")],
    &[("transfer-encoding ", "chunked")],
    &[("Transfer-Encoding", "chunked")],
    &[("transfer_encoding", "chunked")],
    &[("te", "chunked")],
    &[("x", "x\r\nTransfer-Encoding: chunked")],
    &[("x", "x\nTransfer-Encoding: chunked")],
    &[("x", "x\rTransfer-Encoding: chunked")],
    &[("x", "x\0")],
    &[("x", "x\r\n\r\nGET /v1/inbox HTTP/1.1\r\nx: x")],
    &[("x\r\ntransfer-encoding", "chunked")],
    &[("transfer-encoding: chunked\r\nx", "x")],
    &[("transfer-encoding:chunked", "x")],
    &[("", "x")],
    &[("connection", "content-length"), ("content-length", "N")],
    &[("connection", "keep-alive"), ("keep-alive", "timeout=9")],
    &[("upgrade", "h2c"), ("connection", "upgrade")],
    &[("proxy-connection", "close")],
    &[("host", "other.example\r\nTransfer-Encoding: chunked")],
    &[("expect", "100-continue")],
    &[(":path", "/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")],
    &[(":method", "GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST")],
    &[(":authority", "x\r\nTransfer-Encoding: chunked")],
    &[(":scheme", "http://x/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nGET http")],
    &[(":other", "x")],
];

/// All of them, as in the other file.
pub(crate) fn variants(name: impl Fn(usize) -> String) -> Vec<(String, String, Vec<u8>)> {
    let mut variants = Vec::new();
    for fields in FIELDS {
        // The canary alone, or what ends a body in chunks before it.
        for begins in ["", "0\r\n\r\n"] {
            let name = name(variants.len());
            let canary = whole(&format!("{name}-canary"), "");
            let body = format!("{begins}{canary}");
            let request = carrier(&name, fields, body.len());
            let bytes = [
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
                frame(SETTINGS, 0, 0, &[]),
                frame(HEADERS, END_HEADERS, 1, &request),
                frame(DATA, END_STREAM, 1, body.as_bytes()),
                frame(HEADERS, END_HEADERS, 3, &carrier(&format!("{name}-last"), &[], 4)),
                frame(DATA, END_STREAM, 3, b"hola"),
            ];
            variants.push((name, format!("{begins:?} after {fields:?}"), bytes.concat()));
        }
    }
    variants
}

/// The fields of a request that publishes for a user.
fn carrier(name: &str, fields: &[Field], length: usize) -> Vec<u8> {
    let user = if name.ends_with("-last") { name.to_owned() } else { format!("{name}-carrier") };
    let mut all = vec![
        (":method", "POST".to_owned()),
        (":scheme", "http".to_owned()),
        (":path", target(&user)),
        (":authority", "pregon.example".to_owned()),
        ("authorization", format!("Bearer {KEY}")),
    ];
    for (name, value) in fields {
        let value = value.replace('N', &length.to_string());
        match all.iter_mut().take(4).find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => all.push((*name, value)),
        }
    }
    let mut block = Vec::new();
    for (name, value) in &all {
        // A field that stands there in full, and enters no table (RFC 7541, section 6.2.2).
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A text with its length before it: seven bits, and what does not fit into them (RFC 7541, section 5).
fn text(block: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..127 => block.push(u8::try_from(length).unwrap()),
        length => {
            let mut rest = length - 127;
            block.push(127);
            while rest >= 128 {
                block.push(u8::try_from(rest % 128 + 128).unwrap());
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap());
        }
    }
    block.extend(text.as_bytes());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
