//! As much HTTP/1.1 as the generator and the reference servers need between themselves.

use std::net::SocketAddr;

/// The head of a stream's answer.
pub(crate) const STREAM_HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n";
/// The answer to a publish request.
pub(crate) const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok";

/// A request that has arrived whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// `GET /notifications?user_id=`.
    Stream {
        /// Whose.
        user: String,
    },
    /// `POST /v1/users/{id}/notifications` or `/v1/broadcast`.
    Publish {
        /// To whom; everyone if nobody is named.
        user: Option<String>,
        /// The body.
        body: Vec<u8>,
    },
}

/// Takes the first whole request out of a buffer; nothing if more has to come first.
pub(crate) fn take_request(buffer: &mut Vec<u8>) -> Option<Request> {
    let head_length = find(buffer, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..head_length]).ok()?;
    let mut words = head.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    if method == "GET" {
        let user = path.split_once("user_id=")?.1.split('&').next()?.to_owned();
        buffer.drain(..head_length);
        return Some(Request::Stream { user });
    }
    let user = path.strip_prefix("/v1/users/").and_then(|rest| rest.split('/').next()).map(str::to_owned);
    let length = content_length(head)?;
    if buffer.len() < head_length + length {
        return None;
    }
    let body = buffer[head_length..head_length + length].to_vec();
    buffer.drain(..head_length + length);
    Some(Request::Publish { user, body })
}

/// Length of the first whole answer in a buffer, and its status; nothing if more has to come first.
pub(crate) fn answer(buffer: &[u8]) -> Option<(usize, u16)> {
    let head_length = find(buffer, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&buffer[..head_length]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head_length + content_length(head).unwrap_or(0);
    (buffer.len() >= length).then_some((length, status))
}

fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

/// A frame of the stream with that message.
pub(crate) fn frame(number: u64, message: &[u8]) -> Vec<u8> {
    let mut frame = format!("id: {number}\ndata: ").into_bytes();
    frame.extend_from_slice(message);
    frame.extend_from_slice(b"\n\n");
    frame
}

/// A socket that listens with a long queue.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_whole_and_one_after_the_other() {
        let mut buffer = b"POST /v1/users/7/notifications HTTP/1.1\r\nContent-Length: 3\r\n\r\nab".to_vec();
        assert_eq!(take_request(&mut buffer), None);
        buffer.extend_from_slice(b"cGET /notifications?user_id=9&x HTTP/1.1\r\n\r\n");
        assert_eq!(take_request(&mut buffer), Some(Request::Publish { user: Some("7".into()), body: b"abc".into() }));
        assert_eq!(take_request(&mut buffer), Some(Request::Stream { user: "9".into() }));
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_answer_is_as_long_as_its_head_and_body() {
        assert_eq!(answer(CREATED), Some((CREATED.len(), 201)));
        assert_eq!(answer(&CREATED[..CREATED.len() - 1]), None);
    }
}
