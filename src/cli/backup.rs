//! `switchboard backup`: copies the database while the server runs.

use super::CliError;
use crate::{config::Config, store::sqlite};
use clap::Args;
use std::{io, path::PathBuf};

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// File to create; it must not exist
    #[arg(value_name = "FILE")]
    target: PathBuf,
}

impl Command {
    pub(super) fn run(self, config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        let made = sqlite::backup(&config.database, &self.target)?;
        let (source, target) = (made.source.display(), made.target.display());
        writeln!(out, "Copied {source} to {target} ({} bytes) and checked the copy.", made.bytes)?;
        Ok(())
    }
}
