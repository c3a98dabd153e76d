//! The nouns: users, topics, audiences, notifications, and positions in the log.
//!
//! **Invariant:** a value of these types is valid; names are made by `FromStr` at the border and never checked again
//! below it.
//!
//! Deliberately absent: I/O, and any wire or disk format.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use smol_str::SmolStr;
use thin_vec::ThinVec;
use uuid::{NoContext, Uuid};

use crate::content::{Content, is_invisible};
use crate::state::Marked;

/// Longest user id or topic name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// Most audiences of one notification.
pub const AUDIENCES_MAX: usize = 1000;

/// A place in the one log. Positions rise; between two of them there may be gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// Before every entry: a cursor here has seen nothing.
    pub const START: Position = Position(0);
    /// Beyond every entry: stores count in 63 bits.
    pub const END: Position = Position(i64::MAX.unsigned_abs());
}

/// What the store keeps as text. It takes whatever an earlier version of this server took.
pub trait FromStore: FromStr {
    /// Reads what [`fmt::Display`] or `as_str` gave.
    ///
    /// # Errors
    /// When no version of this server can have written it.
    fn from_store(text: &str) -> Result<Self, Self::Err> {
        text.parse()
    }
}

/// Why a name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("must not be empty")]
    Empty,
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("must have at most {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// White space, a control character, or one that is not seen.
    #[error("must not contain white space, control characters or invisible characters")]
    Character,
}

/// A name from the border: what is not seen in it is refused, since two names must not look the same.
fn name(text: &str) -> Result<SmolStr, NameError> {
    let name = kept_name(text)?;
    if text.chars().any(is_invisible) { Err(NameError::Character) } else { Ok(name) }
}

/// A name from the store. Earlier versions took invisible characters; those names stay readable.
fn kept_name(text: &str) -> Result<SmolStr, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong);
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\u{feff}') {
        return Err(NameError::Character);
    }
    Ok(text.into())
}

/// A user as the application knows her: any name of 1 to 128 bytes without white space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(SmolStr);

/// A named group of users, with its membership kept by the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(SmolStr);

/// Under this name a notification takes the place of the one before it that went to the same audiences.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplacementKey(SmolStr);

impl ReplacementKey {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplacementKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        name(text).map(Self)
    }
}

impl FromStore for ReplacementKey {
    fn from_store(text: &str) -> Result<Self, NameError> {
        kept_name(text).map(Self)
    }
}

impl UserId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Topic {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        name(text).map(Self)
    }
}

impl FromStore for UserId {
    fn from_store(text: &str) -> Result<Self, NameError> {
        kept_name(text).map(Self)
    }
}

impl FromStr for Topic {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        name(text).map(Self)
    }
}

impl FromStore for Topic {
    fn from_store(text: &str) -> Result<Self, NameError> {
        kept_name(text).map(Self)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// To whom a notification is addressed. Written `user:1`, `topic:orders`, `everyone`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    /// One user, on all her tabs and devices.
    User(UserId),
    /// Whoever is a member of the topic at that position of the log.
    Topic(Topic),
    /// Every user, also those who come later.
    Everyone,
}

/// Why an audience is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudienceError {
    /// Neither `user:`, nor `topic:`, nor `everyone`.
    #[error("must be user:ID, topic:NAME or everyone")]
    Kind,
    /// The name behind the prefix is not one.
    #[error("the name {0}")]
    Name(#[from] NameError),
}

impl FromStr for Audience {
    type Err = AudienceError;

    fn from_str(text: &str) -> Result<Self, AudienceError> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(id.parse()?)),
            Some(("topic", topic)) => Ok(Self::Topic(topic.parse()?)),
            None if text == "everyone" => Ok(Self::Everyone),
            _ => Err(AudienceError::Kind),
        }
    }
}

impl FromStore for Audience {
    fn from_store(text: &str) -> Result<Self, AudienceError> {
        match text.split_once(':') {
            Some(("user", id)) => Ok(Self::User(UserId::from_store(id)?)),
            Some(("topic", topic)) => Ok(Self::Topic(Topic::from_store(topic)?)),
            _ => text.parse(),
        }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::Topic(topic) => write!(f, "topic:{topic}"),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

/// A span of the log during which a user is a member of a topic: she sees what stands after `since` and, once she has
/// left, before `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The topic.
    pub topic: Topic,
    /// Where she joined; the joining entry itself.
    pub since: Position,
    /// Where she left, if she has.
    pub until: Option<Position>,
}

impl Membership {
    /// Whether an entry at that position falls into the span.
    #[must_use]
    pub fn covers(&self, position: Position) -> bool {
        position > self.since && self.until.is_none_or(|until| position < until)
    }
}

/// A span of the log during which a user does not want what is about a category: what stands after `since` and, once she
/// wants it again, before `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// The category.
    pub category: String,
    /// Where she muted it.
    pub since: Position,
    /// Where she wanted it again, if she has.
    pub until: Option<Position>,
}

