//! One measurement: connect, wait until all are open, publish, wait until all has arrived.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use crate::figures::{self, growth, growth_each, growth_mib, milliseconds, per_second, round, seconds, us_each};
use crate::listeners::{Listening, Manner, fresh};
use crate::publishers::{Plan, publish};
use crate::stream::{Terms, counted};
use crate::target::{Target, pause};
use crate::usage::{Usage, Watch, descriptors, tcp_memory_bytes};

/// Load a server
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    #[command(flatten)]
    target: Target,
    /// Connections beside them that never read
    #[arg(long, default_value_t = 0)]
    deaf: usize,
    /// Times that all connections are opened and closed again beforehand
    #[arg(long, default_value_t = 0)]
    churn: usize,
    /// Messages a second; without it, as many as are acknowledged
    #[arg(long)]
    rate: Option<f64>,
    /// Most messages
    #[arg(long)]
    count: Option<u64>,
    /// Longest time of publishing, in seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Time at rest after connecting, before publishing, in seconds
    #[arg(long, default_value_t = 1.0)]
    rest: f64,
    /// Connections that may be under way at once
    #[arg(long, default_value_t = 256)]
    connecting_max: usize,
}

/// After which silence what has not come is lost.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);
/// How long a server is given to notice that all have left.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(10);
/// How long it may tidy up after that.
const TIDY_TIME: Duration = Duration::from_secs(1);

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let manner = self.target.manner(self.connecting_max, false)?;
        let pid = &self.target.pid;
        let all = (self.target.connections + self.deaf) as u64;
        let descriptors_before = descriptors(pid);
        let before = Usage::of(pid)?;
        for _ in 0..self.churn {
            self.connect(&manner, Instant::now())?.finish()?;
            left(pid, descriptors_before);
        }
        let churned = Usage::of(pid)?;
        let (churned_descriptors, tcp_before) = (descriptors(pid), tcp_memory_bytes()?);

        let started = Instant::now();
        let mut listening = self.connect(&manner, started)?;
        let connected_in = started.elapsed();
        let connected = Usage::of(pid)?;
        std::thread::sleep(Duration::from_secs_f64(self.rest));
        let (rested, tcp_rested) = (Usage::of(pid)?, tcp_memory_bytes()?);
        if self.target.pause {
            pause()?;
        }

        let watch = Watch::start(pid);
        let publishing = Instant::now();
        let published = publish(&Plan {
            rate: self.rate,
            count: self.count,
            duration: Duration::from_secs_f64(self.seconds),
            ..self.target.plan(started)
        })?;
        let expected = self.expected(published.acknowledged);
        let mut last = (counted(&listening.counters.received), Instant::now());
        listening.wait("delivered", |counters| {
            let received = counted(&counters.received);
            if received != last.0 {
                last = (received, Instant::now());
            }
            // Servers that lose messages never get there; they are given up when nothing more comes.
            received >= expected || last.1.elapsed() > SILENCE
        })?;
        let delivered_in = last.1.duration_since(publishing);
        let (after, descriptors_after) = (Usage::of(pid)?, descriptors(pid));
        let peak = watch.finish()?;
        let (heard, _, counters) = listening.finish()?;

        let (received, doubled) = (counted(&counters.received), counted(&counters.doubled));
        let processor = after.processor().saturating_sub(rested.processor());
        let resident_peak = peak.resident_bytes.max(after.resident_bytes);
        figures::print(&json!({
            "connections": self.target.connections,
            "users": self.target.users,
            "connected_s": seconds(connected_in),
            "connects_per_s": per_second(all, connected_in),
            "connect_cpu_us": us_each(connected.processor().saturating_sub(churned.processor()), all),
            "bytes_per_connection": growth_each(rested.resident_bytes, before.resident_bytes, all),
            "bytes_after_churn": growth(churned.resident_bytes, before.resident_bytes),
            "descriptors_after_churn": growth(churned_descriptors, descriptors_before),
            "rest_cpu_share": round((rested.processor().saturating_sub(connected.processor())).as_secs_f64() / self.rest.max(0.001)),
            "published": published.acknowledged,
            "publishes_per_s": per_second(published.acknowledged, published.took),
            "publish_cpu_us": us_each(processor, published.acknowledged),
            "publish_p50_ms": milliseconds(published.latencies.value_at_quantile(0.5)),
            "publish_p99_ms": milliseconds(published.latencies.value_at_quantile(0.99)),
            "expected": expected,
            "received": received,
            "doubled": doubled,
            "lost": expected.saturating_sub(received.saturating_sub(doubled)),
            "closed": counted(&counters.closed),
            "deaf_cut": counted(&counters.deaf_cut),
            "deaf_cut_quietly": counted(&counters.deaf_severed),
            "retried": counted(&counters.retried),
            "deliveries_per_s": per_second(received, delivered_in),
            "p50_ms": milliseconds(heard.latencies.value_at_quantile(0.5)),
            "p90_ms": milliseconds(heard.latencies.value_at_quantile(0.9)),
            "p99_ms": milliseconds(heard.latencies.value_at_quantile(0.99)),
            "max_ms": milliseconds(heard.latencies.max()),
            "cpu_s_per_million": us_each(processor, received),
            "cpu_user_share": round(after.user.saturating_sub(rested.user).as_secs_f64() / processor.as_secs_f64().max(0.001)),
            "growth_mib": growth_mib(resident_peak, rested.resident_bytes),
            "tcp_growth_mib": growth_mib(peak.tcp_bytes, tcp_before),
            "tcp_bytes_per_connection": growth_each(tcp_rested, tcp_before, all),
            "tcp_bytes_per_deaf": (self.deaf > 0).then(|| growth_each(peak.tcp_bytes, tcp_rested, self.deaf as u64)),
            "descriptors": growth(descriptors_after, descriptors_before),
        }));
        ensure!(doubled == 0, "messages were doubled");
        Ok(())
    }

    /// How many messages must arrive in all.
    fn expected(&self, acknowledged: u64) -> u64 {
        let Target { connections, users, per_user, .. } = self.target;
        if !per_user {
            return acknowledged * connections as u64;
        }
        let (users, connections) = (users as u64, connections as u64);
        // User n gets one more if the last round came as far as her; connection n is of user n modulo users.
        let listeners = |user: u64| connections / users + u64::from(user < connections % users);
        let whole = acknowledged / users;
        (0..users).map(|user| (whole + u64::from(user < acknowledged % users)) * listeners(user)).sum()
    }

    /// Opens all.
    fn connect(&self, manner: &Manner, started: Instant) -> anyhow::Result<Listening> {
        let terms = Terms { started, begun: started, hello: false, ids: false, goal: None };
        let mut listening = Listening::start(manner, terms, fresh(self.target.connections), self.deaf);
        let all = (self.target.connections + self.deaf) as u64;
        listening.wait("connected", |counters| counted(&counters.open) >= all)?;
        let closed = counted(&listening.counters.closed);
        ensure!(closed == 0, "the server closed {closed} streams while others were being opened");
        Ok(listening)
    }
}

/// Waits until a server has noticed that all have left, or has had long enough to, and has tidied up.
pub(crate) fn left(processes: &[u32], descriptors_before: u64) {
    let begun = Instant::now();
    while descriptors(processes) > descriptors_before && begun.elapsed() < LEAVING_TIME_MAX {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(TIDY_TIME);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: Run,
    }

    fn run(options: &str) -> Run {
        Cli::parse_from(std::iter::once("run").chain(options.split(' '))).run
    }

    #[test]
    fn all_that_must_arrive_is_what_each_connection_is_due() {
        assert_eq!(run("--connections 5 --users 2").expected(3), 15);
        // Connections 0, 2, 4 are of user 0, who gets two of the three messages.
        assert_eq!(run("--connections 5 --users 2 --per-user").expected(3), 2 * 3 + 2);
        assert_eq!(run("--connections 0 --users 2 --per-user").expected(3), 0);
    }
}
