//! Exit codes, messages and files of the command.

use super::{eval, fixtures};
use crate::harness::ReservedPort;
use serde_json::Value;
use std::{fs, path::Path};
use tempfile::TempDir;

const QUESTIONS: &str = r#"{"id": "1", "kind": "own", "lang": "en", "question": "Which tyre size is fitted to the 2.0T?", "relevant": [{"document": "brakes-and-tyres.md", "heading": "Tyre sizes"}], "specialist": "specs", "specialist_also": ["maintenance"]}
{"id": "2", "kind": "own", "lang": "en", "question": "Which oil does the diesel take?", "relevant": [{"document": "dimensions-and-capacities.md", "heading": "Engine oil: grade and quantity"}]}
{"id": "3", "kind": "off-topic", "lang": "de", "question": "Wer hat den Weltcup gewonnen?", "group": "everyday", "relevant": []}
{"id": "4", "kind": "follow-up", "lang": "en", "question": "and how wide?", "history": ["How long is the car?"], "relevant": [{"document": "dimensions-and-capacities.md", "heading": "Exterior dimensions"}]}
"#;

/// A folder with the questions.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("q.jsonl"), QUESTIONS).unwrap();
    folder
}

fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = eval(folder);
    let output = command.args(arguments).envs(settings.iter().copied()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_report_has_rows_and_leaves_nothing_behind() {
    let folder = folder();
    let (code, out, errors) = run(folder.path(), &["q.jsonl", "--json", "report.json"], &[]);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("4 questions; answers by extractive (4)\n"), "{out}");
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    let rows: Vec<_> = report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(rows, ["all", "follow-up", "off-topic", "own", "de", "en", "everyday"]);
    let all = &report["rows"][0]["values"];
    assert_eq!(
        (&all["hit_at_4"]["n"], &all["routing"]["n"], &all["off_topic_as_known"]["n"]),
        (&3.into(), &1.into(), &1.into())
    );
    assert!(all["hit_at_4"]["sum"].as_f64().unwrap() >= 2.0, "{all}");
    assert!(!report.to_string().contains("tyre"), "the report contains text of a question");
    let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["q.jsonl", "report.json"]);
}

#[test]
fn bad_lines_and_labels_are_named_before_anything_is_asked() {
    let folder = folder();
    for (text, wanted) in [
        (QUESTIONS.replace("\"lang\": \"de\", ", ""), "bad.jsonl:3: missing field `lang`"),
        (QUESTIONS.replace("\"id\": \"2\"", "\"id\": \"1\""), "bad.jsonl:2: `id`: \"1\" is also the id of bad.jsonl:1"),
        (
            QUESTIONS.replace("Exterior dimensions", "Exterior"),
            "bad.jsonl:4: `relevant[0]`: `heading`: \"dimensions-and-capacities.md\" has no section \"Exterior\"",
        ),
        (
            QUESTIONS.replace("brakes-and-tyres.md", "tyres.md"),
            "bad.jsonl:1: `relevant[0]`: `document`: there is no document \"tyres.md\"",
        ),
        (
            QUESTIONS.replace("\"specs\"", "\"sales\""),
            "bad.jsonl:1: `specialist`: \"sales\" does not exist; there are specs, maintenance, troubleshoot",
        ),
        ("\n".to_owned(), "bad.jsonl: has no questions"),
    ] {
        fs::write(folder.path().join("bad.jsonl"), text).unwrap();
        let (code, out, errors) = run(folder.path(), &["bad.jsonl", "--json", "report.json"], &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.contains(wanted), "{errors}");
        assert!(!folder.path().join("report.json").exists());
    }
    let (code, _, errors) = run(folder.path(), &["none.jsonl"], &[]);
    assert!(code == Some(2) && errors.contains("none.jsonl cannot be read"), "{errors}");
}

