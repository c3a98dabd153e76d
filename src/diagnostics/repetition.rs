//! How often lines of the same kind are written.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time in which one line of each kind is written.
pub(super) const PERIOD: Duration = Duration::from_secs(1);

/// Kinds of lines that were written lately, by the place in the source that they come from. So there are not more of them than
/// such places.
pub(super) struct Repetition(Mutex<BTreeMap<&'static str, Period>>);

struct Period {
    since: Instant,
    suppressed: u64,
}

impl Repetition {
    pub(super) const fn new() -> Repetition {
        Repetition(Mutex::new(BTreeMap::new()))
    }

    /// Whether a line of a kind is to be written now; counts it if not.
    pub(super) fn admit(&self, kind: &'static str, now: Instant) -> bool {
        let mut kinds = self.kinds();
        let Some(period) = kinds.get_mut(kind) else {
            kinds.insert(kind, Period { since: now, suppressed: 0 });
            return true;
        };
        let is_over = now.saturating_duration_since(period.since) >= PERIOD;
        if is_over {
            period.since = now;
        } else {
            period.suppressed += 1;
        }
        is_over
    }

    /// Takes the kinds whose lines were left out, and how many of each, as far as their period is over.
    pub(super) fn take_suppressed(&self, now: Instant) -> Vec<(&'static str, u64)> {
        let mut kinds = self.kinds();
        let mut suppressed = Vec::new();
        kinds.retain(|kind, period| {
            let is_over = now.saturating_duration_since(period.since) >= PERIOD;
            if is_over && period.suppressed > 0 {
                suppressed.push((*kind, period.suppressed));
            }
            !is_over
        });
        suppressed
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<&'static str, Period>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_each_kind_is_written_per_period_and_the_others_are_counted() {
        let repetition = Repetition::new();
        let start = Instant::now();
        let at = |tenths: u32| start + PERIOD * tenths / 10;
        let written: Vec<u32> = (0..35).filter(|tenths| repetition.admit("a", at(*tenths))).collect();
        assert_eq!(written, [0, 10, 20, 30]);
        assert!(repetition.admit("b", at(35)), "another kind has a period of its own");
        assert_eq!(repetition.take_suppressed(at(39)), [], "the period is not over");
        assert_eq!(repetition.take_suppressed(at(45)), [("a", 31)]);
        assert_eq!(repetition.take_suppressed(at(60)), [], "each is reported once");
        assert!(repetition.kinds().is_empty(), "kinds that are quiet are forgotten");
    }
}
