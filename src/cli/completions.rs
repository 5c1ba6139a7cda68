//! `switchboard completions`: prints a script that completes commands and options in a shell.

use super::{Cli, CliError};
use crate::build_info;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io;

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Shell to print the script for
    shell: Shell,
}

impl Command {
    pub(super) fn run(self, out: &mut dyn io::Write) -> Result<(), CliError> {
        let mut definition = Cli::command();
        // Copies global options into the subcommands.
        definition.build();
        // The generator panics when it cannot write, for example to a closed pipe.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut visible(&definition), "switchboard", &mut script);
        Ok(out.write_all(&script)?)
    }
}

/// Copies a command that was built, without hidden subcommands and options: clap_complete would offer them.
fn visible(command: &clap::Command) -> clap::Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    clap::Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .version(build_info::FULL_VERSION)
        .args(arguments.map(|argument| argument.clone().global(false)))
        .subcommands(subcommands.map(visible))
        // They are among the copied ones.
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
}
