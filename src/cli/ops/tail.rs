//! `switchboard ops tail`: prints live events of a running server, line by line, until it is interrupted.

use super::{failed, ids, output::text};
use crate::{
    cli::{
        CliError,
        table::{harmless, harmless_json},
    },
    domain::ConnectionId,
};
use clap::{Args, value_parser};
use serde_json::Value;
use std::io::{self, IsTerminal};
use switchboard_client::{Account, ClientError, Connector, Feed};

/// Lines after which a terminal shows the headings again.
const LINES_PER_HEADING: u64 = 20;
/// The close code for a token that has expired or was revoked.
const SIGNED_OUT: u16 = 4401;
/// Columns of a line of statistics, and their widths.
const STATS: [(&str, usize); 13] = [
    ("TIME", 8),
    ("CONNECTIONS", 11),
    ("AUTH", 7),
    ("LAGGING", 7),
    ("RUNNING", 7),
    ("WAITING", 7),
    ("TURNS/S", 7),
    ("TOKENS/S", 9),
    ("ERRORS/S", 8),
    ("P50 MS", 7),
    ("P99 MS", 7),
    ("CPU", 5),
    ("MIB", 7),
];
/// Headings of a connection's frames: texts are aligned to the left, numbers to the right.
const SHAPES: &str = "TIME          DIR  TYPE              BYTES       SEQ";

#[derive(Clone, Debug, Args)]
pub(super) struct Tail {
    /// Show the frames of this connection instead: their shapes, never their content
    #[arg(value_parser = ids::connection)]
    connection: Option<ConnectionId>,
    /// Stop after this many lines, not counting headings
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    count: Option<u64>,
}

impl Tail {
    pub(super) async fn run(
        self,
        connector: &Connector,
        account: Account,
        is_json: bool,
        out: &mut dyn io::Write,
    ) -> Result<(), CliError> {
        let mut lines = Lines {
            out,
            headings: match &self.connection {
                _ if is_json => None,
                None => Some(stats_heading()),
                Some(_) => Some(SHAPES.to_owned()),
            },
            repeats: io::stdout().is_terminal(),
            written: 0,
            left: self.count,
        };
        let show = async {
            let mut feed = Feed::open(connector, account).await.map_err(lost)?;
            if let Some(id) = &self.connection {
                feed.watch(&id.to_string()).await.map_err(lost)?;
            }
            let mut view = View { watched: self.connection, was_there: false, is_json };
            while lines.left != Some(0) {
                let frame = feed.next().await.map_err(lost)?;
                for line in view.lines_of(&frame)? {
                    lines.write(&line)?;
                }
            }
            // Everything was printed, so an error of the closing handshake does not matter.
            let _ = feed.close().await;
            Ok(())
        };
        tokio::select! {
            outcome = show => outcome,
            interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
        }
    }
}

/// Converts an error that ended the feed.
fn lost(error: ClientError) -> CliError {
    match error {
        ClientError::Closed { code: SIGNED_OUT, reason } => CliError::Failed(harmless(&format!(
            "signed out: the token has expired or was revoked (closed with {SIGNED_OUT} {reason})"
        ))),
        ClientError::Closed { .. } | ClientError::Timeout(_) => {
            CliError::Failed(harmless(&format!("lost the connection to the server: {error}")))
        }
        other => failed(other),
    }
}

/// Output that stops after a number of lines and adds headings.
struct Lines<'a> {
    out: &'a mut dyn io::Write,
    headings: Option<String>,
    /// Whether the headings are repeated.
    repeats: bool,
    written: u64,
    /// Lines still to write; `None` means no limit.
    left: Option<u64>,
}

impl Lines<'_> {
    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.left == Some(0) {
            return Ok(());
        }
        let is_due = self.written == 0 || (self.repeats && self.written.is_multiple_of(LINES_PER_HEADING));
        if let Some(headings) = self.headings.as_ref().filter(|_| is_due) {
            writeln!(self.out, "{headings}")?;
        }
        writeln!(self.out, "{line}")?;
        self.out.flush()?;
        self.written += 1;
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}

/// Selects the frames of the feed that are shown, and formats them.
struct View {
    watched: Option<ConnectionId>,
    /// Whether the watched connection has been seen.
    was_there: bool,
    is_json: bool,
}