impl Mute {
    /// Whether what was published at that position lies within it.
    #[must_use]
    pub fn covers(&self, published: Position) -> bool {
        published > self.since && self.until.is_none_or(|until| published < until)
    }
}

/// Most ended [`Membership`]s of a user; the oldest are forgotten, and what was published to the topic in them is no longer in
/// the user's inbox.
pub const MEMBERSHIPS_ENDED_MAX: usize = 1000;

/// Most ended [`Mute`]s of a user; the oldest are forgotten, and what was muted by them alone is theirs again.
pub const MUTES_ENDED_MAX: usize = 300;

/// What a reader may see: her own audience, everyone, and the topics while she is a member; not what she has muted.
///
/// Knowing more of the log never takes an entry away from an interest, unless the user was erased: spans are only added,
/// and a span once ended stays ended. So it may be read from the store at any time after the reader has been registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The reader.
    pub user: UserId,
    /// Her spans, in no particular order. Both lists take one pointer here: most readers have none, and each connection
    /// has a reader.
    pub memberships: ThinVec<Membership>,
    /// Spans of what she does not want, in no particular order.
    pub mutes: ThinVec<Mute>,
}

impl Interest {
    /// An interest without any topic.
    #[must_use]
    pub fn of(user: UserId) -> Interest {
        Interest { user, memberships: ThinVec::new(), mutes: ThinVec::new() }
    }

    /// Whether an entry for `audience` at `position` is for this reader.
    #[must_use]
    pub fn includes(&self, audience: &Audience, position: Position) -> bool {
        match audience {
            Audience::User(user) => *user == self.user,
            Audience::Everyone => true,
            Audience::Topic(topic) => self.memberships.iter().any(|m| m.topic == *topic && m.covers(position)),
        }
    }

    /// Notes that she joined the topic at that position. Saying it twice changes nothing.
    pub fn join(&mut self, topic: &Topic, at: Position) {
        if !self
            .memberships
            .iter()
            .any(|m| m.topic == *topic && m.since <= at && m.until.is_none_or(|until| at < until))
        {
            self.memberships.push(Membership { topic: topic.clone(), since: at, until: None });
        }
    }

    /// Whether she does not want what is about that category and was published at that position.
    #[must_use]
    pub fn mutes(&self, category: &str, published: Position) -> bool {
        self.mutes.iter().any(|mute| mute.category == category && mute.covers(published))
    }

    /// Notes that from that position on she mutes these categories and no others. Saying it twice changes nothing. Of the
    /// ended spans the newest [`MUTES_ENDED_MAX`] are kept.
    pub fn mute(&mut self, categories: &[String], at: Position) {
        for mute in &mut self.mutes {
            if mute.since < at && mute.until.is_none() && !categories.contains(&mute.category) {
                mute.until = Some(at);
            }
        }
        for category in categories {
            let covers = |mute: &Mute| mute.since <= at && mute.until.is_none_or(|until| at < until);
            if !self.mutes.iter().any(|mute| mute.category == *category && covers(mute)) {
                self.mutes.push(Mute { category: category.clone(), since: at, until: None });
            }
        }
        self.forget_oldest_mutes();
    }

    fn forget_oldest_mutes(&mut self) {
        let ended = self.mutes.iter().filter(|mute| mute.until.is_some()).count();
        if ended > MUTES_ENDED_MAX {
            // Open ones first, then the newest. The order decides ties in the same way wherever it is done.
            let age = |mute: &Mute| (mute.until.unwrap_or(Position::END), mute.since);
            self.mutes.sort_by(|one, other| age(other).cmp(&age(one)).then_with(|| one.category.cmp(&other.category)));
            let kept = self.mutes.len() - (ended - MUTES_ENDED_MAX);
            self.mutes.truncate(kept);
        }
    }

    /// Forgets the oldest memberships that have ended, but for the newest [`MEMBERSHIPS_ENDED_MAX`]; gives the topics of which
    /// none is left.
    pub fn forget_oldest_memberships(&mut self) -> Vec<Topic> {
        let ended = self.memberships.iter().filter(|membership| membership.until.is_some()).count();
        if ended <= MEMBERSHIPS_ENDED_MAX {
            return Vec::new();
        }
        self.memberships.sort_by_key(|membership| Reverse(membership.until.unwrap_or(Position::END)));
        let mut forgotten: Vec<Topic> = self
            .memberships
            .drain(self.memberships.len() - (ended - MEMBERSHIPS_ENDED_MAX)..)
            .map(|of| of.topic)
            .collect();
        forgotten.retain(|topic| self.memberships.iter().all(|membership| membership.topic != *topic));
        forgotten
    }

