//! The writing thread: takes commands in turn, commits many appends as one, tells the follower, then answers.
//!
//! **Invariant:** commit, then follower, then answer. Whoever is told of an entry can read it, and whoever has an
//! answer can be told of nothing older.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::changes::Changes;
use super::checkpoint::{FORGETS_AFTER, Gate, Wal};
use super::checksum::update_identity;
use super::clock::{Age, Uptime};
use super::counted::Counted;
use super::damage::{Damaged, Damages};
use super::deferred::Deferred;
use super::failure::{Broken, Failure};
use super::head::HeadFile;
use super::maintenance::{Maintenance, gauge};
use super::member_counts::MemberCounts;
use super::reserve::Reserve;
use super::scrub::Scrub;
use super::tasks::{Answer, Handle, Task, answered, gather, is_urgent, publishes};
use super::{Options, once, replay, rows};
use crate::metrics::Kind;
use crate::notification::{Change, Position};
use crate::store::{Append, Appended, Backlog, Follower, StoreError};

mod upkeep;

struct Writer {
    connection: Connection,
    head: Position,
    followers: Vec<Arc<dyn Follower>>,
    options: Options,
    /// Whether something may be left of somebody who is being erased, or of the marks of what is gone.
    erasing: bool,
    deferred: Deferred,
    wal: Wal,
    reserve: Reserve,
    /// The last publish found no space.
    refuses: bool,
    maintenance: Maintenance,
    damages: Damages,
    head_file: HeadFile,
    counted: Counted,
    members: MemberCounts,
    uptime: Uptime,
    /// Nothing until it was asked for and there was an entry.
    age: Option<Age>,
    /// The latest time of an entry since the clock was last set back.
    latest: Timestamp,
}

/// What the thread works with beside the file.
pub(super) struct Beside {
    pub(super) reserve: Reserve,
    pub(super) damages: Damages,
    pub(super) head_file: HeadFile,
    pub(super) scrub: Scrub,
    pub(super) members: MemberCounts,
}

/// Starts the thread. It ends when its handle is dropped, or with a write whose fate is unknown.
pub(super) fn start(
    connection: Connection,
    queued_max: usize,
    options: Options,
    gate: Gate,
    beside: Beside,
) -> rusqlite::Result<Handle> {
    let (tasks, mut queue) = mpsc::channel(queued_max);
    let mut writer = Writer::new(connection, options, gate, tasks.downgrade(), beside)?;
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || {
            let mut next = None;
            while let Some(task) = next.take().or_else(|| writer.next(&mut queue)) {
                let alive = match task {
                    Task::Nothing => true,
                    Task::Append { append, answer } => {
                        let mut batch = vec![(append, answer)];
                        next = gather(&mut queue, &mut batch);
                        writer.append_or_defer(batch)
                    }
                    Task::Follow { follower, backlog, answer } => answered(answer, writer.follow(follower, backlog)),
                    Task::Advance { now, answer } => answered(answer, writer.advance(now)),
                    Task::LogTime { now, answer } => answered(answer, writer.log_time(now)),
                    Task::Trim { older_than, answer } => answered(answer, writer.trim(older_than)),
                    Task::Forgo { through, answer } => {
                        answered(answer, writer.forgo(through).map_err(StoreError::from))
                    }
                    // What fails is found again at the next start.
                    Task::Mend(mend) => {
                        !writer.commit(|changes| mend.apply(changes.connection)).is_err_and(Failure::stops)
                    }
                    Task::Check { answer } => answered(answer, Ok(writer.failing())),
                    Task::Scrub { pages } => {
                        writer.wal.add(pages);
                        true
                    }
                    Task::Checkpoint(copied) => {
                        writer.wal.copied(copied, &writer.connection, &mut writer.maintenance);
                        writer.reserve.refill();
                        true
                    }
                };
                if !(alive && writer.tidy() && writer.go_on_erasing()) {
                    tracing::error!("the store has stopped: a write failed, and only a restart helps");
                    writer.deferred.refuse(Failure::Stopped);
                    queue.close();
                    next.into_iter().chain(std::iter::from_fn(|| queue.blocking_recv())).for_each(Task::refuse);
                    return;
                }
                writer.wal.grown();
                writer.make_room();
            }
            writer.end();
        })
        .expect("a thread can be started");
    Ok(Handle::new(tasks, thread))
}

