//! Detection of invisible and misleading characters in names and messages.

/// Whether a character is invisible or changes the direction of the text around it (U+202E), so that a name can look like
/// another one. The joiners U+200C and U+200D are allowed, since some scripts and emoji require them.
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

/// Whether a text without misleading characters is blank.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_and_directional_characters_are_misleading() {
        for c in "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200b}\u{feff}\u{ad}\u{3164}\u{e0041}".chars() {
            assert!(is_misleading(c), "{c:?}");
        }
    }

    #[test]
    fn ordinary_names_are_not_misleading() {
        for text in ["Ada-Marie O’Hara", "محمد‌علی", "👩\u{200d}💻", "❤\u{fe0f}", "Zoë Ångström", "山田 太郎", "שרה"]
        {
            assert!(!text.chars().any(is_misleading) && !is_blank(text), "{text}");
        }
        assert!(is_blank(" \u{200d}\u{fe0f}") && is_blank(""));
    }
}
