//! `switchboard ops`: sees and steers a running server, over its REST API.

mod tail;

use super::{
    CliError,
    password::PasswordSource,
    table::{harmless, write_table},
};
use crate::{
    client::{Account, ClientError, Connector},
    domain::UnixMillis,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use std::{
    io,
    time::{Duration, UNIX_EPOCH},
};

#[derive(Clone, Debug, Args)]
pub(super) struct Command {
    /// The server
    #[arg(long, global = true, default_value = "http://127.0.0.1:8000")]
    url: String,
    /// Access token of an operator
    #[arg(long, global = true, env = "SWITCHBOARD_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Sign in as this operator instead; asks for the password
    #[arg(long, global = true, conflicts_with = "token")]
    email: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
    /// Print what the server answers, as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    #[command(flatten)]
    Ask(Question),
    /// Print what happens, as it happens: a line of numbers each second, and what operators do
    Tail(tail::Tail),
}

/// What one answer is enough for.
#[derive(Clone, Debug, Subcommand)]
enum Question {
    /// Connections, turns and refusals in numbers
    Stats,
    /// The live connections
    Connections(Connections),
    /// Close a connection, or all connections of a user
    #[command(
        override_usage = "switchboard ops kick [OPTIONS] <CONNECTION>\n       switchboard ops kick [OPTIONS] --user <ID>"
    )]
    Kick(Kick),
    /// Sign a user out everywhere, and let nobody sign in to the account
    Lock {
        /// The user's id
        user: String,
        /// What the peer is told
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let a user sign in again
    Unlock { user: String },
    /// Empty the server, then stop it
    Drain {
        /// Leave it running, empty, until `undrain`
        #[arg(long)]
        stay: bool,
    },
    /// Take new work again
    Undrain,
    /// Tell everybody something
    Notice {
        message: String,
        /// Only the connections of this user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        #[arg(long)]
        warning: bool,
    },
    /// Stop a turn, whoever's it is
    Cancel { turn_id: String },
    /// Show settings that can change while the server runs, and change them until its next start
    Settings {
        /// Such as limits.frames_per_s=5 or log_level=debug; all of them or none
        #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
        set: Vec<(String, String)>,
    },
    /// What operators did, newest first
    Audit {
        /// 1 to 200
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
        /// Only what is older than this entry
        #[arg(long, value_name = "ID")]
        before: Option<String>,
    },
}

#[derive(Clone, Debug, Args)]
struct Connections {
    /// Only those with this text in an id, e-mail, name, address or agent string
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Only those of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// chat.v1 or chat.v2
    #[arg(long)]
    dialect: Option<String>,
    /// unauthenticated, idle, streaming, behind or stalled
    #[arg(long)]
    state: Option<String>,
    /// A field, such as tokens_sent
    #[arg(long, value_name = "FIELD")]
    sort: Option<String>,
    /// The largest first
    #[arg(long)]
    desc: bool,
    #[arg(long, value_name = "N")]
    offset: Option<usize>,
    /// 1 to 200
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Clone, Debug, Args)]
struct Kick {
    /// The connection
    #[arg(required_unless_present = "user", conflicts_with = "user")]
    connection: Option<String>,
    /// A user instead, everywhere; also ends every sign-in
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Leave the user signed in
    #[arg(long, requires = "user")]
    keep_tokens: bool,
    /// What the peer is told
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
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
                let how = "who are you? Set SWITCHBOARD_TOKEN to an operator's access token, or use --email";
                return Err(CliError::Usage(how.to_owned()));
            }
        };
        let question = match self.what {
            What::Ask(question) => question,
            What::Tail(tail) => return tail.run(&connector, account, self.json, out).await,
        };
        let (method, path, body) = question.request()?;
        let answer = account.request(method, &path, body.as_ref()).await.map_err(failed)?;
        if self.json {
            serde_json::to_writer_pretty(&mut *out, &answer).map_err(io::Error::from)?;
            return Ok(writeln!(out)?);
        }
        Ok(question.write(&answer, out)?)
    }
}

fn failed(error: ClientError) -> CliError {
    match error {
        ClientError::Address { .. } => CliError::Usage(error.to_string()),
        // It may hold what the server says.
        _ => CliError::Failed(harmless(&error.to_string())),
    }
}

