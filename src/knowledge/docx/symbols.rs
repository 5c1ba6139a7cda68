//! Characters of symbol fonts, which documents encode by their code in the font.

/// Characters of the font `Symbol` from 0x20; `\u{fffd}` for gaps.
const SYMBOL_20: &str =
    " !∀#∃%&∋()∗+,−./0123456789:;<=>?≅ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ[∴]⊥_‾αβχδεφγηιϕκλμνοπθρστυϖωξψζ{|}∼";
/// Characters of the font `Symbol` from 0xA0.
const SYMBOL_A0: &str =
    "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…⏐⎯↵ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓◊〈®©™∑⎛⎜⎝⎡⎢⎣⎧⎨⎩⎪\u{fffd}〉∫⌠⎮⌡⎞⎟⎠⎤⎥⎦⎫⎬⎭";
/// Commonly used characters of the font `Wingdings`.
const WINGDINGS: &[(u32, char)] = &[
    (0x28, '☎'),
    (0x2a, '✉'),
    (0x46, '☞'),
    (0x4a, '☺'),
    (0x4c, '☹'),
    (0x6c, '●'),
    (0x6e, '■'),
    (0x6f, '□'),
    (0x9f, '•'),
    (0xa7, '▪'),
    (0xa8, '◻'),
    (0xd8, '➢'),
    (0xdf, '←'),
    (0xe0, '→'),
    (0xe8, '➔'),
    (0xfb, '✗'),
    (0xfc, '✓'),
    (0xfd, '☒'),
    (0xfe, '☑'),
];

/// Converts a hexadecimal code of a font to a character. `None` if the font's symbol has no Unicode equivalent here.
pub(super) fn character(font: &str, code: &str) -> Option<char> {
    let code = u32::from_str_radix(code, 16).ok()?;
    // Word maps symbol fonts to the private use area.
    let in_font = if (0xf000..=0xf0ff).contains(&code) { code - 0xf000 } else { code };
    match font {
        "Symbol" if in_font <= 0xff => symbol(in_font),
        "Wingdings" if in_font <= 0xff => WINGDINGS.iter().find(|(code, _)| *code == in_font).map(|(_, c)| *c),
        _ => char::from_u32(code).filter(|c| !('\u{e000}'..='\u{f8ff}').contains(c)),
    }
}

fn symbol(code: u32) -> Option<char> {
    let (table, first) = if code < 0xa0 { (SYMBOL_20, 0x20) } else { (SYMBOL_A0, 0xa0) };
    let at = usize::try_from(code.checked_sub(first)?).ok()?;
    table.chars().nth(at).filter(|c| *c != '\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_converted_to_characters() {
        for (font, code, expected) in [
            ("Symbol", "F061", Some('α')),
            ("Symbol", "F06D", Some('μ')),
            ("Symbol", "F07E", Some('∼')),
            ("Symbol", "F0A3", Some('≤')),
            ("Symbol", "F0B0", Some('°')),
            ("Symbol", "F0B1", Some('±')),
            ("Symbol", "F0DE", Some('⇒')),
            ("Symbol", "F0E5", Some('∑')),
            ("Symbol", "F0FE", Some('⎭')),
            ("Symbol", "57", Some('Ω')),
            ("Symbol", "F0F0", None),
            ("Wingdings", "F0FC", Some('✓')),
            ("Wingdings", "F022", None),
            ("Arial", "2022", Some('•')),
            ("Webdings", "F041", None),
            ("Arial", "x", None),
        ] {
            assert_eq!(character(font, code), expected, "{font} {code}");
        }
    }
}
