//! `pregon inbox`: what a user has, and marking it, as her application would.
//!
//! **Invariant:** stdout holds items or counts and nothing else; how many there are in all is talk.

use anyhow::anyhow;
use clap::ArgGroup;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::Failure;
use super::client::{Connection, Reader};
use super::terminal::{
    BOLD, DIM, columns, cut, headline, print, print_json, print_styled, printable, severity_style, talk, text,
};
use crate::inbox::{MARKED_MAX, PAGE_MAX};
use crate::notification::NotificationId;
use crate::store::Status;

const EXAMPLES: &str = "\
Examples:
  pregon inbox list 1 --status unread
  pregon inbox list 1 --all --json | jq -r .message
  pregon inbox read 1 --all
  pregon inbox archive 1 01a20cb5-1195-77f8-8b27-91b1946c4576";

const READ_USAGE: &str = "\
pregon inbox read [OPTIONS] <USER> <ID>...
       pregon inbox read [OPTIONS] <USER> --all
       pregon inbox read [OPTIONS] <USER> --up-to <ID>";

/// What a line of the table has before its text: ` ● 5m  warning   01a2…  `.
const BEFORE_TEXT_COLUMNS: usize = 56;
/// A terminal that is narrower wraps.
const TEXT_COLUMNS_MIN: usize = 20;

/// Show what a user has, and mark it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Inbox {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List what she has, newest first
    #[command(visible_alias = "ls")]
    List(List),
    /// Mark as read
    Read(Read),
    /// Mark as not read
    Unread(Mark),
    /// Put away
    Archive(Mark),
    /// Take back what was put away
    Unarchive(Mark),
    /// Count what is not read, not seen, and all
    Counts(Counts),
}

#[derive(Debug, clap::Args)]
struct List {
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Which; all is without what is archived
    #[arg(long, value_parser = Status::NAMES, default_value = "all")]
    status: String,
    /// Only what is about this
    #[arg(long)]
    category: Option<String>,
    /// Only what was published to this topic
    #[arg(long)]
    topic: Option<String>,
    /// So many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// As many as there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// In this language, where it has been said in it
    #[arg(long, value_name = "LANG")]
    lang: Option<String>,
    /// Print each as a line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["ids", "all", "up_to"]))]
#[command(override_usage = READ_USAGE)]
struct Read {
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Which
    #[arg(value_name = "ID", conflicts_with_all = ["all", "up_to"])]
    ids: Vec<NotificationId>,
    /// All that she has
    #[arg(long)]
    all: bool,
    /// All up to this one: what has come since stays as it is
    #[arg(long, value_name = "ID")]
    up_to: Option<NotificationId>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Debug, clap::Args)]
struct Mark {
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Which
    #[arg(value_name = "ID", required = true)]
    ids: Vec<NotificationId>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: Reader,
}

#[derive(Debug, clap::Args)]
struct Counts {
    /// The user
    #[arg(value_name = "USER")]
    user: String,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reader: Reader,
}

impl Inbox {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Read(read) => read.run().await,
            Command::Unread(mark) => mark.run(&json!({"read": false})).await,
            Command::Archive(mark) => mark.run(&json!({"archived": true})).await,
            Command::Unarchive(mark) => mark.run(&json!({"archived": false})).await,
            Command::Counts(counts) => counts.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), Failure> {
        let connection = self.reader.connection()?;
        let wanted = if self.all { usize::MAX } else { usize::try_from(self.limit).unwrap_or(usize::MAX) };
        let width = columns().map(|columns| columns.saturating_sub(BEFORE_TEXT_COLUMNS).max(TEXT_COLUMNS_MIN));
        let (mut shown, mut cursor) = (0, None);
        loop {
            let page = self.page(&connection, (wanted - shown).min(PAGE_MAX), cursor.as_deref()).await?;
            let items = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
            if shown == 0 && !items.is_empty() && !self.json {
                print_styled(&format!("{DIM}   AGE  SEVERITY  {:<36}  TEXT{DIM:#}", "ID"))?;
            }
            for item in items {
                let read = if self.json { print_json(&item.to_string()) } else { print_styled(&row(item, width)) };
                if !read? {
                    return Ok(());
                }
            }
            shown += items.len();
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || items.is_empty() || shown >= wanted {
                if !self.json {
                    let more = if cursor.is_some() { "; there are more: --all" } else { "" };
                    talk(&format!("{}{more}", in_words(&page["counts"])));
                }
                return Ok(());
            }
        }
    }

    async fn page(&self, connection: &Connection, limit: usize, cursor: Option<&str>) -> Result<Value, Failure> {
        let limit = limit.to_string();
        let mut query = vec![("user_id", self.user.as_str()), ("status", &self.status), ("limit", &limit)];
        let given = [("category", &self.category), ("topic", &self.topic), ("lang", &self.lang)].into_iter();
        query.extend(given.filter_map(|(name, value)| value.as_deref().map(|value| (name, value))));
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        connection.ask(connection.request(Method::GET, "/v1/inbox", &query)).await
    }
}

