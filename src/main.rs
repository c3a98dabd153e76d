//! The `pregon` command.

use std::process::ExitCode;

/// Gives memory back when connections have gone, which the system's does not: `docs/ARCHITECTURE.md`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    pregon::cli::run()
}
