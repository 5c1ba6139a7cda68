//! Tests of the parser with bodies in pieces of every size, mainly about the outcome.

use super::*;
use crate::provider::ProviderErrorKind as Kind;
use proptest::prelude::*;

/// Text and outcome of an answer.
type Read = (String, Result<FinishReason, Kind>);

pub(super) fn read_in(pieces: &[&[u8]]) -> (Vec<Progress>, Result<Ending, Kind>) {
    let mut parser = Parser::default();
    let mut progress = Vec::new();
    for piece in pieces {
        parser.push(piece);
        progress.extend(std::iter::from_fn(|| parser.next()));
        if let Some(outcome) = parser.outcome() {
            return (progress, outcome.map_err(|failure| failure.error.kind));
        }
    }
    parser.finish();
    progress.extend(std::iter::from_fn(|| parser.next()));
    let outcome = parser.outcome().expect("an outcome once the body is over");
    (progress, outcome.map_err(|failure| failure.error.kind))
}

fn read_by(body: &[u8], size: usize) -> (Vec<Progress>, Result<Ending, Kind>) {
    read_in(&body.chunks(size.max(1)).collect::<Vec<_>>())
}

fn text_of(progress: &[Progress]) -> String {
    progress.iter().map(|part| if let Progress::Text(text) = part { text.as_str() } else { "" }).collect()
}

/// Parses a body, whole and in pieces of every size up to 40 bytes.
fn read(body: &str) -> Read {
    let whole = read_by(body.as_bytes(), body.len());
    let result = |(progress, outcome): &(Vec<Progress>, Result<Ending, Kind>)| {
        (text_of(progress), outcome.map(|ending| ending.reason))
    };
    for size in 1..40 {
        assert_eq!(result(&read_by(body.as_bytes(), size)), result(&whole), "in pieces of {size}: {body}");
    }
    result(&whole)
}

fn events(data: &[&str]) -> Read {
    read(&data.iter().map(|data| format!("data: {data}\n\n")).collect::<String>())
}

fn ok(text: &str, reason: FinishReason) -> Read {
    (text.to_owned(), Ok(reason))
}

fn failed(text: &str, kind: Kind) -> Read {
    (text.to_owned(), Err(kind))
}

fn token(text: &str, reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{"content":{text:?}}},"finish_reason":{reason}}}]}}"#)
}

const HI: &str = r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const DONE: &str = "[DONE]";

#[test]
fn an_answer_ends_with_a_finish_reason_or_with_the_end_marker_after_text() {
    assert_eq!(events(&[HI, STOP, DONE]), ok("Hi", FinishReason::Stop));
    assert_eq!(events(&[HI, STOP]), ok("Hi", FinishReason::Stop));
    assert_eq!(events(&[HI, DONE]), ok("Hi", FinishReason::Stop));
    assert_eq!(events(&[HI]), failed("Hi", Kind::Broken));
    assert_eq!(events(&[STOP, DONE]), ok("", FinishReason::Stop), "the model chose to say nothing");
    assert_eq!(events(&[DONE]), failed("", Kind::Broken));
    assert_eq!(events(&[]), failed("", Kind::Broken));
    assert_eq!(read("data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}"), failed("", Kind::Broken));
}

#[test]
fn an_empty_or_unknown_finish_reason_does_not_end_the_answer() {
    for reason in ["\"\"", "\"null\"", "null", "\"unheard_of\"", "{}", "0"] {
        let (one, two) = (token("One ", reason), token("two.", reason));
        assert_eq!(events(&[&one, &two, STOP, DONE]), ok("One two.", FinishReason::Stop), "{reason}");
        assert_eq!(events(&[&one, &two, DONE]), ok("One two.", FinishReason::Stop), "{reason}");
        assert_eq!(events(&[&one, &two]), failed("One two.", Kind::Broken), "{reason}");
        assert_eq!(events(&[&token("", reason), DONE]), failed("", Kind::Broken), "{reason}");
    }
    for reason in ["\"stop\"", "\"length\""] {
        let (text, end) = events(&[&token("One ", reason), &token("two.", reason), DONE]);
        assert_eq!((text.as_str(), end.is_ok()), ("One two.", true), "sent in every chunk: {reason}");
    }
}

