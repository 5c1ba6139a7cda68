//! `switchboard user`: the accounts, for who has the machine in their hands. It works beside a running server.

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

/// Accounts that are read at once.
const PAGE: u32 = 500;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; asks for the password
    Add {
        /// What the person signs in with
        #[arg(long, value_parser = Email::parse)]
        email: Email,
        /// What the person wants to be called [default: the part of the address before the @]
        #[arg(long, value_parser = DisplayName::parse)]
        name: Option<DisplayName>,
        #[arg(long, default_value = "user", value_parser = role())]
        role: Role,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// List all accounts: id, role, e-mail, name, and `locked` where it is so, separated by tabs
    List,
    /// Change what somebody may do, from their next access token on
    SetRole {
        #[arg(value_parser = Email::parse)]
        email: Email,
        #[arg(value_parser = role())]
        role: Role,
    },
    /// Sign somebody out everywhere, and let nobody sign in to the account
    Lock {
        #[arg(value_parser = Email::parse)]
        email: Email,
    },
    /// Let somebody sign in again
    Unlock {
        #[arg(value_parser = Email::parse)]
        email: Email,
    },
    /// Set a new password, which signs the person out everywhere; asks for it
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
                writeln!(out, "{} has the role {role} now.", email.as_str())?;
            }
            Self::Lock { email } => {
                let accounts = accounts(config)?;
                accounts.lock(accounts.user_of(email.clone()).await?.id).await?;
                writeln!(out, "{} is locked now.", email.as_str())?;
            }
            Self::Unlock { email } => {
                let accounts = accounts(config)?;
                accounts.unlock(accounts.user_of(email.clone()).await?.id).await?;
                writeln!(out, "{} can sign in again.", email.as_str())?;
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
    // No token is issued here.
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
