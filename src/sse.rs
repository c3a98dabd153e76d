//! The wire format of the stream: Server-Sent Events (WHATWG HTML, section 9.2) and the JSON inside them; and the same
//! events as JSON lines.
//!
//! **Invariant:** encoding is total. Whatever the data, a parser of the standard reads back exactly one event with
//! that data (line ends become LF); no input creates, renames or ends an event. Names of events are fixed here and none
//! of them is `error`, `open` or `message`, which browsers dispatch themselves. An event with an id always has data,
//! since Firefox ignores the id of one without.
//!
//! What the log says is encoded once, however many receive it: a [`Frame`], in the framing of a [`Chunk`]. The same frame
//! sent as a replay differs in its last bytes only, and as a line of JSON in its first and last, so all forms share one
//! buffer.
//!
//! Deliberately absent: who receives a frame, and when.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes};
use jiff::Timestamp;
use serde::Serialize;
use smallvec::{SmallVec, smallvec};

use crate::content::{Content, choose};
use crate::event_id::{EVENT_ID_LENGTH, EventId};
use crate::notification::{Notification, NotificationId, RemovalReason};
use crate::state::{Counts, Marked};

pub(crate) mod chunk;

pub use chunk::{Chunk, Framing};

const ID_FIELD: &str = "id: ";
const DATA_FIELD: &str = "\ndata: ";
const FRAME_END: &str = "\n\n";
/// What a replay says at the end of its object, and what ends it and its chunk.
const REPLAY_AND_FRAME_END: &[u8] = b",\"replay\":true}\n\n\r\n";
const REPLAY_AND_LINE_END: &[u8] = b",\"replay\":true}}\n\r\n";
const LINE_END: &[u8] = b"}\n\r\n";

/// How a subscriber is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wire {
    /// As Server-Sent Events.
    #[default]
    Events,
    /// As JSON, one event a line: `{"event", "id", "data"}`.
    Lines,
}

/// How a subscriber is told, in which language, and how that is delimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// How.
    pub wire: Wire,
    /// How its body is delimited.
    pub framing: Framing,
    /// Tags of the languages that she reads, the best first.
    pub languages: Vec<String>,
}

/// What the log says as it goes to every subscriber: `id: …`, `data: {…}`, before them `event: …` if it is not a
/// notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    name: Option<&'static str>,
    chunk: Chunk,
    /// The same in other languages, by tag.
    others: Option<Arc<[(String, Chunk)]>>,
}

impl Frame {
    /// Encodes a notification.
    #[must_use]
    pub fn notification(id: EventId, notification: &Notification) -> Frame {
        Frame::of(None, id, notification)
    }

    /// Encodes a notification that says something else now.
    #[must_use]
    pub fn updated(id: EventId, notification: &Notification) -> Frame {
        Frame::of(Some("updated"), id, notification)
    }

    /// Encodes that nobody has a notification any more.
    #[must_use]
    pub fn removed(id: EventId, notification: NotificationId, reason: RemovalReason) -> Frame {
        #[derive(Serialize)]
        struct Removed {
            id: String,
            reason: &'static str,
        }
        let removed = Removed { id: notification.to_string(), reason: reason.name() };
        Frame::plain("removed", id, &json(&removed))
    }

    /// Encodes what a user has marked.
    #[must_use]
    pub fn state(id: EventId, marked: &Marked) -> Frame {
        Frame::plain("state", id, marked.json())
    }

