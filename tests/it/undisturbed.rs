//! One user's day, twice: alone on the server, and among others who are busy all the time. She is answered the same to the
//! byte, heads, bodies and streams, so nothing that she gets says whether, or how much, is said to others.
//!
//! What differs between any two days is replaced before: times, and what is of chance (ids, tokens, tickets, the epoch, the
//! time to come back after), which is numbered in the order in which it comes. So also the pattern of what is equal to what
//! must be the same.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::person::{Answer, Asked, Person, Shown, ask, ask_json};
use crate::server::{TestServer, tokens};

const SECRET: &str = "a secret of at least thirty-two bytes";
/// Of everything that there is to ask for, how much one of the others asks for between two of her steps.
const ASKED_PER_ROUND: usize = 2;
/// Streams of others that are open.
const STREAMS_OPEN: usize = 10;

/// What is of chance, by its kind, in the order in which it came.
#[derive(Default)]
struct Chance {
    known: HashMap<String, usize>,
}

impl Chance {
    /// A text with everything replaced that no two days have in common.
    fn replaced(&mut self, text: &str) -> String {
        let mut replaced = String::with_capacity(text.len());
        let (mut before, mut rest) = (String::new(), text);
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        while let Some(start) = rest.find(is_of_word) {
            let (between, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !is_of_word(c)).unwrap_or(from.len()));
            // Colons stand round a word as well as within times.
            let bare = word.trim_matches(':');
            replaced += between;
            replaced += &word.replacen(bare, &self.shown(&before, bare), usize::from(!bare.is_empty()));
            if !bare.is_empty() {
                bare.clone_into(&mut before);
            }
            rest = after;
        }
        replaced + rest
    }

    /// What stands for a word; the one before it says what some are.
    fn shown(&mut self, before: &str, word: &str) -> String {
        // A number is not of chance, however long.
        let is_base64 = || {
            word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                && word.bytes().any(|byte| byte.is_ascii_alphabetic())
        };
        let form = |pattern: &str| {
            let fits = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte == form };
            word.len() == pattern.len() && word.bytes().zip(pattern.bytes()).all(fits)
        };
        let kind = match before {
            "epoch" | "retry" | "retry_ms" | "Max-Age" => return format!("<{before}>"),
            _ if word.parse::<Timestamp>().is_ok() => return "<time>".into(),
            // As the page writes a time, and as HTTP does.
            _ if form("0000-00-00") || form("00:00") || form("00:00:00") => return "<time>".into(),
            _ if Uuid::try_parse(word).is_ok() => "uuid",
            _ if word.starts_with("ey") && word.split('.').count() == 3 => "token",
            _ if word.len() == 22 && is_base64() => "event",
            _ if word.len() == 32 && is_base64() => "ticket",
            _ => return word.to_owned(),
        };
        let count = self.known.len();
        format!("<{kind} {}>", self.known.entry(word.to_owned()).or_insert(count))
    }
}

/// Others, and all that they do.
struct Others {
    people: [Person; 2],
    streams: VecDeque<Answer>,
    rounds: usize,
}

impl Others {
    async fn come(address: &str) -> Others {
        let people = [Person::new(address, "eva").await, Person::new(address, "isa").await];
        Others { people, streams: VecDeque::new(), rounds: 0 }
    }

    /// One of them is told, joins, leaves, reads, marks, mutes, fails; others are erased, and streams come and go.
    async fn be_busy(&mut self, address: &str) {
        self.rounds += 1;
        let round = self.rounds;
        let person = &self.people[round % 2];
        let (user, topic) = (&person.user, &person.topic);
        let id = person.told(address, &json!(format!("user:{user}")), &format!("a{round}")).await;
        person.told(address, &json!([format!("topic:{topic}"), "user:nobody"]), &format!("b{round}")).await;
        let item = |item: usize| json!({"to": format!("user:{user}"), "message": item.to_string()});
        let batch: Value = (0..20).map(item).collect();
        ask(address, &Asked::with("POST", "/v1/notifications/batch", &batch).by_key()).await;
        for (method, path) in [
            ("PUT", format!("/v1/topics/{topic}/subscribers/user-{round}")),
            ("DELETE", format!("/v1/topics/{topic}/subscribers/{user}")),
            ("PUT", format!("/v1/topics/{topic}/subscribers/{user}")),
            ("DELETE", format!("/v1/users/user-{round}")),
        ] {
            ask(address, &Asked::of(method, &path).by_key()).await;
        }
        let everything = person.everything(&id);
        for asked in everything.into_iter().cycle().skip(round * ASKED_PER_ROUND).take(ASKED_PER_ROUND) {
            ask(address, &person.asks(asked, Shown::Header)).await;
        }
        let mut stream =
            Answer::to(address, &person.asks(Asked::get("/v1/stream?since=earliest"), Shown::Header)).await;
        stream.until("heartbeat_ms", "\n\n").await;
        self.streams.push_back(stream);
        if self.streams.len() > STREAMS_OPEN {
            self.streams.pop_front();
        }
    }
}

