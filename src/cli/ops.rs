//! `switchboard ops`: inspects and controls a running server over its REST API.

mod ids;
mod output;
mod tail;

use super::{CliError, password::PasswordSource, table::harmless};
use crate::domain::{AuditId, ConnectionId, TurnId};
use clap::{Args, Subcommand};
use ids::UserName;
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::io;
use switchboard_client::{Account, ClientError, Connector};

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// Address of the server
    #[arg(long, global = true, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Access token of an operator
    #[arg(long, global = true, env = "SWITCHBOARD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Sign in as this operator instead; prompts for the password
    #[arg(long, global = true, conflicts_with = "token")]
    email: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
    /// Print the server's response as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Ask(Question),
    /// Print live statistics, a line each second, and the actions of operators as they happen
    Tail(tail::Tail),
}

/// Commands that are one request and its response.
#[derive(Clone, Debug, Subcommand)]
enum Question {
    /// Show the numbers of connections, turns and refused requests
    Stats,
    /// List the live connections
    Connections(Connections),
    /// Close a connection, or all connections of a user
    #[command(
        override_usage = "switchboard ops kick [OPTIONS] <CONNECTION>\n       switchboard ops kick [OPTIONS] --user <ID|EMAIL>"
    )]
    Kick(Kick),
    /// Lock an account: sign the user out everywhere and refuse sign-ins
    Lock {
        /// Id or e-mail address of the user
        #[arg(value_parser = UserName::parse)]
        user: UserName,
        /// Text that the client receives
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Unlock an account
    Unlock {
        /// Id or e-mail address of the user
        #[arg(value_parser = UserName::parse)]
        user: UserName,
    },
    /// Finish running turns and close all connections, then stop the server
    Drain {
        /// Keep the server running without connections until `undrain`
        #[arg(long)]
        stay: bool,
    },
    /// Cancel a drain and accept new connections and turns again
    Undrain,
    /// Send a notice to connected users
    Notice {
        /// Text of the notice
        message: String,
        /// Only to the connections of this user
        #[arg(long, value_name = "ID|EMAIL", value_parser = UserName::parse)]
        user: Option<UserName>,
        /// Mark the notice as a warning
        #[arg(long)]
        warning: bool,
    },
    /// Cancel a turn of any user
    Cancel {
        /// Id of the turn
        #[arg(value_parser = ids::turn)]
        turn_id: TurnId,
    },
    /// Show the settings that can change at run time, or change them until the next start
    Settings {
        /// Setting to change, such as limits.frames_per_s=5 or log_level=debug; several are changed together or not at all
        #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// List the actions of operators, newest first
    Audit {
        /// Number of entries, 1 to 200
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
        /// Only entries older than this one
        #[arg(long, value_name = "ID", value_parser = ids::audit_entry)]
        before: Option<AuditId>,
    },
}

#[derive(Clone, Debug, Args)]
struct Connections {
    /// Only connections with this text in an id, e-mail, name, address or user agent
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Only connections of this user
    #[arg(long, value_name = "ID|EMAIL", value_parser = UserName::parse)]
    user: Option<UserName>,
    /// Kind of the connections: chat (default), operator, stream or all
    #[arg(long)]
    kind: Option<String>,
    /// Only connections with this dialect: chat.v1 or chat.v2
    #[arg(long)]
    dialect: Option<String>,
    /// unauthenticated, idle, streaming, lagging or stalled
    #[arg(long)]
    state: Option<String>,
    /// Field to sort by, such as tokens_sent
    #[arg(long, value_name = "FIELD")]
    sort: Option<String>,
    /// Sort in descending order
    #[arg(long)]
    desc: bool,
    /// Number of connections to skip
    #[arg(long, value_name = "N")]
    offset: Option<usize>,
    /// Number of connections to list, 1 to 200
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Clone, Debug, Args)]
struct Kick {
    /// Id of the connection
    #[arg(required_unless_present = "user", conflicts_with = "user", value_parser = ids::connection)]
    connection: Option<ConnectionId>,
    /// Close all connections of this user and sign the user out everywhere
    #[arg(long, value_name = "ID|EMAIL", value_parser = UserName::parse)]
    user: Option<UserName>,
    /// Keep the user signed in
    #[arg(long, requires = "user")]
    keep_tokens: bool,
    /// Text that the client receives
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Command {
    pub(super) async fn run(self, out: &mut dyn io::Write) -> Result<(), CliError> {
        let connector = Connector::new(&self.url).map_err(failed)?;
        let account = match (&self.token, &self.email) {
            (Some(token), _) => Account::from_token(&connector, token.clone()),
            (None, Some(email)) => {
                let password = self.password.read_known()?;
                Account::sign_in(&connector, email, password.expose_secret()).await.map_err(failed)?
            }
            (None, None) => {
                let how = "authentication required: set SWITCHBOARD_TOKEN to an operator's access token, or sign in with --email";
                return Err(CliError::Usage(how.to_owned()));
            }
        };
        let question = match self.what {
            What::Ask(question) => question,
            What::Tail(tail) => return tail.run(&connector, account, self.json, out).await,
        };
        let (method, path, body) = question.request(&account).await?;
        let answer = match account.request(method, &path, body.as_ref()).await {
            Ok(answer) => answer,
            // An operator may be refused, too; then the server's message says what to do.
            Err(error) if is_forbidden(&error) && account.request(Method::GET, "settings", None).await.is_ok() => {
                return Err(CliError::Failed(harmless(&error.to_string())));
            }
            Err(error) => return Err(failed(error)),
        };
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &answer).map_err(io::Error::from)?;
            return Ok(writeln!(out)?);
        }
        Ok(output::write(&question, &answer, out)?)
    }
}

