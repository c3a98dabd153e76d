//! A budget of bytes that all requests share.
//!
//! **Invariant:** the sum of what is held is never above the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all may hold at once.
#[derive(Debug)]
pub struct Budget {
    bytes_max: usize,
    held: AtomicUsize,
}

/// A part of the budget. Dropping it gives the bytes back.
#[derive(Debug)]
pub struct Held {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Budget {
        Budget { bytes_max, held: AtomicUsize::new(0) }
    }

    /// A part of no bytes yet.
    #[must_use]
    pub fn part(self: &Arc<Self>) -> Held {
        Held { budget: Arc::clone(self), bytes: AtomicUsize::new(0) }
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

impl Held {
    /// Takes so many more bytes; false, and none are taken, if the budget has not so many left.
    #[must_use]
    pub fn grow(&self, bytes: usize) -> bool {
        let most = self.budget.bytes_max;
        let grown = |held: usize| held.checked_add(bytes).filter(|held| *held <= most);
        let took = self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok();
        if took {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        took
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_bytes_are_held_at_once_than_the_budget_has() {
        let budget = Arc::new(Budget::new(10));
        let (first, second) = (budget.part(), budget.part());
        assert!(first.grow(6) && second.grow(4));
        assert!(!first.grow(1) && !second.grow(usize::MAX), "all or none");
        assert_eq!(budget.held(), 10);
        drop(first);
        assert_eq!(budget.held(), 4);
        assert!(second.grow(6));
        drop(second);
        assert_eq!(budget.held(), 0);
    }
}
