//! What each operation of the embedded store takes, the more others have stored: the table in `docs/performance.md`.
//!
//! ```sh
//! cargo bench --bench store                                  # prints it
//! cargo bench --bench store -- --docs docs/performance.md    # and puts it between its marks there
//! cargo bench --bench store -- --small                       # a hundredth of all, for trying out
//! ```
//!
//! Everything goes through the public [`Store`]; a change is measured until it is durable. Beside it stands what the
//! disk takes alone. Deliberately absent: several clients at a time (`scripts/bench.mjs` has those), and a judgement.

#![expect(clippy::cast_precision_loss, reason = "what is shown is rounded")]

use std::fmt::Write as _;
use std::future::Future;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use pregon::content::{Content, Fields};
use pregon::notification::{Notification, NotificationId, Position, UserId};
use pregon::state::Set;
use pregon::store::sqlite::{Options, SqliteStore};
use pregon::store::{Append, Asked, Command, Selection, Status, Store, Wanted};
use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

/// Commands that are given to the store at once while it is filled.
const COMMANDS_PER_APPEND: usize = 4_000;
/// Notifications that the measured user has: a full inbox.
const HERS: usize = 1_000;
/// Members of each topic.
const MEMBERS: usize = 10_000;
/// What a client has missed when it comes back.
const MISSED: usize = 100;
/// How often each operation is measured: what only reads, and what ends on the disk.
const READS: usize = 2_000;
const WRITES: usize = 1_000;
/// The user who is measured.
const HER: &str = "u0";

/// How much is stored, and how long it is measured.
#[derive(Clone, Copy)]
struct Scale(usize);

impl Scale {
    fn of(self, whole: usize) -> usize {
        (whole / self.0).max(1)
    }
}

fn main() -> anyhow::Result<()> {
    let (mut docs, mut scale) = (None, Scale(1));
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--small" => scale = Scale(100),
            "--docs" => docs = Some(PathBuf::from(words.next().context("--docs needs a file")?)),
            other => bail!("{other} is none of --docs FILE, --small"),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let tables = runtime.block_on(tables(scale))?;
    writeln!(std::io::stdout(), "{tables}")?;
    if let Some(page) = docs {
        put(&page, &tables)?;
    }
    Ok(())
}

/// Puts the tables between their marks.
fn put(page: &Path, tables: &str) -> anyhow::Result<()> {
    let (from, to) = ("<!-- store -->", "<!-- /store -->");
    let text = std::fs::read_to_string(page)?;
    let (before, rest) = text.split_once(from).context("the page has no mark to begin after")?;
    let (_, after) = rest.split_once(to).context("the page has no mark to end before")?;
    std::fs::write(page, format!("{before}{from}\n\n{tables}\n{to}{after}"))?;
    Ok(())
}

async fn tables(scale: Scale) -> anyhow::Result<String> {
    let mut columns = Vec::new();
    for users in [1, scale.of(100_000)] {
        for stored in [1_000, scale.of(100_000), scale.of(1_000_000)] {
            let begun = Instant::now();
            let column = column(users, stored, scale).await?;
            note(&format!("{} users, {} stored: {} s", grouped(users), grouped(stored), begun.elapsed().as_secs()))?;
            columns.push((
                format!("{} user{}, {} stored", grouped(users), if users == 1 { "" } else { "s" }, grouped(stored)),
                column,
            ));
        }
    }
    let mut text = String::new();
    let heads: Vec<&str> = columns.iter().map(|(head, _)| head.as_str()).collect();
    writeln!(text, "| p50 / p99, µs | {} |", heads.join(" | "))?;
    writeln!(text, "|---|{}", "---|".repeat(heads.len()))?;
    for (row, (name, _)) in columns[0].1.iter().enumerate() {
        let cells: Vec<String> = columns.iter().map(|(_, column)| column[row].1.to_string()).collect();
        writeln!(text, "| {name} | {} |", cells.join(" | "))?;
    }
    writeln!(text, "\n| | |\n|---|---|")?;
    for (name, figure) in everyone(scale).await?.into_iter().chain(expiry(scale).await?) {
        writeln!(text, "| {name} | {figure} |")?;
    }
    writeln!(text, "\n<sub>{}, one run</sub>", circumstances()?)?;
    Ok(text)
}