#[test]
fn finish_reasons_are_mapped_and_some_are_failures() {
    for (reason, want) in [
        ("length", Ok(FinishReason::Length)),
        ("content_filter", Ok(FinishReason::Error)),
        ("eos", Ok(FinishReason::Stop)),
        ("end_turn", Ok(FinishReason::Stop)),
        ("tool_calls", Ok(FinishReason::Stop)),
        ("function_call", Ok(FinishReason::Stop)),
        ("error", Err(Kind::Broken)),
        ("abort", Err(Kind::Broken)),
        ("insufficient_system_resource", Err(Kind::Unavailable)),
    ] {
        let end = token("", &format!("{reason:?}"));
        assert_eq!(events(&[HI, &end, DONE]), ("Hi".to_owned(), want), "{reason}");
    }
    assert_eq!(events(&[&token("", "\"tool_calls\""), DONE]), failed("", Kind::Broken), "no answer at all");
}

#[test]
fn nothing_after_the_end_changes_the_outcome() {
    let error = r#"{"error":{"code":500}}"#;
    let usage_null = r#"{"choices":[],"usage":{"prompt_tokens":null}}"#;
    for after in
        [HI, error, usage_null, "<html>", "{", r#"{"choices":[{"finish_reason":"length"}]}"#, &token("x", "\"error\"")]
    {
        assert_eq!(events(&[HI, STOP, after, DONE]), ok("Hi", FinishReason::Stop), "{after}");
        assert_eq!(events(&[HI, STOP, DONE, after]), ok("Hi", FinishReason::Stop), "{after}");
        assert_eq!(events(&[HI, STOP, after]), ok("Hi", FinishReason::Stop), "{after}");
    }
    assert_eq!(events(&[HI, &token("!", "\"length\""), HI, DONE]), ok("Hi!", FinishReason::Length));
}

#[test]
fn error_events_fail_the_answer_before_and_after_tokens() {
    for error in [
        r#"{"object":"error","message":"out of memory","code":500}"#,
        r#"{"text":"busy","error_code":50001}"#,
        r#"{"detail":"the model is not loaded"}"#,
        r#"{"error":{"message":"x","code":503}}"#,
        r#"{"error":"x"}"#,
    ] {
        assert!(events(&[error, DONE]).1.is_err(), "{error}");
        let (text, end) = events(&[HI, error, DONE]);
        assert_eq!((text.as_str(), end.is_err()), ("Hi", true), "{error}");
        assert!(read(error).1.is_err(), "as the whole body: {error}");
        assert!(read(&format!("data: {HI}\n\n{error}\n")).1.is_err(), "as a line of its own: {error}");
    }
    assert_eq!(read("event: error\ndata: {\"message\": \"out of memory\"}\n\n"), failed("", Kind::Broken));
    assert_eq!(read("event: error\ndata: out of memory\n\n"), failed("", Kind::Broken));
    assert_eq!(read("error: {\"code\":503,\"message\":\"x\"}\n\n"), failed("", Kind::Unavailable));
    assert_eq!(read("<!DOCTYPE html><title>502</title>"), failed("", Kind::Broken));
    assert_eq!(read("Internal Server Error\n"), failed("", Kind::Broken));
}

#[test]
fn unknown_events_are_ignored_and_unreadable_ones_are_errors() {
    for odd in [
        "null",
        "[]",
        "7",
        "\"text\"",
        "",
        " ",
        "{}",
        ": OPENROUTER PROCESSING",
        "[PING]",
        "OPENROUTER PROCESSING",
        r#"{"choices":null}"#,
        r#"{"choices":[]}"#,
        r#"{"choices":[{"delta":null}]}"#,
        r#"{"choices":[null]}"#,
        r#"{"choices":[{"index":null,"delta":{"role":null,"content":null}}],"usage":"none"}"#,
        r#"{"error":null,"choices":[{"delta":{}}]}"#,
        r#"{"choices":[{"delta":{"content":{}},"logprobs":3}]}"#,
        r#"{"type":"ping"}"#,
        r#"{"choices":[{"index":1,"delta":{"content":"no"}}]}"#,
    ] {
        assert_eq!(events(&[HI, odd, HI, odd, STOP, odd, DONE]), ok("HiHi", FinishReason::Stop), "{odd:?}");
    }
    assert_eq!(
        read(&format!(": x\n\nevent: ping\ndata: {{\"message\":\"x\"}}\n\ndata: {HI}\n\ndata: {STOP}")),
        ok("Hi", FinishReason::Stop)
    );
    for unreadable in ["<html>", "{\"choices\":[", "no json"] {
        assert_eq!(
            events(&[HI, unreadable, STOP, DONE]),
            failed("Hi", Kind::Broken),
            "its text is missing: {unreadable}"
        );
    }
}

#[test]
fn json_bodies_are_read_like_streams() {
    let whole = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    assert_eq!(read(whole), ok("Hello.", FinishReason::Stop));
    assert_eq!(read(&whole.replace(r#","finish_reason":"stop""#, "")), ok("Hello.", FinishReason::Stop));
    assert_eq!(read(&whole.replace("stop", "length")), ok("Hello.", FinishReason::Length));
    assert_eq!(read(&format!("\u{feff}\n{}\n", whole.replace(',', ",\n  "))), ok("Hello.", FinishReason::Stop));
    assert_eq!(read(&whole[..40]), failed("", Kind::Broken));
    assert_eq!(read(&format!("{HI}\n{HI}\n{STOP}\n")), ok("HiHi", FinishReason::Stop));
    assert_eq!(read(&format!("[{HI},{STOP}]")), ok("Hi", FinishReason::Stop));
    let data_lines = format!("data: {HI}\ndata: {HI}\ndata: {STOP}\ndata: [DONE]\n");
    assert_eq!(read(&data_lines), ok("HiHi", FinishReason::Stop));
}

#[test]
fn reasoning_counts_as_activity_and_not_as_text() {
    let think = |text: &str| token(text, "null");
    assert_eq!(events(&[&think("<think>hm, "), &think("</think>\n\n"), HI, STOP, DONE]), ok("Hi", FinishReason::Stop));
    assert_eq!(events(&[&think("<think>hm"), STOP, DONE]), ok("", FinishReason::Stop));
    assert_eq!(events(&[&think("<think>hm"), DONE]), failed("", Kind::Broken), "no text and no known end");
    assert_eq!(events(&[&think("<thi"), STOP, DONE]), ok("<thi", FinishReason::Stop));
    let body = format!(
        "data: {}\n\ndata: {}\n\ndata: {HI}\n\ndata: [DONE]\n\n",
        think("<think>a"),
        r#"{"choices":[{"delta":{"reasoning":{"text":"b"}}}]}"#
    );
    let (progress, _) = read_by(body.as_bytes(), 10_000);
    let want = [Progress::Reasoning("a".to_owned()), Progress::Working, Progress::Reasoning("Hi".to_owned())];
    assert_eq!(progress, want, "the block is not closed");
}

#[test]
fn reasoning_is_read_once_whatever_its_name() {
    let reads = |delta: &str| {
        let body = format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\ndata: {HI}\n\ndata: {STOP}\n\n");
        let (progress, ending) = read_by(body.as_bytes(), 7);
        assert!(ending.is_ok(), "{delta}");
        let texts = progress.into_iter().filter_map(|part| match part {
            Progress::Reasoning(text) => Some(text),
            _ => None,
        });
        texts.collect::<String>()
    };
    for delta in [
        r#"{"reasoning_content":"hm \ud83d\ude00"}"#,
        r#"{"reasoning":"hm 😀"}"#,
        r#"{"reasoning":"hm 😀","reasoning_content":"hm 😀","reasoning_details":[{"text":"hm 😀"}]}"#,
        r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm "},{"type":"text","text":"😀"}]}]}"#,
        r#"{"content":"<think>hm 😀</think>"}"#,
    ] {
        assert_eq!(reads(delta), "hm 😀", "{delta}");
    }
    for delta in [r#"{"reasoning":""}"#, r#"{"reasoning":{"effort":1}}"#, r#"{"reasoning_content":null}"#] {
        assert_eq!(reads(delta), "", "{delta}");
    }
}

#[test]
fn citations_become_parts_once() {
    let cite = r#"{"choices":[{"delta":{"annotations":[{"type":"url_citation","url":"https://example.com/"}]}}]}"#;
    let body = format!("data: {cite}\n\ndata: {HI}\n\ndata: {cite}\n\ndata: {STOP}\n\n");
    let (progress, _) = read_by(body.as_bytes(), 10_000);
    let kinds: Vec<_> = progress
        .iter()
        .filter_map(|part| if let Progress::Part(part) = part { Some(part.kind.as_str()) } else { None })
        .collect();
    assert_eq!(kinds, ["url_citation"]);
}

#[test]
fn surrogate_pairs_split_between_events_are_joined() {
    let half = |text: &str| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}"#);
    let role = r#"{"choices":[{"delta":{"content":""}}]}"#;
    assert_eq!(events(&[&half("ok \\ud83d"), role, &half("\\ude00!"), STOP]), ok("ok 😀!", FinishReason::Stop));
    assert_eq!(events(&[&half("cut \\ud83d"), &half(" off"), STOP]), ok("cut \u{fffd} off", FinishReason::Stop));
    assert_eq!(events(&[&half("cut \\ud83d"), STOP]), ok("cut \u{fffd}", FinishReason::Stop));
    assert_eq!(events(&[&half("\\ude00"), DONE]), ok("\u{fffd}", FinishReason::Stop));
    let reasoning = r#"{"choices":[{"delta":{"reasoning_content":"hm \ud83d"}}]}"#;
    assert_eq!(events(&[reasoning, HI, STOP]), ok("Hi", FinishReason::Stop));
}

#[test]
fn later_counts_replace_earlier_ones() {
    let event = |usage: &str| format!(r#"{{"choices":[{{"delta":{{"content":"a"}}}}],"usage":{usage}}}"#);
    let body = [
        event(r#"{"prompt_tokens":-1,"completion_tokens":0}"#),
        event(r#"{"prompt_tokens":7,"completion_tokens":1}"#),
        event(r#"{"prompt_tokens":null,"completion_tokens":2.0}"#),
    ];
    let body: String = body.iter().map(|data| format!("data: {data}\n\n")).collect();
    let (_, ending) = read_by(format!("{body}data: [DONE]\n\n").as_bytes(), 7);
    assert_eq!(
        ending.unwrap().token_counts,
        TokenCounts { prompt: Some(7), completion: Some(2), ..TokenCounts::default() }
    );
}

#[test]
fn an_overlong_answer_is_truncated() {
    let long = format!("data: {}\n\n", token(&"x".repeat(100_000), "null")).repeat(100);
    let (progress, ending) = read_by(long.as_bytes(), 8_192);
    assert_eq!(ending.unwrap().reason, FinishReason::Length);
    assert!(text_of(&progress).len() <= MAX_ANSWER_BYTES + 100_000);
}

#[test]
fn overlong_reasoning_is_an_error() {
    let mut parser = Parser { bytes: MAX_STREAM_BYTES - 100, ..Parser::default() };
    let reasoning = b"data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm, \"}}]}\n\n";
    parser.push(reasoning);
    assert!(parser.outcome().is_none());
    parser.push(reasoning);
    assert!(parser.outcome().is_some_and(|outcome| outcome.is_err()));
}

proptest! {
    /// The outcome of any bytes is independent of how they are split.
    #[test]
    fn splitting_does_not_change_the_outcome(
        parts in prop::collection::vec(prop_oneof![
            Just(format!("data: {HI}\n\n")),
            Just(format!("data: {STOP}\r\n\r\n")),
            Just("data: [DONE]\n\n".to_owned()),
            Just(": comment\n".to_owned()),
            Just("event: error\n".to_owned()),
            Just(format!("{}\n", token("<think>", "\"\""))),
            "[ -~\n\r]{0,12}",
            "\\PC{0,6}",
        ], 0..8),
        size in 1..50_usize,
    ) {
        let body = parts.concat();
        let (whole, cut) = (read_by(body.as_bytes(), body.len()), read_by(body.as_bytes(), size));
        prop_assert_eq!(text_of(&whole.0), text_of(&cut.0));
        prop_assert_eq!(whole.1.map(|ending| ending.reason), cut.1.map(|ending| ending.reason));
    }
}
