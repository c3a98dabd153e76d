//! What one listener has heard of its stream, whatever carried it.
//!
//! Every message says `s=` its number among those for this user (or everyone) and `t=` when it was due, in nanoseconds
//! since the generator's start. So each listener knows what is missing or doubled, and how late it is.
//!
//! **Invariant:** the account outlives the connection. A listener that comes back goes on counting where it was, so what
//! it gets twice over two connections is doubled, and what it gets on neither is missing.
//!
//! Deliberately absent: sockets, TLS, the head of the answer. A transport hands over the bytes of the body as they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;

use crate::http::find;

/// Longest time that is told apart from longer ones, in microseconds.
const TIME_US_MAX: u64 = 600_000_000;
/// Longest frame.
const FRAME_BYTES_MAX: usize = 128 * 1024;
/// What is kept of a buffer that has held a large frame.
const REST_BYTES_KEPT: usize = 1024;

/// What all threads count together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Times that a stream has begun.
    pub(crate) open: AtomicU64,
    /// Listeners that are attached: the stream has begun and, where there is one, its hello has come.
    pub(crate) attached: AtomicU64,
    /// Listeners that have all they are to get.
    pub(crate) complete: AtomicU64,
    /// Messages received.
    pub(crate) received: AtomicU64,
    /// Messages that had been received before.
    pub(crate) doubled: AtomicU64,
    /// Times that a listener was told it may have missed something.
    pub(crate) resets: AtomicU64,
    /// Connections that the server closed, and that stay closed.
    pub(crate) closed: AtomicU64,
    /// Connections that were refused or ended and were tried again.
    pub(crate) retried: AtomicU64,
    /// Deaf connections that the server cut.
    pub(crate) deaf_cut: AtomicU64,
    /// Those of them that the cut did not reach.
    pub(crate) deaf_severed: AtomicU64,
    pub(crate) stop: AtomicBool,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What a counter says.
pub(crate) fn counted(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// By what the streams of one phase are judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// What the times in messages count from.
    pub(crate) started: Instant,
    /// When the phase began.
    pub(crate) begun: Instant,
    /// A stream says `hello` first.
    pub(crate) hello: bool,
    /// Event ids are noted, which costs a look at each frame.
    pub(crate) ids: bool,
    /// So many messages are all that a listener is to get.
    pub(crate) goal: Option<u64>,
}

/// A histogram of times in microseconds.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(TIME_US_MAX, 3).expect("bounds that a histogram may have")
}

/// Times, in microseconds.
#[derive(Debug)]
pub(crate) struct Heard {
    /// From when a message was due until it came.
    pub(crate) latencies: Histogram<u64>,
    /// From the phase's beginning until a listener was attached.
    pub(crate) attached: Histogram<u64>,
    /// From the phase's beginning until a listener had all.
    pub(crate) complete: Histogram<u64>,
}

impl Default for Heard {
    fn default() -> Self {
        Heard { latencies: histogram(), attached: histogram(), complete: histogram() }
    }
}

impl Heard {
    /// Adds what another thread has heard.
    pub(crate) fn add(&mut self, other: &Heard) -> anyhow::Result<()> {
        self.latencies.add(&other.latencies)?;
        self.attached.add(&other.attached)?;
        self.complete.add(&other.complete)?;
        Ok(())
    }
}

/// Where a thread enters what its listeners hear.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) terms: Terms,
    pub(crate) counters: Arc<Counters>,
    pub(crate) heard: Heard,
}

/// One listener's account.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    /// Every message below this number has been received.
    next: u64,
    /// Those beyond it that have been: few, since publishers overtake each other only a little.
    ahead: Vec<u64>,
    last_id: Option<Box<str>>,
    attached: bool,
    complete: bool,
}

impl Stream {
    /// The id of the last event that had one.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How many of the first `goal` messages have not come.
    pub(crate) fn missing(&self, goal: u64) -> u64 {
        goal.saturating_sub(self.next + self.ahead.len() as u64)
    }

