//! The end of a listener: when a connection may be closed for it.
//!
//! **Invariant:** a request that has arrived is answered. A connection that is kept alive is closed only after [`QUIET`] without
//! a request, since its client may have sent the next one before it learns of the end.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::places::Place;

/// How far a server is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It is not about to end.
    Serving,
    /// Its streams end. Requests are served, and each connection ends with its next answer.
    Draining,
    /// No connection is accepted any more; what has been accepted is answered.
    Ending,
}

/// How long a connection must have been without a request to be closed for the end.
const QUIET: Duration = Duration::from_millis(300);

/// When one connection may be closed for the end.
#[derive(Clone)]
pub(super) struct End {
    phase: watch::Receiver<Phase>,
    place: Place,
}

impl End {
    pub(super) fn new(phase: watch::Receiver<Phase>, place: Place) -> End {
        End { phase, place }
    }

    /// Waits until the server has come that far.
    pub(super) async fn reached(&mut self, phase: Phase) {
        if self.phase.wait_for(|now| *now >= phase).await.is_err() {
            // Whoever would say so is gone, and will not.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the connection may be closed: when the server drains if it is kept alive after a request, else when the
    /// server ends. True if it has had a request.
    pub(super) async fn may_close(&mut self) -> bool {
        self.reached(Phase::Draining).await;
        // Boxed, so that no connection is larger for it until then.
        Box::pin(async {
            loop {
                let before = self.place.quiet();
                sleep(QUIET).await;
                let quiet = before.filter(|before| self.place.quiet() == Some(*before));
                match quiet {
                    Some(quiet) if quiet.spoken || *self.phase.borrow() == Phase::Ending => return quiet.spoken,
                    _ => {}
                }
            }
        })
        .await
    }

    /// Whether a request has ever come on it.
    pub(super) fn has_spoken(&self) -> bool {
        self.place.quiet().is_none_or(|quiet| quiet.spoken)
    }
}
