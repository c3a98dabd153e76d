//! One measurement: connect, wait until all are open, publish, wait until all has arrived.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::publishers::{Plan, publish};
use crate::subscribers::{Counters, LATENCY_US_MAX, Share, listen};
use crate::usage::{Usage, tcp_memory_bytes};

/// Load a server
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// The server
    #[arg(long, default_value = "127.0.0.1:8000")]
    server: SocketAddr,
    /// Its processes, to read what they use
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// Server key for publishing
    #[arg(long)]
    key: Option<String>,
    /// Connections that listen
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Connections beside them that never read
    #[arg(long, default_value_t = 0)]
    deaf: usize,
    /// Users that the connections are spread over
    #[arg(long, default_value_t = 1)]
    users: usize,
    /// Publish to the users in turn instead of to everyone
    #[arg(long)]
    per_user: bool,
    /// Messages a second; without it, as many as are acknowledged
    #[arg(long)]
    rate: Option<f64>,
    /// Most messages
    #[arg(long)]
    count: Option<u64>,
    /// Longest time of publishing, in seconds
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Connections that publish
    #[arg(long, default_value_t = 16)]
    publishers: usize,
    /// Size of a message, in bytes
    #[arg(long, default_value_t = 200)]
    bytes: usize,
    /// Time at rest after connecting, before publishing, in seconds
    #[arg(long, default_value_t = 1.0)]
    rest: f64,
}

/// How long anything may stay unfinished before the run has failed.
const PATIENCE: Duration = Duration::from_mins(2);

impl Run {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let started = Instant::now();
        let counters = Arc::new(Counters::default());
        let before = Usage::of(&self.pid)?;
        let tcp_before = tcp_memory_bytes()?;
        let mut listening = self.connect(started, &counters);
        let all = (self.connections + self.deaf) as u64;
        wait(&mut listening, || counters.open.load(Ordering::Relaxed) == all)?;
        let connected_in = started.elapsed();
        let connected = Usage::of(&self.pid)?;
        std::thread::sleep(Duration::from_secs_f64(self.rest));
        let rested = Usage::of(&self.pid)?;

        let publishing = Instant::now();
        let published = publish(&Plan {
            server: self.server,
            started,
            key: self.key.clone(),
            publishers: self.publishers,
            users: self.per_user.then_some(self.users),
            message_bytes: self.bytes,
            rate: self.rate,
            count: self.count,
            duration: Duration::from_secs_f64(self.seconds),
        })?;
        let sent = Usage::of(&self.pid)?;
        let expected = self.expected(published.acknowledged);
        let mut last = (counters.received.load(Ordering::Relaxed), Instant::now());
        let arrived = wait(&mut listening, || {
            let received = counters.received.load(Ordering::Relaxed);
            if received != last.0 {
                last = (received, Instant::now());
            }
            // Servers that lose messages never get there; they are given up when nothing more comes.
            received >= expected || last.1.elapsed() > Duration::from_secs(5)
        });
        arrived?;
        let delivered_in = last.1.duration_since(publishing);
        let after = Usage::of(&self.pid)?;
        let tcp_after = tcp_memory_bytes()?;
        counters.stop.store(true, Ordering::Relaxed);
        let mut latencies: Histogram<u64> = Histogram::new_with_max(LATENCY_US_MAX, 3)?;
        for thread in listening {
            latencies.add(thread.join().expect("a listening thread does not panic")?)?;
        }
        let received = counters.received.load(Ordering::Relaxed);
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let milliseconds = |us: u64| round(f64_of(us) / 1000.0);
        let processor = after.processor().saturating_sub(rested.processor());
        println_json(&json!({
            "connections": self.connections,
            "users": self.users,
            "connected_s": round(connected_in.as_secs_f64()),
            "connect_cpu_us": round(micros(connected.processor().saturating_sub(before.processor())) / f64_of(all)),
            "bytes_per_connection": (signed(rested.resident_bytes) - signed(before.resident_bytes)) / signed(all.max(1)),
            "rest_cpu_share": round((rested.processor().saturating_sub(connected.processor())).as_secs_f64() / self.rest.max(0.001)),
            "published": published.acknowledged,
            "publishes_per_s": round(f64_of(published.acknowledged) / published.took.as_secs_f64()),
            "publish_p50_ms": milliseconds(published.latencies.value_at_quantile(0.5)),
            "publish_p99_ms": milliseconds(published.latencies.value_at_quantile(0.99)),
            "expected": expected,
            "received": received,
            "doubled": count(&counters.doubled),
            "lost": expected.saturating_sub(received),
            "closed": count(&counters.closed),
            "deliveries_per_s": round(f64_of(received) / delivered_in.as_secs_f64()),
            "p50_ms": milliseconds(latencies.value_at_quantile(0.5)),
            "p99_ms": milliseconds(latencies.value_at_quantile(0.99)),
            "max_ms": milliseconds(latencies.max()),
            "cpu_s_per_million": round(processor.as_secs_f64() * 1e6 / f64_of(received.max(1))),
            "cpu_user_share": round((after.user.saturating_sub(rested.user)).as_secs_f64() / processor.as_secs_f64().max(0.001)),
            "growth_mib": round(f64_of(sent.resident_bytes.max(after.resident_bytes).saturating_sub(rested.resident_bytes)) / 1_048_576.0),
            "tcp_growth_mib": round(f64_of(tcp_after.saturating_sub(tcp_before)) / 1_048_576.0),
        }));
        ensure!(count(&counters.doubled) == 0, "messages were doubled");
        Ok(())
    }

    /// How many messages must arrive in all.
    fn expected(&self, acknowledged: u64) -> u64 {
        if !self.per_user {
            return acknowledged * self.connections as u64;
        }
        let (users, connections) = (self.users as u64, self.connections as u64);
        // User n gets one more if the last round came as far as her; connection n is of user n modulo users.
        let listeners = |user: u64| connections / users + u64::from(user < connections % users);
        let whole = acknowledged / users;
        (0..users).map(|user| (whole + u64::from(user < acknowledged % users)) * listeners(user)).sum()
    }

    fn connect(&self, started: Instant, counters: &Arc<Counters>) -> Vec<JoinHandle<anyhow::Result<Histogram<u64>>>> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let share = |connections: Vec<usize>, deaf: bool| Share {
            server: self.server,
            started,
            connections,
            users: self.users,
            deaf,
            connecting_max: 256 / threads,
        };
        let mut shares: Vec<Share> =
            (0..threads).map(|thread| share((thread..self.connections).step_by(threads).collect(), false)).collect();
        if self.deaf > 0 {
            shares.push(share((self.connections..self.connections + self.deaf).collect(), true));
        }
        shares
            .into_iter()
            .map(|share| {
                let counters = Arc::clone(counters);
                std::thread::spawn(move || listen(&share, &counters))
            })
            .collect()
    }
}

/// Waits for a condition; fails if a listening thread has ended or patience has.
fn wait<T>(
    listening: &mut Vec<JoinHandle<anyhow::Result<T>>>,
    mut condition: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !condition() {
        if let Some(ended) = listening.iter().position(JoinHandle::is_finished) {
            let outcome = listening.swap_remove(ended).join().expect("a listening thread does not panic");
            outcome.context("a listening thread has failed")?;
            bail!("a listening thread has ended before its time");
        }
        ensure!(begun.elapsed() < PATIENCE, "it did not happen within {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the one line of data")]
fn println_json(value: &serde_json::Value) {
    println!("{value}");
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn f64_of(number: u64) -> f64 {
    number as f64
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn round(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
