//! Publishing: the one way into the log.
//!
//! **Invariant:** when a function here returns `Ok`, what it reports is durable. Whoever listens is told by the store
//! itself; nothing here wakes anybody.
//!
//! Deliberately absent: HTTP, and any second path for the demo generator or another inner publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use tokio::sync::Notify;

use crate::content::{Content, Patch};
use crate::notification::{AUDIENCES_MAX, Audience, Notification, NotificationId, ReplacementKey, Topic, UserId};
use crate::store::{self, Append, Appended, Command, Once, Outcome, RequestKey, Store, StoreError};

/// How far ahead a notification may be scheduled, and how long it may be kept from expiring.
pub const AHEAD_MAX: Duration = Duration::from_hours(366 * 24);
/// Most topics that a user is made a member of at once.
pub const TOPICS_MAX: usize = 100;
/// How long it takes at the least and at the most until it is looked again for what is due or has expired.
const LOOK_MIN: Duration = Duration::from_millis(50);
const LOOK_MAX: Duration = Duration::from_mins(1);
/// Longest pause after a failure of the store. The first is [`LOOK_MIN`], each further one twice as long.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Failures in a row of which one is logged.
const FAILURES_PER_LINE: u32 = 60;

/// A notification that is checked but not yet published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    audiences: Vec<Audience>,
    content: Content,
    replaces: Option<ReplacementKey>,
    times: Times,
}

/// When a notification is published and when it expires, if not at once and never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    due: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

/// When a notification expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At that time.
    At(Timestamp),
    /// So long after it is published.
    In(Duration),
}

/// Why a draft can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// It is addressed to nobody.
    #[error("must name at least one audience")]
    Nobody,
    /// It is addressed to too many at once.
    #[error("must name at most {AUDIENCES_MAX} audiences")]
    TooMany,
    /// It is to be published too late.
    #[error("must be at most 366 days ahead")]
    DueTooLate,
    /// It expires before anybody could get it.
    #[error("must be later than the time of publishing")]
    ExpiresTooEarly,
    /// It expires too late.
    #[error("must be at most 366 days after the time of publishing")]
    ExpiresTooLate,
}

impl Times {
    /// Times seen from `now`. What is due already is published at once.
    ///
    /// # Errors
    /// When they are in an impossible order, or more than [`AHEAD_MAX`] ahead.
    pub fn new(now: Timestamp, due: Option<Timestamp>, expiry: Option<Expiry>) -> Result<Times, DraftError> {
        let due = due.filter(|due| *due > now);
        if due.is_some_and(|due| due.duration_since(now) > AHEAD_MAX.try_into().unwrap_or_default()) {
            return Err(DraftError::DueTooLate);
        }
        let from = due.unwrap_or(now);
        let expires_at = match expiry {
            None => None,
            Some(Expiry::At(at)) => Some(at),
            Some(Expiry::In(age)) => Some(from.checked_add(age).map_err(|_| DraftError::ExpiresTooLate)?),
        };
        match expires_at {
            Some(at) if at <= from => Err(DraftError::ExpiresTooEarly),
            Some(at) if at.duration_since(from) > AHEAD_MAX.try_into().unwrap_or_default() => {
                Err(DraftError::ExpiresTooLate)
            }
            expires_at => Ok(Times { due: due.map(to_millisecond), expires_at: expires_at.map(to_millisecond) }),
        }
    }
}

/// Times are kept and shown to the millisecond, and none lies ahead of what it stands for.
fn to_millisecond(at: Timestamp) -> Timestamp {
    at.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Trunc)).unwrap_or(at)
}

impl Draft {
    /// A draft for these audiences; one named twice counts once. They are a set: kept in one order, so that the same
    /// ones are the same however they were named.
    ///
    /// # Errors
    /// When there is none, or more than [`AUDIENCES_MAX`].
    pub fn new(mut audiences: Vec<Audience>, content: Content) -> Result<Draft, DraftError> {
        audiences.sort_unstable();
        audiences.dedup();
        match audiences.len() {
            0 => Err(DraftError::Nobody),
            1..=AUDIENCES_MAX => Ok(Draft { audiences, content, replaces: None, times: Times::default() }),
            _ => Err(DraftError::TooMany),
        }
    }