/// Whether the server requires another role.
fn is_forbidden(error: &ClientError) -> bool {
    match error {
        ClientError::Refused { error, .. } => error.code == "FORBIDDEN",
        ClientError::Auth { code, .. } => code == "FORBIDDEN",
        _ => false,
    }
}

/// Converts a client error, adding advice. The text may come from the server, so it is escaped.
fn failed(error: ClientError) -> CliError {
    let advice = match &error {
        ClientError::Address { .. } => return CliError::Usage(error.to_string()),
        ClientError::Connect(_) => "start a server with `switchboard serve`, or name another one with --url",
        error if is_forbidden(error) => {
            "the account is not an operator's: on the server, run `switchboard user set-role EMAIL operator`, then sign in again"
        }
        ClientError::Refused { status: 401, error } if error.code == "INVALID_CREDENTIALS" => {
            "check --email and the password"
        }
        ClientError::Refused { status: 401, .. } | ClientError::Auth { .. } => {
            "access tokens expire: get a new one, or sign in with --email"
        }
        _ => return CliError::Failed(harmless(&error.to_string())),
    };
    CliError::Failed(format!("{}\n  {advice}", harmless(&error.to_string())))
}

impl Question {
    /// Builds the request. `account` looks up users that are named by e-mail address.
    async fn request(&self, account: &Account) -> Result<(Method, String, Option<Value>), CliError> {
        let user_id = match self.user() {
            Some(user) => Some(user.id(account).await?.to_string()),
            None => None,
        };
        let user = user_id.as_deref().unwrap_or_default();
        let request = match self {
            Self::Stats => (Method::GET, "connections/stats".to_owned(), None),
            Self::Connections(wanted) => {
                (Method::GET, format!("connections?{}", wanted.query(user_id.as_deref())), None)
            }
            Self::Kick(Kick { connection: Some(id), reason, .. }) => {
                (Method::POST, format!("connections/{id}/kick"), Some(json!({"reason": reason})))
            }
            Self::Kick(Kick { keep_tokens, reason, .. }) => {
                let body = json!({"reason": reason, "revoke_tokens": !keep_tokens});
                (Method::POST, format!("users/{user}/kick"), Some(body))
            }
            Self::Lock { reason, .. } => (Method::POST, format!("users/{user}/lock"), Some(json!({"reason": reason}))),
            Self::Unlock { .. } => (Method::DELETE, format!("users/{user}/lock"), None),
            Self::Drain { stay } => {
                (Method::POST, "drain".to_owned(), Some(json!({"then": if *stay { "stay" } else { "stop" }})))
            }
            Self::Undrain => (Method::DELETE, "drain".to_owned(), None),
            Self::Notice { message, warning, .. } => {
                let level = if *warning { "warning" } else { "info" };
                let body = json!({"message": message, "level": level, "user_id": user_id});
                (Method::POST, "notices".to_owned(), Some(body))
            }
            Self::Cancel { turn_id } => (Method::POST, format!("turns/{turn_id}/cancel"), None),
            Self::Settings { set } if set.is_empty() => (Method::GET, "settings".to_owned(), None),
            Self::Settings { set } => (Method::PATCH, "settings".to_owned(), Some(settings(set)?)),
            Self::Audit { limit, before } => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("limit", &limit.to_string());
                if let Some(before) = before {
                    query.append_pair("before", &before.to_string());
                }
                (Method::GET, format!("audit?{}", query.finish()), None)
            }
        };
        Ok(request)
    }

    /// The user that the command is about.
    fn user(&self) -> Option<&UserName> {
        match self {
            Self::Connections(Connections { user, .. }) | Self::Kick(Kick { user, .. }) | Self::Notice { user, .. } => {
                user.as_ref()
            }
            Self::Lock { user, .. } | Self::Unlock { user } => Some(user),
            Self::Stats
            | Self::Drain { .. }
            | Self::Undrain
            | Self::Cancel { .. }
            | Self::Settings { .. }
            | Self::Audit { .. } => None,
        }
    }
}

