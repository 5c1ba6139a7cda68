//! Joining of surrogate pairs that a server has split between two events.
//!
//! A server that splits its text between two UTF-16 units (JavaScript, Java, .NET) ends one event with the high surrogate of
//! an emoji, `\ud83d`, and starts the next one with the low surrogate, `\ude00`.

/// Converts a stream of WTF-8 pieces to UTF-8.
#[derive(Debug, Default)]
pub(super) struct SurrogateJoiner {
    /// High surrogate at the end of the last piece.
    high: Option<u16>,
}

impl SurrogateJoiner {
    /// Converts the next piece, holding back a high surrogate at its end. A surrogate without its counterpart becomes U+FFFD.
    pub fn join(&mut self, piece: &[u8]) -> String {
        if self.high.is_none()
            && let Ok(text) = std::str::from_utf8(piece)
        {
            return text.to_owned();
        }
        let mut text = String::with_capacity(piece.len() + 4);
        let mut rest = piece;
        while !rest.is_empty() {
            if let Some((unit, after)) = surrogate(rest) {
                rest = after;
                self.push_surrogate(unit, &mut text);
                continue;
            }
            let end = (1..rest.len()).find(|at| surrogate(&rest[*at..]).is_some()).unwrap_or(rest.len());
            self.flush(&mut text);
            text.push_str(&String::from_utf8_lossy(&rest[..end]));
            rest = &rest[end..];
        }
        text
    }

    /// Ends the stream; returns U+FFFD if a high surrogate was held back.
    pub fn finish(&mut self) -> Option<char> {
        self.high.take().map(|_| char::REPLACEMENT_CHARACTER)
    }

    fn push_surrogate(&mut self, unit: u16, text: &mut String) {
        if (0xdc00..0xe000).contains(&unit) {
            let pair = self.high.take().map(|high| [high, unit]);
            let whole = pair.and_then(|pair| char::decode_utf16(pair).next()?.ok());
            text.push(whole.unwrap_or(char::REPLACEMENT_CHARACTER));
        } else {
            self.flush(text);
            self.high = Some(unit);
        }
    }

    fn flush(&mut self, text: &mut String) {
        text.extend(self.finish());
    }
}

/// Splits a leading surrogate off WTF-8 bytes.
fn surrogate(bytes: &[u8]) -> Option<(u16, &[u8])> {
    match bytes {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, rest @ ..] => {
            Some((0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f), rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HIGH: &[u8] = b"\xed\xa0\xbd";
    const LOW: &[u8] = b"\xed\xb8\x80";

    fn joined(pieces: &[&[u8]]) -> String {
        let mut joiner = SurrogateJoiner::default();
        let mut text: String = pieces.iter().map(|piece| joiner.join(piece)).collect();
        text.extend(joiner.finish());
        text
    }

    #[test]
    fn a_pair_split_between_pieces_is_joined() {
        assert_eq!(joined(&["ok ".as_bytes(), &[b"x", HIGH].concat(), b"", &[LOW, b"!"].concat()]), "ok x😀!");
        assert_eq!(joined(&[HIGH, LOW, HIGH, LOW]), "😀😀");
    }

    #[test]
    fn a_lone_surrogate_is_replaced() {
        assert_eq!(joined(&[HIGH, b" off"]), "\u{fffd} off");
        assert_eq!(joined(&[HIGH]), "\u{fffd}");
        assert_eq!(joined(&[b"a", LOW, b"b"]), "a\u{fffd}b");
        assert_eq!(joined(&[&[HIGH, HIGH, LOW].concat()]), "\u{fffd}😀");
        assert_eq!(joined(&["grün".as_bytes()]), "grün");
    }
}
