//! How often warnings of the same kind are written.
//!
//! A kind is the place in the source that a line comes from. Of each kind the log gets the same text once in a [`PERIOD`], and
//! [`DIFFERENT_MAX`] different ones at most.
//!
//! **Invariant:** the newest text of a kind is always told: it is written, or named when it is reported how many were left out.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Enough for what comes in steps, such as the pieces in which the reserve is given up.
pub(super) const DIFFERENT_MAX: usize = 16;

/// The kinds of which lines were written lately, by the name that `tracing` gives to a place in the source. So there are not
/// more of them than such places.
pub(super) struct Repetition(Mutex<BTreeMap<&'static str, Period>>);

struct Period {
    since: Instant,
    target: &'static str,
    /// The texts that were written in it.
    written: Vec<String>,
    left_out: u64,
    /// The newest text that was left out.
    last: String,
}

/// Lines of one kind that were not written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) target: &'static str,
    pub(super) lines: u64,
    /// The text of the newest one.
    pub(super) last: String,
}

impl Repetition {
    pub(super) const fn new() -> Repetition {
        Repetition(Mutex::new(BTreeMap::new()))
    }

    /// Whether a line of a kind is to be written now; counts it if not.
    pub(super) fn admit(&self, kind: &'static str, target: &'static str, text: String, now: Instant) -> bool {
        let mut kinds = self.kinds();
        let period = kinds.entry(kind).or_insert_with(|| Period {
            since: now,
            target,
            written: Vec::new(),
            left_out: 0,
            last: String::new(),
        });
        if now.saturating_duration_since(period.since) >= PERIOD {
            period.since = now;
            period.written.clear();
        }
        if period.written.len() < DIFFERENT_MAX && !period.written.contains(&text) {
            period.written.push(text);
            return true;
        }
        period.left_out += 1;
        period.last = text;
        false
    }

    /// Takes what was left out of those kinds whose period is over.
    pub(super) fn take_left_out(&self, now: Instant) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        self.kinds().retain(|_, period| {
            let is_over = now.saturating_duration_since(period.since) >= PERIOD;
            if is_over && period.left_out > 0 {
                left_out.push(LeftOut { target: period.target, lines: period.left_out, last: take(&mut period.last) });
            }
            !is_over
        });
        left_out
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<&'static str, Period>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(lines: u64, last: &str) -> LeftOut {
        LeftOut { target: "t", lines, last: last.to_owned() }
    }

    #[test]
    fn the_same_line_is_written_once_per_period_and_the_others_are_counted() {
        let repetition = Repetition::new();
        let start = Instant::now();
        let at = |tenths: u32| start + PERIOD * tenths / 10;
        let admit = |kind, tenths| repetition.admit(kind, "t", "x".to_owned(), at(tenths));
        let written: Vec<u32> = (0..35).filter(|tenths| admit("a", *tenths)).collect();
        assert_eq!(written, [0, 10, 20, 30]);
        assert!(admit("b", 35), "another kind has a period of its own");
        assert_eq!(repetition.take_left_out(at(39)), [], "the period is not over");
        assert_eq!(repetition.take_left_out(at(45)), [left_out(31, "x")]);
        assert_eq!(repetition.take_left_out(at(60)), [], "each is reported once");
        assert!(repetition.kinds().is_empty(), "kinds that are quiet are forgotten");
    }

    /// Mutants: one of each kind, whatever it says; any number of them.
    #[test]
    fn lines_that_say_something_else_are_written_up_to_a_bound_and_the_newest_is_told() {
        let repetition = Repetition::new();
        let start = Instant::now();
        let admit = |number: usize| repetition.admit("a", "t", number.to_string(), start);
        let written: Vec<usize> = (0..100).filter(|number| admit(*number)).collect();
        assert_eq!(written, (0..DIFFERENT_MAX).collect::<Vec<_>>());
        assert!(!admit(0));
        assert!(!admit(99));
        assert_eq!(repetition.take_left_out(start + PERIOD), [left_out(86, "99")]);
        assert!(admit(0));
    }
}