/// Half of what was measured took no longer, and all but a hundredth.
#[derive(Clone, Copy)]
struct Percentiles {
    p50: Duration,
    p99: Duration,
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}", grouped(self.p50.as_micros() as usize), grouped(self.p99.as_micros() as usize))
    }
}

fn percentiles(mut taken: Vec<Duration>) -> Percentiles {
    taken.sort_unstable();
    let at = |percent: usize| taken[(taken.len() * percent / 100).min(taken.len() - 1)];
    Percentiles { p50: at(50), p99: at(99) }
}

/// Measures something so many times; `operation` says how long it took, which may be less than all that it did.
async fn measured<Taken: Future<Output = anyhow::Result<Duration>>>(
    times: usize,
    mut operation: impl FnMut(usize) -> Taken,
) -> anyhow::Result<Percentiles> {
    let mut taken = Vec::with_capacity(times);
    for number in 0..times {
        taken.push(operation(number).await?);
    }
    Ok(percentiles(taken))
}

async fn timed<T, E>(operation: impl Future<Output = Result<T, E>>) -> Result<(T, Duration), E> {
    let begun = Instant::now();
    let done = operation.await?;
    Ok((done, begun.elapsed()))
}

/// A store in a folder of its own, and the time in it.
struct Stored {
    store: SqliteStore,
    folder: tempfile::TempDir,
}

impl Stored {
    /// On the disk where the project is built.
    fn new() -> anyhow::Result<Stored> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        Ok(Stored { store: SqliteStore::open(folder.path(), Options::default())?, folder })
    }

    async fn append(&self, commands: impl Iterator<Item = Command>) -> anyhow::Result<()> {
        let mut commands = commands.peekable();
        while commands.peek().is_some() {
            let some = commands.by_ref().take(COMMANDS_PER_APPEND).collect();
            self.store.append(Append { at: NOW, commands: some, once: None }).await?;
        }
        Ok(())
    }

    /// One change, and how long it took.
    async fn change(&self, command: Command) -> anyhow::Result<Duration> {
        Ok(timed(self.store.one(NOW, command)).await?.1)
    }

    /// Bytes on the disk: the file and its log of writes.
    fn bytes(&self) -> u64 {
        let size = |name| std::fs::metadata(self.folder.path().join(name)).map_or(0, |file| file.len());
        size("pregon.db") + size("pregon.db-wal")
    }

    fn rows(&self, table: &str) -> anyhow::Result<usize> {
        let path = self.folder.path().join("pregon.db");
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))?
            .try_into()?)
    }
}

const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const LATER: Timestamp = Timestamp::constant(1_800_086_400, 0);

fn notification(audience: &str, expires_at: Option<Timestamp>) -> anyhow::Result<Command> {
    let fields = Fields {
        message: "Tu pedido 4711 ha salido del almacén y llega mañana entre las 9 y las 14 h.".to_owned(),
        title: Some("Pedido en camino".to_owned()),
        category: Some("pedidos".to_owned()),
        url: Some("https://example.com/pedidos/4711".to_owned()),
        ..Fields::default()
    };
    Ok(Command::Publish(Arc::new(Notification {
        id: NotificationId(Uuid::now_v7()),
        timestamp: NOW,
        audiences: vec![audience.parse()?],
        content: Content::parse(&fields).map_err(|error| anyhow::anyhow!("{error:?}"))?,
        expires_at,
        replaces: None,
    })))
}

fn joins(user: usize, topic: usize) -> anyhow::Result<Command> {
    Ok(Command::Join { user: format!("u{user}").parse()?, topics: vec![format!("t{topic}").parse()?] })
}

fn wanted(user: &UserId, limit: usize) -> Wanted {
    Wanted { user: user.clone(), status: Status::All, category: None, topic: None, before: None, limit, at: NOW }
}

