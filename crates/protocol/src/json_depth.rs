//! How deep JSON is nested, found out before it is parsed.

use super::{ApiError, ErrorCode};

/// Refuses JSON that is nested deeper than `max`: `{"a":[1]}` is two deep. Text that is no JSON passes, for the parser to
/// refuse.
///
/// # Errors
/// `INVALID_JSON`.
pub fn check_json_depth(json: &[u8], max: usize) -> Result<(), ApiError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    let reason = format!("The JSON is nested deeper than {max}.");
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

    fn is_refused(json: &str, max: usize) -> bool {
        check_json_depth(json.as_bytes(), max).is_err()
    }

    #[test]
    fn depth_is_that_of_the_deepest_place() {
        assert!(!is_refused(r#"{"a":[1,{}],"b":[[]]}"#, 3) && is_refused(r#"{"a":[1,{}],"b":[[]]}"#, 2));
        assert!(is_refused(&"[".repeat(100_000), 32));
        assert!(!is_refused("{}{}{}[]", 1));
        assert!(!is_refused("]]]]{}", 1));
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        assert!(!is_refused(r#"{"a":"[[[[{{{{","[[":"\"[[["}"#, 1));
        assert!(is_refused(r#"{"a":"\\",\u0022:[["[]"]]}"#, 2));
        assert!(!is_refused(r#"{"a":"\\"}"#, 1));
    }
}