impl Writer {
    fn new(
        mut connection: Connection,
        options: Options,
        gate: Gate,
        tasks: mpsc::WeakSender<Task>,
        beside: Beside,
    ) -> rusqlite::Result<Writer> {
        let Beside { reserve, damages, head_file, scrub, members } = beside;
        let wal = Wal::new(&mut connection, gate, tasks, scrub, options.metrics.clone())?;
        let head = super::head(&connection)?;
        let (uptime, latest) = (Uptime::load(&connection)?, rows::latest(&connection)?);
        connection.set_prepared_statement_cache_capacity(64);
        options.metrics.head.set(gauge(head.0));
        Ok(Writer {
            connection,
            head,
            followers: Vec::new(),
            options,
            // A crash may have come between.
            erasing: true,
            deferred: Deferred::default(),
            wal,
            reserve,
            refuses: false,
            maintenance: Maintenance::default(),
            damages,
            head_file,
            counted: Counted::default(),
            members,
            uptime,
            age: None,
            latest,
        })
    }

    /// What is next to be done. Nothing, if somebody is being erased or has too many, and nobody waits.
    fn next(&self, queue: &mut mpsc::Receiver<Task>) -> Option<Task> {
        if !self.erasing && !self.counted.is_due() {
            return queue.blocking_recv();
        }
        match queue.try_recv() {
            Ok(task) => Some(task),
            Err(TryRecvError::Empty) => Some(Task::Nothing),
            // The rest is removed after the next start.
            Err(TryRecvError::Disconnected) => None,
        }
    }

    /// Commits those of a batch whose users nobody erases, and keeps the others until these have been erased.
    fn append_or_defer(&mut self, batch: Vec<(Append, Answer<Appended>)>) -> bool {
        let now = self.deferred.sort_out(&self.connection, batch);
        self.erasing |= self.deferred.first().is_some();
        now.is_empty() || self.append(now)
    }

    /// Empties the `-wal`, closes the file, and takes back of the reserve what that has freed.
    fn end(self) {
        let Writer { connection, mut wal, mut reserve, mut maintenance, .. } = self;
        wal.end(&connection, &mut maintenance);
        drop(connection);
        reserve.take_back();
    }