/// Whom a notification is for. One user has all of it, from everyone's and a topic's; of many, one has a full inbox, spread
/// over the whole log, and the others the rest.
fn audience(users: usize, stored: usize, number: usize) -> String {
    match (users, number % (stored / HERS)) {
        (1, _) if number.is_multiple_of(2) => "everyone".to_owned(),
        (1, _) => "topic:t0".to_owned(),
        (_, 0) => format!("user:{HER}"),
        _ => format!("user:u{}", 1 + number % (users - 1)),
    }
}

/// What each operation takes for one of so many users with so much stored.
async fn column(users: usize, stored: usize, scale: Scale) -> anyhow::Result<Vec<(&'static str, Percentiles)>> {
    let filled = &Stored::new()?;
    let joined: Vec<Command> = (0..users).map(|user| joins(user, user / MEMBERS)).collect::<anyhow::Result<_>>()?;
    filled.append(joined.into_iter()).await?;
    let begun = Instant::now();
    for from in (0..stored).step_by(COMMANDS_PER_APPEND) {
        let some = from..stored.min(from + COMMANDS_PER_APPEND);
        let some: anyhow::Result<Vec<_>> =
            some.map(|number| notification(&audience(users, stored, number), None)).collect();
        filled.append(some?.into_iter()).await?;
    }
    let rate = stored as f64 / begun.elapsed().as_secs_f64();
    note(&format!("{} notifications stored, {rate:.0} a second, {} MiB", grouped(stored), filled.bytes() >> 20))?;
    let user: &UserId = &HER.parse()?;
    let (reads, writes) = (scale.of(READS), scale.of(WRITES));
    let store = &filled.store;

    let newest = store.page(wanted(user, MISSED + 1)).await?.items;
    let cursor = newest[MISSED].position;
    let resume = measured(reads, |_| async move {
        let asked = vec![Asked { user: user.clone(), since: None, at: NOW }];
        let begun = Instant::now();
        let opening = store.open(asked).await?.remove(0);
        let slice = store.read_after(&opening.interest, cursor, opening.head, 2 * MISSED).await?;
        ensure!(slice.entries.len() == MISSED, "{} entries were missed", slice.entries.len());
        Ok(begun.elapsed())
    })
    .await?;
    let ids: &Vec<NotificationId> = &newest.iter().map(|item| item.notification.id).collect();
    let mark = measured(writes, |number| {
        let selection = Selection::These(vec![ids[number % ids.len()]]);
        // Read in one round, unread in the next: always a change.
        let set = Set { read: Some((number / ids.len()).is_multiple_of(2)), ..Set::default() };
        filled.change(Command::Mark { user: user.clone(), selection, set })
    })
    .await?;
    let hers = &format!("user:{HER}");
    let read_all = measured(writes, |_| async move {
        filled.change(notification(hers, None)?).await?;
        let set = Set { read: Some(true), ..Set::default() };
        filled.change(Command::Mark { user: user.clone(), selection: Selection::All, set }).await
    })
    .await?;
    let page = measured(reads, |_| async move { Ok(timed(store.page(wanted(user, 20))).await?.1) }).await?;
    let counts = measured(reads, |_| async move { Ok(timed(store.page(wanted(user, 0))).await?.1) }).await?;
    let to_user = measured(writes, |_| async move {
        filled.change(notification(&format!("user:u{}", fastrand::usize(..users)), None)?).await
    })
    .await?;
    let to_topic = measured(writes, |_| async move { filled.change(notification("topic:t0", None)?).await }).await?;
    let to_all = measured(writes, |_| async move { filled.change(notification("everyone", None)?).await }).await?;
    Ok(vec![
        ("the first page: 20 of 1,000", page),
        ("the counts", counts),
        ("resume: how a stream begins, and 100 missed", resume),
        ("mark one", mark),
        ("mark all read", read_all),
        ("publish to a user", to_user),
        ("publish to a topic", to_topic),
        ("publish to everyone", to_all),
        ("the disk alone: 4 KiB written and synced", disk(filled.folder.path(), writes)?),
    ])
}

fn disk(folder: &Path, times: usize) -> anyhow::Result<Percentiles> {
    let mut file = std::fs::File::create(folder.join("synced"))?;
    let mut taken = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        taken.push(begun.elapsed());
    }
    Ok(percentiles(taken))
}

