//! Text of the relayed answers: a function of the question, so that the client can tell whether it got all of its own answer.

use std::fmt::Write;

/// Precedes the number of a question, in its text.
pub const MARK: &str = "question-";
/// Length of a token in bytes.
pub const TOKEN_BYTES: usize = 10;

/// Returns the number of the last question in the body of a request.
pub fn question_in(body: &[u8]) -> u64 {
    let Some(at) = body.windows(MARK.len()).rposition(|window| window == MARK.as_bytes()) else { return 0 };
    let digits = body[at + MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
}

/// Appends token `index` of the answer to `question`: nine hexadecimal digits and a space.
pub fn put_token(question: u64, index: u32, text: &mut String) {
    // splitmix64
    let mut bits = (question << 24 ^ u64::from(index)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    let digits = TOKEN_BYTES - 1;
    write!(text, "{:0digits$x} ", (bits ^ bits >> 31) >> 28).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_question_of_a_body_is_found() {
        assert_eq!(question_in(br#"{"messages":[{"content":"question-7 first"},{"content":"question-1234?"}]}"#), 1234);
        assert_eq!(question_in(b"{}"), 0);
    }

    #[test]
    fn tokens_have_one_length_and_differ_by_question_and_index() {
        let token = |question, index| {
            let mut text = String::new();
            put_token(question, index, &mut text);
            text
        };
        assert_eq!(token(1, 1).len(), TOKEN_BYTES);
        assert_eq!(token(1, 1), token(1, 1));
        assert_ne!(token(1, 1), token(1, 2));
        assert_ne!(token(1, 1), token(2, 1));
    }
}