    /// Commits a batch and answers each append. False if the store must stop.
    fn append(&mut self, batch: Vec<(Append, Answer<Appended>)>) -> bool {
        if self.reserve.is_given_up() {
            return self.append_the_urgent(batch);
        }
        let (appends, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        match self.apply(&appends) {
            Ok(done) => answers.into_iter().zip(done).all(|(answer, appended)| answered(answer, Ok(appended))),
            Err(Failure::Full) if appends.iter().any(is_urgent) && self.reserve.give_up() => {
                self.append_the_urgent(appends.into_iter().zip(answers).collect())
            }
            // The others are not to suffer for one.
            Err(Failure::Refused | Failure::Damaged) if appends.len() > 1 => {
                self.append_each(appends.into_iter().zip(answers).collect(), |_| true)
            }
            Err(failure) => {
                self.refuses |= failure == Failure::Full;
                for answer in answers {
                    answered(answer, Err(failure.into()));
                }
                !failure.stops()
            }
        }
    }

    /// The same on a full disk: what takes away or marks, and nothing else.
    fn append_the_urgent(&mut self, batch: Vec<(Append, Answer<Appended>)>) -> bool {
        self.append_each(batch, is_urgent)
    }

    /// Commits each of a batch by itself, if there may be space for it.
    fn append_each(&mut self, batch: Vec<(Append, Answer<Appended>)>, has_space: impl Fn(&Append) -> bool) -> bool {
        let mut alive = true;
        for (append, answer) in batch {
            let done = match (alive, has_space(&append)) {
                (false, _) => Err(Failure::Stopped),
                (true, false) => Err(Failure::Full.counted(&self.options.metrics.commits_failed)),
                (true, true) => self.apply_urgent(&append),
            };
            alive &= answered(answer, done.map(|mut done| done.remove(0)).map_err(StoreError::from));
        }
        alive
    }

    /// Does one append, with as much of the reserve as it takes.
    fn apply_urgent(&mut self, append: &Append) -> Result<Vec<Appended>, Failure> {
        loop {
            match self.apply(std::slice::from_ref(append)) {
                Err(Failure::Full) if is_urgent(append) && self.reserve.give_up() => {}
                done => return done,
            }
        }
    }

    fn apply(&mut self, appends: &[Append]) -> Result<Vec<Appended>, Failure> {
        let uptime = self.uptime;
        let done: Vec<Appended> =
            self.commit(|changes| appends.iter().map(|append| once::apply(changes, append, uptime)).collect())?;
        // What marks or takes away may find room where nothing can be published.
        self.refuses &= !appends.iter().zip(&done).any(|(append, done)| publishes(append, done));
        Ok(done)
    }

    /// Does something in one commit, then tells the followers what the log says in addition. If it fails, nothing of it
    /// has been done.
    fn commit<T>(&mut self, work: impl FnOnce(&mut Changes<'_>) -> rusqlite::Result<T>) -> Result<T, Failure> {
        self.attempt(work).map_err(|broken| self.taken_back(&broken))
    }

    /// The same as long as nothing fails. What has failed has to be taken back.
    fn attempt<T>(&mut self, work: impl FnOnce(&mut Changes<'_>) -> rusqlite::Result<T>) -> Result<T, Broken> {
        let before = self.head;
        let begun_at = Instant::now();
        self.wal.note_pages(&mut self.maintenance);
        let mut changes = Changes {
            connection: &self.connection,
            head: before,
            entries: Vec::new(),
            latest: self.latest,
            bounds: self.options.bounds(),
            topics_max: self.options.topics_max,
            takes_back: false,
            damaged: Vec::new(),
        };
        let (rows_before, mut quiet) = (self.connection.total_changes(), self.head_file.reached.quiet);
        let begun = rows::run(&self.connection, "BEGIN IMMEDIATE");
        let broken = |committing| move |error| Broken { error, committing };
        let done = begun.and_then(|()| work(&mut changes)).and_then(|done| {
            if changes.entries.is_empty() && self.connection.total_changes() > rows_before {
                quiet += 1;
                self.connection.prepare_cached(&update_identity(&[("quiet", "?1")]))?.execute([quiet])?;
            }
            Ok(done)
        });
        let done = done.map_err(broken(false)).and_then(|done| {
            rows::run(&self.connection, "COMMIT").map_err(broken(true))?;
            Ok(done)
        });
        let Changes { head, entries, latest, takes_back, damaged, .. } = changes;
        for damaged in &damaged {
            self.damages.found(damaged);
        }
        let done = done?;
        if takes_back {
            self.wal.forget(FORGETS_AFTER);
            self.erasing = true;
        }
        (self.head, self.latest) = (head, latest);
        self.maintenance.note(&self.options.metrics, "head", self.head_file.note(head, quiet).err().as_ref());
        if !entries.is_empty() {
            let metrics = &self.options.metrics;
            metrics.commit_seconds.observe(begun_at.elapsed().as_secs_f64());
            metrics.head.set(gauge(head.0));
            self.erasing |= entries.iter().any(|entry| matches!(entry.change, Change::Erased { .. }));
            for entry in &entries {
                metrics.entries.get_or_create(&Kind { kind: entry.change.name() }).inc();
            }
            self.members.committed(&entries);
            for follower in &self.followers {
                follower.committed(before, &entries, head);
            }
            self.counted.count_all(&entries);
        }
        Ok(done)
    }

    /// Takes a failed transaction back.
    fn taken_back(&self, broken: &Broken) -> Failure {
        let rolled_back = self.connection.is_autocommit() || self.connection.execute_batch("ROLLBACK").is_ok();
        let failure = match Failure::of(broken) {
            failure if failure.stops() || rolled_back => failure,
            _ => Failure::Stopped,
        };
        if let Some(damaged) = Damaged::of(&broken.error) {
            self.damages.found(&damaged);
        }
        tracing::error!(error = %broken.error, ?failure, "the store could not be written");
        failure.counted(&self.options.metrics.commits_failed)
    }

    fn follow(&mut self, follower: Arc<dyn Follower>, backlog: Backlog) -> Result<(), StoreError> {
        let damaged = replay::tell(&self.connection, &*follower, backlog, self.head, &self.damages)
            .map_err(|error| StoreError::Unavailable(error.into()))?;
        if let Some(last) = damaged {
            self.forgo(last)?;
        }
        self.followers.push(follower);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::sync::oneshot;

    use super::*;
    use crate::notification::{Topic, UserId};
    use crate::store::sqlite::schema;
    use crate::store::suite::notification;
    use crate::store::{Command, Once, RequestKey};

    fn publish(writer: &mut Writer, user: &str, count: usize) {
        let command = || Command::Publish(Arc::new(notification(&[&format!("user:{user}")], "x")));
        let commands = (0..count).map(|_| command()).collect();
        let (answer, _) = oneshot::channel();
        assert!(writer.append(vec![(Append { at: Timestamp::UNIX_EPOCH, commands, once: None }, answer)]));
    }

    fn count(connection: &Connection, user: &str) -> u32 {
        let sql = "SELECT count(*) FROM addressed WHERE audience = 'user:' || ?1";
        connection.query_row(sql, [user], |row| row.get(0)).expect("counted")
    }

    /// A writer with room for few, as after the option was lowered.
    fn writer(path: &Path, tasks: &mpsc::Sender<Task>) -> Writer {
        let mut connection = Connection::open(path).expect("opens");
        schema::prepare(&mut connection).expect("prepared");
        let options = Options { inbox_max: 10, ..Options::default() };
        let gate = Gate::new(Arc::default(), Vec::new());
        let folder = path.parent().expect("a folder");
        let beside = Beside {
            reserve: Reserve::in_folder(folder, 0),
            damages: Damages::of(path.to_owned(), options.metrics.damaged.clone()),
            head_file: HeadFile::open(folder, &connection, &crate::metrics::Log::default().lost).expect("opens"),
            scrub: Scrub::new(Arc::new(std::fs::File::open(path).expect("opens"))),
            members: MemberCounts::default(),
        };
        let mut writer = Writer::new(connection, options, gate, tasks.downgrade(), beside).expect("reads");
        assert!(writer.go_on_erasing() && !writer.erasing, "nobody is being erased");
        writer
    }

    /// Mutants: whatever succeeds is a publish; also what was answered before.
    #[test]
    fn only_a_notification_that_found_room_says_that_others_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tasks, _queue) = mpsc::channel(1);
        let mut writer = writer(&folder.path().join("pregon.db"), &tasks);
        let publish = || Command::Publish(Arc::new(notification(&["user:ana"], "x")));
        let once = || {
            Some(Once {
                key: RequestKey { owner: "a".into(), key: "k".into() },
                fingerprint: [0; 32],
                answer: "x".into(),
            })
        };
        let mut refuses_after = |command, once| {
            writer.refuses = true;
            let (answer, _) = oneshot::channel();
            assert!(writer.append(vec![(Append { at: Timestamp::UNIX_EPOCH, commands: vec![command], once }, answer)]));
            writer.refuses
        };
        assert!(refuses_after(Command::Erase { user: "ana".parse().expect("valid") }, None));
        assert!(!refuses_after(publish(), once()));
        assert!(refuses_after(publish(), once()), "nothing was published again");
        assert!(!refuses_after(publish(), None));
    }

    /// Mutant: all of a user at once.
    #[test]
    fn a_user_with_many_too_many_is_trimmed_in_turns_and_others_come_between() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tasks, _queue) = mpsc::channel(1);
        let mut writer = writer(&folder.path().join("pregon.db"), &tasks);
        publish(&mut writer, "ana", 1710);
        publish(&mut writer, "bea", 1210);
        let mut left = vec![(1710, 1210)];
        while writer.counted.is_due() {
            assert!(writer.tidy());
            left.push((count(&writer.connection, "ana"), count(&writer.connection, "bea")));
        }
        assert_eq!(left, [(1710, 1210), (1210, 1210), (1210, 710), (710, 710), (710, 210), (210, 210), (10, 10)]);
    }

