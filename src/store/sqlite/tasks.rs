//! What the writing thread is asked to do.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Closed;
use crate::notification::Position;
use crate::store::{Append, Appended, Backlog, Failing, Follower, StoreError};

/// Most commands in one commit: bounds how long a reader of the newest entry waits for the others.
const COMMANDS_PER_COMMIT_MAX: usize = 4096;

/// Where somebody waits.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the thread is asked to do.
pub(super) enum Task {
    Append {
        append: Append,
        answer: Answer<Appended>,
    },
    Follow {
        follower: Arc<dyn Follower>,
        backlog: Backlog,
        answer: Answer<()>,
    },
    Advance {
        now: Timestamp,
        answer: Answer<Option<Timestamp>>,
    },
    LogTime {
        now: Timestamp,
        answer: Answer<Timestamp>,
    },
    Trim {
        older_than: Timestamp,
        answer: Answer<bool>,
    },
    /// Something of the log up to there is damaged: who has not seen all of that is told so.
    Forgo {
        through: Position,
        answer: Answer<()>,
    },
    Check {
        answer: Answer<Vec<Failing>>,
    },
    /// A piece of who is being erased is removed, as after any task.
    Nothing,
    /// Nobody reads as long as it has this.
    Checkpoint {
        closed: Closed,
    },
}

impl Task {
    /// Answers that the store has stopped.
    pub(super) fn refuse(self) {
        let stopped = StoreError::Stopped;
        // Whoever has gone away no longer waits.
        let _ = match self {
            Self::Append { answer, .. } => answered(answer, Err(stopped)),
            Self::Follow { answer, .. } | Self::Forgo { answer, .. } => answered(answer, Err(stopped)),
            Self::Advance { answer, .. } => answered(answer, Err(stopped)),
            Self::LogTime { answer, .. } => answered(answer, Err(stopped)),
            Self::Trim { answer, .. } => answered(answer, Err(stopped)),
            Self::Check { answer } => answered(answer, Err(stopped)),
            Self::Checkpoint { .. } | Self::Nothing => false,
        };
    }
}

/// Answers whoever still waits; false if the store must stop.
pub(super) fn answered<T>(answer: Answer<T>, result: Result<T, StoreError>) -> bool {
    let alive = !matches!(result, Err(StoreError::Stopped | StoreError::Unknown));
    // Whoever has gone away no longer waits; what was done stays.
    let _ = answer.send(result);
    alive
}

/// Takes the appends that are waiting; gives back the first other task.
pub(super) fn gather(queue: &mut mpsc::Receiver<Task>, batch: &mut Vec<(Append, Answer<Appended>)>) -> Option<Task> {
    let mut count = batch[0].0.commands.len();
    while count < COMMANDS_PER_COMMIT_MAX {
        match queue.try_recv() {
            Ok(Task::Append { append, answer }) => {
                count += append.commands.len();
                batch.push((append, answer));
            }
            Ok(other) => return Some(other),
            Err(_) => break,
        }
    }
    None
}
