//! Isolation: of what is another's, nobody gets a byte.
//!
//! Many users at once, each with a word of her own in everything that is hers: her name, her topic, all that is said to her,
//! what she mutes, the keys of the requests that say it. Each asks for everything that there is, in every way, while the
//! others do. No byte of an answer or a stream may have the word of another, nor anything else that only another was given:
//! a token, a ticket, a cursor, the id of a notification or of an event.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::json;

use crate::person::{Answer, Asked, Person, Shown, ask, ask_json};
use crate::server::{TestServer, tokens};

const PEOPLE: usize = 200;
/// Of how many parts of everything each asks for one: so each operation is asked for by 50 people.
const PARTS: usize = 4;
/// People who are busy at once.
const AT_ONCE: usize = 16;
/// What every word begins with; four digits follow.
const WORD: &str = "Kanario";
const SECRET: &str = "a secret of at least thirty-two bytes";
/// The last that everybody is told.
const END: &str = "das Ende";

fn word(number: usize) -> String {
    format!("{WORD}{number:04}x")
}

/// A word of chance, such as an id or a token, may have these characters.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// All that is in these bytes and another's.
fn found(bytes: &[u8], number: usize, owners: &HashMap<String, usize>) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let canaries = text.match_indices(WORD).map(|(at, _)| text.get(at..at + word(0).len()).unwrap_or(WORD));
    let mut found: Vec<String> = canaries.filter(|canary| *canary != word(number)).map(str::to_owned).collect();
    let words = bytes.split(|byte| !is_of_word(*byte)).filter_map(|word| std::str::from_utf8(word).ok());
    // The parts of a token are a token's too.
    let words = words.flat_map(|word| word.split('.').chain(word.contains('.').then_some(word)));
    found.extend(words.filter(|word| owners.get(*word).is_some_and(|owner| *owner != number)).map(str::to_owned));
    found
}

/// A user, what she has been answered, and her open streams.
struct Guest {
    number: usize,
    person: Person,
    streams: Vec<(Answer, &'static str)>,
    transcript: Vec<u8>,
    /// Notifications for her alone; the first stays as it was.
    ids: Vec<String>,
    /// What only she was given beside them.
    given: Vec<String>,
}

impl Guest {
    async fn come(address: &str, number: usize) -> Guest {
        let person = Person::new(address, &word(number)).await;
        let mut streams = Vec::new();
        for (asked, end) in [
            (person.asks(Asked::get("/v1/stream"), Shown::Header), "\n\n"),
            (person.asks(Asked::get("/notifications?lang=en"), Shown::Address), "\n\n"),
            (person.asks(Asked::get("/v1/stream").header("accept", "application/x-ndjson"), Shown::Cookie), "\n"),
        ] {
            let mut stream = Answer::to(address, &asked).await;
            stream.until("heartbeat_ms", end).await;
            streams.push((stream, end));
        }
        Guest { number, person, streams, transcript: Vec::new(), ids: Vec::new(), given: Vec::new() }
    }

