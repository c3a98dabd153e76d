//! The wire format of the stream: Server-Sent Events (WHATWG HTML, section 9.2) and the JSON inside them.
//!
//! **Invariant:** encoding is total. Whatever the data, a parser of the standard reads back exactly one event with
//! that data (line ends become LF); no input creates, renames or ends an event. Names of events are fixed here and none
//! of them is `error`, `open` or `message`, which browsers dispatch themselves. An event with an id always has data,
//! since Firefox ignores the id of one without.
//!
//! A notification is encoded once, however many receive it: a [`Frame`]. The same frame sent as a replay differs in its
//! last bytes only, so both forms share one buffer.
//!
//! Deliberately absent: who receives a frame, and when.

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use serde::Serialize;

use crate::event_id::EventId;
use crate::notification::Notification;

const FRAME_END: &[u8] = b"}\n\n";
const FRAME_END_OF_REPLAY: &[u8] = b",\"replay\":true}\n\n";

/// The comment that keeps proxies from closing a quiet stream.
pub const COMMENT_BEAT: Bytes = Bytes::from_static(b":\n\n");

/// A notification as it goes to every subscriber: `id: …`, `data: {"id", "timestamp", …content}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// Encodes a notification.
    #[must_use]
    pub fn notification(id: EventId, notification: &Notification) -> Frame {
        let json = notification.content.json();
        // Two names, 36 characters of id and 24 of time; 128 leaves room.
        let mut frame = BytesMut::with_capacity(json.len() + 160);
        let mut put = |text: &str| frame.extend_from_slice(text.as_bytes());
        put("id: ");
        put(id.as_str());
        put("\ndata: ");
        put_notification(notification, &mut put);
        put("\n\n");
        Frame(frame.freeze())
    }

    /// The bytes for a subscriber to whom it is news.
    #[must_use]
    pub fn live(&self) -> Bytes {
        self.0.clone()
    }

    /// The bytes for a subscriber who connected later: the object also says `"replay": true`.
    #[must_use]
    pub fn replay(&self) -> [Bytes; 2] {
        [self.0.slice(..self.0.len() - FRAME_END.len()), Bytes::from_static(FRAME_END_OF_REPLAY)]
    }

    /// Size of the live form, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// The JSON object of a notification: `{"id":"…","timestamp":"…","message":"…", …}`.
#[must_use]
pub fn notification_json(notification: &Notification) -> String {
    let mut json = String::with_capacity(notification.content.json().len() + 96);
    put_notification(notification, &mut |text| json.push_str(text));
    json
}

fn put_notification(notification: &Notification, put: &mut impl FnMut(&str)) {
    put("{\"id\":\"");
    put(&notification.id.to_string());
    put("\",\"timestamp\":\"");
    put(&time(notification.timestamp));
    put("\",");
    // The content is an object that has at least a message: its fields follow ours.
    put(&notification.content.json()[1..]);
}

/// A time as it stands on every surface: RFC 3339, UTC, milliseconds.
#[must_use]
pub fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Whether a stream goes on where the client left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Resumed {
    /// Everything after the client's cursor follows.
    Full,
    /// The cursor can't be honoured; a [`Reset`] follows.
    Reset,
}

/// Data of the first event of every stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// Which life of the log the ids belong to.
    pub epoch: String,
    /// Whether the cursor was honoured.
    pub resumed: Resumed,
    /// How many notifications the user has not read.
    pub unread: usize,
    /// The server's clock, RFC 3339.
    pub server_time: String,
    /// Time between two heartbeats, in milliseconds, ±20 %.
    pub heartbeat_ms: u64,
}

/// Why a cursor can't be honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ResetReason {
    /// The id was not made by this log in its present epoch.
    Unknown,
    /// What follows the id has been removed by retention.
    Expired,
    /// The id is ahead of the log: the log has lost its end.
    Ahead,
}

/// Data of `event: reset`: the client must take a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reset {
    /// Why.
    pub reason: ResetReason,
    /// Event id after which everything is still there.
    pub oldest: String,
}

/// `event: hello`. Its id is the cursor from which the stream goes on.
#[must_use]
pub fn hello(id: EventId, retry_ms: u64, hello: &Hello) -> Bytes {
    encode(Some("hello"), Some(id), Some(retry_ms), &json(hello))
}

/// `event: reset`.
#[must_use]
pub fn reset(id: EventId, reset: &Reset) -> Bytes {
    encode(Some("reset"), Some(id), None, &json(reset))
}

/// `event: heartbeat`, for subscribers that have everything up to `id`.
#[must_use]
pub fn heartbeat(id: EventId, now: Timestamp) -> Bytes {
    #[derive(Serialize)]
    struct Heartbeat {
        server_time: String,
    }
    encode(Some("heartbeat"), Some(id), None, &json(&Heartbeat { server_time: time(now) }))
}

/// The whole answer to a temporary condition: come back after that time.
#[must_use]
pub fn retry(retry_ms: u64) -> Bytes {
    Bytes::from(format!("retry: {retry_ms}\n\n"))
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("plain structs encode")
}

