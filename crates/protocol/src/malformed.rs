//! Conversion of serde's parse errors into errors for the author of the input.

use super::{ApiError, ErrorCode};
use std::borrow::Cow;

/// Maximum length of input that an error repeats, in bytes.
const MAX_SHOWN_BYTES: usize = 200;
/// Maximum length of a list of allowed values, in bytes. Such lists come from the server's own types; the longest one, the sort
/// keys of connections, has about 300 bytes.
const MAX_ALLOWED_BYTES: usize = 4_000;

/// Creates an `INVALID_JSON` error with line and column. `subject` begins the sentence, such as "The body".
pub fn invalid_json(subject: &str, error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let message = if error.is_eof() {
        format!("{subject} is not valid JSON: unexpected end at line {line}, column {column}.")
    } else {
        let text = error.to_string();
        format!("{subject} is not valid JSON at line {line}, column {column}: {}.", without_position(&text))
    };
    ApiError::new(ErrorCode::InvalidJson, message)
}

/// Creates an `INVALID_FIELD` error for a missing, unknown, duplicate or invalid field. `path` comes from `serde_path_to_error`,
/// `reason` is serde's message; only the latter names a missing field.
pub fn invalid_field(path: &str, reason: &str) -> ApiError {
    let reason = without_position(reason);
    let parent = if path == "." { None } else { Some(shown(path)) };
    let path_to = |name: &str| parent.as_ref().map_or_else(|| name.to_owned(), |parent| format!("{parent}.{name}"));
    if let Some(name) = name_after("missing field ", reason) {
        return ApiError::invalid_field(&path_to(name), "is missing");
    }
    if reason.starts_with('`') {
        // A `TryFrom` impl rejected a combination of fields; its message names them.
        return ApiError::new(ErrorCode::InvalidField, shown(reason).into_owned());
    }
    if let Some(name) = name_after("duplicate field ", reason) {
        return ApiError::invalid_field(&path_to(name), "is duplicated");
    }
    let sentence = match reason.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("unknown field ") => {
            format!("is unknown; expected {}", truncated(expected, MAX_ALLOWED_BYTES))
        }
        Some((_, expected)) => format!("must be {}", expectation(expected)),
        None => fault(reason),
    };
    match parent {
        Some(path) => ApiError::invalid_field(&path, sentence),
        None => ApiError::new(ErrorCode::InvalidField, format!("The value {sentence}")),
    }
}

/// Removes serde's position, which is reported separately and is meaningless for a value that has been parsed.
fn without_position(text: &str) -> &str {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.rsplit_once(" at line ") {
        Some((reason, position))
            if position.split_once(" column ").is_some_and(|(l, c)| is_number(l) && is_number(c)) =>
        {
            reason
        }
        _ => text,
    }
}

/// Returns the part of the input that an error may repeat; an ellipsis marks omitted text.
fn shown(text: &str) -> Cow<'_, str> {
    truncated(text, MAX_SHOWN_BYTES)
}

fn truncated(text: &str, max_bytes: usize) -> Cow<'_, str> {
    let end = text.floor_char_boundary(max_bytes);
    if end == text.len() { text.into() } else { format!("{}…", &text[..end]).into() }
}

fn name_after<'a>(words: &str, reason: &'a str) -> Option<&'a str> {
    reason.strip_prefix(words)?.strip_prefix('`')?.strip_suffix('`')
}

/// Translates the type that serde expects into terms of JSON.
fn expectation(expected: &str) -> String {
    match expected {
        "string" | "string or map" => "a string".to_owned(),
        "a formatted UUID string" => "a UUID".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a map" => "an object".to_owned(),
        "a sequence" => "an array".to_owned(),
        "u8" => whole_number_up_to(u8::MAX.into()),
        "u16" => whole_number_up_to(u16::MAX.into()),
        "u32" => whole_number_up_to(u32::MAX.into()),
        "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        other if other.starts_with("struct ") => "an object".to_owned(),
        other => truncated(other, MAX_ALLOWED_BYTES).into_owned(),
    }
}

fn whole_number_up_to(max: u64) -> String {
    format!("a whole number from 0 to {max}")
}

