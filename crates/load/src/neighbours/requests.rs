//! Abuses by requests: each answer is cheap to ask for, and should be cheap to give.

use futures_util::future::{BoxFuture, LocalBoxFuture};
use serde_json::{Value, json};

use super::abuse::{Abuse, Turn};
use super::client::{Client, request};
use super::site::Site;

/// The abuser.
pub(super) const USER: &str = "abuser";
/// Notifications in the abuser's inbox: as many as an inbox holds by default.
const INBOX: usize = 1000;
const BATCH: usize = 1000;
/// Categories that a user may mute.
const CATEGORIES: usize = 100;
/// How often the categories are toggled beforehand by a user who is to have a long history, and for how long at most.
const TOGGLES: usize = 1500;
const TOGGLE_SECONDS: u64 = 8;
/// Refusals in a row after which a history is as long as the server allows.
const REFUSALS_MAX: usize = 50;

async fn status(client: &mut Client, request: &[u8]) -> anyhow::Result<u16> {
    Ok(client.send(request).await?.status)
}

/// A batch of notifications for a user.
fn batch(user: &str, data: &str) -> String {
    let item = |number: usize| json!({ "to": format!("user:{user}"), "message": format!("Notification {number}"), "category": "orders", "data": data });
    Value::Array((0..BATCH).map(item).collect()).to_string()
}

/// Fills the abuser's inbox.
async fn fill_inbox(site: &Site) -> anyhow::Result<()> {
    let mut client = Client::new(site.server, site.other(0));
    for _ in 0..INBOX / BATCH {
        site.publish_batch(&mut client, &batch(USER, "")).await?;
    }
    Ok(())
}

/// Requests that ask for nothing of the store: the cost of the generator and of HTTP alone, beside which the others are
/// to be seen.
pub(super) struct Control;

impl Abuse for Control {
    fn workers(&self) -> usize {
        8
    }

    fn once<'a>(&'a self, _: &'a Site, client: &'a mut Client, _: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async { status(client, &request("GET /healthz", &[], None)).await })
    }
}

/// A user mutes all categories and hears all again.
#[derive(Default)]
pub(super) struct Mutes {
    token: String,
}

/// Mutes all categories, or none.
pub(super) fn mute(token: &str, muted: bool) -> Vec<u8> {
    let categories: Vec<String> = (0..if muted { CATEGORIES } else { 0 }).map(|n| format!("category-{n}")).collect();
    let body = json!({ "muted": categories }).to_string();
    request("PUT /v1/inbox/preferences", &[("authorization", token)], Some(&body))
}

/// Gives the abuser a long history of mutes, or as long a one as the server allows.
pub(super) async fn toggle(site: &Site, token: &str) -> anyhow::Result<()> {
    let mut client = Client::new(site.server, site.abuser());
    let begun = std::time::Instant::now();
    let mut refusals = 0;
    for round in 0..TOGGLES {
        let refused = status(&mut client, &mute(token, round % 2 == 0)).await? >= 400;
        refusals = if refused { refusals + 1 } else { 0 };
        if refusals == REFUSALS_MAX || begun.elapsed().as_secs() >= TOGGLE_SECONDS {
            break;
        }
    }
    Ok(())
}

impl Abuse for Mutes {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            toggle(site, &self.token).await
        })
    }

    fn workers(&self) -> usize {
        1
    }

    fn once<'a>(&'a self, _: &'a Site, client: &'a mut Client, turn: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async move { status(client, &mute(&self.token, turn.round.is_multiple_of(2))).await })
    }
}

/// A user with a full inbox marks its items read and unread one by one, and now and then all.
#[derive(Default)]
pub(super) struct Marks {
    token: String,
    ids: Vec<String>,
}

