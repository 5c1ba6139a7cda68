//! The program: reads the command line, does what it says, and says in one message why not.

use clap::Parser;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use switchboard::cli::Cli;

/// Takes less time than glibc's, and gives more back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run(std::env::vars_os(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            // There is no one left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            error.exit_code()
        }
    }
}
