//! `switchboard man`: prints the manual page, or writes a page for each command.

use super::{Cli, CliError};
use clap::{Args, CommandFactory};
use clap_mangen::Man;
use std::{fs, io, path::PathBuf};

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Write a page for each command into this folder instead of printing the main page
    #[arg(long, value_name = "PATH")]
    folder: Option<PathBuf>,
}

impl Command {
    pub(super) fn run(self, out: &mut dyn io::Write) -> Result<(), CliError> {
        match self.folder {
            None => Man::new(Cli::command()).render(out)?,
            Some(folder) => {
                fs::create_dir_all(&folder)?;
                clap_mangen::generate_to(Cli::command(), &folder)?;
                writeln!(out, "Wrote the manual pages to {}.", folder.display())?;
            }
        }
        Ok(())
    }
}
