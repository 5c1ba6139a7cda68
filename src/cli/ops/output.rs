//! Human-readable output of `switchboard ops`.

use super::Question;
use crate::{cli::table::write_table, domain::UnixMillis};
use serde_json::Value;
use std::{
    io,
    time::{Duration, UNIX_EPOCH},
};

/// Renders a server's response for people.
pub(super) fn write(question: &Question, answer: &Value, out: &mut dyn io::Write) -> io::Result<()> {
    match question {
        Question::Stats | Question::Settings { .. } => {
            let mut rows = Vec::new();
            numbers("", answer, &mut rows);
            write_table(&["NAME", "VALUE"], &rows, out)
        }
        Question::Connections(_) => write_connections(answer, out),
        Question::Kick(_) => {
            writeln!(out, "Connections closed: {}.", text(&answer["kicked"]))?;
            if answer["revoked"] == true {
                writeln!(out, "The user is signed out everywhere.")?;
            }
            Ok(())
        }
        Question::Lock { .. } => {
            writeln!(out, "The account is locked. Connections closed: {}.", text(&answer["kicked"]))
        }
        Question::Unlock { .. } => writeln!(out, "The account is unlocked."),
        Question::Drain { stay } => {
            let (connections, turns) = (text(&answer["connections"]), text(&answer["running_turns"]));
            let then = if *stay { "keeps running without connections" } else { "stops" };
            writeln!(out, "The server drains {connections} connections and {turns} running turns, then it {then}.")
        }
        Question::Undrain => writeln!(out, "The drain is cancelled; the server accepts new connections and turns."),
        Question::Notice { .. } => writeln!(out, "Connections notified: {}.", text(&answer["connections"])),
        Question::Cancel { .. } if answer["cancelled"] == true => writeln!(out, "The turn is cancelled."),
        Question::Cancel { .. } => writeln!(out, "The turn had already ended."),
        Question::Audit { .. } => write_audit(answer, out),
    }
}

/// Flattens a response into rows of path and value. Lists are shown as their length, except those of things with a `name`.
fn numbers(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                numbers(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, rows);
            }
        }
        Value::Array(items) if items.is_empty() => rows.push(vec![path.to_owned(), "none".to_owned()]),
        Value::Array(items) if items.iter().all(|item| item["name"].is_string()) => {
            for item in items {
                let fields = item.as_object().into_iter().flatten().filter(|(field, _)| *field != "name");
                for (field, value) in fields {
                    numbers(&format!("{path}.{}.{field}", text(&item["name"])), value, rows);
                }
            }
        }
        Value::Array(items) => {
            rows.push(vec![path.to_owned(), format!("{} entries (--json shows them)", items.len())]);
        }
        value => rows.push(vec![path.to_owned(), text(value)]),
    }
}

pub(super) fn text(value: &Value) -> String {
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
                text(&one["kind"]),
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
        ["CONNECTION", "USER", "ADDRESS", "KIND", "DIALECT", "STATE", "AGE", "TOKENS", "TURNS", "WAITING", "PING MS"];
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
    fn ages_use_the_largest_fitting_unit() {
        let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
    }

    #[test]
    fn every_field_has_a_row_and_lists_refer_to_json() {
        let answer = serde_json::json!({"a": {"b": 1, "c": null}, "d": ["x", "y"], "e": "text", "f": {}, "g": []});
        let mut rows = Vec::new();
        numbers("", &answer, &mut rows);
        let rows: Vec<_> = rows.iter().map(|row| row.join("=")).collect();
        assert_eq!(rows, ["a.b=1", "a.c=-", "d=2 entries (--json shows them)", "e=text", "g=none"]);
    }
}
