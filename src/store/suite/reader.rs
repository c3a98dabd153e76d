//! A client that reads on from its cursor and does what the entries say.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::{user, wanted};
use crate::notification::{Change, Entry, Notification, Position, UserId};
use crate::state::Counts;
use crate::store::{Asked, Item, Page, Status, Store, Wanted};

/// Statuses that together have each notification once, and so have unread, read and archived.
pub(super) const EACH: [Status; 2] = [Status::All, Status::Archived];
/// Entries that a reader asks for at once, and notifications on a page: few, so that it takes several.
const ENTRIES_PER_READ: usize = 3;
const ITEMS_PER_PAGE: usize = 5;

/// A client that does what it is told, and nothing else.
pub(super) struct Reader {
    pub(super) user: UserId,
    cursor: Position,
    /// In the order in which they came.
    pub(super) has: Vec<Arc<Notification>>,
    /// Of what is older she may not know.
    pub(super) oldest: Position,
    /// What she was told last, and when that was counted, if nothing has come since.
    pub(super) counts: Option<(Counts, Timestamp)>,
}

impl Reader {
    pub(super) fn new(id: &str) -> Reader {
        Reader { user: user(id), cursor: Position::START, has: Vec::new(), oldest: Position::START, counts: None }
    }

    pub(super) async fn read(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), TestCaseError> {
        let asked = vec![Asked { user: self.user.clone(), since: None, at: now }];
        let opening = store.open(asked).await.expect("opened").remove(0);
        prop_assert!(self.cursor <= opening.head, "positions go on");
        while self.cursor < opening.head {
            let read = store.read_after(&opening.interest, self.cursor, opening.head, ENTRIES_PER_READ).await;
            let slice = read.expect("nothing has been removed before its time");
            prop_assert!(slice.entries.is_sorted_by(|a, b| a.position < b.position));
            prop_assert!(slice.through > self.cursor && slice.through <= opening.head);
            for entry in &slice.entries {
                prop_assert!(entry.position > self.cursor && entry.position <= slice.through);
                self.counts = None;
                if self.does_not_know_from(entry) {
                    return self.look(store, now).await;
                }
            }
            self.cursor = slice.through;
        }
        Ok(())
    }

    /// Does what an entry says. True if she must look at her inbox.
    fn does_not_know_from(&mut self, entry: &Entry) -> bool {
        match &entry.change {
            Change::Notified(notification) => {
                if self.has.iter().all(|known| known.id != notification.id) {
                    self.has.push(Arc::clone(notification));
                }
            }
            Change::Edited(notification) => {
                if let Some(known) = self.has.iter_mut().find(|known| known.id == notification.id) {
                    *known = Arc::clone(notification);
                }
            }
            Change::Removed { id, .. } => self.has.retain(|known| known.id != *id),
            Change::Marked { marked, .. } => {
                let json: serde_json::Value = serde_json::from_str(marked.json()).expect("JSON");
                let count = |name: &str| usize::try_from(json["counts"][name].as_u64().expect("a count")).expect("few");
                let counts = Counts { unread: count("unread"), unseen: count("unseen"), total: count("total") };
                self.counts = Some((counts, json["at"].as_str().expect("a time").parse().expect("a time")));
            }
            Change::Erased { .. } => return true,
            Change::Joined { .. } | Change::Left { .. } | Change::Muted { .. } | Change::Revoked { .. } => {}
        }
        false
    }

    /// Takes what is in her inbox, and goes on from there.
    async fn look(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), TestCaseError> {
        let (items, head) = inbox(store, &self.user, now, &EACH).await?;
        // Something older may come back once less is passed over.
        self.oldest = items.last().map_or(Position(head.0 + 1), |item| item.position);
        self.has = items.into_iter().rev().map(|item| item.notification).collect();
        self.cursor = head;
        Ok(())
    }
}

/// All that is in an inbox, newest first, page by page, and the end of the log.
pub(super) async fn inbox(
    store: &Arc<dyn Store>,
    user: &UserId,
    at: Timestamp,
    statuses: &[Status],
) -> Result<(Vec<Item>, Position), TestCaseError> {
    let mut items: Vec<Item> = Vec::new();
    let mut head = Position::START;
    for status in statuses.iter().copied() {
        let mut before = None;
        loop {
            let wanted = Wanted { status, before, limit: ITEMS_PER_PAGE, at, ..wanted(user.as_str()) };
            let page: Page = store.page(wanted).await.expect("read");
            prop_assert!(page.items.iter().all(|item| status.includes(&item.state)));
            prop_assert!(page.items.is_sorted_by(|newer, older| newer.position > older.position));
            before = page.items.last().map(|item| item.position);
            items.extend(page.items);
            head = page.head;
            if !page.more {
                break;
            }
        }
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.position));
    Ok((items, head))
}
