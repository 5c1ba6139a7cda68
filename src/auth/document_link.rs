//! Links that give read access to one document, for people who are not signed in to this server.
//!
//! A link holds the time of its expiry and an HMAC-SHA256 of that time and the document's id. Its key is derived from the secret
//! of the tokens, so that neither can be used as the other, and changes with it.

use crate::{
    config::ServerConfig,
    domain::{DocumentId, UnixMillis},
    limits::DOCUMENT_LINK_LIFE_S,
};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto, errors::Error};
use secrecy::{ExposeSecret, SecretString};

/// Purpose of the derived key. Never a message that is signed with the secret itself: a JWT has no spaces.
const PURPOSE: &[u8] = b"switchboard document links, version 1";
const ALGORITHM: Algorithm = Algorithm::HS256;
/// Longer tokens are refused unread; those of this server have 54 bytes.
const MAX_TOKEN_BYTES: usize = 100;

/// Signs and verifies links to documents. One instance for the server.
pub struct DocumentLinks {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Beginning of each link, without a slash at its end; empty for relative links.
    public_url: String,
}

/// Reason for which a link gives no access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentLinkError {
    #[error("the link was not made by this server for this document")]
    Invalid,
    #[error("the link has expired")]
    Expired,
}

impl DocumentLinks {
    /// `secret` is the key of the tokens; [`crate::config`] ensures at least 32 bytes.
    ///
    /// # Errors
    /// When the cryptographic library refuses to derive a key.
    pub fn new(config: &ServerConfig, secret: &SecretString) -> Result<Self, Error> {
        let key = crypto::sign(PURPOSE, &EncodingKey::from_secret(secret.expose_secret().as_bytes()), ALGORITHM)?;
        let public_url = config.public_url.as_deref().unwrap_or_default().trim_end_matches('/');
        Ok(Self {
            encoding: EncodingKey::from_secret(key.as_bytes()),
            decoding: DecodingKey::from_secret(key.as_bytes()),
            public_url: public_url.to_owned(),
        })
    }

    /// Returns the address of a passage's page; `None` if the cryptographic library refuses to sign.
    pub fn url(&self, document_id: DocumentId, passage: u32) -> Option<String> {
        self.url_at(document_id, passage, UnixMillis::now())
    }

    pub(crate) fn url_at(&self, document_id: DocumentId, passage: u32, now: UnixMillis) -> Option<String> {
        let expires_at = now.seconds().saturating_add(DOCUMENT_LINK_LIFE_S).to_string();
        let signature = crypto::sign(&message(document_id, &expires_at), &self.encoding, ALGORITHM).ok()?;
        Some(format!("{}/documents/{document_id}?t={expires_at}.{signature}#passage-{passage}", self.public_url))
    }

    /// Verifies the token of a link.
    ///
    /// # Errors
    /// `Invalid` and `Expired`.
    pub fn verify(&self, document_id: DocumentId, token: &str) -> Result<(), DocumentLinkError> {
        self.verify_at(document_id, token, UnixMillis::now())
    }

    fn verify_at(&self, document_id: DocumentId, token: &str, now: UnixMillis) -> Result<(), DocumentLinkError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(DocumentLinkError::Invalid);
        }
        let (expires_at, signature) = token.split_once('.').ok_or(DocumentLinkError::Invalid)?;
        let is_signed = crypto::verify(signature, &message(document_id, expires_at), &self.decoding, ALGORITHM);
        match (is_signed, expires_at.parse::<i64>()) {
            (Ok(true), Ok(expires_at)) if expires_at > now.seconds() => Ok(()),
            (Ok(true), Ok(_)) => Err(DocumentLinkError::Expired),
            _ => Err(DocumentLinkError::Invalid),
        }
    }
}

fn message(document_id: DocumentId, expires_at: &str) -> Vec<u8> {
    format!("{document_id} {expires_at}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{SECRET, access_token, tokens, user},
        domain::Role,
    };

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn links(public_url: Option<&str>) -> DocumentLinks {
        let config = ServerConfig { public_url: public_url.map(str::to_owned), ..ServerConfig::default() };
        DocumentLinks::new(&config, &SECRET.into()).unwrap()
    }

    fn token_of(url: &str) -> &str {
        url.split_once("?t=").unwrap().1.split('#').next().unwrap()
    }

    fn after(seconds: i64) -> UnixMillis {
        UnixMillis(NOW.0 + 1_000 * seconds)
    }

    #[test]
    fn a_link_is_valid_for_seven_days() {
        let (links, id) = (links(None), DocumentId::new());
        let url = links.url_at(id, 3, NOW).unwrap();
        assert!(url.starts_with(&format!("/documents/{id}?t=")) && url.ends_with("#passage-3"), "{url}");
        let days = 24 * 3_600;
        assert_eq!(links.verify_at(id, token_of(&url), after(7 * days - 1)), Ok(()));
        assert_eq!(links.verify_at(id, token_of(&url), after(7 * days)), Err(DocumentLinkError::Expired));
    }

    #[test]
    fn a_link_is_absolute_with_a_public_url() {
        for public_url in ["https://chat.example.org", "https://chat.example.org/", "https://example.org/chat/"] {
            let url = links(Some(public_url)).url_at(DocumentId::new(), 1, NOW).unwrap();
            assert!(url.starts_with(&format!("{}/documents/", public_url.trim_end_matches('/'))), "{url}");
        }
    }

    #[test]
    fn a_changed_link_is_refused() {
        let (links, id) = (links(None), DocumentId::new());
        let url = links.url_at(id, 1, NOW).unwrap();
        let token = token_of(&url);
        let (expires_at, signature) = token.split_once('.').unwrap();
        let later = format!("{}.{signature}", expires_at.parse::<i64>().unwrap() + 1);
        let padded = format!("+{token}");
        let cut = &token[..token.len() - 1];
        let other_key = super::DocumentLinks::new(&ServerConfig::default(), &"x".repeat(32).into()).unwrap();
        let foreign = other_key.url_at(id, 1, NOW).unwrap();
        for forged in ["", ".", "x", expires_at, &later, &padded, cut, token_of(&foreign), &"9".repeat(10_000)] {
            assert_eq!(links.verify_at(id, forged, NOW), Err(DocumentLinkError::Invalid), "{forged}");
        }
        assert_eq!(links.verify_at(DocumentId::new(), token, NOW), Err(DocumentLinkError::Invalid));
    }

    #[test]
    fn links_and_tokens_are_not_interchangeable() {
        let (links, id) = (links(None), DocumentId::new());
        let access = access_token(&user("ada@example.org", Role::Operator));
        assert_eq!(links.verify(id, &access), Err(DocumentLinkError::Invalid));
        let url = links.url(id, 1).unwrap();
        assert!(tokens().verify_access(token_of(&url)).is_err());
        // Nor is a signature under the secret itself, by which an access token is signed.
        let expires_at = (NOW.seconds() + 60).to_string();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = crypto::sign(&message(id, &expires_at), &key, ALGORITHM).unwrap();
        let forged = format!("{expires_at}.{signature}");
        assert_eq!(links.verify_at(id, &forged, NOW), Err(DocumentLinkError::Invalid));
    }
}