/// Describes why a string was rejected. Unknown reasons are repeated and may contain the string.
fn fault(reason: &str) -> String {
    match reason {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            "must be a whole number".to_owned()
        }
        "number too large to fit in target type" => "is too large".to_owned(),
        "number too small to fit in target type" => "is too small".to_owned(),
        "provided string was not `true` or `false`" => "must be true or false".to_owned(),
        _ if reason.starts_with("UUID parsing failed") => "must be a UUID".to_owned(),
        _ => format!("is invalid: {}", shown(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Order {
        name: String,
        count: Option<u8>,
        id: Option<uuid::Uuid>,
        tags: Option<Vec<String>>,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only read by serde")]
    struct Inner {
        is_on: bool,
        level: Option<Level>,
        any: Option<serde_json::Map<String, serde_json::Value>>,
        last: Option<i64>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Level {
        Low,
        High,
    }

    fn message(json: &str) -> String {
        let mut json = serde_json::Deserializer::from_str(json);
        let error = serde_path_to_error::deserialize::<_, Order>(&mut json).unwrap_err();
        invalid_field(&error.path().to_string(), &error.inner().to_string()).message.into_owned()
    }

    #[test]
    fn errors_name_the_field_and_the_expected_type() {
        for (json, wanted) in [
            ("{}", "`name` is missing"),
            (r#"{"name":5}"#, "`name` must be a string"),
            (r#"{"name":null}"#, "`name` must be a string"),
            (r#"{"name":"x","count":-1}"#, "`count` must be a whole number from 0 to 255"),
            (r#"{"name":"x","count":1.5}"#, "`count` must be a whole number from 0 to 255"),
            (r#"{"name":"x","id":7}"#, "`id` must be a UUID"),
            (r#"{"name":"x","id":"at line 7"}"#, "`id` must be a UUID"),
            (r#"{"name":"x","tags":"y"}"#, "`tags` must be an array"),
            (r#"{"name":"x","tags":["y",5]}"#, "`tags[1]` must be a string"),
            (r#"{"name":"x","inner":5}"#, "`inner` must be an object"),
            (r#"{"name":"x","inner":{}}"#, "`inner.is_on` is missing"),
            (r#"{"name":"x","inner":{"is_on":"yes"}}"#, "`inner.is_on` must be true or false"),
            (r#"{"name":"x","inner":{"is_on":true,"level":"mid"}}"#, "`inner.level` must be `low` or `high`"),
            (r#"{"name":"x","inner":{"is_on":true,"any":[]}}"#, "`inner.any` must be an object"),
            (r#"{"name":"x","inner":{"is_on":true,"last":"1"}}"#, "`inner.last` must be a whole number"),
            (r#"{"name":"x","name":"y"}"#, "`name` is duplicated"),
            (r#"{"name":"x","nam":1}"#, "`nam` is unknown; expected one of `name`, `count`, `id`, `tags`, `inner`"),
        ] {
            assert_eq!(message(json), wanted, "{json}");
        }
    }

    #[test]
    fn errors_do_not_repeat_the_rejected_value() {
        let secret = "s3cret, expected nothing".repeat(20);
        let message = message(&format!(r#"{{"name":"x","count":"{secret}"}}"#));
        assert_eq!(message, "`count` must be a whole number from 0 to 255");
        let long = "x".repeat(5_000);
        let message = invalid_field(&long, &long).message;
        assert!(message.len() < 500 && message.contains("x…`") && message.ends_with("x…"), "{message}");
    }

    #[test]
    fn lists_of_allowed_values_are_complete() {
        let names: Vec<_> = (0..60).map(|number| format!("`a_rather_long_name_{number}`")).collect();
        let (all, last) = (names.join(", "), names.last().unwrap());
        let variant = invalid_field("sort", &format!("unknown variant `x`, expected one of {all}")).message;
        assert!(variant.ends_with(last.as_str()), "{variant}");
        let field = invalid_field("x", &format!("unknown field `x`, expected one of {all}")).message;
        assert!(field.ends_with(last.as_str()), "{field}");
    }

    #[test]
    fn invalid_json_is_reported_with_its_position() {
        let message = |text: &str| {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            invalid_json("The body", &error).message.into_owned()
        };
        assert_eq!(message("{"), "The body is not valid JSON: unexpected end at line 1, column 1.");
        assert_eq!(message("{\n\"a\" 5}"), "The body is not valid JSON at line 2, column 5: expected `:`.");
        assert_eq!(message("{} x"), "The body is not valid JSON at line 1, column 4: trailing characters.");
    }
}
