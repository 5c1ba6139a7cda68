//! Detection of invisible and misleading characters in names and messages.

use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

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

/// Whether a text has no visible character: it is empty, or consists of white space, control characters and characters that are
/// invisible by themselves, such as joiners and variation selectors.
pub fn is_blank(text: &str) -> bool {
    let is_ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || is_ignorable.contains(c)
            // Blank by design, but not ignorable: interlinear annotations, an empty Braille cell and a note without a head.
            || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{2800}' | '\u{1d159}')
    })
}

/// Whether a character is not allowed in a name: control characters, zero-width characters, line and paragraph separators,
/// and the controls of bidirectional text.
pub fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
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
    }

    #[test]
    fn a_text_of_invisible_characters_is_blank() {
        assert!(is_blank(""));
        let invisible = " \t\r\n\u{0}\u{7}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{180b}\u{180e}\u{200b}\u{200c}\u{200d}\
            \u{200e}\u{200f}\u{2028}\u{202a}\u{202e}\u{2060}\u{2064}\u{2066}\u{2069}\u{206f}\u{2800}\u{3000}\u{3164}\u{fe00}\u{fe0f}\
            \u{feff}\u{ffa0}\u{fff9}\u{1bca0}\u{1d159}\u{1d173}\u{e0001}\u{e0061}\u{e0100}";
        assert!(is_blank(invisible));
        for c in invisible.chars() {
            assert!(is_blank(&c.to_string()), "{c:?}");
        }
        // Every misleading character is invisible by itself.
        for c in ('\0'..=char::MAX).filter(|c| is_misleading(*c)) {
            assert!(is_blank(&c.to_string()), "{c:?}");
        }
    }

    #[test]
    fn visible_text_with_invisible_characters_is_not_blank() {
        for text in [
            "❤\u{fe0f}",
            "👩\u{200d}💻",
            "#\u{fe0f}\u{20e3}",
            "🏴\u{e0067}\u{e0062}\u{e007f}",
            "\u{200b}.",
            "\u{301}",
            "می\u{200c}خواهم",
        ] {
            assert!(!is_blank(text), "{text:?}");
        }
    }
}