impl View {
    /// Returns the lines for a frame. Fails when the watched connection has ended.
    fn lines_of(&mut self, frame: &Value) -> Result<Vec<String>, CliError> {
        let lines = match (frame["type"].as_str().unwrap_or_default(), &self.watched) {
            ("stats" | "audit", None) | ("frames", Some(_)) if self.is_json => {
                vec![harmless_json(&frame.to_string())]
            }
            ("stats", None) => vec![stats_line(frame)],
            ("audit", None) => list(&frame["entries"]).iter().map(audit_line).collect(),
            ("frames", Some(_)) => {
                let left_out = frame["left_out"].as_u64().filter(|left_out| *left_out > 0);
                let left_out = left_out.map(|left_out| format!("({left_out} frames left out)"));
                left_out.into_iter().chain(list(&frame["frames"]).iter().map(shape_line)).collect()
            }
            ("connection", Some(id)) if frame["connection"].is_null() => {
                return Err(CliError::Failed(if self.was_there {
                    format!("the connection {id} has ended")
                } else {
                    format!("there is no connection {id}")
                }));
            }
            ("connection", Some(_)) => {
                self.was_there = true;
                Vec::new()
            }
            // Frame types of a later version.
            _ => Vec::new(),
        };
        Ok(lines)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn stats_heading() -> String {
    let cells: Vec<String> = STATS.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    stats_cells(&cells)
}

fn stats_cells(cells: &[String]) -> String {
    let mut line = String::new();
    for (at, (cell, (_, width))) in cells.iter().zip(STATS).enumerate() {
        line.push_str(&if at == 0 { format!("{cell:width$}") } else { format!("  {cell:>width$}") });
    }
    line
}

fn stats_line(stats: &Value) -> String {
    let whole = |name: &str| harmless(&text(&stats[name]));
    let number = |name: &str, decimals: usize| {
        stats[name].as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.decimals$}"))
    };
    let mebibytes =
        stats["memory_bytes"].as_f64().map_or_else(|| "-".to_owned(), |n| format!("{:.1}", n / 1_048_576.0));
    let cells = [
        clock(&stats["at_ms"]).0,
        whole("connections"),
        whole("authenticated"),
        whole("lagging"),
        whole("running_turns"),
        whole("waiting_turns"),
        number("turns_per_s", 1),
        number("tokens_per_s", 0),
        number("errors_per_s", 1),
        number("first_token_p50_ms", 1),
        number("first_token_p99_ms", 1),
        number("cpu", 2),
        mebibytes,
    ];
    let note = if stats["draining"] == true { "  draining" } else { "" };
    format!("{}{note}", stats_cells(&cells))
}

fn audit_line(entry: &Value) -> String {
    let (time, _) = clock(&entry["at_ms"]);
    let [operator, action, outcome, target, detail] =
        [&entry["operator"]["email"], &entry["action"], &entry["outcome"], &entry["target"], &entry["detail"]]
            .map(|value| harmless(&text(value)));
    format!("{time}  audit: {operator}  {action}  {outcome}  {target}  {detail}")
}

fn shape_line(shape: &Value) -> String {
    let (time, ms) = clock(&shape["at_ms"]);
    let [direction, frame_type, bytes, seq] =
        ["direction", "type", "bytes", "seq"].map(|name| harmless(&text(&shape[name])));
    format!("{time}.{ms:03}  {direction:3}  {frame_type:13}  {bytes:>8}  {seq:>8}")
}

/// Returns the time of day in UTC, and the milliseconds after the second.
fn clock(at_ms: &Value) -> (String, i64) {
    let Some(at_ms) = at_ms.as_i64() else { return ("--:--:--".to_owned(), 0) };
    let second = at_ms.div_euclid(1_000).rem_euclid(86_400);
    (format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60), at_ms.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(watched: Option<ConnectionId>, frame: &Value) -> Result<Vec<String>, CliError> {
        View { watched, was_there: false, is_json: false }.lines_of(frame)
    }

    #[test]
    fn numbers_stand_under_their_headings() {
        let stats = json!({
            "type": "stats", "at_ms": 1_795_000_001_000_i64, "connections": 1204, "authenticated": 1201, "lagging": 1,
            "running_turns": 320, "waiting_turns": 0, "turns_per_s": 29, "tokens_per_s": 6395.4, "errors_per_s": 0.5,
            "first_token_p50_ms": 3.25, "first_token_p99_ms": null, "cpu": 0.33, "memory_bytes": 61_997_056,
        });
        let line = shown(None, &stats).unwrap().remove(0);
        let cells: Vec<_> = line.split_whitespace().collect();
        let wanted = ["11:06:41", "1204", "1201", "1", "320", "0", "29.0", "6395", "0.5", "3.2", "-", "0.33", "59.1"];
        assert_eq!(cells, wanted);
        assert_eq!(line.len(), stats_heading().len());
        let mut draining = stats.clone();
        draining["draining"] = true.into();
        assert_eq!(shown(None, &draining).unwrap(), [format!("{line}  draining")]);
        assert!(
            shown(Some(ConnectionId::new()), &stats).unwrap().is_empty(),
            "a subscriber of one connection receives other frames"
        );
    }

    #[test]
    fn frames_are_shapes_and_what_is_missing_is_told() {
        let frames = json!({"type": "frames", "left_out": 7, "frames": [
            {"direction": "in", "type": "message", "bytes": 52, "at_ms": 86_400_120},
            {"direction": "out", "type": "token", "bytes": 143, "at_ms": 86_399_999, "seq": 4},
        ]});
        let lines = shown(Some(ConnectionId::new()), &frames).unwrap();
        assert_eq!(lines[0], "(7 frames left out)");
        assert_eq!(lines[1], "00:00:00.120  in   message              52         -");
        assert_eq!(lines[2], "23:59:59.999  out  token               143         4");
        assert!(lines[1].len() == SHAPES.len() && shown(None, &frames).unwrap().is_empty());
    }

    #[test]
    fn nothing_acts_on_the_terminal() {
        let evil = "\u{1b}[2J\n\u{9b}\u{202e}";
        let entry = json!({"at_ms": evil, "operator": {"email": evil}, "action": evil, "outcome": evil, "target": evil,
            "detail": {"reason": evil}});
        let audit = json!({"type": "audit", "entries": [entry]});
        let frames = json!({"type": "frames", "left_out": 0,
            "frames": [{"direction": evil, "type": evil, "bytes": evil, "seq": evil}]});
        let stats = json!({"type": "stats", "connections": evil, "cpu": evil});
        let mut lines = shown(None, &audit).unwrap();
        lines.extend(shown(Some(ConnectionId::new()), &frames).unwrap());
        lines.extend(shown(None, &stats).unwrap());
        let json_line = View { watched: None, was_there: false, is_json: true }.lines_of(&audit).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&json_line[0]).unwrap(), audit);
        lines.extend(json_line);
        assert_eq!(lines.len(), 4);
        for line in lines {
            assert!(!line.contains(crate::logging::breaks_a_line), "{line:?}");
        }
        let reason = ClientError::Closed { code: SIGNED_OUT, reason: evil.to_owned() };
        assert!(!lost(reason).to_string().contains(crate::logging::breaks_a_line));
    }

    #[test]
    fn a_connection_that_is_gone_is_the_end() {
        let id = ConnectionId::new();
        let mut view = View { watched: Some(id), was_there: false, is_json: true };
        let gone = json!({"type": "connection", "connection_id": id, "connection": null});
        assert_eq!(view.lines_of(&gone).unwrap_err().to_string(), format!("there is no connection {id}"));
        assert!(view.lines_of(&json!({"type": "connection", "connection": {"id": id}})).unwrap().is_empty());
        assert_eq!(view.lines_of(&gone).unwrap_err().to_string(), format!("the connection {id} has ended"));
    }

    #[test]
    fn headings_come_again_only_where_they_scroll_away() {
        for (repeats, headings) in [(false, 1), (true, 3)] {
            let mut out = Vec::new();
            let mut lines =
                Lines { out: &mut out, headings: Some("H".to_owned()), repeats, written: 0, left: Some(41) };
            (0..50).for_each(|_| lines.write("x").unwrap());
            let written = String::from_utf8(out).unwrap();
            let count = |wanted: &str| written.lines().filter(|line| *line == wanted).count();
            assert_eq!((count("H"), count("x")), (headings, 41));
        }
    }
}
