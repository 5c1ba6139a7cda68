//! Lenient parsing of JSON from clients: accepts lone surrogates, and `null` for optional fields.

use super::{ApiError, ErrorCode, invalid_field};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::borrow::Cow;

/// Maximum number of `null` fields per object that are treated as absent. Each one costs another pass over the object.
const MAX_IGNORED_NULLS: usize = 32;
/// Length of `\uXXXX`, in bytes.
const ESCAPE_BYTES: usize = 6;
/// Escape of U+FFFD, the replacement character.
const REPLACEMENT: &[u8; ESCAPE_BYTES] = b"\\ufffd";

/// Replaces escapes of lone surrogates by that of U+FFFD. Languages with UTF-16 strings produce them when a text is cut inside an
/// emoji (`\ud83d`), and UTF-8 cannot represent them. The length stays the same, so that positions in parse errors remain valid.
pub fn replace_lone_surrogates(json: &[u8]) -> Cow<'_, [u8]> {
    let mut replaced = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match (unit_at(json, at), unit_at(json, at + ESCAPE_BYTES)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 2 * ESCAPE_BYTES,
            (Some(0xd800..0xe000), _) => {
                replaced.to_mut()[at..at + ESCAPE_BYTES].copy_from_slice(REPLACEMENT);
                ESCAPE_BYTES
            }
            (Some(_), _) => ESCAPE_BYTES,
            // Skips the escaped character, which may itself be a backslash.
            (None, _) => 2,
        };
        if at >= json.len() {
            break;
        }
    }
    replaced
}

/// Returns the UTF-16 code unit of the escape at this position.
fn unit_at(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u16::from_str_radix(digits, 16).ok()
}

/// Deserializes an object. An optional field may be `null`, whatever its type.
///
/// # Errors
/// `INVALID_FIELD` with the field's path.
pub fn parse_fields<T: DeserializeOwned>(mut value: Value) -> Result<T, ApiError> {
    for _ in 0..MAX_IGNORED_NULLS {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(fields) => return Ok(fields),
            Err(error) => error,
        };
        if !remove_null(&mut value, error.path()) {
            return Err(invalid_field(&error.path().to_string(), &error.inner().to_string()));
        }
    }
    Err(ApiError::new(ErrorCode::InvalidField, format!("More than {MAX_IGNORED_NULLS} fields are null; omit them.")))
}

/// Removes the member at `path` if it is `null`; returns whether it was removed.
pub fn remove_null(value: &mut Value, path: &Path) -> bool {
    let segments: Vec<_> = path.iter().collect();
    let Some((Segment::Map { key }, parents)) = segments.split_last() else { return false };
    let parent = parents.iter().try_fold(value, |value, segment| match segment {
        Segment::Map { key } => value.get_mut(key),
        Segment::Seq { index } => value.get_mut(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    let Some(Value::Object(members)) = parent else { return false };
    members.get(key).is_some_and(Value::is_null) && members.remove(key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    fn replaced(json: &str) -> String {
        String::from_utf8(replace_lone_surrogates(json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn replaces_lone_surrogates_and_keeps_pairs() {
        for (json, wanted) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D\uDE00 \u00e9""#, r#""\uD83D\uDE00 \u00e9""#),
            (r#""Look \ud83d""#, r#""Look \ufffd""#),
            (r#""\ude00""#, r#""\ufffd""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
            (r#""\ud83dx\ude00""#, r#""\ufffdx\ufffd""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
            // Not escapes of a surrogate.
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\ud83""#, r#""\ud83""#),
            (r#""\u+83d""#, r#""\u+83d""#),
            ("\\", "\\"),
            (r"\ud83d", r"\ufffd"),
        ] {
            assert_eq!(replaced(json), wanted, "{json}");
        }
        assert!(matches!(replace_lone_surrogates(r#"{"a":"\n\ud83d\ude00"}"#.as_bytes()), Cow::Borrowed(_)));
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Outer {
        name: String,
        #[serde(default)]
        tags: Vec<String>,
        #[serde(default)]
        count: u8,
        inner: Option<Inner>,
        any: Option<serde_json::Map<String, Value>>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Inner {
        #[serde(default)]
        is_on: bool,
    }

    #[test]
    fn null_means_absent_for_optional_fields() {
        let all = json!({"name": "x", "tags": null, "count": null, "inner": {"is_on": null}, "any": null});
        let wanted = Outer { name: "x".to_owned(), inner: Some(Inner::default()), ..Outer::default() };
        assert_eq!(parse_fields::<Outer>(all).unwrap(), wanted);
        // Free-form values keep their nulls.
        let any = json!({"deep": null}).as_object().cloned();
        assert_eq!(parse_fields::<Outer>(json!({"name": "x", "any": any})).unwrap().any, any);
    }

    #[test]
    fn rejects_null_for_required_fields() {
        let message = |value| parse_fields::<Outer>(value).unwrap_err().message.into_owned();
        assert_eq!(message(json!({"name": null})), "`name` is missing");
        assert_eq!(message(json!({"name": "x", "tags": [null]})), "`tags[0]` must be a string");
        assert_eq!(message(json!({"name": "x", "inner": {"is_on": 1}})), "`inner.is_on` must be true or false");
    }

    proptest! {
        #[test]
        fn replacing_surrogates_keeps_the_length(units in prop::collection::vec(0xd7f0_u16..0xe010, 0..12), text in "\\PC{0,4}") {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = serde_json::to_string(&text).unwrap();
            let json = format!("{}{escaped}\"", &json[..json.len() - 1]);
            let replaced = replaced(&json);
            prop_assert_eq!(replaced.len(), json.len());
            let read: String = serde_json::from_str(&replaced).unwrap();
            prop_assert_eq!(read, format!("{text}{}", String::from_utf16_lossy(&units)));
        }

        #[test]
        fn never_panics(bytes in prop::collection::vec(prop::sample::select(b"\\u\"d8e0fx\xed".to_vec()), 0..40)) {
            prop_assert_eq!(replace_lone_surrogates(&bytes).len(), bytes.len());
        }
    }
}
