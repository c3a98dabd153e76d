//! `pregon-load`: load for a notification server, and three servers to hold it against.
//!
//! All speak the same paths (`GET /notifications?user_id=`, `POST /v1/users/{id}/notifications`, `POST /v1/broadcast`),
//! so one generator measures all of them, and nchan behind a few lines of nginx.
//!
//! The generator and the servers share the machine: a figure means something only beside another one of the same run.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod asking;
mod bare;
mod figures;
mod floor;
mod http;
mod listeners;
mod naive;
mod neighbours;
mod publishers;
mod resume;
mod run;
mod secure;
mod severed;
mod stream;
mod subscribers;
mod target;
mod tls;
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
    /// Have listeners leave, miss messages and come back, and print what came of it, as one JSON object
    Resume(resume::Resume),
    /// Measure what one abusive client costs all other users, and print it as one JSON object
    Neighbours(neighbours::Neighbours),
    /// A server of raw epoll: one write per event and connection, nothing stored
    Floor(floor::Floor),
    /// A server of bare tokio: a task and an unbounded queue per connection, all that is due in one write, nothing stored
    Bare(bare::Bare),
    /// A server of axum's `Sse` and a broadcast channel, nothing stored
    Naive(naive::Naive),
}

#[expect(clippy::print_stderr, reason = "why it failed, in one line for whoever reads it")]
fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Resume(resume) => resume.run(),
        Command::Neighbours(neighbours) => neighbours.run(),
        Command::Floor(floor) => floor.run(),
        Command::Bare(bare) => bare.run(),
        Command::Naive(naive) => naive.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
