//! A thread that looks through the file while the server serves: in slices, and at most a quarter of the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long nothing is read after a slice: at least that, and so many times what the slice took.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSES_PER_SLICE: u32 = 3;

/// The thread. Dropping it ends it.
pub(super) struct Background {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Its work as the thread sees it.
pub(super) struct Slices {
    ends: Arc<AtomicBool>,
}

impl Background {
    pub(super) fn start(name: &'static str, work: impl FnOnce(&Slices) + Send + 'static) -> Background {
        let ends = Arc::new(AtomicBool::new(false));
        let slices = Slices { ends: Arc::clone(&ends) };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || work(&slices));
        Background { ends, thread: Some(thread.expect("a thread can be started")) }
    }
}

impl Background {
    pub(super) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "a look through the store had ended with a panic");
            }
        }
    }
}

impl Slices {
    /// Pauses after a slice; false if the store is being closed.
    pub(super) fn pause(&self, begun_at: Instant) -> bool {
        std::thread::park_timeout(PAUSE_MIN.max(begun_at.elapsed() * PAUSES_PER_SLICE));
        !self.ends.load(Ordering::Relaxed)
    }
}