    /// Encodes what a user mutes.
    #[must_use]
    pub fn preferences(id: EventId, muted: &[String]) -> Frame {
        #[derive(Serialize)]
        struct Preferences<'a> {
            muted: &'a [String],
        }
        Frame::plain("preferences", id, &json(&Preferences { muted }))
    }

    /// Encodes that nothing is left of what a user had.
    #[must_use]
    pub fn erased(id: EventId) -> Frame {
        let oldest = id.to_string();
        Frame::plain("reset", id, &json(&Reset { reason: ResetReason::Erased, oldest }))
    }

    /// What is left of a frame that nobody may get any more.
    #[must_use]
    pub fn empty() -> Frame {
        Frame { name: None, chunk: Chunk::default(), others: None }
    }

    fn of(name: Option<&'static str>, id: EventId, notification: &Notification) -> Frame {
        let encode = |content: &Content| {
            let put = |put: &mut dyn FnMut(&str)| put_notification(notification, content, put);
            frame(name, id, content.json().len() + 160, put)
        };
        match notification.content.languages() {
            None => Frame { name, chunk: encode(&notification.content), others: None },
            Some((own, others)) => {
                let others = others.iter().map(|(tag, content)| (tag.clone(), encode(content)));
                Frame { name, chunk: encode(&own), others: Some(others.collect()) }
            }
        }
    }

    /// A frame whose data is one line of JSON.
    fn plain(name: &'static str, id: EventId, json: &str) -> Frame {
        let chunk = frame(Some(name), id, json.len() + 64, |put| put(json));
        Frame { name: Some(name), chunk, others: None }
    }

    /// The bytes for a subscriber, in that order: one chunk. A replay is what is older than her connection.
    #[must_use]
    pub fn pieces(&self, form: &Form, replay: bool) -> SmallVec<[Bytes; 3]> {
        let chunk = self.in_language(&form.languages);
        if form.wire == Wire::Events && !replay {
            return smallvec![chunk.framed(form.framing)];
        }
        let event = chunk.data();
        let object_end = event.len() - FRAME_END.len();
        // A replay says so in its object, before what ends that.
        let data_end = object_end - usize::from(replay);
        match form.wire {
            Wire::Events => form.framing.around(String::new(), event.slice(..data_end), REPLAY_AND_FRAME_END),
            Wire::Lines => {
                let id = self.name.map_or(0, |name| "event: \n".len() + name.len()) + ID_FIELD.len();
                let id_text = std::str::from_utf8(&event[id..id + EVENT_ID_LENGTH]).expect("an event id is ASCII");
                let begin = line_begin(self.name.unwrap_or("notification"), id_text);
                let data = id + EVENT_ID_LENGTH + DATA_FIELD.len()..data_end;
                form.framing.around(begin, event.slice(data), if replay { REPLAY_AND_LINE_END } else { LINE_END })
            }
        }
    }

    /// What it says in the first of these languages that there is, by its tag or by the language alone.
    fn in_language(&self, languages: &[String]) -> &Chunk {
        self.others.as_ref().and_then(|others| choose(others, languages)).unwrap_or(&self.chunk)
    }

    /// What it takes to keep, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        let others = self.others.iter().flat_map(|others| others.iter()).map(|(tag, chunk)| tag.len() + chunk.len());
        others.sum::<usize>() + self.chunk.len()
    }
}

/// A line of JSON up to its data.
fn line_begin(event: &str, id: &str) -> String {
    format!("{{\"event\":\"{event}\",\"id\":\"{id}\",\"data\":")
}

/// One event whose data is one line, which `put` gives part by part.
fn frame(name: Option<&'static str>, id: EventId, capacity: usize, put: impl FnOnce(&mut dyn FnMut(&str))) -> Chunk {
    Chunk::of(capacity, |bytes| {
        let mut add = |text: &str| bytes.put_slice(text.as_bytes());
        if let Some(name) = name {
            add("event: ");
            add(name);
            add("\n");
        }
        add(ID_FIELD);
        add(id.as_str());
        add(DATA_FIELD);
        put(&mut add);
        add(FRAME_END);
    })
}

/// The JSON object of a notification: `{"id":"…","timestamp":"…","message":"…", …}`.
#[must_use]
pub fn notification_json(notification: &Notification) -> String {
    let mut json = String::with_capacity(notification.content.json().len() + 96);
    put_notification(notification, &notification.content, &mut |text| json.push_str(text));
    json
}

fn put_notification(notification: &Notification, content: &Content, put: &mut dyn FnMut(&str)) {
    put("{\"id\":\"");
    put(&notification.id.to_string());
    put("\",\"timestamp\":\"");
    put(&time(notification.timestamp));
    if let Some(expires_at) = notification.expires_at {
        put("\",\"expires_at\":\"");
        put(&time(expires_at));
    }
    put("\",");
    // The content is an object that has at least a message: its fields follow ours.
    put(&content.json()[1..]);
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

impl Resumed {
    /// As it stands on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Reset => "reset",
        }
    }
}

/// Data of the first event of every stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// Which life of the log the ids belong to.
    pub epoch: String,
    /// Whether the cursor was honoured.
    pub resumed: Resumed,
    /// How many notifications the user has not read, not seen, and has in all.
    #[serde(flatten)]
    pub counts: Counts,
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
    /// Some of what follows the id is damaged in the store's file.
    Damaged,
    /// The id is ahead of the log: the log has lost its end.
    Ahead,
    /// All that the user had has been erased.
    Erased,
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
pub fn hello(wire: Wire, id: EventId, retry_ms: u64, hello: &Hello) -> Chunk {
    encode(wire, "hello", id, Some(retry_ms), &json(hello))
}

