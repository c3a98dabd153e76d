//! The process log: diagnostic lines on stderr, which nothing may depend on.
//!
//! **Invariant:** writing a line never blocks, fails or panics. A line that stderr does not take, or that finds the queue
//! full, is lost and counted.
//!
//! Deliberately absent: the log of notifications, which is the store's.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::{Debug, Write as _};
use std::io;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

mod output;
mod repetition;

pub use output::Output;
use repetition::{DIFFERENT_MAX, LeftOut, PERIOD, Repetition};

/// Target of the lines about this log itself.
const TARGET: &str = "pregon::diagnostics";

static LINES_LOST: AtomicU64 = AtomicU64::new(0);
static STDERR: OnceLock<Output> = OnceLock::new();
static REPETITION: Repetition = Repetition::new();

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// Text, with colors or without.
    Text {
        /// With ANSI escape sequences.
        colors: bool,
    },
}

/// Lines that were lost since the process started.
#[must_use]
pub fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

/// Sends `tracing` events and panics to stderr from here on.
///
/// # Errors
/// When stderr can't be duplicated, or the thread that writes can't be started.
pub fn start(filter: EnvFilter, format: Format) -> io::Result<()> {
    let stderr = Output::start(output::duplicate(io::stderr())?, &LINES_LOST, report)?;
    let stderr = STDERR.get_or_init(|| stderr);
    // `Output` never fails; without this, the formatter would report its own failures with `eprintln!`, which panics.
    let layer = fmt::layer().with_writer(move || stderr.writer()).log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    match format {
        Format::Json => registry.with(layer.json()).with(Limited).with(filter).try_init(),
        Format::Text { colors } => {
            registry.with(layer.with_target(false).with_ansi(colors)).with(Limited).with(filter).try_init()
        }
    }
    .map_err(io::Error::other)?;
    // The default hook writes to stderr itself: it would wait for a reader, and panic again without one.
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Waits until all lines so far have been written, for a limited time.
pub fn flush(within: Duration) {
    if let Some(stderr) = STDERR.get() {
        stderr.flush(within);
    }
}

/// Writes a text to stdout or stderr, and waits for a limited time until it has been taken. A failure is ignored.
pub fn print(to: impl std::os::fd::AsFd, text: &str, within: Duration) {
    static LOST: AtomicU64 = AtomicU64::new(0);
    if let Ok(output) = output::duplicate(to).and_then(|to| Output::start(to, &LOST, |_| {})) {
        output.push(text.as_bytes().to_vec());
        output.flush(within);
    }
}

fn panicked(panic: &PanicHookInfo<'_>) {
    let current = std::thread::current();
    let (thread, at) = (current.name().unwrap_or_default(), panic.location().map(ToString::to_string));
    let said = panic.payload_as_str().unwrap_or_default();
    // Only there if `RUST_BACKTRACE` asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(thread, at, said, backtrace, "a thread has panicked");
}

/// Reports in the log what is missing in it.
fn report(lines_lost: u64) {
    if lines_lost > 0 {
        // A report that stderr does not take is lost with its number; the next one has it in the total.
        let total = LINES_LOST.load(Ordering::Relaxed);
        tracing::warn!(target: TARGET, lines = lines_lost, total, "log lines were lost: stderr did not take them in time");
    }
    report_left_out(Instant::now());
}

/// Reports which warnings and errors were not written since others like them had been.
fn report_left_out(now: Instant) {
    for LeftOut { target, lines, last } in REPETITION.take_left_out(now) {
        tracing::warn!(
            target: TARGET,
            lines,
            from = target,
            last,
            "log lines were left out, the last of which is named here: of each kind the same line is written once a second, \
             and at most {DIFFERENT_MAX} different ones"
        );
    }
}

/// Limits warnings and errors to few of each kind per [`PERIOD`]. A remote peer can cause many of them, in our code and in the
/// libraries.
struct Limited;

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        *metadata.level() > Level::WARN
            || metadata.target() == TARGET
            || REPETITION.admit(metadata.name(), metadata.target(), text_of(event), Instant::now())
    }
}

/// The message of an event and its fields, in one line.
fn text_of(event: &Event<'_>) -> String {
    struct Text(String);
    impl Visit for Text {
        fn record_str(&mut self, field: &Field, value: &str) {
            self.record_debug(field, &format_args!("{value}"));
        }

        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            // A string takes everything.
            let _ = match field.name() {
                "message" => write!(self.0, "{value:?}"),
                name => write!(self.0, " {name}={value:?}"),
            };
        }
    }
    let mut text = Text(String::new());
    event.record(&mut text);
    text.0.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Mutant: the place in the source is named.
    #[test]
    fn what_was_left_out_is_named_in_the_words_of_its_last_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let file = fs::File::create(&path).expect("made");
        let layer = fmt::layer().json().with_writer(file);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer).with(Limited), || {
            for left in 0..100 {
                tracing::warn!(left, of = "the reserve", "the disk is full");
            }
            report_left_out(Instant::now() + PERIOD);
        });
        let log = fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), DIFFERENT_MAX + 1, "{log}");
        let reported: serde_json::Value = serde_json::from_str(lines[DIFFERENT_MAX]).expect("JSON");
        let fields = &reported["fields"];
        assert_eq!((&fields["lines"], &fields["from"]), (&84.into(), &"pregon::diagnostics::tests".into()));
        assert_eq!(fields["last"], "the disk is full left=99 of=the reserve");
        assert!(!log.contains(".rs"), "{log}");
    }
}