    /// To whom it is addressed.
    #[must_use]
    pub fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// The same, in place of what went to the same audiences under that key before.
    #[must_use]
    pub fn replacing(self, replaces: Option<ReplacementKey>) -> Draft {
        Draft { replaces, ..self }
    }

    /// The same, at other times than now and never.
    #[must_use]
    pub fn at(self, times: Times) -> Draft {
        Draft { times, ..self }
    }
}

/// A request that may come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is known by.
    pub key: RequestKey,
    /// A digest of all that matters of it.
    pub fingerprint: [u8; 32],
}

impl Request {
    /// One part of it, where the request is done in several commits. The first has its key, so that another request with the
    /// same key is noticed; the others have keys that no client can send.
    #[must_use]
    pub fn part(&self, number: usize) -> Request {
        let mut part = self.clone();
        if number > 0 {
            part.key.key = format!("{}\n{number}", part.key.key);
        }
        part
    }
}

/// What has come of publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is in the log, or kept until it is due; this is the answer.
    Now(String),
    /// It had been before, and that was the answer.
    Before(String),
    /// Another request had the same key.
    KeyReused,
}

impl Published {
    fn of(appended: Appended, answer: String) -> Published {
        match appended {
            Appended::Done(_) => Published::Now(answer),
            Appended::Repeated(answer) => Published::Before(answer),
            Appended::KeyReused => Published::KeyReused,
        }
    }
}

/// Puts notifications, and all that changes them, into the log.
#[derive(Clone)]
pub struct Publisher {
    store: Arc<dyn Store>,
    clock: fn() -> Timestamp,
    agenda: Arc<Agenda>,
}

/// When there is something to be done next: published or removed.
struct Agenda {
    /// In milliseconds since 1970.
    next: AtomicI64,
    earlier: Notify,
}

impl Agenda {
    /// Notes that there is something to be done at that time.
    fn note(&self, at: Timestamp) {
        if self.next.fetch_min(at.as_millisecond(), Ordering::AcqRel) > at.as_millisecond() {
            self.earlier.notify_one();
        }
    }
}

