//! What operators watch: counters, gauges and histograms, in the text format of `OpenMetrics` 1.0, which Prometheus reads.
//!
//! Each part of the house counts its own; this file says what there is, under which name. Names and labels are a contract:
//! dashboards and alerts stand on them.
//!
//! **Invariant:** how many series there are does not depend on what users do: no label holds a user, a topic, an id or a
//! path that somebody chose.
//!
//! Deliberately absent: anything that is measured per event on the way to a socket. Engines count in plain numbers of their
//! own and add them here once in a while.

use std::fmt;
use std::time::Duration;

use procfs::process::LimitValue;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::diagnostics;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of them.
#[derive(Debug)]
pub struct Metrics {
    /// Of streams.
    pub streams: Streams,
    /// Of the log.
    pub log: Log,
    /// Of requests.
    pub requests: Requests,
    /// Issuers of user tokens whose keys can't be had, as of the last look.
    pub issuers_without_keys: Gauge,
    /// Bytes of the bodies of all requests that are under way, as of the last look.
    pub body_bytes: Gauge,
    /// Connections to the public listener that have lost their place, or got none.
    pub connections_dropped: Connections,
    registry: Registry,
}

/// Connections that have been dropped, by reason.
pub type Connections = Family<Dropped, Counter>;

/// Why a connection was dropped.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Dropped {
    /// One of [`Dropped::REASONS`].
    pub reason: &'static str,
}

impl Dropped {
    /// `place`: for a new one, when all places were taken. `address`: for a new one from the same address, which had as many
    /// as it may have. `lingering`: after its last answer, since too many lingered. `full`: when it was new, since those that
    /// have the places were all busy. `pace`: when it was new, since those from its address came too fast. `accept`: the
    /// system gave no descriptor for it; it is not closed, and waits.
    pub const REASONS: [&str; 6] = ["place", "address", "lingering", "full", "pace", "accept"];
}

/// Of streams.
#[derive(Clone, Debug)]
pub struct Streams {
    /// Open ones.
    pub open: Gauge,
    /// Open ones that have not yet been given all that is theirs: their readers are slow, or have just come.
    pub behind: Gauge,
    /// Those that have begun.
    pub opened: Family<Beginning, Counter>,
    /// Those that have ended.
    pub closed: Family<End, Counter>,
    /// Those that were asked for and have not begun: their clients were asked to come back.
    pub refused: Family<Refused, Counter>,
    /// Events that the kernel has taken, heartbeats among them.
    pub events: Counter,
    /// Bytes that the kernel has taken.
    pub bytes: Counter,
    /// From a commit until an engine has written it to every open stream that takes it, in seconds. An entry that none takes
    /// is not counted.
    pub delivery_seconds: Histogram,
}

/// How a stream began.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Beginning {
    /// `full`: where the client said, or with what is new. `reset`: elsewhere, since what the client said is no longer
    /// there; it was told.
    pub resumed: &'static str,
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct End {
    /// `peer`: its client went away. `stalled`: its client took nothing for too long. `ended`: it had reached its age, its
    /// token had expired, or the server was about to end. `unavailable`: the store could not be read.
    pub reason: &'static str,
}

/// Why a stream was refused.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Refused {
    /// One of [`Refused::REASONS`].
    pub reason: &'static str,
}

impl Refused {
    /// `full`: there were as many as there may be. `address`, `user`: its address or its user had as many as it may have.
    /// `places`: all places for requests were taken. `polls`: it was a poll, and there were as many as there may be.
    /// `credential`: its credential could not be checked at that moment. `draining`: the server was about to end.
    pub const REASONS: [&str; 7] = ["full", "address", "user", "places", "polls", "credential", "draining"];
}

impl Streams {
    /// Counts a stream that is refused, for one of [`Refused::REASONS`].
    pub fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&Refused { reason }).inc();
    }
}

