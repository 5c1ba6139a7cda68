//! Where a password comes from: the terminal, without echo, or stdin. Never the command line, where the shell's history
//! and everybody on the machine can see it.

use super::CliError;
use clap::Args;
use secrecy::SecretString;
use std::io::{self, BufRead, Read};

/// The longest line that is read, in bytes; what is too long for a password is for the accounts to say.
const MAX_LINE_BYTES: u64 = 64 * 1024;

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct PasswordSource {
    /// Read the password from stdin, its first line, and do not ask for it
    #[arg(long, global = true)]
    password_stdin: bool,
}

impl PasswordSource {
    /// A password that is there already: asked for once.
    pub(super) fn read_known(self) -> Result<SecretString, CliError> {
        if self.password_stdin {
            first_line(&mut io::stdin().lock())
        } else {
            prompt("Password: ").map(SecretString::from)
        }
    }

    pub(super) fn read(self) -> Result<SecretString, CliError> {
        if self.password_stdin { first_line(&mut io::stdin().lock()) } else { ask() }
    }
}

fn ask() -> Result<SecretString, CliError> {
    let password = prompt("Password: ")?;
    if prompt("Once more: ")? != password {
        return Err(CliError::Usage("the two passwords are not the same".to_owned()));
    }
    Ok(SecretString::from(password))
}

fn prompt(text: &str) -> Result<String, CliError> {
    rpassword::prompt_password(text)
        .map_err(|error| CliError::Usage(format!("cannot ask for a password ({error}); pipe it to --password-stdin")))
}

fn first_line(input: &mut dyn BufRead) -> Result<SecretString, CliError> {
    let mut line = String::new();
    input.take(MAX_LINE_BYTES).read_line(&mut line)?;
    let password = line.strip_suffix('\n').unwrap_or(&line);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(CliError::Usage("there is no password on stdin".to_owned()));
    }
    Ok(SecretString::from(password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_end_of_the_line_is_no_part_of_the_password_but_spaces_are() {
        for input in [" pass word \n", " pass word \r\nsecond line", " pass word "] {
            assert_eq!(first_line(&mut input.as_bytes()).unwrap().expose_secret(), " pass word ", "{input:?}");
        }
    }

    #[test]
    fn nothing_is_no_password() {
        for input in ["", "\n", "\r\n"] {
            assert!(matches!(first_line(&mut input.as_bytes()), Err(CliError::Usage(_))), "{input:?}");
        }
    }
}
