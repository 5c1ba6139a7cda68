//! `docs/WEBSOCKET.md` says what the code does: its table of errors, its JSON frames, its programs.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use switchboard_protocol::{ClientFrame, ErrorCode};

const DOC: &str = include_str!("../docs/WEBSOCKET.md");

/// A fenced block of code, and the line of text before it, which may name it.
pub struct Fence<'a> {
    before: &'a str,
    pub language: &'a str,
    pub code: &'a str,
}

pub fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\n```") {
        let (language, body) = after.split_once('\n').expect("a fence opens a block");
        let (code, behind) = body.split_once("\n```").expect("a fence is closed");
        fences.push(Fence { before: before.lines().next_back().unwrap_or_default(), language, code });
        rest = behind;
    }
    fences
}

/// A program of a document.
pub struct Example<'a> {
    pub name: &'a str,
    /// `js` or `python`.
    pub language: &'a str,
    pub code: &'a str,
}

/// The programs of this document.
pub fn examples() -> Vec<Example<'static>> {
    examples_in(DOC)
}

/// The programs of a text, marked with `<!-- example: name -->`. They find the server through `SWITCHBOARD_URL`.
pub fn examples_in(text: &str) -> Vec<Example<'_>> {
    fences(text)
        .into_iter()
        .filter_map(|fence| {
            let name = fence.before.strip_prefix("<!-- example: ")?.strip_suffix(" -->")?;
            Some(Example { name, language: fence.language, code: fence.code })
        })
        .collect()
}

/// The section under a heading of the second level.
fn section(heading: &str) -> &'static str {
    let (_, rest) = DOC.split_once(&format!("\n## {heading}\n")).expect("the heading is there");
    rest.split_once("\n## ").map_or(rest, |(section, _)| section)
}

fn frames(heading: &str) -> Vec<Value> {
    fences(section(heading))
        .iter()
        .filter(|fence| fence.language == "json")
        .map(|fence| serde_json::from_str(fence.code).unwrap_or_else(|error| panic!("{error} in {}", fence.code)))
        .collect()
}

/// The types that have a heading of their own, such as ``### `token` ``.
fn documented_types(heading: &str) -> BTreeSet<&'static str> {
    section(heading).lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect()
}

fn types(frames: &[Value]) -> BTreeSet<&str> {
    frames.iter().map(|frame| frame["type"].as_str().expect("every frame has a type")).collect()
}

#[test]
fn the_table_of_errors_is_that_of_the_code() {
    let documented: Vec<&str> = section("Errors").lines().filter(|line| line.starts_with("| `")).collect();
    let wanted: Vec<String> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let retryable = if code.is_retryable() { "yes" } else { "no" };
            format!("| `{code}` | {} | {retryable} | {} |", code.http_status(), code.when())
        })
        .collect();
    assert_eq!(documented, wanted);
}

#[test]
fn the_server_understands_every_frame_shown_for_clients() {
    let frames = frames("Client → server");
    assert_eq!(types(&frames), documented_types("Client → server"), "each type has an example");
    for frame in &frames {
        ClientFrame::parse(&frame.to_string()).unwrap_or_else(|error| panic!("{error}: {frame}"));
    }
}

#[test]
fn every_frame_of_the_server_has_an_example() {
    let frames = frames("Server → client");
    assert_eq!(types(&frames), documented_types("Server → client"));
    for frame in &frames {
        let Some(code) = frame.get("code") else { continue };
        let code: ErrorCode = serde_json::from_value(code.clone()).unwrap();
        if let Some(retryable) = frame.get("retryable") {
            assert_eq!(retryable, code.is_retryable(), "{frame}");
        }
    }
}

#[test]
fn the_sum_of_the_answer_shown_is_right() {
    let frames = frames("Server → client");
    let complete = frames.iter().find(|frame| frame["type"] == "complete").unwrap();
    let sum = Sha256::digest(complete["response"].as_str().unwrap());
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(complete["sha256"], hex);
}

#[test]
fn there_are_programs_to_start_from_and_programs_that_resume() {
    let names: BTreeSet<_> = examples().iter().map(|example| (example.name, example.language)).collect();
    let wanted = [
        ("javascript-quickstart", "js"),
        ("javascript-resume", "js"),
        ("python-quickstart", "python"),
        ("python-resume", "python"),
    ];
    assert_eq!(names, BTreeSet::from(wanted));
}