/// Of the log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Its entries since the start.
    pub entries: Family<Kind, Counter>,
    /// Its newest position.
    pub head: Gauge,
    /// The size of its file, looked at once a minute; the part that is written first (`-wal`) is not in it.
    pub file_bytes: Gauge,
    /// The size of that part, after the last commit.
    pub wal_bytes: Gauge,
    /// What keeps the file in order and failed.
    pub maintenance_failed: Family<Work, Counter>,
    /// How long a commit took, with its fsync, in seconds.
    pub commit_seconds: Histogram,
    /// Commits that failed.
    pub commits_failed: Counter,
    /// Rows and pages of its file that are not as they were written, each counted once.
    pub damaged: Counter,
    /// Entries and other changes that had been committed and are gone, as a start finds; 1 where the number is not known.
    pub lost: Counter,
}

/// What an entry of the log says.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Kind {
    /// In a word.
    pub kind: &'static str,
}

/// What keeps the file in order.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Work {
    /// `checkpoint`: from the `-wal` to the file. `trim`: of what is too old. `trim_user`: of what a user has too much of.
    /// `expire`: of what has expired. `erase`: of what was an erased user's. `vacuum`: of pages given back to the disk.
    /// `scrub`: zeros over what pages have that belongs to no row. `head`: of `pregon.head`, after each commit.
    pub work: &'static str,
}

/// Of requests.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Those that have been answered.
    pub answered: Family<Answered, Counter>,
    /// How long it took until the head of the answer was there, in seconds; a stream's is there at once.
    pub seconds: Family<Route, Histogram, fn() -> Histogram>,
}

/// How a request was answered.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Answered {
    /// The pattern of its path, as in the API's document; empty if there is none.
    pub route: String,
    /// Its method; `OTHER` if it is none of HTTP's own.
    pub method: &'static str,
    /// The status of the answer.
    pub status: u16,
}

/// A route.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Route {
    /// Its pattern.
    pub route: String,
}

/// From 0.1 ms to 26 s, each bound four times the one before.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            open: Gauge::default(),
            behind: Gauge::default(),
            opened: Family::default(),
            closed: Family::default(),
            refused: Family::default(),
            events: Counter::default(),
            bytes: Counter::default(),
            delivery_seconds: durations(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Log {
            entries: Family::default(),
            head: Gauge::default(),
            file_bytes: Gauge::default(),
            wal_bytes: Gauge::default(),
            maintenance_failed: Family::default(),
            commit_seconds: durations(),
            commits_failed: Counter::default(),
            damaged: Counter::default(),
            lost: Counter::default(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let (streams, log) = (Streams::default(), Log::default());
        let requests = Requests { answered: Family::default(), seconds: Family::new_with_constructor(durations) };
        let (issuers_without_keys, body_bytes) = (Gauge::default(), Gauge::default());
        let connections_dropped = Connections::default();
        // So that also the first of each is an increase.
        for reason in Dropped::REASONS {
            drop(connections_dropped.get_or_create(&Dropped { reason }));
        }
        for reason in Refused::REASONS {
            drop(streams.refused.get_or_create(&Refused { reason }));
        }
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("pregon");
        own.register("build", "Which program this is", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        own.register("streams", "Open streams", streams.open.clone());
        own.register("streams_behind", "Open streams not yet given all that is theirs", streams.behind.clone());
        own.register("streams_opened", "Streams begun, by where", streams.opened.clone());
        own.register("streams_closed", "Streams ended, by why", streams.closed.clone());
        own.register("streams_refused", "Streams asked to come back, by why", streams.refused.clone());
        own.register("stream_events", "Events taken by the kernel, heartbeats among them", streams.events.clone());
        own.register_with_unit("stream", "Bytes taken by the kernel", Unit::Bytes, streams.bytes.clone());
        let delivery = "From a commit until an engine has written it to every stream that takes it";
        own.register_with_unit("delivery", delivery, Unit::Seconds, streams.delivery_seconds.clone());
        own.register("log_entries", "Entries of the log since the start, by what they say", log.entries.clone());
        own.register("log_head", "The newest position of the log", log.head.clone());
        own.register_with_unit("store", "The store's file, once a minute", Unit::Bytes, log.file_bytes.clone());
        let wal = "The store's -wal, after each commit";
        own.register_with_unit("store_wal", wal, Unit::Bytes, log.wal_bytes.clone());
        let failed = "Work that keeps the store in order and failed, by kind";
        own.register("maintenance_failed", failed, log.maintenance_failed.clone());
        own.register_with_unit("commit", "A commit, with its fsync", Unit::Seconds, log.commit_seconds.clone());
        own.register("commits_failed", "Commits that failed", log.commits_failed.clone());
        own.register("store_damaged", "Rows and pages of the store's file that are damaged", log.damaged.clone());
        own.register("log_lost", "Changes of the log that had been committed and are gone", log.lost.clone());
        own.register("requests", "Requests answered", requests.answered.clone());
        let answer = "Until the head of an answer was there";
        own.register_with_unit("request", answer, Unit::Seconds, requests.seconds.clone());
        let issuers = "Issuers of user tokens whose keys can't be had";
        own.register("issuers_without_keys", issuers, issuers_without_keys.clone());
        own.register("request_body_bytes", "Bytes of the bodies of requests that are under way", body_bytes.clone());
        let dropped = "Connections to the public listener dropped, or not accepted, by why";
        own.register("connections_dropped", dropped, connections_dropped.clone());
        registry.register_collector(Box::new(Diagnostics));
        registry.register_collector(Box::new(Process));
        Metrics { streams, log, requests, issuers_without_keys, body_bytes, connections_dropped, registry }
    }
}

/// The process log, which all servers of a process share.
#[derive(Debug)]
struct Diagnostics;

impl Collector for Diagnostics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lost = ConstCounter::new(diagnostics::lines_lost());
        let help = "Lines of the process log that stderr did not take";
        lost.encode(encoder.encode_descriptor("pregon_stderr_lines_lost", help, None, lost.metric_type())?)
    }
}

