//! A queue of lines, and the thread that writes them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::PERIOD;

/// Bytes of all lines that wait together. Further lines are lost, but for those of a report.
const WAITING_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes that wait when a report is made. So those of reports do not add up, and a report is not far behind its losses.
const WAITING_BYTES_AT_REPORT: usize = WAITING_BYTES_MAX / 2;
/// How soon a descriptor that takes nothing at the moment (`O_NONBLOCK`) is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// Lines on their way to a descriptor. Dropping it ends its thread once all of them are written; nobody waits for that, since
/// the thread may be inside a `write` that never returns.
pub struct Output(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// A line has come.
    pushed: Condvar,
    /// All lines have been written.
    written: Condvar,
    /// Lines that were lost, of all outputs that count here.
    lost: &'static AtomicU64,
    /// From one report to the next.
    period: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    is_closed: bool,
    /// The thread that writes; what it pushes itself is a report.
    writer: Option<ThreadId>,
}

/// What the thread does next.
enum Next {
    Line(Vec<u8>),
    /// No line has come in time.
    Timeout,
    Closed,
}

/// Another descriptor of the same file. Nobody else's lock is held while it is written to.
pub(super) fn duplicate(of: impl AsFd) -> io::Result<File> {
    of.as_fd().try_clone_to_owned().map(File::from)
}

impl Output {
    /// Starts a thread that writes to `target`. After each [`PERIOD`] in which lines were written it calls `report` with the
    /// number of lines lost since the last call, unless the newest line was lost too or more than half of the queue is taken.
    /// The lines that `report` pushes always find room.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(
        target: impl Write + Send + 'static,
        lost: &'static AtomicU64,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Output> {
        Output::start_with(PERIOD, target, lost, report)
    }

    fn start_with(
        period: Duration,
        target: impl Write + Send + 'static,
        lost: &'static AtomicU64,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Output> {
        let (state, pushed, written) = (Mutex::default(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { state, pushed, written, lost, period });
        let writing = Arc::clone(&shared);
        std::thread::Builder::new().name("diagnostics".into()).spawn(move || writing.run(target, report))?;
        Ok(Output(shared))
    }

    /// Queues a line; loses it if too much waits already.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.0.state();
        let is_report = state.writer == Some(std::thread::current().id());
        if state.bytes + line.len() > WAITING_BYTES_MAX && !is_report {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes += line.len();
        state.waiting.push_back(line);
        self.0.pushed.notify_one();
    }

    /// Waits until all that was pushed has been written or lost, for a limited time.
    pub fn flush(&self, within: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        drop(self.0.written.wait_timeout_while(self.0.state(), within, is_busy));
    }

    /// A writer that pushes whatever it is given in one piece, and never fails.
    pub fn writer(&self) -> impl Write {
        LineWriter(self)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.pushed.notify_one();
    }
}

