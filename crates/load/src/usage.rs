//! What a process uses, from `/proc`.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;

/// A reading of one or more processes that belong to one server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident_bytes: u64,
    /// Time on a processor so far, in user and kernel.
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

/// Linux counts processor time in steps of 10 ms for `/proc`.
const CLOCK_TICK: Duration = Duration::from_millis(10);
const PAGE_BYTES: u64 = 4096;

impl Usage {
    /// Reads these processes.
    pub(crate) fn of(processes: &[u32]) -> anyhow::Result<Usage> {
        let mut usage = Usage::default();
        for process in processes {
            let path = format!("/proc/{process}/stat");
            let stat = std::fs::read_to_string(&path).context(path)?;
            // The name in parentheses may hold anything; fields are counted after it.
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            usage.user += CLOCK_TICK * u32::try_from(field(14))?;
            usage.system += CLOCK_TICK * u32::try_from(field(15))?;
            usage.resident_bytes += field(24) * PAGE_BYTES;
        }
        Ok(usage)
    }

    /// Time on a processor in all.
    pub(crate) fn processor(&self) -> Duration {
        self.user + self.system
    }
}

/// Kernel memory of all TCP sockets of this network namespace, in bytes.
pub(crate) fn tcp_memory_bytes() -> anyhow::Result<u64> {
    let path = "/proc/net/sockstat";
    let text = std::fs::read_to_string(path).context(path)?;
    let line = text.lines().find(|line| line.starts_with("TCP:")).context("no TCP line")?;
    let pages: u64 = line.split_whitespace().last().context("no figure")?.parse()?;
    Ok(pages * PAGE_BYTES)
}

/// Descriptors that these processes hold open; nothing if they may not be looked at.
pub(crate) fn descriptors(processes: &[u32]) -> u64 {
    let held = |process: &u32| std::fs::read_dir(format!("/proc/{process}/fd")).map_or(0, |held| held.count() as u64);
    processes.iter().map(held).sum()
}

/// The most that was seen of something.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak {
    pub(crate) resident_bytes: u64,
    pub(crate) tcp_bytes: u64,
}

/// Looks at processes and at the kernel's TCP memory twice a second.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<anyhow::Result<Peak>>,
}

const WATCH_INTERVAL: Duration = Duration::from_millis(500);

impl Watch {
    pub(crate) fn start(processes: &[u32]) -> Watch {
        let processes = processes.to_vec();
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut peak = Peak::default();
            loop {
                peak.resident_bytes = peak.resident_bytes.max(Usage::of(&processes)?.resident_bytes);
                peak.tcp_bytes = peak.tcp_bytes.max(tcp_memory_bytes()?);
                if stopped.recv_timeout(WATCH_INTERVAL) != Err(RecvTimeoutError::Timeout) {
                    return Ok(peak);
                }
            }
        });
        Watch { stop, thread }
    }

    /// The most that was seen; fails if a process had gone.
    pub(crate) fn finish(self) -> anyhow::Result<Peak> {
        drop(self.stop);
        self.thread.join().expect("a watching thread does not panic")
    }
}