/// So much is said to others that what was said to her before is no longer in memory, and must be read from the disk.
async fn say_much(address: &str) {
    let item = json!({"to": "topic:of-nobody", "message": "x".repeat(15_000)});
    let batch: Value = (0..250).map(|_| item.clone()).collect();
    let batch = Asked::with("POST", "/v1/notifications/batch", &batch).by_key();
    // The tails of all engines have 24 MiB together.
    for _ in 0..7 {
        ask(address, &batch).await;
    }
}

/// Her day: what she is answered, one after the other.
struct Day<'a> {
    server: &'a TestServer,
    others: Option<Others>,
    answers: Vec<(String, Vec<u8>)>,
}

impl Day<'_> {
    /// Meanwhile others are busy, if there are any.
    async fn meanwhile(&mut self) {
        if let Some(others) = &mut self.others {
            others.be_busy(self.server.address()).await;
        }
    }

    async fn asks(&mut self, asked: &Asked) -> Vec<u8> {
        self.meanwhile().await;
        let answer = ask(self.server.address(), asked).await;
        self.answers.push((format!("{} {}", asked.method, asked.path), answer.clone()));
        answer
    }

    async fn asks_for(&mut self, person: &Person, path: &str) -> Value {
        let answer = self.asks(&person.asks(Asked::get(path), Shown::Header)).await;
        let answer = String::from_utf8(answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// A stream of hers, once it has begun.
    async fn listens(&mut self, asked: &Asked, end: &str) -> Answer {
        self.meanwhile().await;
        let mut stream = Answer::to(self.server.address(), asked).await;
        stream.until("heartbeat_ms", end).await;
        stream
    }

    async fn heard(&mut self, name: &str, mut stream: Answer, text: &str, end: &str) {
        stream.until(text, end).await;
        self.answers.push((name.into(), stream.bytes));
    }
}

/// What she is answered in a day, with or without others, as it would be on any day.
async fn day(with_others: bool) -> Vec<(String, String)> {
    let server = TestServer::start_with(|config| {
        config.open_user_id = false;
        config.tokens = Some(tokens(SECRET));
        config.heartbeat = Duration::from_hours(1);
    })
    .await;
    let address = server.address();
    let others = if with_others { Some(Others::come(address).await) } else { None };
    let mut day = Day { server: &server, others, answers: Vec::new() };
    let ana = Person::new(address, "ana").await;
    let (hers, topic) = (json!(format!("user:{}", ana.user)), json!(format!("topic:{}", ana.topic)));

    let events = day.listens(&ana.asks(Asked::get("/v1/stream"), Shown::Header), "\n\n").await;
    let lines = Asked::get("/v1/stream").header("accept", "application/x-ndjson");
    let lines = day.listens(&ana.asks(lines, Shown::Cookie), "\n").await;
    let mut ids = Vec::new();
    for (to, message) in
        [(&hers, "one"), (&topic, "two"), (&json!("everyone"), "three"), (&hers, "four"), (&hers, "five")]
    {
        day.meanwhile().await;
        ids.push(ana.told(address, to, message).await);
    }
    day.meanwhile().await;
    let at = |id: &str| format!("/v1/notifications/{id}");
    ask(address, &Asked::with("PATCH", &at(&ids[0]), &json!({"message": "One"})).by_key()).await;
    ask(address, &Asked::of("DELETE", &at(&ids[4])).by_key()).await;

    // Page by page, and what is new from there on, in each form.
    let page = day.asks_for(&ana, "/v1/inbox?limit=2").await;
    let next = page["next_cursor"].as_str().unwrap();
    let page = day.asks_for(&ana, &format!("/v1/inbox?limit=2&cursor={next}")).await;
    let cursor = page["stream_cursor"].as_str().unwrap().to_owned();
    ana.told(address, &hers, "six").await;
    let polled = day.asks_for(&ana, &format!("/v1/stream?poll=1&wait=10s&last_event_id={cursor}")).await;
    assert_eq!(polled["data"].as_array().unwrap().len(), 1);
    if with_others {
        say_much(address).await;
    }
    let ticket = ask_json(address, &ana.asks(Asked::of("POST", "/v1/stream/tickets"), Shown::Header)).await;
    let by_ticket = format!("/v1/stream?ticket={}&last_event_id={cursor}", ticket["ticket"].as_str().unwrap());
    let by_ticket = day.listens(&Asked::get(&by_ticket), "\n\n").await;
    let from_the_first =
        day.listens(&ana.asks(Asked::get("/notifications?since=earliest"), Shown::Address), "\n\n").await;
    let unknown = "/v1/stream?last_event_id=AAAAAAAAAAAAAAAAAAAAAA";
    let unknown = day.listens(&ana.asks(Asked::get(unknown), Shown::Header), "\n\n").await;

    let ways = [Shown::Header, Shown::Cookie, Shown::Address].into_iter().cycle();
    for (asked, reading) in ana.everything(&ids[0]).into_iter().zip(ways) {
        let shown = if asked.method == "GET" { reading } else { Shown::Header };
        day.asks(&ana.asks(asked, shown)).await;
    }
    for path in
        ["/v1/inbox?status=read&lang=en", "/v1/inbox/counts?user_id=eva", "/v1/stream?since=nonsense", "/nothing"]
    {
        day.asks(&ana.asks(Asked::get(path), Shown::Header)).await;
        day.asks(&Asked::get(path)).await;
    }
    day.meanwhile().await;
    ana.told(address, &hers, "the-last").await;
    for (name, stream, end) in [
        ("as events", events, "\n\n"),
        ("as lines", lines, "\n"),
        ("by a ticket", by_ticket, "\n\n"),
        ("from the first on", from_the_first, "\n\n"),
        ("after an unknown id", unknown, "\n\n"),
    ] {
        day.heard(name, stream, "the-last", end).await;
    }
    let answers = std::mem::take(&mut day.answers);
    drop(day);
    server.stop().await;
    let mut chance = Chance::default();
    let shown = |(name, bytes): (String, Vec<u8>)| {
        let text = String::from_utf8_lossy(&bytes);
        // The head of an answer says when it was made.
        let lines = text.split("\r\n").filter(|line| !line.starts_with("date: "));
        (chance.replaced(&name), chance.replaced(&lines.collect::<Vec<_>>().join("\r\n")))
    };
    answers.into_iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_answered_the_same_whatever_is_said_to_others() {
    let (alone, among_others) = tokio::join!(day(false), day(true));
    assert!(alone.len() > 45, "{}", alone.len());
    let bytes: usize = alone.iter().map(|(_, answer)| answer.len()).sum();
    assert!(bytes > 50_000, "{bytes}");
    for (alone, among_others) in alone.iter().zip(&among_others) {
        assert_eq!(alone, among_others);
    }
    assert_eq!(alone.len(), among_others.len());
}

#[test]
fn what_is_replaced_is_what_no_two_days_have_in_common() {
    let mut chance = Chance::default();
    for (text, replaced) in [
        ("id: q0bN2nJv7cO1m9kX3fHsVQ\ndata: {\"n\":3}", "id: <event 0>\ndata: {\"n\":3}"),
        (
            "\"at\":\"2026-11-24T09:00:00.000Z\",\"id\":\"01a20cb5-116e-716b-aa33-fad3da96c4bc\"",
            "\"at\":\"<time>\",\"id\":\"<uuid 1>\"",
        ),
        (
            "{\"epoch\":\"0a1b2c3d\",\"unread\":12} q0bN2nJv7cO1m9kX3fHsVQ",
            "{\"epoch\":\"<epoch>\",\"unread\":12} <event 0>",
        ),
        ("retry: 1234\n\"retry_ms\":1234,\"count\":1234", "retry: <retry>\n\"retry_ms\":<retry_ms>,\"count\":1234"),
        ("pregon=ey.ey.x; Max-Age=3599", "pregon=<token 2>; Max-Age=<Max-Age>"),
        ("2026-11-24 09:00 UTC", "<time> <time> UTC"),
        ("0000000000000000000057", "0000000000000000000057"),
        ("::", "::"),
    ] {
        assert_eq!(chance.replaced(text), replaced);
    }
}