impl Question {
    fn request(&self) -> Result<(Method, String, Option<Value>), CliError> {
        let request = match self {
            Self::Stats => (Method::GET, "connections/stats".to_owned(), None),
            Self::Connections(wanted) => (Method::GET, format!("connections?{}", wanted.query()), None),
            Self::Kick(Kick { connection: Some(id), reason, .. }) => {
                (Method::POST, format!("connections/{}/kick", segment(id)), Some(json!({"reason": reason})))
            }
            Self::Kick(Kick { user, keep_tokens, reason, .. }) => {
                let body = json!({"reason": reason, "revoke_tokens": !keep_tokens});
                (Method::POST, format!("users/{}/kick", segment(user.as_deref().unwrap_or_default())), Some(body))
            }
            Self::Lock { user, reason } => {
                (Method::POST, format!("users/{}/lock", segment(user)), Some(json!({"reason": reason})))
            }
            Self::Unlock { user } => (Method::DELETE, format!("users/{}/lock", segment(user)), None),
            Self::Drain { stay } => {
                (Method::POST, "drain".to_owned(), Some(json!({"then": if *stay { "stay" } else { "stop" }})))
            }
            Self::Undrain => (Method::DELETE, "drain".to_owned(), None),
            Self::Notice { message, user, warning } => {
                let level = if *warning { "warning" } else { "info" };
                let body = json!({"message": message, "level": level, "user_id": user});
                (Method::POST, "notices".to_owned(), Some(body))
            }
            Self::Cancel { turn_id } => (Method::POST, format!("turns/{}/cancel", segment(turn_id)), None),
            Self::Settings { set } if set.is_empty() => (Method::GET, "settings".to_owned(), None),
            Self::Settings { set } => (Method::PATCH, "settings".to_owned(), Some(settings(set)?)),
            Self::Audit { limit, before } => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                query.append_pair("limit", &limit.to_string());
                if let Some(before) = before {
                    query.append_pair("before", before);
                }
                (Method::GET, format!("audit?{}", query.finish()), None)
            }
        };
        Ok(request)
    }

    fn write(&self, answer: &Value, out: &mut dyn io::Write) -> io::Result<()> {
        match self {
            Self::Stats | Self::Settings { .. } => {
                let mut rows = Vec::new();
                numbers("", answer, &mut rows);
                write_table(&["NAME", "VALUE"], &rows, out)
            }
            Self::Connections(_) => write_connections(answer, out),
            Self::Kick(_) => {
                writeln!(out, "Connections closed: {}.", text(&answer["kicked"]))?;
                if answer["revoked"] == true {
                    writeln!(out, "The user is signed out everywhere.")?;
                }
                Ok(())
            }
            Self::Lock { .. } => {
                writeln!(out, "The account is locked. Connections closed: {}.", text(&answer["kicked"]))
            }
            Self::Unlock { .. } => writeln!(out, "The user can sign in again."),
            Self::Drain { stay } => {
                let (sessions, turns) = (text(&answer["sessions"]), text(&answer["running_turns"]));
                let then = if *stay { "stays, empty" } else { "stops" };
                writeln!(out, "The server empties ({sessions} connections, {turns} running turns), then it {then}.")
            }
            Self::Undrain => writeln!(out, "The server takes new work."),
            Self::Notice { .. } => writeln!(out, "Connections told: {}.", text(&answer["sessions"])),
            Self::Cancel { .. } if answer["cancelled"] == true => writeln!(out, "The turn is stopped."),
            Self::Cancel { .. } => writeln!(out, "The turn had ended before."),
            Self::Audit { .. } => write_audit(answer, out),
        }
    }
}

impl Connections {
    fn query(&self) -> String {
        let (offset, limit) = (self.offset.map(|n| n.to_string()), self.limit.map(|n| n.to_string()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("q", &self.q),
            ("user_id", &self.user),
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

/// What somebody typed, as one part of a path.
fn segment(text: &str) -> String {
    // A space becomes a plus, which is no id either.
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// `limits.frames_per_s=5` as the body of a change. Whether there is such a setting is for the server to say.
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
                let section =
                    section.ok_or_else(|| CliError::Usage(format!("{name}: set a section or its settings")))?;
                section.insert(name.to_owned(), value);
            }
        }
    }
    Ok(Value::Object(body))
}

/// Each number and text of an answer, by its path; lists are for `--json`.
fn numbers(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                numbers(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, rows);
            }
        }
        Value::Array(_) => {}
        value => rows.push(vec![path.to_owned(), text(value)]),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn write_connections(answer: &Value, out: &mut dyn io::Write) -> io::Result<()> {
    let now_ms = UnixMillis::now().0;
    let list = answer["connections"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = list
        .iter()
        .map(|one| {
            let age_ms = now_ms - one["opened_at_ms"].as_i64().unwrap_or(now_ms);
            vec![
                text(&one["id"]),
                text(&one["user"]["email"]),
                text(&one["address"]),
                text(&one["dialect"]),
                text(&one["state"]),
                age(Duration::from_millis(age_ms.try_into().unwrap_or_default())),
                text(&one["tokens_sent"]),
                one["turns"].as_array().map_or(0, Vec::len).to_string(),
                text(&one["bytes_waiting"]),
                one["ping_ms"].as_f64().map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}")),
            ]
        })
        .collect();
    let headings =
        ["CONNECTION", "USER", "ADDRESS", "DIALECT", "STATE", "AGE", "TOKENS", "TURNS", "WAITING", "PING MS"];
    write_table(&headings, &rows, out)?;
    writeln!(out, "{} of {}", rows.len(), text(&answer["total"]))
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

fn write_audit(answer: &Value, out: &mut dyn io::Write) -> io::Result<()> {
    let list = answer["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<_> = list
        .iter()
        .map(|entry| {
            let at = Duration::from_millis(entry["at_ms"].as_u64().unwrap_or_default());
            vec![
                httpdate::fmt_http_date(UNIX_EPOCH + at),
                text(&entry["operator"]["email"]),
                text(&entry["action"]),
                text(&entry["outcome"]),
                text(&entry["target"]),
                text(&entry["detail"]),
            ]
        })
        .collect();
    write_table(&["AT", "OPERATOR", "ACTION", "OUTCOME", "TARGET", "DETAIL"], &rows, out)?;
    if let Some(next) = answer["next"].as_str() {
        writeln!(out, "More: --before {next}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_sections() {
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
    fn an_age_is_short() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }

    #[test]
    fn what_is_typed_stays_in_its_place() {
        assert_eq!(segment("../drain?x=1#"), "..%2Fdrain%3Fx%3D1%23");
        let wanted = Connections {
            q: Some("a&limit=1".to_owned()),
            user: None,
            dialect: None,
            state: None,
            sort: None,
            desc: true,
            offset: None,
            limit: Some(3),
        };
        assert_eq!(wanted.query(), "q=a%26limit%3D1&order=desc&limit=3");
    }
}
