//! The phases of a measurement, and all that was measured in each.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::figures::{milliseconds, round};
use crate::stream::histogram;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connections are opened; nothing of it counts.
    Settling,
    Alone,
    Abused,
    /// The abuse has stopped.
    After,
}

impl Phase {
    pub(super) const ALL: [Phase; 4] = [Phase::Settling, Phase::Alone, Phase::Abused, Phase::After];

    pub(super) fn name(self) -> &'static str {
        match self {
            Phase::Settling => "settling",
            Phase::Alone => "alone",
            Phase::Abused => "abused",
            Phase::After => "after",
        }
    }
}

/// Something that is timed, from when it was due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// Until a publish request was acknowledged.
    Publish,
    /// Until a stream had its `hello`.
    Stream,
    /// From a publish request until it was on an open stream.
    Delivery,
    /// Until the generator came to it: how late the generator itself was.
    Generator,
}

impl Deed {
    const ALL: [Deed; 4] = [Deed::Publish, Deed::Stream, Deed::Delivery, Deed::Generator];

    pub(super) fn name(self) -> &'static str {
        match self {
            Deed::Publish => "publish",
            Deed::Stream => "stream",
            Deed::Delivery => "delivery",
            Deed::Generator => "generator",
        }
    }
}

/// How something that all others wanted was not done.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Not within the generator's patience.
    Unanswered,
    Refused(String),
}

struct Account {
    times: [Histogram<u64>; 4],
    unanswered: u64,
    refused: u64,
    /// Why the first was refused.
    example: Option<String>,
}

/// Accounts of all phases. What was due in a phase counts there, however late it came.
pub(super) struct Ledger {
    phase: AtomicUsize,
    accounts: [Mutex<Account>; 4],
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        let account = |_| {
            let times = Deed::ALL.map(|_| histogram());
            Mutex::new(Account { times, unanswered: 0, refused: 0, example: None })
        };
        Ledger { phase: AtomicUsize::new(0), accounts: [0, 1, 2, 3].map(account) }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as usize, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[self.phase.load(Ordering::Relaxed)]
    }

    fn account<R>(&self, phase: Phase, deed: impl FnOnce(&mut Account) -> R) -> R {
        deed(&mut self.accounts[phase as usize].lock().expect("nobody panics with an account"))
    }

    pub(super) fn took(&self, phase: Phase, deed: Deed, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
        self.account(phase, |account| account.times[deed as usize].saturating_record(us));
    }

    pub(super) fn failed(&self, phase: Phase, failure: Failure) {
        self.account(phase, |account| match failure {
            Failure::Unanswered => account.unanswered += 1,
            Failure::Refused(why) => {
                account.refused += 1;
                account.example.get_or_insert(why);
            }
        });
    }

    /// Whatever all others wanted and did not get.
    pub(super) fn errors(&self, phase: Phase) -> u64 {
        self.account(phase, |account| account.unanswered + account.refused)
    }

    pub(super) fn figures(&self, phase: Phase) -> Value {
        self.account(phase, |account| {
            let mut figures = json!({
                "errors": account.unanswered + account.refused,
                "unanswered": account.unanswered,
            });
            if let Some(example) = &account.example {
                figures["example"] = json!(example);
            }
            for deed in Deed::ALL {
                let times = &account.times[deed as usize];
                figures[format!("{}_count", deed.name())] = json!(times.len());
                if !times.is_empty() {
                    for (name, us) in summary(times) {
                        figures[format!("{}_{name}_ms", deed.name())] = json!(milliseconds(us));
                    }
                }
            }
            figures
        })
    }

    /// A quantile of the time that a deed took in a phase, as a multiple of the same while alone.
    pub(super) fn ratio(&self, deed: Deed, quantile: f64, phase: Phase) -> Option<f64> {
        let at = |phase| {
            self.account(phase, |account| {
                let times = &account.times[deed as usize];
                (!times.is_empty()).then(|| times.value_at_quantile(quantile))
            })
        };
        let (now, alone) = (at(phase)?, at(Phase::Alone)?);
        Some(round(crate::figures::real(now) / crate::figures::real(alone)))
    }
}

fn summary(times: &Histogram<u64>) -> [(&'static str, u64); 4] {
    let at = |quantile| times.value_at_quantile(quantile);
    [("p50", at(0.5)), ("p95", at(0.95)), ("p99", at(0.99)), ("max", times.max())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_count_within_the_phase_in_which_something_was_due() {
        let ledger = Ledger::new();
        for ms in 1..=100 {
            ledger.took(Phase::Alone, Deed::Publish, Duration::from_millis(ms));
            ledger.took(Phase::Abused, Deed::Publish, Duration::from_millis(3 * ms));
        }
        let alone = ledger.figures(Phase::Alone);
        let within = |name: &str, ms: f64| {
            let value = alone[name].as_f64().expect("a number");
            assert!((value / ms - 1.0).abs() < 0.002, "{name} is {value}");
        };
        within("publish_p50_ms", 50.0);
        within("publish_p95_ms", 95.0);
        within("publish_p99_ms", 99.0);
        within("publish_max_ms", 100.0);
        assert_eq!(alone["publish_count"], 100);
        assert_eq!(alone["stream_count"], 0);
        assert!(alone.get("stream_p50_ms").is_none());
        let ratio = ledger.ratio(Deed::Publish, 0.99, Phase::Abused).expect("both were measured");
        assert!((ratio - 3.0).abs() < 0.01, "{ratio}");
        assert_eq!(ledger.ratio(Deed::Stream, 0.99, Phase::Abused), None);
    }

    #[test]
    fn failures_are_errors_and_the_first_reason_is_kept() {
        let ledger = Ledger::new();
        ledger.failed(Phase::Abused, Failure::Unanswered);
        ledger.failed(Phase::Abused, Failure::Refused("429".into()));
        ledger.failed(Phase::Abused, Failure::Refused("503".into()));
        assert_eq!((ledger.errors(Phase::Alone), ledger.errors(Phase::Abused)), (0, 3));
        let figures = ledger.figures(Phase::Abused);
        assert_eq!((&figures["unanswered"], &figures["example"]), (&json!(1), &json!("429")));
    }

    #[test]
    fn a_ledger_is_in_the_phase_that_was_entered_last() {
        let ledger = Ledger::new();
        assert_eq!(ledger.phase(), Phase::Settling);
        for phase in Phase::ALL {
            ledger.enter(phase);
            assert_eq!(ledger.phase(), phase);
        }
    }
}