    /// The back end says all kinds of things to her, some of them in one request with what it says to another.
    async fn be_told(&mut self, address: &str, other: &str) {
        let (person, word) = (&self.person, &self.person.word);
        let hers = json!(format!("user:{}", person.user));
        for message in ["stays", "is edited", "is taken back"] {
            self.ids.push(person.told(address, &hers, message).await);
        }
        self.ids.push(person.told(address, &json!(format!("topic:{}", person.topic)), "to her topic").await);
        let at = |id: &str| format!("/v1/notifications/{id}");
        ask(address, &Asked::with("PATCH", &at(&self.ids[1]), &json!({"message": word})).by_key()).await;
        ask(address, &Asked::of("DELETE", &at(&self.ids[2])).by_key()).await;
        let mut later = person.content("later");
        let tomorrow = Timestamp::now() + Duration::from_hours(24);
        (later["to"], later["deliver_at"]) = (hers.clone(), json!(tomorrow.to_string()));
        let first = |text: &str| json!({"to": hers, "message": format!("{text} {word}"), "replaces": word});
        // Two users in one commit, and one notification for both that has nothing of either.
        let batch = json!([
            first("first"), {"to": format!("user:{other}"), "message": "from afar"}, first("second"), later,
            {"to": [hers, format!("user:{other}")], "message": "for both"},
        ]);
        let key = format!("batch-{word}");
        let batch = Asked::with("POST", "/v1/notifications/batch", &batch).by_key().header("idempotency-key", &key);
        let told = ask_json(address, &batch).await;
        let id = |item: usize| told["data"][item]["id"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
        self.ids.extend([id(0), id(2), id(3)]);
    }

    /// She asks for a part of everything, in one of the ways; others ask for the rest, and in the others.
    async fn ask_for_everything(&mut self, address: &str) {
        let person = &self.person;
        let reading = [Shown::Header, Shown::Cookie, Shown::Address][self.number % 3];
        for asked in person.everything(&self.ids[0]).into_iter().skip(self.number % PARTS).step_by(PARTS) {
            let shown = if asked.method == "GET" { reading } else { Shown::Header };
            self.transcript.extend(ask(address, &person.asks(asked, shown)).await);
        }
        let wrong = Asked::with("PATCH", &format!("/v1/inbox/{}", self.ids[0]), &json!({"raed": person.word}));
        self.transcript.extend(ask(address, &person.asks(wrong, Shown::Cookie)).await);
        let named = format!("/v1/inbox?limit=2&user_id={}&topic={}", person.user, person.topic);
        for path in [
            "/v1/inbox?limit=2",
            "/v1/inbox?status=read",
            "/v1/inbox?limit=0",
            "/?lang=en",
            "/nothing/here",
            &named,
            "/v1/inbox?cursor=AAAAAAAAAAAAAAAAAAAAAA",
            "/v1/stream?poll=1&wait=10ms&since=earliest&lang=en",
            "/v1/stream?poll=1&wait=10ms&last_event_id=AAAAAAAAAAAAAAAAAAAAAA",
            "/v1/stream?since=yesterday",
            "/v1/inbox/01a20cb5-116e-716b-aa33-fad3da96c4bc",
            "/v1/inbox?user_id=somebody",
            "/v1/inbox/counts?user_id=a%20b",
        ] {
            self.transcript.extend(ask(address, &person.asks(Asked::get(path), Shown::Header)).await);
        }
        // A page, and the next ones as it says; a stream by a ticket from where the page is.
        let page = ask_json(address, &person.asks(Asked::get("/v1/inbox?limit=2"), Shown::Header)).await;
        let (cursor, next) = (page["stream_cursor"].as_str().unwrap(), page["next_cursor"].as_str().unwrap());
        let older = Asked::get(&format!("/v1/inbox?limit=50&cursor={next}"));
        self.transcript.extend(ask(address, &person.asks(older, Shown::Header)).await);
        let ticket = person.asks(Asked::of("POST", "/v1/stream/tickets"), Shown::Header);
        let ticket = ask_json(address, &ticket).await["ticket"].as_str().unwrap().to_owned();
        let mut stream =
            Answer::to(address, &Asked::get(&format!("/v1/stream?ticket={ticket}&last_event_id={cursor}"))).await;
        stream.until("heartbeat_ms", "\n\n").await;
        self.streams.push((stream, "\n\n"));
        let mut replay =
            Answer::to(address, &person.asks(Asked::get("/v1/stream?since=earliest"), Shown::Header)).await;
        replay.until("heartbeat_ms", "\n\n").await;
        self.streams.push((replay, "\n\n"));
        self.given.extend([cursor.to_owned(), next.to_owned(), ticket]);
    }

    /// What was said last is heard on each of her streams.
    async fn hear_the_end(&mut self) {
        for (mut stream, end) in std::mem::take(&mut self.streams) {
            stream.until(END, end).await;
            self.transcript.append(&mut stream.bytes);
        }
    }

    /// The ids of the events that were about her alone.
    fn event_ids(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.transcript);
        let events = text.split("\n\n").filter(|event| event.contains(&self.person.word) && event.contains("\ndata: "));
        let id = |event: &str| Some(event.split_once("id: ")?.1.lines().next()?.to_owned());
        events.filter_map(id).filter(|id| id.len() == 22).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_byte_of_anothers() {
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
        // It has an id that all get who are told at once.
        config.heartbeat = Duration::from_hours(1);
    })
    .await;
    let address = server.address();
    let mut guests: Vec<Guest> = futures_util::stream::iter(0..PEOPLE)
        .map(|number| Guest::come(address, number))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let names: Vec<String> = guests.iter().map(|guest| guest.person.user.clone()).collect();
    let busy = guests.iter_mut().map(|guest| {
        let other = &names[(guest.number + 1) % PEOPLE];
        async move {
            guest.be_told(address, other).await;
            guest.ask_for_everything(address).await;
        }
    });
    futures_util::stream::iter(busy).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let stranger = Person::new(address, "stranger").await;
    stranger.told(address, &json!(format!("user:{}", stranger.user)), "soon erased").await;
    let erase = Asked::of("DELETE", &format!("/v1/users/{}", stranger.user));
    ask(address, &erase.by_key()).await;
    server.publish("everyone", END).await;
    join_all(guests.iter_mut().map(Guest::hear_the_end)).await;

