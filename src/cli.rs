//! The command line. `serve` and `dev` run a server; every other command is a client of its HTTP API.
//!
//! **Invariant:** stdout is data, stderr is talk; the exit code tells what happened ([`Failure`]).

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};

mod banner;
mod client;
mod completions;
mod content;
mod dev;
mod health;
mod inbox;
mod key;
mod listen;
mod notification;
mod publish;
mod serve;
mod terminal;
mod token;

/// Notifications that reach a user's open tabs at once, survive whatever dies, and are seen exactly once.
#[derive(Debug, Parser)]
#[command(name = "pregon", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  pregon dev                                   a server on this machine, with demo data
  pregon publish user:1 'Tu pedido ha salido'  to one user
  pregon publish everyone -                    to everyone, text from stdin
  pregon listen 1                              what arrives for user 1
  pregon inbox list 1 --status unread          what user 1 has not read

Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 4 refused, 5 unreachable";

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve on this machine with demo data; prints links and a curl to paste
    Dev(dev::Dev),
    /// Serve
    Serve(serve::Serve),
    /// Publish a notification
    #[command(visible_alias = "pub")]
    Publish(publish::Publish),
    /// Print what arrives for a user; reconnects by itself and loses nothing
    #[command(visible_alias = "sub")]
    Listen(listen::Listen),
    /// Show what a user has, and mark it
    Inbox(inbox::Inbox),
    /// Show a notification, and what has become of it
    Show(notification::Show),
    /// Let a notification say something else from here on
    Edit(notification::Edit),
    /// Take notifications back, from everybody
    Recall(notification::Recall),
    /// Make, list and revoke server keys
    Key(key::Key),
    /// Make user tokens, and change the secret that signs them
    Token(token::Token),
    /// Say whether a server is ready
    Health(health::Health),
    /// Print completions for a shell
    Completions(completions::Completions),
}

/// Why a command failed; each is an exit code.
#[derive(Debug)]
enum Failure {
    /// 1: it did not work.
    Failed(anyhow::Error),
    /// 2: the command line asks for something that is nothing, which only shows once it has been parsed.
    Usage(anyhow::Error),
    /// 3: the configuration is wrong.
    Config(anyhow::Error),
    /// 4: the server refused.
    Refused(anyhow::Error),
    /// 5: no server answered.
    Unreachable(anyhow::Error),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Config(_) => 3,
            Self::Refused(_) => 4,
            Self::Unreachable(_) => 5,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed(error)
        | Self::Usage(error)
        | Self::Config(error)
        | Self::Refused(error)
        | Self::Unreachable(error)) = self;
        write!(f, "{error:#}")
    }
}

/// How long a failed command waits for stderr to take its error message.
const ERROR_TIME_MAX: Duration = Duration::from_secs(5);

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Dev(dev) => dev.run(),
        Command::Serve(serve) => serve.run(),
        Command::Publish(publish) => in_runtime(publish.run()),
        Command::Listen(listen) => in_runtime(listen.run()),
        Command::Inbox(inbox) => in_runtime(inbox.run()),
        Command::Show(show) => in_runtime(show.run()),
        Command::Edit(edit) => in_runtime(edit.run()),
        Command::Recall(recall) => in_runtime(recall.run()),
        Command::Key(key) => in_runtime(key.run()),
        Command::Token(token) => in_runtime(token.run()),
        Command::Health(health) => in_runtime(health.run()),
        Command::Completions(completions) => completions.run(Cli::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let style = anstyle::AnsiColor::Red.on_default().bold();
            terminal::print_within(std::io::stderr(), &format!("{style}error{style:#}: {failure}\n"), ERROR_TIME_MAX);
            ExitCode::from(failure.code())
        }
    }
}

/// Runs a client's command to its end.
fn in_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(error.into()))?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        Cli::command().debug_assert();
    }
}
