//! `switchboard user`: manages accounts from the shell, also while the server runs.

use super::{CliError, password::PasswordSource};
use crate::{
    auth::{Accounts, Passwords, Tokens},
    config::Config,
    domain::{DisplayName, Email, Role, User},
    store::{ServedTime, ServingClock, sqlite::SqliteStore},
};
use clap::{
    Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use std::{io, sync::Arc};

/// Accounts read per query.
const PAGE: u32 = 500;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Create an account; prompts for the password
    Add {
        /// E-mail address to sign in with
        #[arg(long, value_parser = Email::parse)]
        email: Email,
        /// Display name [default: the part of the address before the @]
        #[arg(long, value_parser = DisplayName::parse)]
        name: Option<DisplayName>,
        #[arg(long, default_value = "user", value_parser = role())]
        role: Role,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List all accounts, separated by tabs: id, role, e-mail, name, and `locked` for locked ones
    List,
    /// Change the role of an account, from its next access token on
    SetRole {
        #[arg(value_parser = Email::parse)]
        email: Email,
        #[arg(value_parser = role())]
        role: Role,
    },
    /// Lock an account: sign it out everywhere and refuse sign-ins
    Lock {
        #[arg(value_parser = Email::parse)]
        email: Email,
    },
    /// Unlock an account
    Unlock {
        #[arg(value_parser = Email::parse)]
        email: Email,
    },
    /// Set a new password and sign the account out everywhere; prompts for the password
    SetPassword {
        #[arg(value_parser = Email::parse)]
        email: Email,
        #[command(flatten)]
        password: PasswordSource,
    },
}

impl Command {
    pub(super) async fn run(self, config: &Config, out: &mut dyn io::Write) -> Result<(), CliError> {
        match self {
            Self::Add { email, name, role, password } => {
                let password = password.read()?;
                let user = accounts(config)?.add_user(email, password, name, role).await?;
                write_user(&user, out)?;
            }
            Self::List => list(&accounts(config)?, out).await?,
            Self::SetRole { email, role } => {
                accounts(config)?.set_role(email.clone(), role).await?;
                writeln!(out, "{} now has the role {role}.", email.as_str())?;
            }
            Self::Lock { email } => {
                let accounts = accounts(config)?;
                accounts.lock(accounts.user_of(email.clone()).await?.id).await?;
                writeln!(out, "{} is locked.", email.as_str())?;
            }
            Self::Unlock { email } => {
                let accounts = accounts(config)?;
                accounts.unlock(accounts.user_of(email.clone()).await?.id).await?;
                writeln!(out, "{} is unlocked.", email.as_str())?;
            }
            Self::SetPassword { email, password } => {
                let password = password.read()?;
                accounts(config)?.set_password(email.clone(), password).await?;
                writeln!(out, "{} has a new password.", email.as_str())?;
            }
        }
        Ok(())
    }
}

fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str)).try_map(|name| name.parse::<Role>())
}

fn accounts(config: &Config) -> Result<Accounts, CliError> {
    let store = SqliteStore::open_existing(&config.database)?;
    // No tokens are issued here, so the clock does not matter.
    let clock = ServingClock::resume(ServedTime::default());
    let tokens = Tokens::new(&config.auth, &config.signing_secret()?, clock);
    Ok(Accounts::new(Arc::new(store), Passwords::start(&config.auth)?, Arc::new(tokens)))
}

async fn list(accounts: &Accounts, out: &mut dyn io::Write) -> Result<(), CliError> {
    let mut after = None;
    loop {
        let users = accounts.users(after, PAGE).await?;
        for user in &users {
            write_user(user, out)?;
        }
        match users.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}

fn write_user(user: &User, out: &mut dyn io::Write) -> io::Result<()> {
    let locked = if user.is_locked { "\tlocked" } else { "" };
    writeln!(out, "{}\t{}\t{}\t{}{locked}", user.id, user.role, user.email.as_str(), user.name.as_str())
}
