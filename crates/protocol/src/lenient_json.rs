//! Tolerance for odd JSON of clients: text that was cut inside a character, and `null` for a field that may be absent.

use super::{ApiError, ErrorCode, wrong_field};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::borrow::Cow;

/// Fields with a `null` that are taken as absent in one object; more are an error.
const MAX_IGNORED_NULLS: usize = 32;
/// `\uXXXX`, in bytes.
const ESCAPE_BYTES: usize = 6;
/// The escape that stands for what cannot be read.
const REPLACEMENT: &[u8; ESCAPE_BYTES] = b"\\ufffd";

/// Replaces each half of a surrogate pair that stands alone by U+FFFD. Languages whose strings are UTF-16 make them when they cut a
/// text inside an emoji, and JSON writes them as an escape such as `\ud83d`, which no UTF-8 text can hold. All places stay as they
/// are.
pub fn mend_surrogates(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        at += match (unit_at(json, at), unit_at(json, at + ESCAPE_BYTES)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 2 * ESCAPE_BYTES,
            (Some(0xd800..0xe000), _) => {
                mended.to_mut()[at..at + ESCAPE_BYTES].copy_from_slice(REPLACEMENT);
                ESCAPE_BYTES
            }
            (Some(_), _) => ESCAPE_BYTES,
            // The escaped character may be a backslash.
            (None, _) => 2,
        };
        if at >= json.len() {
            break;
        }
    }
    mended
}

/// The UTF-16 unit that is escaped at this place.
fn unit_at(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u16::from_str_radix(digits, 16).ok()
}

/// The fields of an object. A field that may be absent may be `null` as well, whatever its type.
///
/// # Errors
/// `INVALID_FIELD` with the field's path.
pub fn fields_of<T: DeserializeOwned>(mut value: Value) -> Result<T, ApiError> {
    for _ in 0..MAX_IGNORED_NULLS {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(fields) => return Ok(fields),
            Err(error) => error,
        };
        if !remove_null(&mut value, error.path()) {
            return Err(wrong_field(&error.path().to_string(), &error.inner().to_string()));
        }
    }
    Err(ApiError::new(
        ErrorCode::InvalidField,
        format!("More than {MAX_IGNORED_NULLS} fields are null; leave them out."),
    ))
}

/// Removes the member at `path` when it is `null`; returns whether it was.
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

    fn mended(json: &str) -> String {
        String::from_utf8(mend_surrogates(json.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn halves_of_a_pair_are_replaced_and_pairs_are_kept() {
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
            assert_eq!(mended(json), wanted, "{json}");
        }
        assert!(matches!(mend_surrogates(r#"{"a":"\n\ud83d\ude00"}"#.as_bytes()), Cow::Borrowed(_)));
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
    fn null_is_as_good_as_absent_where_a_field_may_be() {
        let all = json!({"name": "x", "tags": null, "count": null, "inner": {"is_on": null}, "any": null});
        let wanted = Outer { name: "x".to_owned(), inner: Some(Inner::default()), ..Outer::default() };
        assert_eq!(fields_of::<Outer>(all).unwrap(), wanted);
        // What is the client's own stays as it is.
        let any = json!({"deep": null}).as_object().cloned();
        assert_eq!(fields_of::<Outer>(json!({"name": "x", "any": any})).unwrap().any, any);
    }

    #[test]
    fn a_field_that_must_be_there_must_not_be_null() {
        let message = |value| fields_of::<Outer>(value).unwrap_err().message.into_owned();
        assert_eq!(message(json!({"name": null})), "`name` is missing");
        assert_eq!(message(json!({"name": "x", "tags": [null]})), "`tags[0]` must be a string");
        assert_eq!(message(json!({"name": "x", "inner": {"is_on": 1}})), "`inner.is_on` must be true or false");
    }

    proptest! {
        #[test]
        fn whatever_is_mended_keeps_its_places(units in prop::collection::vec(0xd7f0_u16..0xe010, 0..12), text in "\\PC{0,4}") {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let json = serde_json::to_string(&text).unwrap();
            let json = format!("{}{escaped}\"", &json[..json.len() - 1]);
            let mended = mended(&json);
            prop_assert_eq!(mended.len(), json.len());
            let read: String = serde_json::from_str(&mended).unwrap();
            prop_assert_eq!(read, format!("{text}{}", String::from_utf16_lossy(&units)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"\\u\"d8e0fx\xed".to_vec()), 0..40)) {
            prop_assert_eq!(mend_surrogates(&bytes).len(), bytes.len());
        }
    }
}