#[test]
fn a_dead_provider_is_an_error_and_not_a_zero() {
    let folder = folder();
    let port = ReservedPort::new();
    let url = format!("http://127.0.0.1:{port}/v1");
    let dead = [("SWITCHBOARD__PROVIDER__KIND", "openai"), ("SWITCHBOARD__PROVIDER__BASE_URL", url.as_str())];
    let failing = [("SWITCHBOARD__PROVIDER__KIND", "scripted"), ("SWITCHBOARD__PROVIDER__SCRIPTED__FAIL_AFTER", "0")];
    for (settings, wanted) in [(dead, "nothing was asked"), (failing, "q.jsonl:1: the provider failed")] {
        let (code, out, errors) = run(folder.path(), &["q.jsonl", "--json", "report.json"], &settings);
        assert_eq!((code, out.as_str()), (Some(3), ""), "{errors}");
        assert!(errors.contains(wanted), "{errors}");
        assert!(!folder.path().join("report.json").exists());
    }
}

#[test]
fn a_regression_ends_with_1_and_names_the_row() {
    let folder = folder();
    let path = folder.path().join("report.json");
    assert_eq!(run(folder.path(), &["q.jsonl", "--json", "report.json"], &[]).0, Some(0));
    let (code, out, errors) = run(folder.path(), &["q.jsonl", "--baseline", "report.json"], &[]);
    assert!(code == Some(0) && out.ends_with("No row lost more than one question against the baseline.\n"), "{errors}");

    let mut better: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let values = &mut better["rows"][0]["values"]["hit_at_4"];
    values["sum"] = (values["sum"].as_f64().unwrap() + 2.0).into();
    fs::write(&path, better.to_string()).unwrap();
    let (code, _, errors) = run(folder.path(), &["q.jsonl", "--baseline", "report.json"], &[]);
    assert!(code == Some(1) && errors.contains("\n  all: hit@4 went from "), "{code:?}: {errors}");

    fs::write(folder.path().join("fewer.jsonl"), QUESTIONS.lines().next().unwrap()).unwrap();
    let (code, _, errors) = run(folder.path(), &["fewer.jsonl", "--baseline", "report.json"], &[]);
    assert!(code == Some(2) && errors.contains("other questions (4, now 1)"), "{code:?}: {errors}");
}

#[test]
fn misses_are_listed_on_request_and_kinds_can_be_chosen() {
    let folder = folder();
    let text = QUESTIONS.replace("Tyre sizes", "Puncture");
    fs::write(folder.path().join("q.jsonl"), text).unwrap();
    let (_, out, _) = run(folder.path(), &["q.jsonl"], &[]);
    assert!(!out.contains("Which tyre size"), "{out}");
    let (code, out, _) = run(folder.path(), &["q.jsonl", "--list-misses", "--only", "own"], &[]);
    assert!(code == Some(0) && out.starts_with("2 questions;"), "{out}");
    assert!(out.contains("\n1 (q.jsonl:1): hit@4\n  question:   Which tyre size"), "{out}");
    let (code, _, errors) = run(folder.path(), &["q.jsonl", "--only", "german"], &[]);
    assert!(code == Some(2) && errors.contains("there are follow-up, off-topic, own"), "{errors}");
    let (code, _, errors) = run(folder.path(), &["q.jsonl", "--concurrency", "2"], &[]);
    assert!(code == Some(2) && errors.contains("model server"), "{errors}");
}

#[test]
fn the_configured_database_is_evaluated_as_a_copy() {
    let folder = folder();
    let database = folder.path().join("mine.db");
    let url = format!("sqlite://{}", database.display());
    let program = || {
        let mut program = assert_cmd::Command::new(env!("CARGO_BIN_EXE_switchboard"));
        program.current_dir(folder.path()).args(["--database-url", &url]);
        program
    };
    program().arg("migrate").assert().success();
    let library = fixtures("library/knowledge");
    program().arg("ingest").arg(&library).assert().success();
    let question = r#"{"id": "1", "kind": "own", "lang": "en", "question": "What do I need to bring for joining?", "relevant": [{"document": "visiting-and-membership.md", "heading": "Joining"}]}"#;
    fs::write(folder.path().join("library.jsonl"), question).unwrap();
    let before = fs::read(&database).unwrap();
    let agents = fixtures("library/agents.toml");
    let output = program()
        .args(["eval", "library.jsonl", "--from-database", "--json", "report.json", "--agents"])
        .arg(&agents)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(report["rows"][0]["values"]["hit_at_4"]["mean"], 1.0);
    assert_eq!(fs::read(&database).unwrap(), before);
}
