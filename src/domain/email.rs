//! E-mail addresses as the names of accounts, and the one form in which they are compared.

use super::InvalidUserField;
use serde::{Serialize, Serializer};
use std::hash::{Hash, Hasher};
use unicode_normalization::UnicodeNormalization;

/// An e-mail address in canonical form, so that one mailbox is one account however it was typed.
///
/// The form is that of RFC 8265 for user names whose case does not matter: full-width and half-width characters become
/// ordinary ones, letters become lower case, and the result is in Unicode normalisation form C. Two addresses are equal when
/// their canonical forms are.
#[derive(Clone, Debug)]
pub struct Email {
    address: String,
    /// The form in which earlier versions stored this address, where it differs: only trimmed and in lower case.
    uncomposed: Option<String>,
}

impl Email {
    /// The longest address that SMTP can carry (RFC 5321, 4.5.3.1.3).
    const MAX_BYTES: usize = 254;

    /// # Errors
    /// When the text is not `local@domain`, holds white space or control characters, or is over 254 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidUserField> {
        let (address, uncomposed) = (canonical(text.trim()), text.trim().to_lowercase());
        if is_well_formed(&address) {
            let uncomposed = (uncomposed != address).then_some(uncomposed);
            return Ok(Self { address, uncomposed });
        }
        // An address such as `a＠b@example.org`, which has no canonical form.
        Self::stored(&uncomposed)
    }

    /// An address as the store has it. It stays as it is even when it is not canonical: another account has the canonical
    /// form then.
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

    /// The forms under which an account with this address may be stored, the one to prefer first.
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

/// Width mapping, form C, lower case, and form C again, since some letters change into more than one character.
fn canonical(text: &str) -> String {
    // Each token that is verified holds an address.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut of_usual_width = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // The block of full-width and half-width forms.
            '\u{ff00}'..='\u{ffef}' => of_usual_width.extend(std::iter::once(c).nfkc()),
            c => of_usual_width.push(c),
        }
    }
    of_usual_width.nfc().collect::<String>().to_lowercase().nfc().collect()
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
    fn one_mailbox_is_one_email() {
        assert_eq!(Email::parse(" Ada@Example.ORG "), Email::parse("ada@example.org"));
    }

    #[test]
    fn every_form_of_an_address_is_the_same_address() {
        for (text, canonical) in [
            ("CAF\u{c9}@example.org", "café@example.org"),
            ("cafe\u{301}@example.org", "café@example.org"),
            ("CAFE\u{301}@EXAMPLE.org", "café@example.org"),
            // Two marks, in either order, below and above.
            ("a\u{323}\u{307}@example.org", "ạ\u{307}@example.org"),
            ("a\u{307}\u{323}@example.org", "ạ\u{307}@example.org"),
            // Full-width letters and signs, as input methods for Japanese and Chinese write them.
            ("ａｄａ＠ｅｘａｍｐｌｅ．ｏｒｇ", "ada@example.org"),
            ("ｶﾞ@example.org", "ガ@example.org"),
            ("\u{1112}\u{1161}\u{11ab}@example.org", "한@example.org"),
            // The sign for ångström, the letter, and the letter with a ring.
            ("\u{212b}@example.org", "å@example.org"),
            ("A\u{30a}@example.org", "å@example.org"),
            ("ada@BU\u{308}CHER.example", "ada@bücher.example"),
        ] {
            assert_eq!(address(text), canonical, "{text:?}");
            assert_eq!(Email::parse(text), Email::parse(canonical), "{text:?}");
        }
        // What RFC 8265 keeps apart stays apart.
        assert_ne!(Email::parse("straße@example.org"), Email::parse("strasse@example.org"));
        assert_ne!(Email::parse("①@example.org"), Email::parse("1@example.org"));
    }

    #[test]
    fn the_canonical_form_of_a_canonical_form_is_itself() {
        for c in '\0'..=char::MAX {
            let once = canonical(&format!("x{c}y"));
            assert_eq!(canonical(&once), once, "{c:?}");
        }
    }

    #[test]
    fn an_account_is_found_under_the_form_that_earlier_versions_stored() {
        let email = Email::parse("CAFE\u{301}@example.org").unwrap();
        assert_eq!(email.stored_forms().collect::<Vec<_>>(), ["cafe\u{301}@example.org", "café@example.org"]);
        let email = Email::parse("CAFÉ@example.org").unwrap();
        assert_eq!(email.stored_forms().collect::<Vec<_>>(), ["café@example.org"]);
        let email = Email::parse("A＠b@example.org").unwrap();
        assert_eq!(email.stored_forms().collect::<Vec<_>>(), ["a＠b@example.org"]);
        assert_eq!(Email::stored("cafe\u{301}@example.org").unwrap().as_str(), "cafe\u{301}@example.org");
    }

    #[test]
    fn malformed_emails_are_refused() {
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
            assert!(Email::parse(text).is_err(), "{text:?} was taken");
        }
        assert!(Email::parse(&format!("{}@example.org", "e\u{301}".repeat(121))).is_ok(), "counted in canonical form");
    }
}
