//! Requests that a proxy and a server may cut up differently: what has fooled some pair of them, or comes close to it.
//!
//! Each has a carrier, in whose body or behind it a canary is hidden, a whole request of its own; and a last one, which asks
//! that the connection be closed. Who sees how many of them is what is compared.

use crate::server::KEY;

/// Ways to say, or not quite to say, that the body comes in chunks. Each comes with a length as well.
const ENCODINGS: [&str; 42] = [
    "Transfer-Encoding: chunked",
    "transfer-encoding: Chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: \t chunked \t",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: x-chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding\u{b}: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding: \u{c}chunked",
    "Transfer-Encoding: chunked\u{b}",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: \u{7f}chunked",
    "Transfer-Encoding: \u{a0}chunked",
    "Transfer-Encoding: chun\u{212a}ed",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding",
    "Transfer-Encoding:",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunked;q=0.5",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: x\r\n\tchunked",
    "X: x\r\n Transfer-Encoding: chunked",
    "X: x\nTransfer-Encoding: chunked",
    "X: x\rTransfer-Encoding: chunked",
    "X: x\r\n\rTransfer-Encoding: chunked",
];

/// Lengths of the canary, which stands there as the body; a capital N is the right one.
const LENGTHS: [&str; 31] = [
    "Content-Length: N\r\nContent-Length: N",
    "Content-Length: 0\r\nContent-Length: N",
    "Content-Length: N\r\nContent-Length: 0",
    "Content-Length: N\r\ncontent-length: 1",
    "Content-Length: N, N",
    "Content-Length: 0, N",
    "Content-Length: N, 0",
    "Content-Length: N,",
    "Content-Length: ,N",
    "Content-Length: +N",
    "Content-Length: +0",
    "Content-Length: -0",
    "Content-Length: -1",
    "Content-Length: 0xN",
    "Content-Length: 00000N",
    "Content-Length: N.0",
    "Content-Length: Ne0",
    "Content-Length: \"N\"",
    "Content-Length: N ",
    "Content-Length: N 0",
    "Content-Length: 0 N",
    "Content-Length: N\0",
    "Content-Length: \u{b}N",
    "Content-Length: 0\r\n N",
    "Content-Length:\r\n N",
    "Content-Length : N",
    "Content-Length\t: N",
    "Content_Length: N",
    " Content-Length: N",
    "Content-Length: 18446744073709551616",
    "Content-Length:",
];

/// Bodies in chunks; `INNER` is the last chunk and the canary behind it, as the content of a chunk, and `SIZE` its size.
const CHUNKS: [&str; 53] = [
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "5 ; a=\"b\"\r\nhello\r\n0\r\n\r\n",
    "5;\r\nhello\r\n0\r\n\r\n",
    "5;;;\r\nhello\r\n0\r\n\r\n",
    "5;a=\0\r\nhello\r\n0\r\n\r\n",
    "2;\nxx\r\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "2;a\nxx\r\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "2;a=\"\nxx\r\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "2;\rxx\r\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "2\nxx\r\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "2\rxx\r\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "2\r\nxx\nSIZE\r\nINNER\r\n0\r\n\r\n",
    "SIZE\nINNER\n0\n\n",
    "5\r\nhelloXX0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "5\r\nhello\r0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\n\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "-5\r\nhello\r\n0\r\n\r\n",
    " 5\r\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\t\r\nhello\r\n0\r\n\r\n",
    "\t5\r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n0\r\n\r\n",
    "0000000000000000000000000000005\r\nhello\r\n0\r\n\r\n",
    "10000000000000005\r\nhello\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    "5_\r\nhello\r\n0\r\n\r\n",
    "5g\r\nhello\r\n0\r\n\r\n",
    "5,5\r\nhello\r\n0\r\n\r\n",
    "\u{ff15}\r\nhello\r\n0\r\n\r\n",
    "\r\n5\r\nhello\r\n0\r\n\r\n",
    ";5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n00\r\n\r\n",
    "5\r\nhello\r\n0;x=y\r\n\r\n",
    "5\r\nhello\r\n0 \r\n\r\n",
    "5\r\nhello\r\n-0\r\n\r\n",
    "5\r\nhello\r\n0x0\r\n\r\n",
    "5\r\nhello\r\n0\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\r\nhello\r\n0\n\n",
    "5\r\nhello\r\n0\r\r\n",
    "5\r\nhello\r\n0\r\nContent-Length: 500\r\n\r\n",
    "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "5\r\nhello\r\n0\r\nHost: x\r\nX: y\n\r\n",
    "5\r\nhello\r\n0\r\n folded\r\n\r\n",
    "5\r\nhello\r\n0\r\n: x\r\n\r\n",
    "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    "5\r\nhello\r\n0\r\nX: y\0\r\n\r\n",
    "5\r\nhello\r\n",
    "",
];

