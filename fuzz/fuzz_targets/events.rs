//! Whatever a notification says, a parser of the standard reads exactly one event with exactly that from its frame, in
//! each form, and so does a parser of JSON lines.
#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use pregon::content::{Action, Actor, Content, Fields, Severity, Translation};
use pregon::event_id::{EventIds, Seal};
use pregon::notification::{Audience, Notification, NotificationId, Position};
use pregon::sse::{Form, Frame, Wire};
use serde_json::Value;
use uuid::Uuid;

static IDS: LazyLock<EventIds> = LazyLock::new(|| EventIds::new(&Seal { epoch: 7, key: [7; 16] }));

/// The fields of one event as the WHATWG's section 9.2.6 reads them. It is written for these tests alone and shares nothing
/// with the encoder.
#[derive(Debug, Default, PartialEq)]
struct Read {
    name: String,
    id: String,
    data: Vec<String>,
}

fn events(stream: &str) -> Vec<Read> {
    let mut events = Vec::new();
    let mut event = Read::default();
    let whole = stream.replace("\r\n", "\n").replace('\r', "\n");
    let Some((lines, _)) = whole.rsplit_once('\n') else { return events };
    for line in lines.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "" if line.is_empty() => events.push(std::mem::take(&mut event)),
            "event" => event.name = value,
            "id" => event.id = value,
            "data" => event.data.push(value),
            _ => {}
        }
    }
    assert_eq!(event, Read::default(), "the frame is not ended");
    events
}

/// A content made of pieces of the input, which a byte that is never in UTF-8 divides.
fn fields(input: &[u8]) -> Fields {
    let mut pieces = input.split(|byte| *byte == 0xff).map(|piece| String::from_utf8_lossy(piece).into_owned());
    let mut next = || pieces.next().filter(|piece| !piece.is_empty());
    Fields {
        message: next().unwrap_or_default(),
        title: next(),
        severity: next().and_then(|name| Severity::named(&name)),
        category: next(),
        url: next(),
        icon: next(),
        actor: next().map(|name| Actor { name, avatar_url: None }),
        actions: next().map(|id| Action { label: id.clone(), id, url: None, style: None }).into_iter().collect(),
        silent: next().is_some(),
        i18n: next().into_iter().map(|tag| (tag, Translation { title: next(), message: next() })).collect(),
        data: next().and_then(|json| serde_json::from_str(&json).ok()),
    }
}

fuzz_target!(|input: &[u8]| {
    let fields = fields(input);
    let Ok(content) = Content::parse(&fields) else { return };
    let position = Position(input.len() as u64);
    let id = IDS.of_entry(position);
    let notification = Notification {
        id: NotificationId(Uuid::nil()),
        timestamp: Timestamp::UNIX_EPOCH,
        audiences: vec![Audience::Everyone],
        content,
        expires_at: None,
        replaces: None,
    };
    let tags: Vec<String> = fields.i18n.keys().map(|tag| tag.to_lowercase()).collect();
    for (frame, name) in [(Frame::notification(id, &notification), ""), (Frame::updated(id, &notification), "updated")]
    {
        for languages in [Vec::new(), tags.clone()] {
            let translation = languages.first().and_then(|_| fields.i18n.values().next());
            let message = translation.and_then(|texts| texts.message.as_ref()).unwrap_or(&fields.message);
            for replay in [false, true] {
                let whole = |wire| {
                    let form = Form { wire, languages: languages.clone(), ..Form::default() };
                    String::from_utf8(frame.pieces(&form, replay).concat()).expect("a frame is UTF-8")
                };
                let read = events(&whole(Wire::Events));
                assert_eq!(read.len(), 1, "{fields:?}");
                assert_eq!((read[0].name.as_str(), read[0].id.as_str(), read[0].data.len()), (name, id.as_str(), 1));
                let data: Value = serde_json::from_str(&read[0].data[0]).expect("the data is JSON");
                assert_eq!(data["message"], message.as_str());
                assert_eq!(
                    data["title"].as_str().is_some(),
                    fields.title.is_some() || translation.is_some_and(|texts| texts.title.is_some())
                );
                assert_eq!(data.get("data"), fields.data.as_ref());
                assert_eq!(data.get("i18n"), None);
                assert_eq!(data.get("replay").is_some(), replay);
                let line = whole(Wire::Lines);
                assert_eq!(line.find('\n'), Some(line.len() - 1), "one line, and its end");
                let line: Value = serde_json::from_str(&line).expect("a line is JSON");
                assert_eq!((&line["data"], line["id"].as_str()), (&data, Some(id.as_str())));
            }
        }
    }
});
