//! Nesting limit for JSON, checked before parsing.

use super::{ApiError, ErrorCode};

/// Checks that JSON is nested at most `max` levels deep; `{"a":[1]}` has two levels. Malformed JSON is left to the parser.
///
/// # Errors
/// `INVALID_JSON` if the nesting is deeper.
pub fn check_json_depth(json: &[u8], max: usize) -> Result<(), ApiError> {
    // Few brackets cannot nest deeply. Counting them is much faster than skipping strings.
    if json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= max {
        return Ok(());
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    let reason = format!("The JSON is nested more than {max} levels deep.");
                    return Err(ApiError::new(ErrorCode::InvalidJson, reason));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_rejected(json: &str, max: usize) -> bool {
        check_json_depth(json.as_bytes(), max).is_err()
    }

    #[test]
    fn depth_is_that_of_the_deepest_value() {
        assert!(!is_rejected(r#"{"a":[1,{}],"b":[[]]}"#, 3) && is_rejected(r#"{"a":[1,{}],"b":[[]]}"#, 2));
        assert!(is_rejected(&"[".repeat(100_000), 32));
        assert!(!is_rejected("{}{}{}[]", 1));
        assert!(!is_rejected("]]]]{}", 1));
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert!(!is_rejected(r#"{"a":"[[[[{{{{","[[":"\"[[["}"#, 1));
        assert!(is_rejected(r#"{"a":"\\",\u0022:[["[]"]]}"#, 2));
        assert!(!is_rejected(r#"{"a":"\\"}"#, 1));
    }
}
