//! What the writing thread is asked to do, and how.

use std::sync::Arc;
use std::thread::JoinHandle;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::audit::Mend;
use super::checkpoint::Copied;
use crate::notification::Position;
use crate::store::{Append, Appended, Backlog, Command, Failing, Follower, StoreError};

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
    /// The look through the file has found rows that are damaged or missing.
    Mend(Mend),
    /// A piece of who is being erased is removed, as after any task.
    Nothing,
    /// These pages of the file are to be scrubbed soon.
    Scrub {
        pages: Vec<u32>,
    },
    /// Most of the `-wal` was copied to the file; the rest is to follow.
    Checkpoint(Copied),
}

/// The other end of the writing thread. Dropping it waits until what is queued has been written and the file is closed.
pub(super) struct Handle {
    /// There until it is dropped.
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    pub(super) fn new(tasks: mpsc::Sender<Task>, thread: JoinHandle<()>) -> Handle {
        Handle { tasks: Some(tasks), thread: Some(thread) }
    }

    /// Whether no task is taken any more.
    pub(super) fn has_stopped(&self) -> bool {
        self.tasks.as_ref().is_none_or(mpsc::Sender::is_closed)
    }

    /// Where tasks can be queued as long as the handle is there.
    pub(super) fn tasks(&self) -> mpsc::WeakSender<Task> {
        self.tasks.as_ref().expect("it is there until the handle is dropped").downgrade()
    }

    /// Queues a task, and waits for a place in the queue.
    pub(super) async fn send(&self, task: Task) -> Result<(), StoreError> {
        let tasks = self.tasks.as_ref().ok_or(StoreError::Stopped)?;
        tasks.send(task).await.map_err(|_| StoreError::Stopped)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the store's writer had ended with a panic");
        }
    }
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
            Self::Scrub { .. } | Self::Checkpoint(_) | Self::Mend(_) | Self::Nothing => false,
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

/// Whether it has put a notification into the store.
pub(super) fn publishes(append: &Append, done: &Appended) -> bool {
    let publishes = |command: &Command| matches!(command, Command::Publish(_) | Command::Schedule { .. });
    matches!(done, Appended::Done(_)) && append.commands.iter().any(publishes)
}

/// Whether it has to be done on a full disk too.
pub(super) fn is_urgent(append: &Append) -> bool {
    append.commands.iter().all(Command::works_on_a_full_disk)
}
