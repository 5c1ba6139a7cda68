//! E-mail addresses, which identify accounts, and their canonical form.

use super::InvalidUserField;
use serde::{Serialize, Serializer};
use std::hash::{Hash, Hasher};
use unicode_normalization::UnicodeNormalization;

/// E-mail address in canonical form, so that all spellings of an address denote one account.
///
/// The form is the `UsernameCaseMapped` profile of RFC 8265: width mapping, lower case, and Unicode normalization form C. Two
/// addresses are equal if their canonical forms are.
#[derive(Clone, Debug)]
pub struct Email {
    address: String,
    /// Form in which earlier versions stored this address, if different: only trimmed and in lower case.
    uncomposed: Option<String>,
}

impl Email {
    /// Maximum length of an address in SMTP (RFC 5321, 4.5.3.1.3).
    const MAX_BYTES: usize = 254;

    /// Parses and canonicalizes an address.
    ///
    /// # Errors
    /// When the text is not `local@domain`, contains white space or control characters, or is longer than 254 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidUserField> {
        let (address, uncomposed) = (canonical(text.trim()), text.trim().to_lowercase());
        if is_well_formed(&address) {
            let uncomposed = (uncomposed != address).then_some(uncomposed);
            return Ok(Self { address, uncomposed });
        }
        // An address such as `a＠b@example.org` has no valid canonical form.
        Self::stored(&uncomposed)
    }

    /// Parses an address from the store without canonicalizing it: another account may have the canonical form.
    ///
    /// # Errors
    /// As [`Email::parse`].
    pub fn stored(text: &str) -> Result<Self, InvalidUserField> {
        if is_well_formed(text) {
            Ok(Self { address: text.to_owned(), uncomposed: None })
        } else {
            Err(InvalidUserField { field: "email", reason: "must be an e-mail address, such as ada@example.org" })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.address
    }

    /// Returns the forms under which an account with this address may be stored, in order of preference.
    pub fn stored_forms(&self) -> impl Iterator<Item = &str> {
        self.uncomposed.as_deref().into_iter().chain([self.address.as_str()])
    }
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
    }
}

impl Serialize for Email {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.address.serialize(serializer)
    }
}

/// Canonicalizes an address. Composes before and after lowercasing, since some letters become several characters.
fn canonical(text: &str) -> String {
    // Fast path, since every verification of a token parses an address.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut width_mapped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // The Unicode block of full-width and half-width forms.
            '\u{ff00}'..='\u{ffef}' => width_mapped.extend(std::iter::once(c).nfkc()),
            c => width_mapped.push(c),
        }
    }
    width_mapped.nfc().collect::<String>().to_lowercase().nfc().collect()
}

fn is_well_formed(address: &str) -> bool {
    address.len() <= Email::MAX_BYTES
        && !address.chars().any(|c| c.is_whitespace() || c.is_control())
        && address.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.contains('@') && domain.split('.').all(|label| !label.is_empty())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> String {
        Email::parse(text).unwrap().as_str().to_owned()
    }

    #[test]
    fn case_and_surrounding_space_are_ignored() {
        assert_eq!(Email::parse(" Ada@Example.ORG "), Email::parse("ada@example.org"));
    }

    #[test]
    fn all_unicode_forms_of_an_address_are_equal() {
        for (text, canonical) in [
            ("CAF\u{c9}@example.org", "café@example.org"),
            ("cafe\u{301}@example.org", "café@example.org"),
            ("CAFE\u{301}@EXAMPLE.org", "café@example.org"),
            // Two combining marks in either order.
            ("a\u{323}\u{307}@example.org", "ạ\u{307}@example.org"),
            ("a\u{307}\u{323}@example.org", "ạ\u{307}@example.org"),
            // Full-width letters and signs, as produced by Japanese and Chinese input methods.
            ("ａｄａ＠ｅｘａｍｐｌｅ．ｏｒｇ", "ada@example.org"),
            ("ｶﾞ@example.org", "ガ@example.org"),
            ("\u{1112}\u{1161}\u{11ab}@example.org", "한@example.org"),
            // The ångström sign, and the letter with a combining ring.
            ("\u{212b}@example.org", "å@example.org"),
            ("A\u{30a}@example.org", "å@example.org"),
            ("ada@BU\u{308}CHER.example", "ada@bücher.example"),
        ] {
            assert_eq!(address(text), canonical, "{text:?}");
            assert_eq!(Email::parse(text), Email::parse(canonical), "{text:?}");
        }
        // Distinct according to RFC 8265.
        assert_ne!(Email::parse("straße@example.org"), Email::parse("strasse@example.org"));
        assert_ne!(Email::parse("①@example.org"), Email::parse("1@example.org"));
    }

    #[test]
    fn canonicalization_is_idempotent() {
        for c in '\0'..=char::MAX {
            let once = canonical(&format!("x{c}y"));
            assert_eq!(canonical(&once), once, "{c:?}");
        }
    }

    #[test]
    fn stored_forms_include_that_of_earlier_versions() {
        let email = Email::parse("CAFE\u{301}@example.org").unwrap();
        assert_eq!(email.stored_forms().collect::<Vec<_>>(), ["cafe\u{301}@example.org", "café@example.org"]);
        let email = Email::parse("CAFÉ@example.org").unwrap();
        assert_eq!(email.stored_forms().collect::<Vec<_>>(), ["café@example.org"]);
        let email = Email::parse("A＠b@example.org").unwrap();
        assert_eq!(email.stored_forms().collect::<Vec<_>>(), ["a＠b@example.org"]);
        assert_eq!(Email::stored("cafe\u{301}@example.org").unwrap().as_str(), "cafe\u{301}@example.org");
    }

    #[test]
    fn malformed_addresses_are_rejected() {
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@@example.org",
            "a da@example.org",
            "a\u{3000}da@example.org",
            "ada@example..org",
            &format!("{}@example.org", "é".repeat(122)),
        ] {
            assert!(Email::parse(text).is_err(), "{text:?} was accepted");
        }
        assert!(Email::parse(&format!("{}@example.org", "e\u{301}".repeat(121))).is_ok(), "counted in canonical form");
    }
}
