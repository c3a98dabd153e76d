//! What a server says when it is ready: a few lines on a terminal, one line of JSON elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::terminal;

/// How long the start waits for stdout.
const PRINT_TIME_MAX: Duration = Duration::from_secs(1);

/// What there is to say.
pub(super) struct Banner<'a> {
    pub(super) url: String,
    pub(super) ready_in: Duration,
    pub(super) store: String,
    pub(super) streams_max: usize,
    pub(super) server_key: &'a str,
    pub(super) open_user_id: bool,
    /// The interval of the demo generator, if it runs.
    pub(super) demo: Option<Duration>,
    /// The data goes when the server goes.
    pub(super) temporary: bool,
    /// The key was made for this run.
    pub(super) key_generated: bool,
}

/// The line of JSON. Its names are part of the command's contract.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    version: &'static str,
    url: &'a str,
    ready_ms: u128,
    store: &'a str,
    streams_max: usize,
    open_user_id: bool,
    /// Only a key that was made for this run: one that was given is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_key: Option<&'a str>,
}

impl Banner<'_> {
    /// Says it on stdout.
    pub(super) fn print(&self) {
        let text = if std::io::stdout().is_terminal() {
            self.text()
        } else {
            let ready = Line {
                event: "ready",
                version: env!("CARGO_PKG_VERSION"),
                url: &self.url,
                ready_ms: self.ready_in.as_millis(),
                store: &self.store,
                streams_max: self.streams_max,
                open_user_id: self.open_user_id,
                server_key: self.key_generated.then_some(self.server_key),
            };
            serde_json::to_string(&ready).expect("plain structs encode") + "\n"
        };
        // The server serves whether or not stdout takes it.
        terminal::print_within(std::io::stdout(), &text, PRINT_TIME_MAX);
    }

    fn text(&self) -> String {
        let name = AnsiColor::Green.on_default().bold();
        let bold = Style::new().bold();
        let dim = Style::new().dimmed();
        let warning = AnsiColor::Yellow.on_default();
        let Banner { url, store, .. } = self;
        let mut lines = vec![
            String::new(),
            format!(
                "  {name}pregon{name:#} {}  {dim}ready in {} ms{dim:#}",
                env!("CARGO_PKG_VERSION"),
                self.ready_in.as_millis()
            ),
            String::new(),
        ];
        let mut line = |label: &str, value: &str, note: &str| {
            lines.push(
                format!("  {name}➜{name:#} {bold}{label:<7}{bold:#} {value}  {dim}{note}{dim:#}").trim_end().to_owned(),
            );
        };
        if let Some(interval) = self.demo {
            let interval = humantime::format_duration(interval);
            line("Page", &format!("{url}/?user_id=1"), &format!("also user 2; one notification every {interval}"));
        } else if self.open_user_id {
            line("Page", &format!("{url}/?user_id=1"), "");
        } else {
            line("API", &format!("{url}/v1"), "");
        }
        line("Stream", &format!("{url}/notifications?user_id=1"), "Server-Sent Events");
        line("Store", store, if self.temporary { "not kept; --data-dir keeps it" } else { "" });
        line("Room", &format!("{} streams", grouped(self.streams_max)), "the descriptor limit; ulimit -n");
        lines.push(String::new());
        let key = if self.key_generated { self.server_key } else { "$PREGON_SERVER_KEY" };
        lines.push("  Try it:".into());
        lines.push(format!("    curl {url}/v1/users/1/notifications -H \"Authorization: Bearer {key}\" -d 'Hola 👋'"));
        lines.push(String::new());
        if self.open_user_id {
            lines.push(format!(
                "  {warning}!{warning:#} Anyone who reaches this address can read any user's notifications."
            ));
            lines.push(String::new());
        }
        lines.join("\n") + "\n"
    }
}

/// 18912 as 18,912.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