impl Publisher {
    /// A publisher into that store, which stamps by that clock.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: fn() -> Timestamp) -> Publisher {
        let agenda = Agenda { next: AtomicI64::new(i64::MIN), earlier: Notify::new() };
        Publisher { store, clock, agenda: Arc::new(agenda) }
    }

    /// The time that it stamps with.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        to_millisecond((self.clock)())
    }

    /// Publishes a draft: to all its audiences, or to none.
    ///
    /// # Errors
    /// Those of the store; nothing has then been published, unless the store has stopped.
    pub async fn publish(&self, draft: Draft) -> Result<(), StoreError> {
        self.publish_all(vec![draft], None, |_| String::new()).await.map(|_| ())
    }

    /// What came of a request when it came before, if it did.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn answered(&self, request: &Request) -> Result<Option<Published>, StoreError> {
        let answered = self.store.answered(&request.key).await?;
        Ok(answered.map(|answered| Published::of(answered.again(&request.fingerprint), String::new())))
    }

    /// Publishes drafts, all or none. `answer` makes what the client is told, now and whenever the request comes again.
    ///
    /// # Errors
    /// Those of the store; nothing has then been published, unless the store has stopped.
    pub async fn publish_all(
        &self,
        drafts: Vec<Draft>,
        request: Option<Request>,
        answer: impl FnOnce(&[Notification]) -> String,
    ) -> Result<Published, StoreError> {
        let at = self.now();
        let dues: Vec<Option<Timestamp>> = drafts.iter().map(|draft| draft.times.due).collect();
        let first = drafts.iter().flat_map(|draft| [draft.times.due, draft.times.expires_at]).flatten().min();
        let notification = |Draft { audiences, content, replaces, times }: Draft| Notification {
            id: NotificationId::generate(),
            timestamp: at,
            audiences,
            content,
            expires_at: times.expires_at,
            replaces,
        };
        let notifications: Vec<Notification> = drafts.into_iter().map(notification).collect();
        let answer = answer(&notifications);
        let commands = notifications.into_iter().map(Arc::new).zip(&dues).map(|(notification, due)| match due {
            Some(due) => Command::Schedule { notification, due: *due },
            None => Command::Publish(notification),
        });
        let once = request.map(|Request { key, fingerprint }| Once { key, fingerprint, answer: answer.clone() });
        let append = Append { at, commands: commands.collect(), once };
        let appended = match first {
            Some(first) => {
                let (store, agenda) = (Arc::clone(&self.store), Arc::clone(&self.agenda));
                let append = async move {
                    let appended = store.append(append).await?;
                    agenda.note(first);
                    Ok(appended)
                };
                store::to_the_end(append).await?
            }
            None => self.store.append(append).await?,
        };
        Ok(Published::of(appended, answer))
    }

    /// Changes some of what a notification says; gives it as it is then, if there is one of that id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn edit(&self, id: NotificationId, patch: Patch) -> Result<Option<Arc<Notification>>, StoreError> {
        match self.one(Command::Edit { id, patch }).await? {
            Outcome::Edited(notification) => Ok(Some(notification)),
            _ => Ok(None),
        }
    }

    /// Takes a notification back; says whether there was one of that id.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn recall(&self, id: NotificationId) -> Result<bool, StoreError> {
        Ok(self.one(Command::Recall { id }).await? != Outcome::Missing)
    }

    /// Makes a user a member of topics; says whether there was one of which the user was not a member before. Nothing if the
    /// user is a member of too many: then nothing has changed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn join(&self, user: UserId, topics: Vec<Topic>) -> Result<Option<bool>, StoreError> {
        let outcome = self.one(Command::Join { user, topics }).await?;
        Ok((outcome != Outcome::TooMany).then_some(outcome != Outcome::Unchanged))
    }

    /// Ends a user's membership of a topic; says whether she was a member.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn leave(&self, user: UserId, topic: Topic) -> Result<bool, StoreError> {
        Ok(self.one(Command::Leave { user, topic }).await? != Outcome::Unchanged)
    }

    /// Forgets a user.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn erase(&self, user: UserId) -> Result<(), StoreError> {
        self.one(Command::Erase { user }).await.map(|_| ())
    }

    async fn one(&self, command: Command) -> Result<Outcome, StoreError> {
        self.store.one(self.now(), command).await
    }

    /// Publishes what is due and removes what has expired, until it is dropped.
    pub async fn keep_time(self) {
        let mut failures: u32 = 0;
        loop {
            // What is noted from here on is either seen by the store now, or wakes us below.
            self.agenda.next.store(i64::MAX, Ordering::Release);
            let longest = match self.store.advance(self.now()).await {
                Ok(next) => {
                    let next = next.unwrap_or(Timestamp::MAX).as_millisecond();
                    self.agenda.next.fetch_min(next, Ordering::AcqRel);
                    if failures > 0 {
                        tracing::info!(failures, "the store works again, and what is due is published");
                    }
                    failures = 0;
                    LOOK_MAX
                }
                Err(error) => {
                    if failures.is_multiple_of(FAILURES_PER_LINE) {
                        let failures = failures.saturating_add(1);
                        tracing::error!(%error, failures, "what is due could not be published; it is tried again");
                    }
                    let pause = LOOK_MIN.saturating_mul(2_u32.saturating_pow(failures));
                    failures = failures.saturating_add(1);
                    pause.min(RETRY_MAX)
                }
            };
            let next = Timestamp::from_millisecond(self.agenda.next.load(Ordering::Acquire)).unwrap_or(Timestamp::MAX);
            let left = next.duration_since(self.now()).try_into().unwrap_or_default();
            let pause = tokio::time::sleep(longest.min(left).max(LOOK_MIN));
            tokio::select! {
                () = pause => {}
                () = self.agenda.earlier.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use futures_util::FutureExt as _;
    use tokio::runtime::Handle;
    use tokio::task::yield_now;
    use tokio::time::Instant;

    use super::*;
    use crate::auth::keys::KeptKey;
    use crate::auth::tokens::own::TokenSecret;
    use crate::content::Fields;
    use crate::event_id::Seal;
    use crate::notification::{Interest, Position};
    use crate::store::sqlite::{self, SqliteStore};
    use crate::store::{Answered, Asked, Backlog, Effort, Follower, Found, Item, Opening, Page, Slice, Wanted};

    /// A store that fails so many times, and notes when it was asked.
    struct Failing {
        failures: usize,
        asked: Mutex<Vec<Instant>>,
    }

    #[async_trait]
    impl Store for Failing {
        async fn advance(&self, _: Timestamp) -> Result<Option<Timestamp>, StoreError> {
            let mut asked = self.asked.lock().expect("whole");
            asked.push(Instant::now());
            if asked.len() <= self.failures { Err(StoreError::Full) } else { Ok(None) }
        }

        fn seal(&self) -> Seal {
            unreachable!()
        }
        async fn append(&self, _: Append) -> Result<Appended, StoreError> {
            unreachable!()
        }
        async fn answered(&self, _: &RequestKey) -> Result<Option<Answered>, StoreError> {
            unreachable!()
        }
        async fn follow(&self, _: Arc<dyn Follower>, _: Backlog) -> Result<(), StoreError> {
            unreachable!()
        }
        async fn open_within(&self, _: Vec<Asked>, _: Effort) -> Result<Vec<Option<Opening>>, StoreError> {
            unreachable!()
        }
        async fn read_after(&self, _: &Interest, _: Position, _: Position, _: usize) -> Result<Slice, StoreError> {
            unreachable!()
        }
        async fn page(&self, _: Wanted) -> Result<Page, StoreError> {
            unreachable!()
        }
        async fn item(&self, _: &UserId, _: NotificationId, _: Timestamp) -> Result<Option<Item>, StoreError> {
            unreachable!()
        }
        async fn find(&self, _: NotificationId) -> Result<Option<Found>, StoreError> {
            unreachable!()
        }
        async fn interest(&self, _: &UserId) -> Result<Interest, StoreError> {
            unreachable!()
        }
        async fn members(&self, _: &Topic, _: Option<UserId>, _: usize) -> Result<Vec<UserId>, StoreError> {
            unreachable!()
        }
        async fn count_members(&self, _: &[Topic]) -> Result<Vec<usize>, StoreError> {
            unreachable!()
        }
        async fn revocations(&self) -> Result<Vec<(UserId, Timestamp)>, StoreError> {
            unreachable!()
        }
        async fn keys(&self) -> Result<Vec<KeptKey>, StoreError> {
            unreachable!()
        }
        async fn token_secrets(&self) -> Result<Vec<TokenSecret>, StoreError> {
            unreachable!()
        }
        async fn log_time(&self, _: Timestamp) -> Result<Timestamp, StoreError> {
            unreachable!()
        }
        async fn trim(&self, _: Timestamp) -> Result<bool, StoreError> {
            unreachable!()
        }
        fn has_stopped(&self) -> bool {
            unreachable!()
        }
        async fn check(&self) -> Result<Vec<crate::store::Failing>, StoreError> {
            unreachable!()
        }
    }

    /// The clock of the test stands still unless everybody waits, so the times are exact.
    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_looked_for_within_a_second_after_the_store_works_again() {
        let store = Arc::new(Failing { failures: 100, asked: Mutex::default() });
        let publisher = Publisher::new(Arc::<Failing>::clone(&store), || Timestamp::UNIX_EPOCH);
        let time = tokio::spawn(publisher.keep_time());
        while store.asked.lock().expect("whole").len() < 103 {
            tokio::time::sleep(LOOK_MIN).await;
        }
        time.abort();
        let asked = store.asked.lock().expect("whole");
        let pauses: Vec<u128> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        let expected = [50, 100, 200, 400, 800].into_iter().chain([1000; 95]).chain([60_000; 2]);
        assert_eq!(pauses, expected.collect::<Vec<_>>());
    }

    /// Without it, what is scheduled would be late by up to [`LOOK_MAX`].
    #[tokio::test]
    async fn what_is_scheduled_is_noted_though_the_client_goes_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path(), sqlite::Options::default()).expect("opened");
        let publisher = Publisher::new(Arc::new(store), || Timestamp::UNIX_EPOCH);
        publisher.agenda.next.store(i64::MAX, Ordering::Release);
        let content = Content::parse(&Fields { message: "Hola".into(), ..Fields::default() }).expect("valid");
        let mut draft = Draft::new(vec![Audience::Everyone], content).expect("valid");
        draft.times.due = Timestamp::from_second(1).ok();
        assert!(Box::pin(publisher.publish(draft)).now_or_never().is_none(), "it was stored at once");
        while Handle::current().metrics().num_alive_tasks() > 0 {
            yield_now().await;
        }
        assert_eq!(publisher.agenda.next.load(Ordering::Acquire), 1000);
    }

    #[test]
    fn a_draft_names_each_audience_once_and_at_least_one() {
        let content = Content::parse(&Fields { message: "Hola".into(), ..Fields::default() }).expect("valid");
        let draft = |names: &[&str]| {
            let audiences = names.iter().map(|name| name.parse().expect("valid")).collect();
            let draft = Draft::new(audiences, content.clone())?;
            Ok(draft.audiences.iter().map(Audience::to_string).collect::<Vec<_>>())
        };
        assert_eq!(draft(&[]), Err(DraftError::Nobody));
        let both = Ok(vec!["user:1".to_owned(), "everyone".to_owned()]);
        assert_eq!(draft(&["user:1", "everyone", "user:1"]), both);
        assert_eq!(draft(&["everyone", "user:1"]), both, "whichever is named first");
        let many: Vec<String> = (0..=AUDIENCES_MAX).map(|number| format!("user:{number}")).collect();
        assert_eq!(draft(&many.iter().map(String::as_str).collect::<Vec<_>>()), Err(DraftError::TooMany));
    }

    #[test]
    fn times_are_in_order_and_not_too_far_ahead() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let (now, day) = (at(1_000_000), Duration::from_hours(24));
        let times = |due: Option<i64>, expiry| Times::new(now, due.map(at), expiry);
        assert_eq!(times(None, None), Ok(Times::default()));
        assert_eq!(times(Some(999_999), None), Ok(Times::default()), "what is due already is published at once");
        let due = Some(1_000_060);
        let later = Times { due: due.map(at), expires_at: Some(at(1_000_090)) };
        assert_eq!(times(due, Some(Expiry::In(Duration::from_secs(30)))), Ok(later));
        assert_eq!(times(due, Some(Expiry::At(at(1_000_090)))), Ok(later));
        assert_eq!(times(due, Some(Expiry::At(at(1_000_060)))), Err(DraftError::ExpiresTooEarly));
        assert_eq!(times(None, Some(Expiry::At(now))), Err(DraftError::ExpiresTooEarly));
        assert_eq!(times(None, Some(Expiry::In(367 * day))), Err(DraftError::ExpiresTooLate));
        assert_eq!(times(None, Some(Expiry::In(Duration::MAX))), Err(DraftError::ExpiresTooLate));
        assert_eq!(times(Some(1_000_000 + 367 * 86_400), None), Err(DraftError::DueTooLate));
    }
}