/// `event: reset`.
#[must_use]
pub fn reset(wire: Wire, id: EventId, reset: &Reset) -> Chunk {
    encode(wire, "reset", id, None, &json(reset))
}

/// What keeps a quiet stream from being closed.
#[derive(Clone, Debug)]
pub struct Beats {
    /// A beat that scripts can hear: `event: heartbeat`, with an id.
    pub named: Chunk,
    /// A beat that only proxies see, where there is one.
    pub quiet: Chunk,
}

/// Beats for subscribers that have everything up to `id`.
#[must_use]
pub fn heartbeat(wire: Wire, id: EventId, now: Timestamp) -> Beats {
    #[derive(Serialize)]
    struct Heartbeat {
        server_time: String,
    }
    let named = encode(wire, "heartbeat", id, None, &json(&Heartbeat { server_time: time(now) }));
    match wire {
        // A comment. After a blank line some clients would take it for an event without data.
        Wire::Events => Beats { named, quiet: Chunk::of(2, |bytes| bytes.put_slice(b":\n")) },
        // Readers of lines seldom expect an empty one.
        Wire::Lines => Beats { quiet: named.clone(), named },
    }
}

/// `event: token_expiring`: the stream ends with its token, soon.
#[must_use]
pub fn token_expiring(wire: Wire, id: EventId, expires_at: Timestamp) -> Chunk {
    #[derive(Serialize)]
    struct TokenExpiring {
        expires_at: String,
    }
    encode(wire, "token_expiring", id, None, &json(&TokenExpiring { expires_at: time(expires_at) }))
}

/// The whole answer to a temporary condition: come back after that time.
#[must_use]
pub fn retry(wire: Wire, retry_ms: u64) -> Chunk {
    let said = match wire {
        Wire::Events => format!("retry: {retry_ms}\n\n"),
        Wire::Lines => format!("{{\"event\":\"retry\",\"retry_ms\":{retry_ms}}}\n"),
    };
    Chunk::of(said.len(), |bytes| bytes.put_slice(said.as_bytes()))
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("plain structs encode")
}

