//! `pregon-load`: load for a notification server, and three servers to hold it against.
//!
//! All speak the same paths (`GET /notifications?user_id=`, `POST /v1/users/{id}/notifications`, `POST /v1/broadcast`),
//! so one generator measures all of them, and nchan behind a few lines of nginx.
//!
//! The generator and the servers share the machine: a figure means something only beside another one of the same run.

use clap::{Parser, Subcommand};

mod bare;
mod floor;
mod http;
mod naive;
mod publishers;
mod run;
mod subscribers;
mod usage;

#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load a server and print what came of it, as one JSON object
    Run(run::Run),
    /// A server of raw epoll: one write per event and connection, nothing stored
    Floor(floor::Floor),
    /// A server of bare tokio: a task and an unbounded queue per connection, all that is due in one write, nothing stored
    Bare(bare::Bare),
    /// A server of axum's `Sse` and a broadcast channel, nothing stored
    Naive(naive::Naive),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Floor(floor) => floor.run(),
        Command::Bare(bare) => bare.run(),
        Command::Naive(naive) => naive.run(),
    }
}
