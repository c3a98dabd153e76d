//! Work that waits for the disk, or computes for longer than a request should: on threads that leave the processor to others.
//!
//! Pages of an inbox, polls, replays and large batches run here, beside the threads that accept, commit and deliver. On a
//! machine with few cores a reader that is busy would have a commit wait for its share of time, some milliseconds. Its
//! threads have a lower priority, so that whoever asks for much waits longer and all others do not.
//!
//! Deliberately absent: how many run at once. Whoever runs something here holds a place for it first.

use std::cell::Cell;

use tokio::task::{JoinHandle, spawn_blocking};

/// Nice value of these threads, beside 0 of all others: a tenth of their share, where both have something to do.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

thread_local! {
    static IS_BEHIND: Cell<bool> = const { Cell::new(false) };
}

/// Runs what may block on a thread that yields to others. It goes on to its end if the handle is dropped.
///
/// # Panics
///
/// Outside of a runtime.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    spawn_blocking(move || {
        if !IS_BEHIND.replace(true) {
            stand_behind();
        }
        work()
    })
}

/// Lowers the priority of this thread. Whoever may not has threads that are all alike.
#[cfg(target_os = "linux")]
fn stand_behind() {
    // Here, no process means this thread (setpriority(2), "C library/kernel differences").
    let _: rustix::io::Result<()> = rustix::process::setpriority_process(None, NICE);
}

/// Elsewhere it would be the whole process.
#[cfg(not(target_os = "linux"))]
fn stand_behind() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    /// Mutant: the priority of all others.
    #[tokio::test]
    async fn who_reads_much_leaves_the_processor_to_whoever_commits_and_delivers() {
        let own = || getpriority_process(None).expect("known");
        let before = own();
        assert!(run(own).await.expect("runs") > before);
        assert_eq!(own(), before, "only the thread of the work yields");
    }
}