/// One event. Data is split where the standard ends a line: CR LF, LF, or a CR alone. As a line of JSON it is one line
/// anyway, since it is JSON.
fn encode(wire: Wire, event: &'static str, id: EventId, retry_ms: Option<u64>, data: &str) -> Chunk {
    if wire == Wire::Lines {
        let retry = retry_ms.map(|retry_ms| format!(",\"retry_ms\":{retry_ms}")).unwrap_or_default();
        let line = format!("{}{data}{retry}}}\n", line_begin(event, id.as_str()));
        return Chunk::of(line.len(), |bytes| bytes.put_slice(line.as_bytes()));
    }
    Chunk::of(data.len() + 96, |bytes| {
        let mut line = |name: &str, value: &str| {
            for part in [name, ": ", value, "\n"] {
                bytes.put_slice(part.as_bytes());
            }
        };
        line("event", event);
        line("id", id.as_str());
        if let Some(retry_ms) = retry_ms {
            line("retry", &retry_ms.to_string());
        }
        for part in data.replace("\r\n", "\n").split(['\n', '\r']) {
            line("data", part);
        }
        bytes.put_slice(b"\n");
    })
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use http_body_util::Full;
    use proptest::prelude::*;
    use sse_stream::{Sse, SseStream};
    use uuid::Uuid;

    use super::chunk::tests::unchunked;
    use super::*;
    use crate::content::{Fields, Translation};
    use crate::event_id::{EventIds, Seal};
    use crate::notification::{Audience, Position};

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
            expires_at: None,
            replaces: None,
        }
    }

    fn bytes_of(parts: &[Bytes]) -> Vec<u8> {
        parts.iter().flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn a_notification_is_one_unnamed_event() {
        let frame = Frame::notification(id(), &notification(&Fields { message: "Hola".into(), ..Fields::default() }));
        let [event] = parse(&bytes_of(&frame.pieces(&Form::default(), false))).try_into().expect("one event");
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
            let [event] = parse(&encode(Wire::Events, "hello", id(), Some(5), &data).data()).try_into().expect("one event");
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
            for (wire, replay) in [Wire::Events, Wire::Lines].into_iter().flat_map(|w| [(w, false), (w, true)]) {
                let bytes = bytes_of(&frame.pieces(&Form { wire, ..Form::default() }, replay));
                let form = Form { wire, framing: Framing::Chunked, ..Form::default() };
                prop_assert_eq!(unchunked(&bytes_of(&frame.pieces(&form, replay))), (vec![bytes.clone()], false));
                let data: serde_json::Value = if wire == Wire::Events {
                    let [event] = parse(&bytes).try_into().expect("one event");
                    serde_json::from_str(&event.data.expect("data")).expect("JSON")
                } else {
                    let line = String::from_utf8(bytes).expect("UTF-8");
                    prop_assert_eq!(line.lines().count(), 1);
                    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
                    prop_assert_eq!(line["event"].as_str(), Some("notification"));
                    prop_assert_eq!(line["id"].as_str().map(str::len), Some(EVENT_ID_LENGTH));
                    line["data"].clone()
                };
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
            counts: Counts { unread: 3, unseen: 2, total: 9 },
            server_time: "2026-01-01T00:00:00.000Z".into(),
            heartbeat_ms: 15_000,
        };
        let gap = Reset { reason: ResetReason::Expired, oldest: id().to_string() };
        let one = notification(&Fields { message: "Hola".into(), ..Fields::default() });
        let marked = Marked::from_stored(r#"{"set":{}}"#);
        for wire in [Wire::Events, Wire::Lines] {
            let form = Form { wire, ..Form::default() };
            let whole = |frame: Frame| Bytes::from(bytes_of(&frame.pieces(&form, false)));
            for (bytes, name) in [
                (hello(wire, id(), 2000, &said).data(), "hello"),
                (reset(wire, id(), &gap).data(), "reset"),
                (heartbeat(wire, id(), Timestamp::UNIX_EPOCH).named.data(), "heartbeat"),
                (whole(Frame::updated(id(), &one)), "updated"),
                (whole(Frame::removed(id(), one.id, RemovalReason::Recalled)), "removed"),
                (whole(Frame::state(id(), &marked)), "state"),
                (whole(Frame::preferences(id(), &["a".into()])), "preferences"),
                (whole(Frame::erased(id())), "reset"),
            ] {
                if wire == Wire::Events {
                    let [event] = parse(&bytes).try_into().expect("one event");
                    assert_eq!(event.event.as_deref(), Some(name));
                    assert!(event.id.is_some() && event.data.is_some(), "{name} moves the cursor in every browser");
                } else {
                    let line: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
                    assert_eq!(line["event"], name);
                    assert!(line["id"].is_string() && line["data"].is_object(), "{line}");
                    assert!(bytes.ends_with(b"\n"), "{line}");
                }
            }
        }
        assert_eq!(&*retry(Wire::Lines, 5).data(), b"{\"event\":\"retry\",\"retry_ms\":5}\n");
    }

    /// A blank line ends an event, and there is none: clients that remember the last id (httpx-sse) would make an empty one
    /// of it.
    ///
    /// Mutant: a blank line after it.
    #[test]
    fn a_comment_is_one_line_and_ends_no_event() {
        let quiet = heartbeat(Wire::Events, id(), Timestamp::UNIX_EPOCH).quiet.data();
        assert_eq!(&*quiet, b":\n");
        let event = Frame::notification(id(), &notification(&Fields { message: "Hola".into(), ..Fields::default() }));
        let event = bytes_of(&event.pieces(&Form::default(), false));
        assert_eq!(parse(&[&quiet, &event[..], &quiet, &quiet].concat()), parse(&event));
    }

    #[test]
    fn a_reader_gets_the_first_of_her_languages_that_there_is() {
        let text = |message: &str| Translation { title: None, message: Some(message.into()) };
        let i18n = [("en", text("Hello")), ("pt-BR", text("Oi")), ("pt", text("Olá"))];
        let i18n = i18n.into_iter().map(|(tag, texts)| (tag.to_owned(), texts)).collect();
        let fields = Fields { message: "Hola".into(), i18n, ..Fields::default() };
        let frame = Frame::notification(id(), &notification(&fields));
        for (languages, message) in [
            (vec![], "Hola"),
            (vec!["fr"], "Hola"),
            (vec!["fr", "en-gb"], "Hello"),
            (vec!["pt-br", "en"], "Oi"),
            (vec!["pt-pt"], "Olá"),
        ] {
            let languages_wanted = languages.iter().map(|tag| (*tag).to_owned()).collect();
            let form = Form { languages: languages_wanted, ..Form::default() };
            let [event] = parse(&bytes_of(&frame.pieces(&form, false))).try_into().expect("one event");
            let data: serde_json::Value = serde_json::from_str(&event.data.expect("data")).expect("JSON");
            assert_eq!(data["message"], message, "{languages:?}");
            assert!(data.get("i18n").is_none());
        }
    }
}
