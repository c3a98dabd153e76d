//! Noisy neighbours: how much one abusive client costs all other users.
//!
//! In one run: everybody else alone, then beside the abuse, then alone again. The server is another process; the abuser
//! and everybody else are threads of this one.
//!
//! Deliberately absent: starting the server. The script that starts it decides from which network it is reached, since a server
//! may trust the addresses of its own machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use crate::figures::{self, real, round};
use crate::usage::Usage;

mod abuse;
mod client;
mod others;
mod phases;
mod requests;
mod schedule;
mod site;
mod sockets;
mod streams;

use abuse::{Abuse, Abuser};
use others::{Others, Rates};
use phases::{Deed, Ledger, Phase};
use site::Site;

/// How one client misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Not an abuse: requests for /healthz, as many a second as most abuses make
    Control,
    /// A user mutes 100 categories and hears them again, on one connection
    Mutes,
    /// A user opens and closes streams, 600 at a time
    Streams,
    /// The same, by a user with a long history of mutes who does not wait for a stream to begin
    Abandoned,
    /// 200 users who have muted the category of 300,000 broadcasts open streams at once
    Returning,
    /// A user marks notifications read and unread, on 4 connections
    Marks,
    /// A user polls from the beginning of the log, on 100 connections
    Polls,
    /// A user asks for pages of the inbox by category, topic and status, on 8 connections
    Pages,
    /// A server key publishes batches of 1,000 one after the other
    Batches,
    /// A server key publishes batches of 3.7 MB, 16 at once
    LargeBatches,
    /// A user sends 5,000 request bodies at a byte a second
    SlowBodies,
    /// An address opens 5,000 connections and sends nothing
    SilentSockets,
    /// A user opens more streams than allowed and keeps the refused connections
    Lingering,
    /// A user opens streams in ever new combinations of languages
    Languages,
    /// A user asks for tickets that are never used
    Tickets,
}

impl Kind {
    fn abuse(self) -> Box<dyn Abuse> {
        match self {
            Kind::Control => Box::new(requests::Control),
            Kind::Mutes => Box::new(requests::Mutes::default()),
            Kind::Streams => Box::new(streams::Streams::opened()),
            Kind::Abandoned => Box::new(streams::Streams::abandoned()),
            Kind::Returning => Box::new(streams::Returning::default()),
            Kind::Marks => Box::new(requests::Marks::default()),
            Kind::Polls => Box::new(requests::Reads::polls()),
            Kind::Pages => Box::new(requests::Reads::pages()),
            Kind::Batches => Box::new(requests::Batches::one_by_one()),
            Kind::LargeBatches => Box::new(requests::Batches::large()),
            Kind::SlowBodies => Box::new(sockets::SlowBodies::default()),
            Kind::SilentSockets => Box::new(sockets::Silent),
            Kind::Lingering => Box::new(streams::Lingering::default()),
            Kind::Languages => Box::new(streams::Languages::default()),
            Kind::Tickets => Box::new(requests::Reads::tickets()),
        }
    }
}

/// Measure what one abusive client costs all other users
#[derive(Debug, clap::Args)]
pub(crate) struct Neighbours {
    /// The abuse
    #[arg(value_enum)]
    abuse: Kind,
    /// The server; clients come from other addresses of its /24 network, which must all be this machine's
    #[arg(long)]
    server: SocketAddr,
    /// Its process, to read what it uses
    #[arg(long)]
    pid: u32,
    /// Server key of everybody else
    #[arg(long)]
    key: String,
    /// Key to sign user tokens with (HS256)
    #[arg(long)]
    token_key: String,
    /// Publish requests of everybody else a second
    #[arg(long, default_value_t = 200.0)]
    publishes: f64,
    /// Streams that everybody else opens in a second
    #[arg(long, default_value_t = 40.0)]
    streams: f64,
    /// Length of the phase before the abuse, in seconds
    #[arg(long, default_value_t = 4.0)]
    alone: f64,
    /// Length of the abuse, in seconds
    #[arg(long, default_value_t = 6.0)]
    abused: f64,
    /// Length of the phase after it, in seconds
    #[arg(long, default_value_t = 2.0)]
    after: f64,
    /// Time after which a request of everybody else counts as unanswered, in seconds
    #[arg(long, default_value_t = 15.0)]
    patience: f64,
}

/// Time in which the first connections are opened.
const SETTLING: Duration = Duration::from_millis(700);
const KIBIBYTES_PER_MEBIBYTE: f64 = 1024.0;

impl Neighbours {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let site = Arc::new(Site::new(self.server, &self.key, &self.token_key));
        let abuser = Abuser::prepare(self.abuse.abuse(), &site)?;
        let ledger = Arc::new(Ledger::new());
        let patience = Duration::from_secs_f64(self.patience);
        let rates = Rates { publishes_per_second: self.publishes, streams_per_second: self.streams, patience };
        let others = Others::start(&site, &ledger, rates)?;
        std::thread::sleep(SETTLING);

        let mut phases = json!({});
        let mut cores = Vec::new();
        let rest = |phase, seconds: f64| -> anyhow::Result<f64> {
            ledger.enter(phase);
            let (begun, before) = (Instant::now(), Usage::of(&[self.pid])?);
            std::thread::sleep(Duration::from_secs_f64(seconds));
            let used = Usage::of(&[self.pid])?.processor().saturating_sub(before.processor());
            Ok(round(used.as_secs_f64() / begun.elapsed().as_secs_f64()))
        };
        cores.push((Phase::Alone, rest(Phase::Alone, self.alone)?));
        let resident_before = forget_peak(self.pid)?;
        let abusing = abuser.begin();
        cores.push((Phase::Abused, rest(Phase::Abused, self.abused)?));
        ledger.enter(Phase::After);
        let tally = abusing.stop()?;
        cores.push((Phase::After, rest(Phase::After, self.after)?));
        others.finish();
        let mut errors = 0;
        for (phase, used) in cores {
            errors += ledger.errors(phase);
            phases[phase.name()] = ledger.figures(phase);
            phases[phase.name()]["server_cores"] = json!(used);
        }
        figures::print(&json!({
            "publish_p99_ratio": ledger.ratio(Deed::Publish, 0.99, Phase::Abused),
            "publish_p50_ratio": ledger.ratio(Deed::Publish, 0.5, Phase::Abused),
            "stream_p95_ratio": ledger.ratio(Deed::Stream, 0.95, Phase::Abused),
            "stream_p50_ratio": ledger.ratio(Deed::Stream, 0.5, Phase::Abused),
            "abused_s": self.abused,
            "errors": errors,
            "resident_before_mib": round(real(resident_before) / KIBIBYTES_PER_MEBIBYTE),
            "peak_mib": round(real(status_kib(self.pid, "VmHWM:")?) / KIBIBYTES_PER_MEBIBYTE),
            "phases": phases,
            "abuser": tally.figures(),
        }));
        Ok(())
    }
}

/// Has the kernel measure the peak of resident memory anew; gives what is resident now, in KiB.
fn forget_peak(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").context(path)?;
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