    /// Another phase begins: nothing has happened in it yet.
    pub(crate) fn rewind(&mut self) {
        (self.attached, self.complete) = (false, false);
    }

    /// The head of the answer has come.
    pub(crate) fn begin(&mut self, ledger: &mut Ledger) {
        self.rest.clear();
        count(&ledger.counters.open);
        if !ledger.terms.hello {
            self.attach(ledger);
        }
    }

    /// Takes what has come of the body.
    pub(crate) fn take(&mut self, mut received: &[u8], ledger: &mut Ledger) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut messages = 0;
        if !self.rest.is_empty() {
            // Only the frame that was begun is put together; all others are read where they are.
            let split = self.rest.ends_with(b"\n") && received.starts_with(b"\n");
            let end = if split { Some(1) } else { find(received, b"\n\n").map(|at| at + 2) };
            let mut frame = std::mem::take(&mut self.rest);
            frame.extend_from_slice(&received[..end.unwrap_or(received.len())]);
            let Some(end) = end else {
                ensure!(frame.len() <= FRAME_BYTES_MAX, "a frame of over {FRAME_BYTES_MAX} bytes");
                self.rest = frame;
                return Ok(());
            };
            messages += self.frame(&frame[..frame.len() - 2], now, ledger);
            frame.clear();
            frame.shrink_to(REST_BYTES_KEPT);
            self.rest = frame;
            received = &received[end..];
        }
        while let Some(end) = find(received, b"\n\n") {
            messages += self.frame(&received[..end], now, ledger);
            received = &received[end + 2..];
        }
        self.rest.extend_from_slice(received);
        ledger.counters.received.fetch_add(messages, Ordering::Relaxed);
        Ok(())
    }

    /// Takes a frame; gives the number of messages in it.
    fn frame(&mut self, frame: &[u8], now: Instant, ledger: &mut Ledger) -> u64 {
        if ledger.terms.ids
            && let Some(id) = field(frame, b"id:")
        {
            self.last_id = Some(String::from_utf8_lossy(id).into());
        }
        let Some((number, due_ns)) = stamp(frame) else {
            match field(frame, b"event:") {
                Some(b"hello") => self.attach(ledger),
                Some(b"reset") => count(&ledger.counters.resets),
                _ => {}
            }
            return 0;
        };
        let due = ledger.terms.started + Duration::from_nanos(due_ns);
        record(&mut ledger.heard.latencies, now.saturating_duration_since(due));
        if self.note(number) {
            self.check(ledger);
        } else {
            count(&ledger.counters.doubled);
        }
        1
    }

    /// Notes a message; false if it had been received before.
    fn note(&mut self, number: u64) -> bool {
        if number < self.next || self.ahead.contains(&number) {
            return false;
        }
        if number > self.next {
            self.ahead.push(number);
            return true;
        }
        self.next += 1;
        while let Some(at) = self.ahead.iter().position(|ahead| *ahead == self.next) {
            self.ahead.swap_remove(at);
            self.next += 1;
        }
        true
    }

    fn attach(&mut self, ledger: &mut Ledger) {
        if !std::mem::replace(&mut self.attached, true) {
            count(&ledger.counters.attached);
            record(&mut ledger.heard.attached, ledger.terms.begun.elapsed());
            self.check(ledger);
        }
    }

    /// Notes that the listener has all, once it has.
    fn check(&mut self, ledger: &mut Ledger) {
        if self.attached && !self.complete && ledger.terms.goal.is_some_and(|goal| self.next >= goal) {
            self.complete = true;
            count(&ledger.counters.complete);
            record(&mut ledger.heard.complete, ledger.terms.begun.elapsed());
        }
    }
}

