//! The `pregon` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pregon::cli::run()
}
