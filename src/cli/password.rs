//! Password input: from the terminal without echo, or from stdin. Never from the command line, which the shell's history
//! and the process list expose.

use super::CliError;
use clap::Args;
use secrecy::SecretString;
use std::io::{self, BufRead, Read};

/// Maximum length of the line that is read, in bytes. The limit for passwords is checked later and much smaller.
const MAX_LINE_BYTES: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct PasswordSource {
    /// Read the password from the first line of stdin instead of prompting
    #[arg(long, global = true)]
    password_stdin: bool,
}

impl PasswordSource {
    /// Reads an existing password; prompts once.
    pub(super) fn read_known(self) -> Result<SecretString, CliError> {
        if self.password_stdin {
            first_line(&mut io::stdin().lock())
        } else {
            prompt("Password: ").map(SecretString::from)
        }
    }

    /// Reads a new password; prompts twice.
    pub(super) fn read(self) -> Result<SecretString, CliError> {
        if self.password_stdin { first_line(&mut io::stdin().lock()) } else { ask() }
    }
}

fn ask() -> Result<SecretString, CliError> {
    let password = prompt("Password: ")?;
    if prompt("Repeat password: ")? != password {
        return Err(CliError::Usage("the two passwords differ; run the command again".to_owned()));
    }
    Ok(SecretString::from(password))
}

fn prompt(text: &str) -> Result<String, CliError> {
    rpassword::prompt_password(text).map_err(|error| {
        CliError::Usage(format!("cannot prompt for a password ({error}); pass it on stdin with --password-stdin"))
    })
}

fn first_line(input: &mut dyn BufRead) -> Result<SecretString, CliError> {
    let mut line = String::new();
    input.take(MAX_LINE_BYTES).read_line(&mut line)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(CliError::Usage("stdin has no password on its first line".to_owned()));
    }
    Ok(SecretString::from(password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_line_break_is_stripped_and_spaces_are_kept() {
        for input in [" pass word \n", " pass word \r\nsecond line", " pass word "] {
            assert_eq!(first_line(&mut input.as_bytes()).unwrap().expose_secret(), " pass word ", "{input:?}");
        }
    }

    #[test]
    fn an_empty_line_is_refused() {
        for input in ["", "\n", "\r\n"] {
            assert!(matches!(first_line(&mut input.as_bytes()), Err(CliError::Usage(_))), "{input:?}");
        }
    }
}