    /// Forgets what began before that position, where she was erased.
    pub fn erase(&mut self, at: Position) {
        self.memberships.retain(|membership| membership.since > at);
        self.mutes.retain(|mute| mute.since > at);
    }

    /// Adds what the store knows of her. What is known already stays.
    pub fn merge(&mut self, stored: Interest) {
        for span in stored.mutes {
            match self.mutes.iter_mut().find(|known| known.category == span.category && known.since == span.since) {
                Some(known) => known.until = known.until.or(span.until),
                None => self.mutes.push(span),
            }
        }
        self.forget_oldest_mutes();
        for span in stored.memberships {
            match self.memberships.iter_mut().find(|known| known.topic == span.topic && known.since == span.since) {
                Some(known) => known.until = known.until.or(span.until),
                None => self.memberships.push(span),
            }
        }
    }

    /// Notes that she left the topic at that position. Saying it twice changes nothing.
    pub fn leave(&mut self, topic: &Topic, at: Position) {
        for membership in &mut self.memberships {
            if membership.topic == *topic && membership.since < at && membership.until.is_none() {
                membership.until = Some(at);
            }
        }
    }
}

/// The public id of a notification: a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NotificationId(pub Uuid);

/// That a text is no id of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct NotificationIdError;

impl NotificationId {
    /// A new id: the time in milliseconds, and 74 random bits. Not with a counter that would put those of a millisecond in
    /// order: a user would read from two of hers how many were made for others in between.
    #[must_use]
    pub fn generate() -> NotificationId {
        NotificationId(Uuid::new_v7(uuid::Timestamp::now(NoContext)))
    }
}

impl FromStore for NotificationId {}

impl FromStr for NotificationId {
    type Err = NotificationIdError;

    fn from_str(text: &str) -> Result<Self, NotificationIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotificationIdError)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A notification that has been accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// When it was published, to the millisecond. For display: order comes from the log.
    pub timestamp: Timestamp,
    /// To whom; never empty, no audience twice.
    pub audiences: Vec<Audience>,
    /// What it says.
    pub content: Content,
    /// From when on nobody has it any more. Nothing is said when that time comes: everybody was told before.
    pub expires_at: Option<Timestamp>,
    /// Whose place it takes.
    pub replaces: Option<ReplacementKey>,
}

/// Why nobody has a notification any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// Its publisher took it back.
    Recalled,
    /// Another one took its place.
    Replaced,
}

impl RemovalReason {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Recalled => "recalled",
            Self::Replaced => "replaced",
        }
    }
}

/// What an entry of the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A notification was published.
    Notified(Arc<Notification>),
    /// A notification says something else now; this is how it stands.
    Edited(Arc<Notification>),
    /// Nobody has a notification any more.
    Removed {
        /// Which.
        id: NotificationId,
        /// To whom it had been addressed.
        audiences: Vec<Audience>,
        /// Why.
        reason: RemovalReason,
    },
    /// A user has marked what she has.
    Marked {
        /// Who.
        user: UserId,
        /// What and how.
        marked: Marked,
    },
    /// A user wants nothing more about these categories, and about all others again.
    Muted {
        /// Who.
        user: UserId,
        /// All that she mutes from here on.
        categories: Vec<String>,
    },
    /// All that a user had, and all that she did, has been erased.
    Erased {
        /// The user.
        user: UserId,
    },
    /// A user became a member of a topic.
    Joined {
        /// The user.
        user: UserId,
        /// The topic.
        topic: Topic,
    },
    /// A user stopped being a member of a topic.
    Left {
        /// The user.
        user: UserId,
        /// The topic.
        topic: Topic,
    },
    /// All that a user had been given until then is over, and with it her streams.
    Revoked {
        /// The user.
        user: UserId,
    },
}

impl Change {
    /// In a word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Notified(_) => "notified",
            Self::Edited(_) => "edited",
            Self::Removed { .. } => "removed",
            Self::Marked { .. } => "marked",
            Self::Muted { .. } => "muted",
            Self::Erased { .. } => "erased",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// Whose streams say it; nobody's for a change of membership, which only changes what they say later, nor for a
    /// revocation, which ends them.
    #[must_use]
    pub fn audiences(&self) -> Vec<Audience> {
        match self {
            Self::Notified(notification) | Self::Edited(notification) => notification.audiences.clone(),
            Self::Removed { audiences, .. } => audiences.clone(),
            Self::Marked { user, .. } | Self::Muted { user, .. } | Self::Erased { user } => {
                vec![Audience::User(user.clone())]
            }
            Self::Joined { .. } | Self::Left { .. } | Self::Revoked { .. } => Vec::new(),
        }
    }
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// Where that stands which it is about: a notification's own position, or that of the one which is edited or
    /// removed. Whoever became a member of a topic after it is not told.
    pub origin: Position,
    /// What it says.
    pub change: Change,
}

