//! What is written to stdout, and how a text of somebody's looks there.
//!
//! **Invariants:** a text that has been published can't move a terminal's cursor, change its colours, or pass for
//! another line. That nobody reads stdout any more is the end, not a failure; that it can't be written is one.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use anstream::adapter::strip_str;
use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Failure;
use crate::diagnostics;

/// What is less important.
pub(super) const DIM: Style = Style::new().dimmed();
/// What is more important.
pub(super) const BOLD: Style = Style::new().bold();

/// Writes a line; false if nobody reads any more.
pub(super) fn print(line: &str) -> Result<bool, Failure> {
    write(&mut io::stdout().lock(), &[line.as_bytes(), b"\n"])
}

/// Writes JSON on a line. What a terminal would obey or reorder stands there as `\uXXXX`, which is the same JSON.
pub(super) fn print_json(json: &str) -> Result<bool, Failure> {
    print(&escaped(json))
}

/// Writes a line that may have colours, which are left out where nobody would see or wants them.
pub(super) fn print_styled(line: &str) -> Result<bool, Failure> {
    write(&mut anstream::stdout().lock(), &[line.as_bytes(), b"\n"])
}

/// Writes bytes as they are.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<bool, Failure> {
    write(&mut io::stdout().lock(), &[bytes])
}

/// Writes to stdout or stderr what may have colors, and waits for a limited time until it has been taken. A failure is ignored.
pub(super) fn print_within(to: impl RawStream + AsFd, text: &str, within: Duration) {
    match AutoStream::choice(&to) {
        ColorChoice::Never => diagnostics::print(to, &strip_str(text).to_string(), within),
        _ => diagnostics::print(to, text, within),
    }
}

/// Tells the user something on stderr. Whether it can be written changes nothing about what the command does.
pub(super) fn talk(line: &str) {
    // A failure to talk can't be talked about.
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

fn write(stdout: &mut impl Write, parts: &[&[u8]]) -> Result<bool, Failure> {
    let written = parts.iter().try_for_each(|part| stdout.write_all(part)).and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context("stdout").map_err(Failure::Failed),
    }
}

/// How wide the terminal is; nothing if stdout is none.
pub(super) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(size.ws_col.into()).filter(|columns| *columns > 0)
}

/// A text on one line, without what a terminal would obey or reorder.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// Whether a terminal does something else with a character than show it: controls (C0, DEL, C1), separators of lines, and
/// all that changes the direction of writing.
fn is_obeyed(c: char) -> bool {
    let is_directional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_directional || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The same JSON without such characters. They can stand only within its strings, since between its parts there is white
/// space of ASCII at most.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_obeyed(c) && !c.is_ascii_whitespace() {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A field that is a text; empty if it is absent.
pub(super) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// What a notification says, on one line.
pub(super) fn headline(notification: &Value) -> String {
    let (title, message) = (text(notification, "title"), text(notification, "message"));
    printable(&if title.is_empty() { message.to_owned() } else { format!("{title}: {message}") })
}

/// A text in so many columns; its end is left out if it is longer.
pub(super) fn cut(text: String, columns: usize) -> String {
    if text.width() <= columns {
        return text;
    }
    let mut width = 0;
    let mut cut: String = text
        .chars()
        .take_while(|c| {
            width += c.width().unwrap_or_default();
            width < columns
        })
        .collect();
    cut.truncate(cut.trim_end().len());
    cut + "…"
}

/// How a severity looks.
pub(super) fn severity_style(severity: &str) -> Style {
    match severity {
        "success" => AnsiColor::Green.on_default(),
        "warning" => AnsiColor::Yellow.on_default(),
        "error" => AnsiColor::Red.on_default(),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_not_pass_for_anything_else() {
        for (text, shown) in [
            ("Hola 👋, ¿qué tal?", "Hola 👋, ¿qué tal?"),
            ("a\n2026-01-01T00:00:00.000Z  b", "a 2026-01-01T00:00:00.000Z  b"),
            ("\u{1b}[2J\u{9b}31m", " [2J 31m"),
            ("abc\u{202e}fdp.exe\u{2069}\u{2028}", "abc fdp.exe  "),
            ("a\u{200f}b\u{61c}c\u{7f}", "a b c "),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn json_for_a_terminal_has_nothing_that_it_obeys_and_means_the_same() {
        for text in ["\u{9b}31m", "\u{7f}", "abc\u{202e}fdp.exe\u{2069}", "\u{200f}\u{61c}\u{2028}\u{85}", "👩‍🚀 \n\t ñ"]
        {
            let json = serde_json::json!({ "message": text });
            let shown = escaped(&json.to_string());
            assert!(!shown.chars().any(is_obeyed), "{shown:?}");
            assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), json);
        }
    }

    #[test]
    fn a_text_is_cut_by_its_width_and_not_within_a_character() {
        for (text, columns, shown) in [
            ("corto", 5, "corto"),
            ("demasiado", 5, "dema…"),
            ("un día más", 4, "un…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("👋👋", 3, "👋…"),
        ] {
            assert_eq!(cut(text.to_owned(), columns), shown);
        }
    }

    #[test]
    fn only_what_is_still_read_is_written() {
        struct Gone(ErrorKind);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(write(&mut Vec::new(), &[b"x"]), Ok(true)));
        assert!(matches!(write(&mut Gone(ErrorKind::BrokenPipe), &[b"x"]), Ok(false)));
        assert!(matches!(write(&mut Gone(ErrorKind::StorageFull), &[b"x"]), Err(Failure::Failed(_))));
    }
}
