//! When requests are due, whatever happens to those before them (an open loop).

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A fixed rate of events that never waits for their outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    begun: Instant,
    per_second: f64,
    next: u64,
}

impl Schedule {
    pub(super) fn new(begun: Instant, per_second: f64) -> Schedule {
        Schedule { begun, per_second, next: 0 }
    }

    /// The next event's number and due time; the same one until [`Schedule::take`].
    pub(super) fn peek(&self) -> (u64, Instant) {
        #[expect(clippy::cast_precision_loss, reason = "numbers far below 2^53")]
        let after = self.next as f64 / self.per_second;
        (self.next, self.begun + Duration::from_secs_f64(after))
    }

    pub(super) fn take(&mut self) -> (u64, Instant) {
        let due = self.peek();
        self.next += 1;
        due
    }
}

/// An upper limit on how often the tasks that share it go on. Time in which nobody asked is not made up for.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: f64) -> Pace {
        Pace { interval: Duration::from_secs_f64(1.0 / per_second), next: Mutex::new(Instant::now()) }
    }

    /// Waits until the caller's turn has come.
    pub(super) async fn turn(&self) {
        let slot = slot(&mut self.next.lock().expect("nobody panics with it"), Instant::now(), self.interval);
        tokio::time::sleep_until(slot.into()).await;
    }
}

/// Takes the first slot that is not in the past.
fn slot(next: &mut Instant, now: Instant, interval: Duration) -> Instant {
    let slot = (*next).max(now);
    *next = slot + interval;
    slot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_does_not_depend_on_when_it_is_asked() {
        let begun = Instant::now();
        let mut schedule = Schedule::new(begun, 200.0);
        assert_eq!(schedule.peek(), (0, begun));
        assert_eq!(schedule.take(), (0, begun));
        assert_eq!(schedule.take(), (1, begun + Duration::from_millis(5)));
        for _ in 2..2000 {
            schedule.take();
        }
        assert_eq!(schedule.peek(), (2000, begun + Duration::from_secs(10)));
    }

    #[test]
    fn a_pace_is_kept_and_lost_time_is_not_made_up_for() {
        let begun = Instant::now();
        let ms = Duration::from_millis;
        let mut next = begun;
        let mut turn = |at: u64| slot(&mut next, begun + ms(at), ms(10)).duration_since(begun);
        assert_eq!(turn(0), ms(0));
        assert_eq!(turn(1), ms(10));
        assert_eq!(turn(2), ms(20));
        assert_eq!(turn(500), ms(500));
        assert_eq!(turn(501), ms(510));
    }
}