/// Notes a time.
pub(crate) fn record(times: &mut Histogram<u64>, time: Duration) {
    times.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// The value of a frame's field, as the standard reads it.
fn field<'a>(frame: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = frame.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    let value = value.strip_suffix(b"\r").unwrap_or(value);
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// The number and the time in a frame: `s=12 t=3456 `.
fn stamp(frame: &[u8]) -> Option<(u64, u64)> {
    let at = find(frame, b"s=")?;
    let mut words = frame[at + 2..].split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(words.next()?).ok();
    let sequence = number()?.parse().ok()?;
    let due = number()?.strip_prefix("t=")?.parse().ok()?;
    Some((sequence, due))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(hello: bool, goal: Option<u64>) -> Ledger {
        let now = Instant::now();
        let terms = Terms { started: now, begun: now, hello, ids: true, goal };
        Ledger { terms, counters: Arc::default(), heard: Heard::default() }
    }

    #[test]
    fn a_frame_tells_its_number_and_its_time() {
        assert_eq!(stamp(b"id: x\ndata: {\"message\":\"s=12 t=3456 xxx\"}"), Some((12, 3456)));
        assert_eq!(stamp(b"event: hello\ndata: {}"), None);
    }

    #[test]
    fn a_field_is_found_behind_the_length_of_a_chunk() {
        assert_eq!(field(b"\r\n5f\r\nid: 12:3\ndata: x", b"id:"), Some(&b"12:3"[..]));
        assert_eq!(field(b"id:x\r\ndata: y", b"id:"), Some(&b"x"[..]));
        assert_eq!(field(b"data: id: no", b"id:"), None);
    }

    #[test]
    fn frames_are_the_same_however_they_are_cut() {
        let body = b"event: hello\nid: a\ndata: {}\n\nid: b\ndata: s=0 t=1 x\n\nid: c\ndata: s=1 t=2 x\n\n: c\n\n";
        for cut in 0..body.len() {
            let (mut stream, mut ledger) = (Stream::default(), ledger(true, Some(2)));
            stream.begin(&mut ledger);
            stream.take(&body[..cut], &mut ledger).expect("frames");
            stream.take(&body[cut..], &mut ledger).expect("frames");
            assert_eq!(counted(&ledger.counters.received), 2, "cut at {cut}");
            assert_eq!(counted(&ledger.counters.doubled), 0, "cut at {cut}");
            assert_eq!(counted(&ledger.counters.attached), 1, "cut at {cut}");
            assert_eq!(counted(&ledger.counters.complete), 1, "cut at {cut}");
            assert_eq!(stream.last_id(), Some("c"), "cut at {cut}");
        }
    }

    #[test]
    fn what_comes_twice_is_doubled_and_what_does_not_come_is_missing() {
        let (mut stream, mut ledger) = (Stream::default(), ledger(false, Some(4)));
        stream.begin(&mut ledger);
        stream.take(b"data: s=0 t=1 \n\ndata: s=2 t=1 \n\ndata: s=2 t=1 \n\n", &mut ledger).expect("frames");
        assert_eq!((counted(&ledger.counters.doubled), stream.missing(4)), (1, 2));
        // Over the next connection too.
        stream.rewind();
        stream.begin(&mut ledger);
        stream.take(b"data: s=0 t=1 \n\ndata: s=1 t=1 \n\ndata: s=3 t=1 \n\n", &mut ledger).expect("frames");
        assert_eq!((counted(&ledger.counters.doubled), stream.missing(4)), (2, 0));
        assert_eq!(counted(&ledger.counters.complete), 1);
    }

    #[test]
    fn who_has_missed_nothing_has_all_once_attached() {
        let (mut stream, mut ledger) = (Stream::default(), ledger(true, Some(0)));
        stream.begin(&mut ledger);
        assert_eq!(counted(&ledger.counters.complete), 0);
        stream.take(b"event: hello\ndata: {}\n\n", &mut ledger).expect("frames");
        assert_eq!(counted(&ledger.counters.complete), 1);
    }
}