/// What the system says of this process, under the names that Prometheus' own libraries give it.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Without /proc there is nothing to say.
        let Ok(known) = Known::now() else { return Ok(()) };
        let cpu = ConstCounter::new(known.cpu_seconds);
        let help = "Processor time, user and system";
        cpu.encode(encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
        for (name, help, unit, value) in [
            ("process_resident_memory", "Resident memory", Some(&Unit::Bytes), known.resident_bytes),
            ("process_open_fds", "Open descriptors", None, known.descriptors),
            ("process_max_fds", "Most open descriptors", None, known.descriptors_max),
            ("process_start_time", "When it started, since 1970", Some(&Unit::Seconds), known.started),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// What the system says.
struct Known {
    cpu_seconds: f64,
    resident_bytes: u64,
    descriptors: u64,
    descriptors_max: u64,
    started: u64,
}

impl Known {
    fn now() -> procfs::ProcResult<Known> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let per_second = procfs::ticks_per_second();
        let descriptors_max = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Unlimited => u64::MAX,
            LimitValue::Value(most) => most,
        };
        Ok(Known {
            cpu_seconds: Duration::from_millis((stat.utime + stat.stime) * 1000 / per_second).as_secs_f64(),
            resident_bytes: stat.rss * procfs::page_size(),
            descriptors: process.fd_count()? as u64,
            descriptors_max,
            started: procfs::boot_time_secs()? + stat.starttime / per_second,
        })
    }
}

impl Metrics {
    /// All of them as text, as of now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut written = String::new();
        text::encode(&mut written, &self.registry).expect("a string takes everything");
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_what_was_counted_and_what_the_system_says() {
        let metrics = Metrics::default();
        metrics.streams.closed.get_or_create(&End { reason: "peer" }).inc();
        metrics.streams.bytes.inc_by(7);
        metrics.log.commit_seconds.observe(0.0003);
        let answered = Answered { route: "/v1/inbox".into(), method: "GET", status: 200 };
        metrics.requests.answered.get_or_create(&answered).inc();
        let text = metrics.text();
        for line in [
            concat!("pregon_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "pregon_streams 0",
            "pregon_connections_dropped_total{reason=\"pace\"} 0",
            "pregon_streams_closed_total{reason=\"peer\"} 1",
            "pregon_streams_refused_total{reason=\"full\"} 0",
            "pregon_stream_bytes_total 7",
            "pregon_commit_seconds_bucket{le=\"0.0004\"} 1",
            "pregon_requests_total{route=\"/v1/inbox\",method=\"GET\",status=\"200\"} 1",
            "# TYPE process_cpu_seconds counter",
            "# TYPE pregon_stderr_lines_lost counter",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
        let resident = text.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
        assert!(resident.expect("it is there").parse::<u64>().expect("a number") > 1_000_000);
    }
}