/// One event. Data is split where the standard ends a line: CR LF, LF, or a CR alone.
fn encode(event: Option<&'static str>, id: Option<EventId>, retry_ms: Option<u64>, data: &str) -> Bytes {
    let mut frame = BytesMut::with_capacity(data.len() + 96);
    let mut line = |name: &str, value: &str| {
        frame.extend_from_slice(name.as_bytes());
        frame.extend_from_slice(b": ");
        frame.extend_from_slice(value.as_bytes());
        frame.extend_from_slice(b"\n");
    };
    if let Some(event) = event {
        line("event", event);
    }
    if let Some(id) = id {
        line("id", id.as_str());
    }
    if let Some(retry_ms) = retry_ms {
        line("retry", &retry_ms.to_string());
    }
    for part in data.replace("\r\n", "\n").split(['\n', '\r']) {
        line("data", part);
    }
    frame.extend_from_slice(b"\n");
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::Full;
    use proptest::prelude::*;
    use sse_stream::{Sse, SseStream};
    use uuid::Uuid;

    use super::*;
    use crate::content::{Content, Fields};
    use crate::event_id::{EventIds, Seal};
    use crate::notification::{Audience, NotificationId, Position};

    /// Reads events with a parser that is not ours.
    fn parse(bytes: &[u8]) -> Vec<Sse> {
        let body = Full::new(Bytes::copy_from_slice(bytes));
        let events = SseStream::new(body).map(|event| event.expect("well-formed")).collect::<Vec<_>>();
        futures_util::FutureExt::now_or_never(events).expect("all bytes are there")
    }

    fn id() -> EventId {
        EventIds::new(&Seal { epoch: 1, key: [1; 16] }).fresh(Position(1))
    }

    fn notification(fields: &Fields) -> Notification {
        Notification {
            id: NotificationId(Uuid::from_u128(7)),
            timestamp: Timestamp::from_millisecond(1_764_000_000_123).expect("in range"),
            audiences: vec![Audience::Everyone],
            content: Content::parse(fields).expect("valid"),
        }
    }

    fn bytes_of(parts: &[Bytes]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn a_notification_is_one_unnamed_event() {
        let frame = Frame::notification(id(), &notification(&Fields { message: "Hola".into(), ..Fields::default() }));
        let [event] = parse(&frame.live()).try_into().expect("one event");
        assert_eq!(event.event, None);
        assert_eq!(event.id.as_deref().map(str::len), Some(22));
        assert_eq!(
            event.data.as_deref(),
            Some(
                r#"{"id":"00000000-0000-0000-0000-000000000007","timestamp":"2025-11-24T16:00:00.123Z","message":"Hola"}"#
            )
        );
    }

    proptest! {
        /// Encode, then parse, is the identity for every event with any data.
        #[test]
        fn any_data_comes_back_as_one_event(data in any::<String>(), lines in "[\r\n\u{2028}a: ]{0,12}") {
            let data = data + &lines;
            let [event] = parse(&encode(Some("hello"), Some(id()), Some(5), &data)).try_into().expect("one event");
            prop_assert_eq!(event.data.unwrap_or_default(), data.replace("\r\n", "\n").replace('\r', "\n"));
            prop_assert_eq!(event.event.as_deref(), Some("hello"));
            prop_assert_eq!(event.retry, Some(5));
        }

        /// Every string that can be published comes back as it was, live and as a replay.
        #[test]
        fn any_message_that_can_be_published_comes_back(message in any::<String>(), title in "\\PC{1,40}") {
            let fields = Fields { message, title: Some(title), ..Fields::default() };
            prop_assume!(Content::parse(&fields).is_ok());
            let frame = Frame::notification(id(), &notification(&fields));
            for (bytes, replay) in [(frame.live().to_vec(), false), (bytes_of(&frame.replay()), true)] {
                let [event] = parse(&bytes).try_into().expect("one event");
                let data: serde_json::Value = serde_json::from_str(&event.data.expect("data")).expect("JSON");
                prop_assert_eq!(data["message"].as_str(), Some(fields.message.as_str()));
                prop_assert_eq!(data["title"].as_str(), fields.title.as_deref());
                prop_assert_eq!(data.get("replay").is_some(), replay);
            }
        }
    }

    #[test]
    fn every_event_of_ours_is_read_with_its_name_and_id() {
        let said = Hello {
            epoch: "00000001".into(),
            resumed: Resumed::Full,
            unread: 3,
            server_time: "2026-01-01T00:00:00.000Z".into(),
            heartbeat_ms: 15_000,
        };
        let gap = Reset { reason: ResetReason::Expired, oldest: id().to_string() };
        for (bytes, name) in [
            (hello(id(), 2000, &said), "hello"),
            (reset(id(), &gap), "reset"),
            (heartbeat(id(), Timestamp::UNIX_EPOCH), "heartbeat"),
        ] {
            let [event] = parse(&bytes).try_into().expect("one event");
            assert_eq!(event.event.as_deref(), Some(name));
            assert!(event.id.is_some() && event.data.is_some(), "{name} moves the cursor in every browser");
        }
        assert!(parse(&COMMENT_BEAT).is_empty());
    }
}