impl Entry {
    /// Whether a reader does not want it.
    #[must_use]
    pub fn is_muted_by(&self, interest: &Interest) -> bool {
        let (Change::Notified(notification) | Change::Edited(notification)) = &self.change else { return false };
        let muted = |category: String| interest.mutes(&category, self.origin);
        !interest.mutes.is_empty() && notification.content.category().is_some_and(muted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_at_the_border() {
        assert_eq!("".parse::<UserId>(), Err(NameError::Empty));
        assert_eq!("a b".parse::<Topic>(), Err(NameError::Character));
        assert_eq!("a\u{0}".parse::<UserId>(), Err(NameError::Character));
        assert_eq!("x".repeat(129).parse::<UserId>(), Err(NameError::TooLong));
        assert_eq!("ñandú|42".parse::<UserId>().expect("valid").as_str(), "ñandú|42");
        // Zero width, direction, invisible operators, tags, fillers, a soft hyphen.
        for c in
            ['\u{200b}', '\u{200d}', '\u{202e}', '\u{2066}', '\u{2061}', '\u{e0041}', '\u{3164}', '\u{ad}', '\u{fe0f}']
        {
            let text = format!("user{c}1");
            assert_eq!(text.parse::<UserId>(), Err(NameError::Character), "{c:?}");
            assert_eq!(text.parse::<Topic>(), Err(NameError::Character), "{c:?}");
            assert_eq!(text.parse::<ReplacementKey>(), Err(NameError::Character), "{c:?}");
            assert_eq!(format!("user:{text}").parse::<Audience>(), Err(AudienceError::Name(NameError::Character)));
            // An earlier version has taken them.
            assert_eq!(UserId::from_store(&text).expect("readable").as_str(), text);
            assert_eq!(
                Audience::from_store(&format!("topic:{text}")).expect("readable").to_string(),
                format!("topic:{text}")
            );
        }
        assert_eq!(UserId::from_store("a\u{0}"), Err(NameError::Character));
    }

    #[test]
    fn audiences_are_read_as_they_are_written() {
        for text in ["user:1", "user:a:b", "topic:orders", "everyone"] {
            assert_eq!(text.parse::<Audience>().expect("valid").to_string(), text);
        }
        assert_eq!("usr:1".parse::<Audience>(), Err(AudienceError::Kind));
        assert_eq!("user:".parse::<Audience>(), Err(AudienceError::Name(NameError::Empty)));
        assert_eq!("Everyone".parse::<Audience>(), Err(AudienceError::Kind));
    }

    /// Mutant: with a counter.
    #[test]
    fn ids_do_not_say_how_many_were_made_between_them() {
        let ids: Vec<NotificationId> = (0..1000).map(|_| NotificationId::generate()).collect();
        // They take a few milliseconds; with a counter each would be greater than the one before.
        let falling = ids.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(falling > 100, "{falling} of them");
    }

    #[test]
    fn what_is_muted_is_not_wanted_from_there_on_until_it_is_wanted_again() {
        let mut interest = Interest::of("1".parse().expect("valid"));
        let both = ["a".to_owned(), "b".to_owned()];
        for _ in 0..2 {
            // Twice: after the store's answer, changes are applied again.
            interest.mute(&both, Position(10));
            interest.mute(&both[1..], Position(20));
            interest.mute(&both[..1], Position(30));
        }
        let muted = |category| (8..34).filter(|at| interest.mutes(category, Position(*at))).collect::<Vec<_>>();
        assert_eq!(muted("a"), (11..20).chain(31..34).collect::<Vec<_>>());
        assert_eq!(muted("b"), (11..30).collect::<Vec<_>>());
        assert!(muted("c").is_empty());
    }

    #[test]
    fn a_member_sees_what_stands_between_joining_and_leaving() {
        let topic: Topic = "t".parse().expect("valid");
        let audience = Audience::Topic(topic.clone());
        let mut interest = Interest::of("1".parse().expect("valid"));
        interest.join(&topic, Position(10));
        interest.join(&topic, Position(10));
        interest.leave(&topic, Position(20));
        interest.leave(&topic, Position(20));
        interest.join(&topic, Position(30));
        interest.join(&topic, Position(10));
        let seen: Vec<u64> = (8..34).filter(|at| interest.includes(&audience, Position(*at))).collect();
        assert_eq!(seen, [11, 12, 13, 14, 15, 16, 17, 18, 19, 31, 32, 33]);
        assert_eq!(interest.memberships.len(), 2);
    }
}
