//! Extraction of ids from a frame that cannot be parsed, so that the error names the message it is about.

use super::ErrorSubject;
use serde::de::DeserializeOwned;
use std::ops::Range;

/// Longest field name that is compared, in bytes of JSON including quotes and escapes.
const MAX_NAME_BYTES: usize = 64;

impl ErrorSubject {
    /// Extracts the readable ids from the outermost object of a text; the rest of the text need not be valid JSON.
    pub fn of_text(text: &str) -> Self {
        let mut subject = Self::default();
        for (name, value) in text_fields(text) {
            match name.as_str() {
                "client_message_id" => subject.client_message_id = read(value).or(subject.client_message_id),
                "session_id" | "conversation_id" => {
                    subject.conversation_id = subject.conversation_id.or_else(|| read(value));
                }
                "turn_id" => subject.turn_id = subject.turn_id.or_else(|| read(value)),
                _ => {}
            }
        }
        subject
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

/// Returns the string members of the outermost object: their names, and their values as JSON.
fn text_fields(text: &str) -> impl Iterator<Item = (String, &str)> {
    let strings = outer_strings(text);
    let is_member = |end: usize, next: &Range<usize>| text[end..next.start].trim() == ":";
    let pairs: Vec<_> = strings
        .windows(2)
        .filter(|pair| is_member(pair[0].end, &pair[1]) && pair[0].len() <= MAX_NAME_BYTES)
        .filter_map(|pair| Some((read(&text[pair[0].clone()])?, &text[pair[1].clone()])))
        .collect();
    pairs.into_iter()
}

/// Returns the ranges of the strings in the outermost object, including their quotes.
fn outer_strings(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut is_escaped) = (0_usize, None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, start) {
            _ if is_escaped => is_escaped = false,
            (b'\\', Some(_)) => is_escaped = true,
            (b'"', Some(begin)) => {
                if depth == 1 {
                    found.push(begin..at + 1);
                }
                start = None;
            }
            (_, Some(_)) => {}
            (b'"', None) => start = Some(at),
            (b'{' | b'[', None) => depth += 1,
            (b'}' | b']', None) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn message_id(text: &str) -> Option<String> {
        ErrorSubject::of_text(text).client_message_id
    }

    #[test]
    fn reads_ids_from_malformed_frames() {
        for text in [
            r#"{"type":"message","message":5,"client_message_id":"m1"}"#,
            r#"{"client_message_id" : "m1", "message": "cut off"#,
            r#"{"message":"\x","client_message_id":"m1"}"#,
            r#"{"metadata":{"client_message_id":"other"},"client_message_id":"m1","x":[{"client_message_id":"other"}],"#,
            r#"{"message":"\"client_message_id\":\"other\"","client\u005fmessage_id":"\u006d1"} rest"#,
        ] {
            assert_eq!(message_id(text).as_deref(), Some("m1"), "{text}");
        }
        let subject = ErrorSubject::of_text(&format!(r#"{{"conversation_id":"{ID}","turn_id":"{ID}","session_id":"#));
        assert_eq!((subject.conversation_id, subject.turn_id), (ID.parse().ok(), ID.parse().ok()));
    }

    #[test]
    fn omits_unreadable_ids() {
        for text in [
            "",
            "\"client_message_id\":\"m1\"",
            r#"{"client_message_id":7}"#,
            r#"{"client_message_id":"m1"#,
            r#"{"x":{"client_message_id":"m1"}}"#,
            r#"["client_message_id","m1"]"#,
            r#"{"client_message_id":"\ud83d"}"#,
        ] {
            assert_eq!(message_id(text), None, "{text}");
        }
        assert_eq!(ErrorSubject::of_text(r#"{"session_id":"nope","turn_id":null}"#), ErrorSubject::default());
    }
}