/// What a notice to everyone adds when many users are known.
async fn everyone(scale: Scale) -> anyhow::Result<Vec<(String, String)>> {
    let users = scale.of(1_000_000);
    let filled = Stored::new()?;
    for from in (0..users).step_by(COMMANDS_PER_APPEND) {
        let some = from..users.min(from + COMMANDS_PER_APPEND);
        let some: anyhow::Result<Vec<_>> = some.map(|user| joins(user, user / MEMBERS)).collect();
        filled.append(some?.into_iter()).await?;
    }
    let tables = ["log", "addressed", "changed", "member", "mark", "watermark", "user_trimmed", "scheduled", "once"];
    let rows = || tables.map(|table| filled.rows(table)).into_iter().collect::<anyhow::Result<Vec<_>>>();
    let before = rows()?;
    filled.change(notification("everyone", None)?).await?;
    let added = tables.into_iter().zip(before.into_iter().zip(rows()?)).filter(|(_, (before, after))| after > before);
    let added: Vec<String> = added.map(|(table, (before, after))| format!("{} in `{table}`", after - before)).collect();
    Ok(vec![(format!("rows that a notice to everyone adds, {} users known", grouped(users)), added.join(", "))])
}

/// How the file shrinks once everything in it has expired.
async fn expiry(scale: Scale) -> anyhow::Result<Vec<(String, String)>> {
    let (stored, users) = (scale.of(1_000_000), scale.of(100_000));
    let filled = Stored::new()?;
    let mut peak = 0;
    for from in (0..stored).step_by(COMMANDS_PER_APPEND) {
        let some = from..stored.min(from + COMMANDS_PER_APPEND);
        let some = some.map(|number| notification(&format!("user:u{}", number % users), Some(LATER)));
        filled.append(some.collect::<anyhow::Result<Vec<_>>>()?.into_iter()).await?;
        peak = peak.max(filled.bytes());
    }
    let begun = Instant::now();
    let mut turns = Vec::new();
    loop {
        let (next, taken) = timed(filled.store.advance(LATER)).await?;
        turns.push(taken);
        peak = peak.max(filled.bytes());
        if next.is_none_or(|next| next > LATER) {
            break;
        }
    }
    let left = filled.bytes();
    let opening = filled.store.open(vec![Asked { user: HER.parse()?, since: None, at: LATER }]).await?.remove(0);
    ensure!(
        opening.head == Position(stored as u64) && filled.rows("log")? == 0,
        "all has expired, and the log goes on"
    );
    let longest = turns.iter().max().copied().unwrap_or_default();
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    Ok(vec![
        (format!("the file and its log of writes, {} stored, at most", grouped(stored)), mebibytes(peak)),
        (
            "the same when all has expired".to_owned(),
            format!("{}: {:.1} %", mebibytes(left), 100.0 * left as f64 / peak as f64),
        ),
        (
            "to remove it took".to_owned(),
            format!("{:.0} s, in turns of at most {} ms", begun.elapsed().as_secs_f64(), longest.as_millis()),
        ),
    ])
}

/// When, of what and where it was measured.
fn circumstances() -> anyhow::Result<String> {
    let git = |words: &[&str]| -> anyhow::Result<String> {
        let code = ["--", "src", "crates", ".cargo", "Cargo.toml", "Cargo.lock", "config.default.toml"];
        let output = std::process::Command::new("git").args(words).args(code).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let dirty = if git(&["status", "--porcelain"])?.is_empty() { "" } else { "-dirty" };
    let commit = git(&["log", "-1", "--format=%h"])?;
    let processor = std::fs::read_to_string("/proc/cpuinfo")?;
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    let day = Timestamp::now().strftime("%Y-%m-%d");
    let processor = processor.trim_start_matches([' ', '\t', ':']).trim();
    Ok(format!("{day}, commit {commit}{dirty}, {cores} cores, {processor}, Linux {}", kernel.trim()))
}

/// A number as it is written in the documents: 1,000.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Says how far it is; the tables alone go to the output.
fn note(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{text}")
}