    let mut owners = HashMap::new();
    for guest in &guests {
        let token = &guest.person.token;
        let signature = token.rsplit('.').next().unwrap().to_owned();
        let event_ids = guest.event_ids();
        assert!(event_ids.len() >= 8, "{event_ids:?}");
        let hers = [token.clone(), signature].into_iter().chain(event_ids);
        for word in hers.chain(guest.ids.iter().chain(&guest.given).cloned()) {
            owners.insert(word, guest.number);
        }
    }
    let mut statuses = BTreeSet::new();
    for Guest { number, person, transcript, ids, .. } in &guests {
        assert_eq!(found(transcript, *number, &owners), Vec::<String>::new(), "{}", person.user);
        let text = String::from_utf8_lossy(transcript);
        let count = |part: &str| text.matches(part).count();
        assert!(count(&person.word) > 100 && count(&ids[0]) > 4, "she has what is hers");
        assert!(count("for both") > 2 && count(END) >= 5, "and what is everybody's");
        statuses.extend(text.split("HTTP/1.1 ").skip(1).filter_map(|head| head.get(..3)).map(str::to_owned));
    }
    let all = ["200", "201", "204", "400", "401", "403", "404", "422"];
    assert!(all.iter().all(|status| statuses.contains(*status)), "{statuses:?}");
    server.stop().await;
}

/// The oracle has eyes.
#[test]
fn what_is_anothers_is_found() {
    let owners = HashMap::from([("q0bN2nJv7cO1m9kX3fHsVQ".to_owned(), 2), ("sig_nature".to_owned(), 2)]);
    for (text, found_in_it) in [
        ("user-Kanario0001x", vec![]),
        ("{\"a\":\"Kanario0002x\"}", vec!["Kanario0002x"]),
        ("Kanario", vec!["Kanario"]),
        ("id: q0bN2nJv7cO1m9kX3fHsVQ\n", vec!["q0bN2nJv7cO1m9kX3fHsVQ"]),
        ("pregon=ey.ey.sig_nature; Path=/", vec!["sig_nature"]),
    ] {
        assert_eq!(found(text.as_bytes(), 1, &owners), found_in_it, "{text}");
    }
}

/// Whether a notification is another's or nobody's, the answer is the same to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn that_something_is_anothers_is_not_told() {
    const NOBODYS: &str = "01a20cb5-116e-716b-aa33-fad3da96c4bc";
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
    })
    .await;
    let address = server.address();
    let (ana, eva) = (Person::new(address, "ana").await, Person::new(address, "eva").await);
    let evas = eva.told(address, &json!(format!("user:{}", eva.user)), "hers").await;
    let about = |id: &str| -> Vec<Asked> {
        let everything = ana.everything(id).into_iter();
        everything.filter(|asked| asked.path.contains(id) || asked.body.contains(id)).collect()
    };
    let mut asked = 0;
    for (anothers, nobodys) in about(&evas).into_iter().zip(about(NOBODYS)) {
        let mut answers = Vec::new();
        for request in [&anothers, &nobodys] {
            let request = ana.asks(request.clone(), Shown::Header).header("x-request-id", "the-same");
            let answer = String::from_utf8(ask(address, &request).await).unwrap();
            let lines: Vec<&str> = answer.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
            answers.push(lines.join("\r\n").replace(&evas, NOBODYS));
        }
        assert_eq!(answers[0], answers[1], "{} {}", anothers.method, anothers.path);
        asked += 1;
    }
    assert!(asked >= 7, "only {asked} operations take an id");
    server.stop().await;
}
