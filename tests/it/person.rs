//! A user as the tests of isolation see her: what is hers, all that she can ask for, and every byte that she is answered.
//!
//! Requests go over a bare socket, one each, so that what is looked at is what was sent: heads, bodies and streams.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::openapi::routed;
use crate::server::{KEY, within};

/// A user, and what is hers.
pub(crate) struct Person {
    /// Stands in every name and in every text of hers, and nowhere else.
    pub(crate) word: String,
    pub(crate) user: String,
    /// Of which she alone is a member.
    pub(crate) topic: String,
    pub(crate) token: String,
}

/// How she shows who she is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Header,
    Cookie,
    Address,
}

/// A request to be sent.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn of(method: &str, path: &str) -> Asked {
        Asked { method: method.into(), path: path.into(), headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn get(path: &str) -> Asked {
        Asked::of("GET", path)
    }

    pub(crate) fn with(method: &str, path: &str, body: &Value) -> Asked {
        Asked { body: body.to_string(), ..Asked::of(method, path) }.header("content-type", "application/json")
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Asked {
        self.headers.push((name, value.into()));
        self
    }

    /// By the application's back end.
    pub(crate) fn by_key(self) -> Asked {
        self.header("authorization", &format!("Bearer {KEY}"))
    }

    pub(crate) fn by(self, token: &str) -> Asked {
        self.header("authorization", &format!("Bearer {token}"))
    }

    fn bytes(&self, address: &str) -> Vec<u8> {
        let Asked { method, path, headers, body } = self;
        let length = body.len();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
        for (name, value) in headers {
            writeln!(head, "{name}: {value}\r").unwrap();
        }
        format!("{head}content-length: {length}\r\n\r\n{body}").into_bytes()
    }
}

/// An answer while it comes.
pub(crate) struct Answer {
    connection: TcpStream,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// Sends a request.
    pub(crate) async fn to(address: &str, asked: &Asked) -> Answer {
        let mut connection = within(TcpStream::connect(address)).await.unwrap();
        within(connection.write_all(&asked.bytes(address))).await.unwrap();
        Answer { connection, bytes: Vec::new() }
    }

    /// Waits for a piece of text, and for the end of the event or line in which it stands, which is a chunk.
    pub(crate) async fn until(&mut self, text: &str, end: &str) {
        let end = format!("{end}\r\n");
        let heard = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
        while !(self.bytes.ends_with(end.as_bytes()) && heard(&self.bytes)) {
            let taken = within(self.connection.read_buf(&mut self.bytes)).await.unwrap();
            assert_ne!(taken, 0, "it ended before {text}: {}", String::from_utf8_lossy(&self.bytes));
        }
    }

    /// All of it.
    pub(crate) async fn whole(mut self) -> Vec<u8> {
        within(self.connection.read_to_end(&mut self.bytes)).await.unwrap();
        self.bytes
    }
}

/// Sends a request, and gives all that is answered.
pub(crate) async fn ask(address: &str, asked: &Asked) -> Vec<u8> {
    Answer::to(address, asked).await.whole().await
}

/// Sends a request, and gives the JSON that is answered.
pub(crate) async fn ask_json(address: &str, asked: &Asked) -> Value {
    let answer = String::from_utf8(ask(address, asked).await).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

impl Person {
    /// A user whom nobody has heard of, with her own topic; the back end makes her a member of it.
    pub(crate) async fn new(address: &str, word: &str) -> Person {
        let (user, topic) = (format!("user-{word}"), format!("topic-{word}"));
        let wanted = json!({"user_id": user, "topics": [topic]});
        let made = ask_json(address, &Asked::with("POST", "/v1/tokens", &wanted).by_key()).await;
        let token = made["token"].as_str().unwrap().to_owned();
        Person { word: word.into(), user, topic, token }
    }

    /// What is said to her: her word in every field that there is.
    pub(crate) fn content(&self, message: &str) -> Value {
        let word = &self.word;
        json!({
            "message": format!("{message} {word}"), "title": format!("Title {word}"), "category": format!("about-{word}"),
            "url": format!("/{word}"), "icon": format!("https://{word}.example/i.png"),
            "actor": {"name": word, "avatar_url": format!("/{word}.png")},
            "actions": [{"id": word, "label": word, "url": format!("mailto:{word}@example.com")}],
            "i18n": {"en": {"title": word, "message": format!("{message} {word} in English")}},
            "data": {word: [word]},
        })
    }

    /// Publishes to those audiences; gives the notification's id.
    pub(crate) async fn told(&self, address: &str, to: &Value, message: &str) -> String {
        let mut whole = self.content(message);
        whole["to"] = to.clone();
        let key = format!("key-{message}-{}", self.word);
        let asked = Asked::with("POST", "/v1/notifications", &whole).by_key().header("idempotency-key", &key);
        ask_json(address, &asked).await["id"].as_str().unwrap().to_owned()
    }

    /// A request of hers.
    pub(crate) fn asks(&self, asked: Asked, shown: Shown) -> Asked {
        let token = &self.token;
        match shown {
            Shown::Header => asked.by(token),
            // As a page of the server's own would.
            Shown::Cookie => asked.header("cookie", &format!("pregon={token}")).header("sec-fetch-site", "same-origin"),
            Shown::Address => {
                let and = if asked.path.contains('?') { '&' } else { '?' };
                Asked { path: format!("{}{and}access_token={token}", asked.path), ..asked }
            }
        }
    }

    /// Every operation of the router, with what is hers in the place of every name; `id` is a notification of hers.
    pub(crate) fn everything(&self, id: &str) -> Vec<Asked> {
        routed().into_iter().map(|(method, path)| self.operation(method, &path, id)).collect()
    }

    fn operation(&self, method: &str, route: &str, id: &str) -> Asked {
        let body = match (method, route) {
            ("patch", "/v1/inbox/{id}") => json!({"read": true}),
            ("post", "/v1/inbox/bulk") => json!({"ids": [id], "set": {"seen": true}}),
            ("post", "/v1/inbox/read-all" | "/v1/inbox/seen") => json!({"up_to": id}),
            ("put", "/v1/inbox/preferences") => json!({"muted": [format!("muted-{}", self.word)]}),
            ("post" | "put" | "patch", _) => self.content("not for her to say"),
            _ => Value::Null,
        };
        let path = route.replace("{user}", &self.user).replace("{topic}", &self.topic).replace("{id}", id);
        let path = path.replace("{hash}", "0").replace("{*file}", "page.js");
        // A stream as one answer.
        let query = if ["/notifications", "/v1/stream"].contains(&route) { "?poll=1&wait=10ms" } else { "" };
        let (method, path) = (method.to_uppercase(), format!("{path}{query}"));
        if body.is_null() { Asked::of(&method, &path) } else { Asked::with(&method, &path, &body) }
    }
}
