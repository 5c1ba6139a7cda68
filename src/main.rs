//! The `switchboard` program: parses the command line, runs the command, and reports an error on stderr.

use clap::Parser;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use switchboard::cli::Cli;

/// Faster than glibc's allocator here, and returns more memory to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run(std::env::vars_os(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be reported when stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            error.exit_code()
        }
    }
}