impl Connections {
    fn query(&self, user_id: Option<&str>) -> String {
        let user_id = user_id.map(str::to_owned);
        let (offset, limit) = (self.offset.map(|n| n.to_string()), self.limit.map(|n| n.to_string()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("q", &self.q),
            ("user_id", &user_id),
            ("kind", &self.kind),
            ("dialect", &self.dialect),
            ("state", &self.state),
            ("sort", &self.sort),
            ("order", &self.desc.then(|| "desc".to_owned())),
            ("offset", &offset),
            ("limit", &limit),
        ] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        query.finish()
    }
}

/// Builds the request body from assignments such as `limits.frames_per_s=5`. The server checks the names.
fn settings(set: &[(String, String)]) -> Result<Value, CliError> {
    let mut body = Map::new();
    for (name, value) in set {
        let value = value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number));
        match name.split_once('.') {
            None => {
                body.insert(name.clone(), value);
            }
            Some((section, name)) => {
                let section = body.entry(section).or_insert_with(|| json!({}));
                let section = section.as_object_mut();
                let section = section.ok_or_else(|| {
                    CliError::Usage(format!("{name}: assign either the whole section or its settings"))
                })?;
                section.insert(name.to_owned(), value);
            }
        }
    }
    Ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_names_become_sections() {
        let set: Vec<_> = ["log_level=debug", "limits.frames_per_s=5", "limits.frame_burst= 9 "]
            .into_iter()
            .map(|text| assignment(text).unwrap())
            .collect();
        let wanted = json!({"log_level": "debug", "limits": {"frames_per_s": 5, "frame_burst": 9}});
        assert_eq!(settings(&set).unwrap(), wanted);
        assert!(assignment("log_level").is_err());
        let both: Vec<_> = ["limits=1", "limits.frame_burst=2"].map(|text| assignment(text).unwrap()).to_vec();
        assert!(matches!(settings(&both), Err(CliError::Usage(_))));
    }

    #[test]
    fn user_input_cannot_leave_its_part_of_the_url() {
        let wanted = Connections {
            q: Some("a&limit=1".to_owned()),
            user: None,
            kind: Some("all".to_owned()),
            dialect: None,
            state: None,
            sort: None,
            desc: true,
            offset: None,
            limit: Some(3),
        };
        assert_eq!(wanted.query(None), "q=a%26limit%3D1&kind=all&order=desc&limit=3");
    }
}