/// Whole requests. `TO` is where they go, `BY` are host and credential; the canary follows, and its length is `N`.
const REQUESTS: [&str; 64] = [
    "POST TO HTTP/1.0\r\nBYConnection: keep-alive\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.0\r\nBYConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST TO HTTP/1.0\r\nBYTransfer-Encoding: chunked\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.0\r\nBYContent-Length: N\r\n\r\n",
    "GET TO\r\n",
    "GET TO\r\n\r\n",
    "POST TO\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/0.9\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.2\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.10\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/01.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/2.0\r\nBYContent-Length: N\r\n\r\n",
    "POST TO http/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP /1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1 x\r\nBYContent-Length: N\r\n\r\n",
    "POST TO x HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    " POST TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "\r\n\r\nPOST TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "\n\nPOST TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "\0POST TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST  TO  HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST\tTO\tHTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\nBYContent-Length: N\n\n",
    "POST TO HTTP/1.1\r\nBYContent-Length: N\n\n",
    "POST TO HTTP/1.1\r\nBYContent-Length: N\r\n\n",
    "POST TO HTTP/1.1\rBYContent-Length: N\r\r",
    "POST TO HTTP/1.1\r\n folded\r\nBYContent-Length: N\r\n\r\n",
    "POST http://elsewhere.exampleTO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST http://pregon.example:99999TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST http://a@b@pregon.exampleTO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST //elsewhere.exampleTO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO#x HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO?x=%0d%0aTransfer-Encoding:%20chunked HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST /x%0d%0aTO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST /x/../TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO\0 HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYHost: other.example\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nHost: a b\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nHost : pregon.example\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYConnection: close, Content-Length\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYConnection: Content-Length\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYConnection: Authorization, Host\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYExpect: 100-continue\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYExpect: 100-continue\r\nExpect: x\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYExpect: x, 100-continue\r\nContent-Length: N\r\n\r\n",
    "GET TO HTTP/1.1\r\nBYExpect: 100-continue\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: N\r\n\r\n",
    "GET /v1/inbox HTTP/1.1\r\nBYUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
    "GET /v1/inbox HTTP/1.1\r\nBYUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    "GET TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "GET TO HTTP/1.1\r\nBYTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HEAD /healthz HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "DELETE TO HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "TRACE / HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "CONNECT pregon.example:80 HTTP/1.1\r\nBYContent-Length: N\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYX: y\0\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYX y: z\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBY: y\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBYno colon\r\nContent-Length: N\r\n\r\n",
    "POST TO HTTP/1.1\r\nBY\u{feff}Content-Length: N\r\n\r\n",
];

/// Where what is published for that user goes.
pub(crate) fn target(user: &str) -> String {
    format!("/v1/users/{user}/notifications")
}

/// Who is asked, and with which right.
fn by() -> String {
    format!("Host: pregon.example\r\nAuthorization: Bearer {KEY}\r\n")
}

/// A request that publishes something for a user, and that no two can see differently.
pub(crate) fn whole(user: &str, headers: &str) -> String {
    format!("POST {} HTTP/1.1\r\n{}{headers}Content-Length: 4\r\n\r\nhola", target(user), by())
}

/// All of them, for users whose names begin so; with what each is about.
pub(crate) fn variants(name: impl Fn(usize) -> String) -> Vec<(String, String, Vec<u8>)> {
    let mut variants: Vec<(String, String, Vec<u8>)> = Vec::new();
    let mut add = |about: String, make: &dyn Fn(&str, &str) -> String| {
        let name = name(variants.len());
        let carrier = format!("POST {} HTTP/1.1\r\n{}", target(&format!("{name}-carrier")), by());
        let canary = whole(&format!("{name}-canary"), "");
        let last = whole(&format!("{name}-last"), "Connection: close\r\n");
        let bytes = format!("{}{last}", make(&carrier, &canary)).into_bytes();
        variants.push((name, about, bytes));
    };
    for encoding in ENCODINGS {
        add(format!("length, then {encoding:?}"), &|carrier, canary| {
            let body = format!("0\r\n\r\n{canary}");
            format!("{carrier}Content-Length: {}\r\n{encoding}\r\n\r\n{body}", body.len())
        });
        add(format!("{encoding:?}, then length"), &|carrier, canary| {
            let size = format!("{:x}\r\n", canary.len());
            format!("{carrier}{encoding}\r\nContent-Length: {}\r\n\r\n{size}{canary}\r\n0\r\n\r\n", size.len())
        });
    }
    for length in LENGTHS {
        add(format!("{length:?}"), &|carrier, canary| {
            let length = length.replace('N', &canary.len().to_string());
            format!("{carrier}{length}\r\n\r\n{canary}")
        });
    }
    for chunks in CHUNKS {
        add(format!("chunks {chunks:?}"), &|carrier, canary| {
            let inner = format!("0\r\n\r\n{canary}");
            let chunks = chunks.replace("SIZE", &format!("{:x}", inner.len())).replace("INNER", &inner);
            format!("{carrier}Transfer-Encoding: chunked\r\n\r\n{chunks}{canary}")
        });
    }
    for request in REQUESTS {
        add(format!("{request:?}"), &|carrier, canary| {
            let to = carrier.split(' ').nth(1).unwrap_or_default();
            let length = format!("Content-Length: {}", canary.len());
            let request = request.replace("TO", to).replace("BY", &by()).replace("Content-Length: N", &length);
            format!("{request}{canary}")
        });
    }
    variants
}
