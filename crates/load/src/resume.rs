//! Listeners leave, miss messages, and come back all at once with the id of the last event they had.
//!
//! With nothing missed it is a herd: after a restart of the server, all come at once and have all they need.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::figures::{self, growth_mib, milliseconds, per_second, round, seconds, us_each};
use crate::listeners::{Listener, Listening, Manner, fresh};
use crate::publishers::{Plan, publish};
use crate::run::{SILENCE, left};
use crate::stream::{Terms, counted};
use crate::target::{Target, pause};
use crate::usage::{Usage, Watch, descriptors, tcp_memory_bytes};

/// Have listeners come back
#[derive(Debug, clap::Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    target: Target,
    /// Messages that are published while nobody listens, to everyone or to each user
    #[arg(long, default_value_t = 100)]
    missed: u64,
    /// The server's streams say `hello` first; then only those that have it are attached
    #[arg(long)]
    hello: bool,
    /// Connections that may be under way at once when all come back; without it, all
    #[arg(long)]
    connecting_max: Option<usize>,
}

/// Connections under way at once before it matters.
const CONNECTING_MAX: usize = 256;
/// How long it is watched, at the end, whether anything comes that should not.
const AFTERMATH: Duration = Duration::from_secs(1);

impl Resume {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let started = Instant::now();
        let all = self.target.connections as u64;
        let manner = self.target.manner(CONNECTING_MAX, false)?;
        let descriptors_before = descriptors(&self.target.pid);
        let mut listeners = self.first(&manner, started)?;
        left(&self.target.pid, descriptors_before);
        let missed = self.miss(started)?;

        let mut pid = self.target.pid.clone();
        if self.target.pause {
            let line = pause()?;
            if !line.trim().is_empty() {
                let pids = line.trim().split(',').map(str::parse).collect::<Result<_, _>>();
                pid = pids.with_context(|| format!("not process ids: {}", line.trim()))?;
            }
        }

        let goal = 1 + self.missed;
        let manner = Manner { connecting_max: self.connecting_max.unwrap_or(usize::MAX), persistent: true, ..manner };
        for listener in &mut listeners {
            listener.stream.rewind();
        }
        let (before, tcp_before) = (Usage::of(&pid)?, tcp_memory_bytes()?);
        let watch = Watch::start(&pid);
        let terms = Terms { started, begun: Instant::now(), hello: self.hello, ids: true, goal: Some(goal) };
        let mut listening = Listening::start(&manner, terms, listeners, 0);
        let mut last = (0, Instant::now());
        listening.wait("caught up", |counters| {
            let progress = counted(&counters.received) + counted(&counters.attached);
            if progress != last.0 {
                last = (progress, Instant::now());
            }
            // Servers that lose messages never get there. Until all are back, nobody is given up.
            let silent = counted(&counters.attached) == all && last.1.elapsed() > SILENCE;
            counted(&counters.complete) == all || silent
        })?;
        let after = Usage::of(&pid)?;
        let peak = watch.finish()?;
        std::thread::sleep(AFTERMATH);
        let (heard, listeners, counters) = listening.finish()?;

        let processor = after.processor().saturating_sub(before.processor());
        let (received, doubled) = (counted(&counters.received), counted(&counters.doubled));
        let attached_in = Duration::from_micros(heard.attached.max());
        let missing: u64 = listeners.iter().map(|listener| listener.stream.missing(goal)).sum();
        let complete = counted(&counters.complete);
        figures::print(&json!({
            "connections": all,
            "users": self.target.users,
            "missed": missed,
            "attached_s": seconds(attached_in),
            "attaches_per_s": per_second(all, attached_in),
            "attached_p50_ms": milliseconds(heard.attached.value_at_quantile(0.5)),
            "attached_p99_ms": milliseconds(heard.attached.value_at_quantile(0.99)),
            "complete": complete,
            // Nobody has caught up before all have.
            "caught_up_s": (complete == all).then(|| seconds(Duration::from_micros(heard.complete.max()))),
            "p50_ms": milliseconds(heard.complete.value_at_quantile(0.5)),
            "p99_ms": milliseconds(heard.complete.value_at_quantile(0.99)),
            "received": received,
            "doubled": doubled,
            "lost": missing,
            "resets": counted(&counters.resets),
            "retried": counted(&counters.retried),
            "cpu_s": round(processor.as_secs_f64()),
            "cpu_us_per_listener": us_each(processor, all),
            "growth_mib": growth_mib(peak.resident_bytes.max(after.resident_bytes), before.resident_bytes),
            "tcp_growth_mib": growth_mib(peak.tcp_bytes, tcp_before),
        }));
        ensure!(doubled == 0, "messages were doubled");
        Ok(())
    }

    /// Opens all, and closes them again when each has had a message and with it an id.
    fn first(&self, manner: &Manner, started: Instant) -> anyhow::Result<Vec<Listener>> {
        let all = self.target.connections as u64;
        let terms = Terms { started, begun: started, hello: self.hello, ids: true, goal: Some(1) };
        let mut listening = Listening::start(manner, terms, fresh(self.target.connections), 0);
        listening.wait("connected", |counters| counted(&counters.attached) == all)?;
        publish(&Plan { users: None, count: Some(1), publishers: 1, ..self.target.plan(started) })?;
        listening.wait("all had the first message", |counters| counted(&counters.complete) == all)?;
        let (_, listeners, _) = listening.finish()?;
        let without = listeners.iter().filter(|listener| listener.stream.last_id().is_none()).count();
        ensure!(without == 0, "{without} listeners got no event id: this server's streams cannot be resumed");
        Ok(listeners)
    }

    /// Publishes what nobody hears; gives the number of messages.
    fn miss(&self, started: Instant) -> anyhow::Result<u64> {
        let plan = self.target.plan(started);
        let count = self.missed * plan.users.unwrap_or(1) as u64;
        if count == 0 {
            return Ok(0);
        }
        Ok(publish(&Plan { first: 1, count: Some(count), ..plan })?.acknowledged)
    }
}