    /// Mutant: count what streams say only.
    #[test]
    fn changes_of_membership_are_trimmed_as_what_else_concerns_a_user() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tasks, _queue) = mpsc::channel(1);
        let mut writer = writer(&folder.path().join("pregon.db"), &tasks);
        let (user, topic) = ("ana".parse().expect("valid"), "t".parse().expect("valid"));
        for _ in 0..50 {
            let commands = vec![
                Command::Join { user: UserId::clone(&user), topics: vec![Topic::clone(&topic)] },
                Command::Leave { user: user.clone(), topic: topic.clone() },
            ];
            let (answer, _) = oneshot::channel();
            assert!(writer.append(vec![(Append { at: Timestamp::UNIX_EPOCH, commands, once: None }, answer)]));
        }
        assert!(writer.tidy());
        let sql = "SELECT count(*) FROM changed WHERE audience = 'user:ana'";
        assert_eq!(writer.connection.query_row(sql, [], |row| row.get(0)), Ok(10));
    }

    /// Mutants: what a user does next first removes all that is left; it is done at once; others wait for it too.
    #[test]
    fn a_user_who_is_being_erased_waits_for_it_and_nobody_else_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tasks, _queue) = mpsc::channel(1);
        let mut writer = writer(&folder.path().join("pregon.db"), &tasks);
        let zoe: UserId = "zoe".parse().expect("valid");
        writer.options.inbox_max = 10_000;
        publish(&mut writer, "zoe", 2000);
        let ask = |writer: &mut Writer, commands: Vec<Vec<Command>>| -> Vec<oneshot::Receiver<_>> {
            let (batch, answers) = commands
                .into_iter()
                .map(|commands| {
                    let (answer, answered) = oneshot::channel();
                    ((Append { at: Timestamp::UNIX_EPOCH, commands, once: None }, answer), answered)
                })
                .unzip();
            assert!(writer.append_or_defer(batch));
            answers
        };
        let join = |user: &str, topic: &str| Command::Join {
            user: user.parse().expect("valid"),
            topics: vec![topic.parse().expect("valid")],
        };
        let erase = || vec![Command::Erase { user: zoe.clone() }];
        let mut first = ask(&mut writer, vec![erase(), vec![join("zoe", "a")], vec![join("ana", "a")]]);
        let mut second = ask(&mut writer, vec![vec![join("zoe", "b")], vec![join("ana", "b")]]);
        publish(&mut writer, "zoe", 1);
        let is_answered = |answer: &mut oneshot::Receiver<_>| matches!(answer.try_recv(), Ok(Ok(Appended::Done(_))));
        assert!(is_answered(&mut first[0]) && is_answered(&mut first[2]) && is_answered(&mut second[1]));
        for left in [1501, 1001, 501, 1] {
            assert_eq!(count(&writer.connection, "zoe"), left, "a turn removes no more");
            assert!(first[1].try_recv().is_err() && second[0].try_recv().is_err(), "they wait");
            assert!(writer.go_on_erasing());
        }
        while writer.erasing {
            assert!(writer.go_on_erasing());
        }
        assert!(is_answered(&mut first[1]) && is_answered(&mut second[0]));
        let topics = "SELECT group_concat(topic ORDER BY since) FROM member WHERE user = 'zoe'";
        assert_eq!(writer.connection.query_row(topics, [], |row| row.get(0)), Ok("a,b".to_owned()));
        assert_eq!(count(&writer.connection, "zoe"), 1, "what was published since is there");
    }

    /// Mutant: wait for a task first.
    #[test]
    fn whoever_waits_comes_before_what_is_to_be_tidied_and_that_waits_for_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tasks, mut queue) = mpsc::channel(1);
        let mut writer = writer(&folder.path().join("pregon.db"), &tasks);
        publish(&mut writer, "ana", 600);
        assert!(tasks.try_send(Task::Check { answer: oneshot::channel().0 }).is_ok());
        assert!(matches!(writer.next(&mut queue), Some(Task::Check { .. })));
        while writer.counted.is_due() {
            assert!(matches!(writer.next(&mut queue), Some(Task::Nothing)));
            assert!(writer.tidy());
        }
        assert_eq!(count(&writer.connection, "ana"), 10);
        publish(&mut writer, "ana", 100);
        drop(tasks);
        assert!(writer.next(&mut queue).is_none(), "an end waits for nothing");
    }
}
