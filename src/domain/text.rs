//! Characters that do not belong in what one person reads of another.

/// Whether nobody sees this character, or it turns round the text beside it (U+202E): with either, a name looks like another
/// one. Joiners stay (U+200C, U+200D), without which some scripts and emoji cannot be written.
pub fn is_misleading(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether there is nothing to see, once no character is misleading.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_text_round_or_is_not_seen_is_misleading() {
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200b}\u{feff}\u{ad}\u{3164}\u{e0041}".chars() {
            assert!(is_misleading(c), "{c:?}");
        }
    }

    #[test]
    fn what_people_write_is_not() {
        for text in ["Ada-Marie O’Hara", "محمد‌علی", "👩\u{200d}💻", "❤\u{fe0f}", "Zoë Ångström", "山田 太郎", "שרה"]
        {
            assert!(!text.chars().any(is_misleading) && !is_blank(text), "{text}");
        }
        assert!(is_blank(" \u{200d}\u{fe0f}") && is_blank(""));
    }
}