impl Abuse for Marks {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            fill_inbox(site).await?;
            let mut client = Client::new(site.server, site.abuser());
            let mut path = Some("/v1/inbox?limit=100".to_owned());
            while let Some(next) = path {
                let page = request(&format!("GET {next}"), &[("authorization", &self.token)], None);
                let page: Value = serde_json::from_slice(&client.send(&page).await?.body)?;
                let items = page["data"].as_array().into_iter().flatten();
                self.ids.extend(items.filter_map(|item| item["id"].as_str().map(str::to_owned)));
                path = page["next_cursor"].as_str().map(|cursor| format!("/v1/inbox?limit=100&cursor={cursor}"));
            }
            anyhow::ensure!(!self.ids.is_empty(), "the inbox is empty");
            Ok(())
        })
    }

    fn workers(&self) -> usize {
        4
    }

    fn once<'a>(&'a self, _: &'a Site, client: &'a mut Client, turn: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async move {
            let (line, body) = if turn.round % 20 == 19 {
                ("POST /v1/inbox/read-all".to_owned(), "{}".to_owned())
            } else {
                let id = &self.ids[(turn.round / 2 * self.workers() + turn.worker) % self.ids.len()];
                (format!("PATCH /v1/inbox/{id}"), json!({ "read": turn.round.is_multiple_of(2) }).to_string())
            };
            status(client, &request(&line, &[("authorization", &self.token)], Some(&body))).await
        })
    }
}

/// A user asks again and again for something, in turn.
pub(super) struct Reads {
    workers: usize,
    lines: &'static [&'static str],
    token: String,
}

impl Reads {
    /// Pages of the inbox that have to be looked for, most of which have nothing in them.
    pub(super) fn pages() -> Reads {
        let lines = &[
            "GET /v1/inbox?category=nothing&limit=100",
            "GET /v1/inbox?topic=nothing&limit=100",
            "GET /v1/inbox?status=archived&limit=100",
            "GET /v1/inbox?status=unread&category=orders&limit=100",
        ];
        Reads { workers: 8, lines, token: String::new() }
    }

    /// Long polls from the beginning of the log on, each of which is answered with a hundred events at once.
    pub(super) fn polls() -> Reads {
        Reads { workers: 100, lines: &["GET /v1/stream?poll=1&since=earliest&wait=1s"], token: String::new() }
    }

    /// Tickets that nobody uses.
    pub(super) fn tickets() -> Reads {
        Reads { workers: 8, lines: &["POST /v1/stream/tickets"], token: String::new() }
    }
}

impl Abuse for Reads {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            self.token = site.token(USER);
            fill_inbox(site).await
        })
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn once<'a>(&'a self, _: &'a Site, client: &'a mut Client, turn: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async move {
            let line = self.lines[turn.round % self.lines.len()];
            status(client, &request(line, &[("authorization", &self.token)], None)).await
        })
    }
}

/// A back end publishes large batches with a server key of its own.
pub(super) struct Batches {
    workers: usize,
    data_bytes: usize,
    key: String,
    body: String,
}

impl Batches {
    /// A thousand short items, one batch after the other.
    pub(super) fn one_by_one() -> Batches {
        Batches { workers: 1, data_bytes: 0, key: String::new(), body: String::new() }
    }

    /// 3.7 MB each, sixteen at once.
    pub(super) fn large() -> Batches {
        Batches { workers: 16, data_bytes: 3600, key: String::new(), body: String::new() }
    }
}

impl Abuse for Batches {
    fn prepare<'a>(&'a mut self, site: &'a Site) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async {
            let body = json!({ "name": "abuser", "scopes": ["publish:user:*"] }).to_string();
            let keys = request("POST /v1/keys", &[("authorization", &site.key)], Some(&body));
            let made = Client::new(site.server, site.other(0)).send(&keys).await?;
            let made: Value = serde_json::from_slice(&made.body)?;
            self.key = format!("Bearer {}", made["key"].as_str().unwrap_or_default());
            self.body = batch(USER, &"x".repeat(self.data_bytes));
            Ok(())
        })
    }

    fn workers(&self) -> usize {
        self.workers
    }

    fn once<'a>(&'a self, _: &'a Site, client: &'a mut Client, _: Turn) -> LocalBoxFuture<'a, anyhow::Result<u16>> {
        Box::pin(async {
            let batch = request("POST /v1/notifications/batch", &[("authorization", &self.key)], Some(&self.body));
            status(client, &batch).await
        })
    }
}
