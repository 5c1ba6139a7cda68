//! Unicode forms of a password. Keyboards and operating systems encode the same characters as different code points, and the
//! same password must match in all of them.

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;

/// The form that is rated and hashed: spaces mapped to U+0020, as in the OpaqueString profile of RFC 8265, then NFKC, as NIST
/// SP 800-63B recommends. RFC 8265 uses NFC; NFKC also unifies the full-width characters of input methods, and texts that are
/// equal in NFC are equal in NFKC.
pub(super) fn canonical(password: &SecretString) -> SecretString {
    SecretString::from(normalised(password.expose_secret()))
}

/// [`canonical`] for a text that a password is compared with.
pub(super) fn normalised(text: &str) -> String {
    text.chars().map(|c| if is_space(c) { ' ' } else { c }).nfkc().collect()
}

/// The distinct forms that a hash may have been computed from, at most four: the canonical form first, then those that earlier
/// versions hashed (the password as typed, in NFC and in NFD). An ASCII password has only one. Their number depends on the typed
/// password alone, so the time of a verification reveals nothing about the account.
pub(super) fn candidates(typed: &SecretString) -> Vec<SecretString> {
    let text = typed.expose_secret();
    let mut candidates = vec![canonical(typed)];
    let earlier = [text.to_owned(), text.nfc().collect(), text.nfd().collect()];
    for form in earlier.map(SecretString::from) {
        if candidates.iter().all(|known| known.expose_secret() != form.expose_secret()) {
            candidates.push(form);
        }
    }
    candidates
}

/// Whether a character is of the Unicode category Zs.
fn is_space(c: char) -> bool {
    c.is_whitespace() && !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<String> {
        candidates(&text.into()).iter().map(|form| form.expose_secret().to_owned()).collect()
    }

    #[test]
    fn every_form_of_a_password_has_the_same_canonical_form() {
        for text in
            ["Grüße-aus-Köln", "mật khẩu của tôi", "ｐａｓｓ１２３４", "비밀번호 한글", "ﬁne ½ Ångström", "ｶﾞｷﾞ", "ḍ̇ot"]
        {
            let nfc: String = text.nfc().collect();
            let others =
                [text.nfd().collect::<String>(), text.nfkc().collect(), text.nfkd().collect(), text.to_owned()];
            for other in others {
                assert_eq!(forms(&other)[0], forms(&nfc)[0], "{text}");
            }
        }
        for space in ["\u{a0}", "\u{1680}", "\u{2003}", "\u{202f}", "\u{205f}", "\u{3000}"] {
            assert_eq!(forms(&format!("two{space}words"))[0], "two words", "{space:?}");
        }
    }

    #[test]
    fn case_and_surrounding_spaces_are_significant() {
        assert_eq!(forms(" Straße "), [" Straße "]);
        assert_ne!(forms("straße")[0], forms("strasse")[0]);
        assert_ne!(forms("İ")[0], forms("i")[0]);
    }

    #[test]
    fn there_are_at_most_four_distinct_candidates() {
        assert_eq!(forms("correct horse"), ["correct horse"]);
        assert_eq!(forms("密码密码密码"), ["密码密码密码"]);
        assert_eq!(forms("ü"), ["ü", "u\u{308}"]);
        assert_eq!(forms("u\u{308}"), ["ü", "u\u{308}"]);
        assert_eq!(forms("½u\u{308}ü"), ["1\u{2044}2üü", "½u\u{308}ü", "½üü", "½u\u{308}u\u{308}"]);
        for c in '\0'..=char::MAX {
            assert!(forms(&format!("½u\u{308}ü{c}")).len() <= 4, "{c:?}");
        }
    }
}