/// An item on one line: whether it is unread, how old it is, how much it matters, which it is, what it says.
fn row(item: &Value, text_columns: Option<usize>) -> String {
    let unread = item["read_at"].is_null();
    let mark = if unread { "●" } else { " " };
    let emphasis = if unread { BOLD } else { anstyle::Style::new() };
    let age = text(item, "timestamp").parse().map(|then| age(then, Timestamp::now())).unwrap_or_default();
    let (severity, id) = (printable(text(item, "severity")), printable(text(item, "id")));
    let style = severity_style(&severity);
    let said = headline(item);
    let said = match text_columns {
        Some(columns) => cut(said, columns),
        None => said,
    };
    format!("{mark} {age:>4}  {style}{severity:<8}{style:#}  {DIM}{id:<36}{DIM:#}  {emphasis}{said}{emphasis:#}")
}

/// How old something is, in at most four columns.
fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(then.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn in_words(counts: &Value) -> String {
    let count = |name: &str| counts[name].as_u64().unwrap_or_default();
    format!("{} unread, {} in all", count("unread"), count("total"))
}

impl Read {
    async fn run(self) -> Result<(), Failure> {
        if !self.all && self.up_to.is_none() {
            let mark = Mark { user: self.user, ids: self.ids, json: self.json, reader: self.reader };
            return mark.run(&json!({"read": true})).await;
        }
        let connection = self.reader.connection()?;
        let up_to = match self.up_to {
            Some(id) => json!({"up_to": id.to_string()}),
            None => json!({}),
        };
        let request = connection.request(Method::POST, "/v1/inbox/read-all", &[("user_id", &self.user)]);
        let answer = connection.ask(request.json(&up_to)).await?;
        tell(&answer, self.json)
    }
}

impl Mark {
    /// Marks them, as many at a time as the server takes.
    async fn run(self, set: &Value) -> Result<(), Failure> {
        let connection = self.reader.connection()?;
        let (mut counts, mut missing) = (Value::Null, Vec::new());
        for ids in self.ids.chunks(MARKED_MAX) {
            let ids: Vec<String> = ids.iter().map(NotificationId::to_string).collect();
            let request = connection.request(Method::POST, "/v1/inbox/bulk", &[("user_id", &self.user)]);
            let mut answer = connection.ask(request.json(&json!({"ids": ids, "set": set}))).await?;
            counts = answer["counts"].take();
            missing.extend(answer["missing"].as_array_mut().map(std::mem::take).unwrap_or_default());
        }
        tell(&json!({"counts": counts, "missing": missing}), self.json)?;
        if missing.is_empty() {
            return Ok(());
        }
        let named: Vec<&str> = missing.iter().filter_map(Value::as_str).collect();
        Err(Failure::Refused(anyhow!("user {} does not have {}", self.user, named.join(", "))))
    }
}

/// Says what has come of a mark.
fn tell(answer: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        print_json(&answer.to_string())?;
    } else {
        talk(&in_words(&answer["counts"]));
    }
    Ok(())
}

impl Counts {
    async fn run(self) -> Result<(), Failure> {
        let connection = self.reader.connection()?;
        let request = connection.request(Method::GET, "/v1/inbox/counts", &[("user_id", &self.user)]);
        let counts = connection.ask(request).await?;
        if self.json {
            print_json(&counts.to_string())?;
            return Ok(());
        }
        for name in ["unread", "unseen", "total"] {
            print(&format!("{name:<6}  {}", counts[name]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        for (seconds, shown) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3599, "59m"),
            (3600, "1h"),
            (86_399, "23h"),
            (86_400, "1d"),
            (366 * 86_400, "366d"),
        ] {
            assert_eq!(age(at(1_000_000_000), at(1_000_000_000 + seconds)), shown);
        }
    }
}