struct LineWriter<'a>(&'a Output);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut target: impl Write, report: impl Fn(u64)) {
        self.state().writer = Some(std::thread::current().id());
        let mut reported = self.lost.load(Ordering::Relaxed);
        // A line that was written in part is ended before the next one.
        let mut is_torn = false;
        // Nothing is reported where it can't be written either: each report would be another lost line to report.
        let mut is_taken = false;
        let mut report_at = None;
        loop {
            let next = self.next(report_at);
            if let Next::Closed = next {
                return;
            }
            if let Next::Line(line) = next {
                report_at.get_or_insert_with(|| Instant::now() + self.period);
                is_taken = (!is_torn || write_whole(&mut target, b"\n").is_ok())
                    && write_whole(&mut target, &line).inspect_err(|written| is_torn = *written > 0).is_ok();
                is_torn &= !is_taken;
                if !is_taken {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            if report_at.is_some_and(|at| at <= Instant::now()) && self.state().bytes <= WAITING_BYTES_AT_REPORT {
                report_at = None;
                if is_taken {
                    let lost = self.lost.load(Ordering::Relaxed);
                    report(lost - reported);
                    reported = lost;
                }
            }
        }
    }

    fn next(&self, by: Option<Instant>) -> Next {
        let mut state = self.state();
        state.is_writing = false;
        while state.waiting.is_empty() {
            self.written.notify_all();
            if state.is_closed {
                return Next::Closed;
            }
            let Some(by) = by else {
                state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = by.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Timeout;
            }
            (state, _) = self.pushed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        let Some(line) = state.waiting.pop_front() else { return Next::Timeout };
        state.bytes -= line.len();
        state.is_writing = true;
        Next::Line(line)
    }
}

/// Writes all of it; on failure, gives the number of bytes that were written before.
fn write_whole(target: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match target.write(&bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Takes what it is told to: each `write` waits for its answer.
    struct Scripted {
        answers: Receiver<io::Result<usize>>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.answers.recv().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.taken.send(bytes[..count].to_vec()).expect("the test reads");
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scene {
        output: Output,
        answers: Sender<io::Result<usize>>,
        taken: Receiver<Vec<u8>>,
        reports: Receiver<u64>,
        lost: &'static AtomicU64,
    }

    impl Scene {
        fn start() -> Scene {
            let (answers, answered) = channel();
            let (taking, taken) = channel();
            let (reporting, reports) = channel();
            let lost: &'static AtomicU64 = Box::leak(Box::default());
            let target = Scripted { answers: answered, taken: taking };
            let report = move |lost| {
                // The test may have ended.
                let _ = reporting.send(lost);
            };
            let output = Output::start(target, lost, report).expect("a thread");
            Scene { output, answers, taken, reports, lost }
        }

        fn answer(&self, answer: Result<usize, ErrorKind>) {
            self.answers.send(answer.map_err(Into::into)).expect("the thread lives");
        }

        fn text(&self) -> String {
            self.output.flush(LONG);
            String::from_utf8(self.taken.try_iter().flatten().collect()).expect("text")
        }
    }

    #[test]
    fn a_line_that_is_refused_is_lost_and_counted_and_the_loss_is_reported_when_one_is_taken() {
        let scene = Scene::start();
        for kind in [ErrorKind::BrokenPipe, ErrorKind::StorageFull] {
            scene.answer(Err(kind));
            scene.output.push(b"refused\n".to_vec());
        }
        scene.answer(Ok(usize::MAX));
        scene.output.push(b"taken\n".to_vec());
        assert_eq!(scene.text(), "taken\n");
        assert_eq!(scene.lost.load(Ordering::Relaxed), 2);
        assert_eq!(scene.reports.recv_timeout(LONG), Ok(2));
    }

    #[test]
    fn a_line_that_was_taken_in_part_is_ended_before_the_next_one() {
        let scene = Scene::start();
        for answer in [Ok(4), Err(ErrorKind::StorageFull), Err(ErrorKind::StorageFull), Ok(9), Ok(9)] {
            scene.answer(answer);
        }
        for line in ["first\n", "second\n", "third\n"] {
            scene.output.push(line.into());
        }
        assert_eq!(scene.text(), "firs\nthird\n");
        assert_eq!(scene.lost.load(Ordering::Relaxed), 2);
    }

    /// Mutants: a report is lost like any other line; it is made however full the queue is.
    #[test]
    fn a_report_of_losses_is_not_lost_itself_and_does_not_make_the_queue_longer() {
        const WAITING: usize = 4;
        static LOST: AtomicU64 = AtomicU64::new(0);
        let (answers, answered) = channel();
        let (taking, taken) = channel();
        let (reporting, reports) = channel();
        let output: Arc<OnceLock<Output>> = Arc::default();
        let itself = Arc::clone(&output);
        let lines = |output: &Output, count| {
            (0..count).for_each(|_| output.push(vec![b'x'; WAITING_BYTES_MAX / WAITING]));
        };
        let report = move |lost| {
            let Some(output) = itself.get().filter(|_| lost > 0) else { return };
            reporting.send((lost, output.0.state().bytes)).expect("the test reads");
            if lost == 6 {
                // Others fill the queue meanwhile.
                std::thread::scope(|scope| scope.spawn(|| lines(output, WAITING)).join().expect("pushed"));
            }
            output.push(format!("{lost} lost\n").into());
        };
        let target = Scripted { answers: answered, taken: taking };
        let started = Output::start_with(Duration::ZERO, target, &LOST, report).expect("a thread");
        let output = output.get_or_init(|| started);
        lines(output, 1);
        // The first one has left the queue, and is inside `write`.
        while !output.0.state().is_writing {
            std::thread::yield_now();
        }
        lines(output, WAITING + 6);
        drop(answers);
        output.flush(LONG);
        let taken: Vec<String> = taken.try_iter().map(|text| String::from_utf8(text).expect("text")).collect();
        let (said, taken): (Vec<_>, Vec<_>) = taken.iter().partition(|text| text.contains("lost"));
        assert_eq!(said, ["6 lost\n", "2 lost\n"]);
        assert_eq!((taken.len(), LOST.load(Ordering::Relaxed)), (1 + WAITING + 2, 8), "each is taken or counted");
        for (lost, waiting) in reports.try_iter() {
            assert!(waiting <= WAITING_BYTES_AT_REPORT, "{waiting} bytes wait when {lost} are reported");
        }
    }

    /// A pipe that nobody reads, `O_NONBLOCK` or not.
    #[test]
    fn whoever_logs_does_not_wait_for_a_reader_and_memory_is_bounded() {
        let scene = Scene::start();
        let line = vec![b'x'; WAITING_BYTES_MAX / 4];
        scene.output.push(line.clone());
        // The first one has left the queue, and is inside `write`.
        while !scene.output.0.state().is_writing {
            std::thread::yield_now();
        }
        for _ in 0..10 {
            scene.output.push(line.clone());
        }
        assert_eq!(scene.output.0.state().bytes, WAITING_BYTES_MAX);
        assert_eq!(scene.lost.load(Ordering::Relaxed), 6);
        scene.output.flush(Duration::ZERO);
        for answer in [Err(ErrorKind::WouldBlock), Err(ErrorKind::Interrupted), Ok(1)] {
            scene.answer(answer);
        }
        drop(scene.answers);
        scene.output.flush(LONG);
        let taken: usize = scene.taken.try_iter().map(|bytes| bytes.len()).sum();
        assert_eq!(taken, 5 * line.len(), "what was queued arrives whole");
    }
}
