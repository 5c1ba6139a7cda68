//! Password strength, hashing with argon2id, and verification. Slow work runs on the [`HashPool`].

use super::{AuthError, WeakPassword, argon2id::Argon2id, hash_pool::HashPool, password_forms};
use crate::{
    config::AuthConfig,
    domain::{DisplayName, Email},
    metrics::Metrics,
    store::PasswordHash,
};
use argon2::{
    PasswordHasher, PasswordVerifier,
    password_hash::{Error as HashError, phc},
};
use secrecy::{ExposeSecret, SecretString};
use std::{io, sync::Arc, time::Instant};
use zxcvbn::zxcvbn;

const MIN_CHARS: usize = 8;
/// More than anyone types; bounds the cost of a hash.
const MAX_BYTES: usize = 128;
/// Number of leading characters whose strength is rated. Rating a text of symbols that stand for letters (`4@8({[<`) costs about
/// as much as a hash at this length and ten times that at 100 characters. More characters never make a password weaker.
const RATED_CHARS: usize = 32;

/// The best rating of zxcvbn.
const MAX_SCORE: u8 = 4;

/// Hash to verify against when an account does not exist, so that it takes as long as a wrong password. It is random, not the
/// hash of a known password, and a match is ignored.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$tq7IWb1S4cm1jQZCPcsVVA$kCkVAEXTP1o9fgxS4iCspRG/x7JwQFnDvNVt9f/Ag90";

/// Hashes and verifies passwords. One instance for the server, because it owns the threads.
pub struct Passwords {
    pool: HashPool<Argon2id>,
    min_score: u8,
    metrics: Arc<Metrics>,
}

/// The outcome of comparing a password with a hash.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, but an earlier version hashed another Unicode form. Holds the hash to store instead.
    RightInOldForm(PasswordHash),
}

impl Passwords {
    /// Starts the threads that hash.
    ///
    /// # Errors
    /// When the operating system refuses to start a thread.
    pub fn start(config: &AuthConfig) -> io::Result<Self> {
        Self::start_measured(config, Arc::default())
    }

    /// As [`Passwords::start`], and records the duration of each hash in `metrics`.
    ///
    /// # Errors
    /// As [`Passwords::start`].
    pub fn start_measured(config: &AuthConfig, metrics: Arc<Metrics>) -> io::Result<Self> {
        let pool = HashPool::start(config.hash_threads, config.hash_queue)?;
        Ok(Self { pool, min_score: config.min_password_score, metrics })
    }

    /// Hashes a new password, if it is strong enough for this user.
    ///
    /// # Errors
    /// `WeakPassword`, `HashQueueFull`.
    pub async fn hash_new(
        &self,
        password: SecretString,
        email: Email,
        name: DisplayName,
    ) -> Result<PasswordHash, AuthError> {
        let password = password_forms::canonical(&password);
        check_length(password.expose_secret())?;
        let (metrics, min_score) = (Arc::clone(&self.metrics), self.min_score);
        self.pool
            .run(move |argon2id| {
                check_strength(password.expose_secret(), &email, &name, min_score)?;
                hash(argon2id, &password, &metrics)
            })
            .await?
    }

    /// Verifies a password against a hash. Takes the same time without a hash as for a wrong password.
    ///
    /// # Errors
    /// `HashQueueFull`, and `Internal` when the hash is malformed.
    pub async fn verify(&self, password: SecretString, known: Option<PasswordHash>) -> Result<Verdict, AuthError> {
        let metrics = Arc::clone(&self.metrics);
        self.pool
            .run(move |argon2id| {
                let phc = phc::PasswordHash::new(known.as_ref().map_or(DUMMY_HASH, PasswordHash::as_str))
                    .map_err(AuthError::internal)?;
                let candidates = password_forms::candidates(&password);
                for (index, candidate) in candidates.iter().enumerate() {
                    if !fits(argon2id, candidate, &phc, &metrics)? || known.is_none() {
                        continue;
                    }
                    return match candidates.first() {
                        Some(canonical) if index > 0 => {
                            Ok(Verdict::RightInOldForm(hash(argon2id, canonical, &metrics)?))
                        }
                        _ => Ok(Verdict::Right),
                    };
                }
                Ok(Verdict::Wrong)
            })
            .await?
    }

    /// Number of hashes computed since the start.
    pub fn hashes(&self) -> u64 {
        self.metrics.password_hash.count()
    }
}

fn hash(argon2id: &Argon2id, password: &SecretString, metrics: &Metrics) -> Result<PasswordHash, AuthError> {
    let began = Instant::now();
    let hashed = argon2id.hash_password(password.expose_secret().as_bytes());
    metrics.password_hash.record(began.elapsed());
    let phc: phc::PasswordHash = hashed.map_err(AuthError::internal)?;
    Ok(PasswordHash::new(phc.to_string()))
}

fn fits(
    argon2id: &Argon2id,
    password: &SecretString,
    phc: &phc::PasswordHash,
    metrics: &Metrics,
) -> Result<bool, AuthError> {
    let began = Instant::now();
    let verified = argon2id.verify_password(password.expose_secret().as_bytes(), phc);
    metrics.password_hash.record(began.elapsed());
    match verified {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(AuthError::internal(error)),
    }
}

fn check_length(password: &str) -> Result<(), WeakPassword> {
    if password.chars().count() < MIN_CHARS {
        Err(WeakPassword::TooShort { min_chars: MIN_CHARS })
    } else if password.len() > MAX_BYTES {
        Err(WeakPassword::TooLong { max_bytes: MAX_BYTES })
    } else {
        Ok(())
    }
}

/// Takes milliseconds, so it runs on the pool. Expects a password of valid length.
fn check_strength(password: &str, email: &Email, name: &DisplayName, min_score: u8) -> Result<(), WeakPassword> {
    if min_score == 0 {
        return Ok(());
    }
    let rated: String = password.chars().take(RATED_CHARS).collect();
    let [email, name] = [email.as_str(), name.as_str()].map(password_forms::normalised);
    let entropy = zxcvbn(&rated, &easy_guesses(&email, &name));
    let score = u8::from(entropy.score());
    if score >= min_score {
        return Ok(());
    }
    let advice = entropy.feedback().map(ToString::to_string).unwrap_or_default();
    Err(WeakPassword::Guessable { score, max_score: MAX_SCORE, min_score, advice })
}

/// Words that an attacker who knows the user would try first. Expects the Unicode form in which passwords are rated.
fn easy_guesses<'a>(email: &'a str, name: &'a str) -> Vec<&'a str> {
    let words = |text: &'a str| text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 2);
    let mut guesses = vec![email, name];
    guesses.extend(email.split('@'));
    guesses.extend(words(email));
    guesses.extend(words(name));
    guesses
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "quiet-otter-paints-thursday";

    /// With the strength that `production.toml` requires.
    fn passwords() -> Passwords {
        passwords_of_score(3)
    }

    fn passwords_of_score(min_password_score: u8) -> Passwords {
        Passwords::start(&AuthConfig { hash_threads: 2, min_password_score, ..AuthConfig::default() }).unwrap()
    }

    fn ada() -> (Email, DisplayName) {
        (Email::parse("augusta.lovelace@example.org").unwrap(), DisplayName::parse("Ada Lovelace").unwrap())
    }

    async fn hashed(password: &str) -> Result<PasswordHash, AuthError> {
        let (email, name) = ada();
        passwords().hash_new(password.into(), email, name).await
    }

    #[tokio::test]
    async fn a_password_matches_only_its_own_hash() {
        let passwords = passwords();
        let hash = hashed(GOOD).await.unwrap();
        assert_eq!(passwords.verify(GOOD.into(), Some(hash.clone())).await, Ok(Verdict::Right));
        assert_eq!(passwords.verify("quiet-otter-paints-Thursday".into(), Some(hash)).await, Ok(Verdict::Wrong));
        assert_eq!(passwords.verify(GOOD.into(), None).await, Ok(Verdict::Wrong));
        assert_eq!(passwords.hashes(), 3);
    }

    fn is_weak(outcome: &Result<PasswordHash, AuthError>) -> bool {
        matches!(outcome, Err(AuthError::WeakPassword(_)))
    }

    /// A hash of exactly these bytes, as by versions that did not normalise.
    fn earlier_hash(password: &str) -> PasswordHash {
        let phc: phc::PasswordHash = Argon2id::default().hash_password(password.as_bytes()).unwrap();
        PasswordHash::new(phc.to_string())
    }

    #[tokio::test]
    async fn a_password_matches_in_every_unicode_form() {
        let passwords = passwords();
        let (composed, decomposed) = ("Gr\u{fc}\u{df}e-aus-K\u{f6}ln", "Gru\u{308}\u{df}e-aus-Ko\u{308}ln");
        for registered in [composed, decomposed] {
            let hash = hashed(registered).await.unwrap();
            for typed in [composed, decomposed] {
                assert_eq!(passwords.verify(typed.into(), Some(hash.clone())).await, Ok(Verdict::Right), "{typed:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_hash_of_another_form_matches_and_is_replaced() {
        let passwords = passwords();
        let forms = ["ﬁ Gr\u{fc}\u{df}e\u{a0}aus K\u{f6}ln", "ﬁ Gru\u{308}\u{df}e\u{a0}aus Ko\u{308}ln"];
        for stored in forms {
            for typed in forms {
                let verdict = passwords.verify(typed.into(), Some(earlier_hash(stored))).await.unwrap();
                let Verdict::RightInOldForm(hash) = verdict else { panic!("{typed:?} for {stored:?}: {verdict:?}") };
                assert_eq!(passwords.verify(typed.into(), Some(hash)).await, Ok(Verdict::Right));
            }
        }
    }

    #[tokio::test]
    async fn a_wrong_password_costs_the_same_with_any_hash_and_without() {
        for (typed, cost) in [("wrong horse", 1), ("Gr\u{fc}\u{df}e", 2), ("ﬁ Gru\u{308}\u{df}e\u{fc}", 4)] {
            let good = hashed(GOOD).await.unwrap();
            for known in [None, Some(earlier_hash("Gr\u{fc}n")), Some(good)] {
                let passwords = passwords();
                assert_eq!(passwords.verify(typed.into(), known).await, Ok(Verdict::Wrong));
                assert_eq!(passwords.hashes(), cost, "{typed:?}");
            }
        }
    }

    #[tokio::test]
    async fn the_length_is_that_of_the_canonical_form() {
        // 62 characters of two bytes each when composed, and of three when decomposed.
        let varied = |n: u32| char::from_u32(0xe0 + n * 7 % 0x20).filter(|c| *c != '\u{f7}').unwrap_or('\u{e9}');
        let text: String = (0..62).map(varied).collect();
        let decomposed: String = unicode_normalization::UnicodeNormalization::nfd(text.as_str()).collect();
        assert!(text.len() < MAX_BYTES && decomposed.len() > MAX_BYTES);
        assert!(hashed(&decomposed).await.is_ok());
        let seven = "e\u{301}".repeat(7);
        assert_eq!(hashed(&seven).await, Err(WeakPassword::TooShort { min_chars: MIN_CHARS }.into()));
    }

    #[tokio::test]
    async fn hashes_are_argon2id_with_fixed_parameters_and_unique_salts() {
        let (one, other) = (hashed(GOOD).await.unwrap(), hashed(GOOD).await.unwrap());
        assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.as_str());
        assert_ne!(one, other);
    }

    #[test]
    fn the_dummy_hash_costs_as_much_as_a_real_one() {
        let dummy = phc::PasswordHash::new(DUMMY_HASH).unwrap();
        let real: phc::PasswordHash = Argon2id::default().hash_password(GOOD.as_bytes()).unwrap();
        assert_eq!((dummy.algorithm, dummy.version), (real.algorithm, real.version));
        assert_eq!(dummy.params.to_string(), real.params.to_string());
        assert_eq!(dummy.salt.unwrap().len(), real.salt.unwrap().len());
        assert_eq!(dummy.hash.unwrap().len(), real.hash.unwrap().len());
    }

    #[tokio::test]
    async fn weak_passwords_are_refused_with_the_reason() {
        assert_eq!(hashed("Tr0ub4d").await, Err(WeakPassword::TooShort { min_chars: 8 }.into()));
        assert_eq!(hashed(&"long ".repeat(26)).await, Err(WeakPassword::TooLong { max_bytes: 128 }.into()));
        for (password, reason) in [
            ("password123", "common"),
            ("aaaaaaaaaaaa", "Repeats"),
            ("qwertyuiop", "common"),
            ("augusta.lovelace", ""),
            ("lovelace1815", ""),
            ("example.org", ""),
        ] {
            let error = hashed(password).await.unwrap_err();
            let AuthError::WeakPassword(WeakPassword::Guessable { advice, .. }) = &error else {
                panic!("{password}: {error:?}");
            };
            assert!(advice.contains(reason), "{password}: {advice}");
            assert!(!format!("{error:?}").contains(password), "{password} is in the error");
        }
    }

    #[tokio::test]
    async fn the_required_strength_is_a_setting_that_the_error_names() {
        // Rated 0, 1, 2, 3 and 4 by zxcvbn.
        let of_score = ["password123", "mountains9x", "TestWS123", "tigermoon77", GOOD];
        for required in 0..=MAX_SCORE {
            for (password, score) in of_score.into_iter().zip(0..) {
                let (email, name) = ada();
                let outcome = passwords_of_score(required).hash_new(password.into(), email, name).await;
                assert_eq!(outcome.is_ok(), score >= required, "{password} where {required} is required");
                if let Err(error) = outcome {
                    let AuthError::WeakPassword(WeakPassword::Guessable { score: rated, min_score, .. }) = error else {
                        panic!("{password}: {error:?}");
                    };
                    assert_eq!((rated, min_score), (score, required), "{password}");
                }
            }
        }
        let (email, name) = ada();
        let too_short = passwords_of_score(0).hash_new("Ab3$xyz".into(), email, name).await;
        assert_eq!(too_short, Err(WeakPassword::TooShort { min_chars: 8 }.into()));
    }

    #[tokio::test]
    async fn a_password_may_be_strong_for_one_user_and_weak_for_another() {
        let password = "zbigniewkowalczykowski";
        assert!(hashed(password).await.is_ok());
        let (email, _) = ada();
        let name = DisplayName::parse("Zbigniew Kowalczykowski").unwrap();
        assert!(is_weak(&passwords().hash_new(password.into(), email, name).await));
        // In every Unicode form of the name.
        let (composed, decomposed) = ("R\u{e9}mig\u{e8}reDesc\u{f4}teaux", "Re\u{301}mige\u{300}reDesco\u{302}teaux");
        assert!(hashed(composed).await.is_ok());
        for (name, password) in [(composed, decomposed), (decomposed, composed)] {
            let (email, name) = (ada().0, DisplayName::parse(name).unwrap());
            assert!(is_weak(&passwords().hash_new(password.into(), email, name).await));
        }
    }

    #[tokio::test]
    async fn a_password_of_the_maximum_length_is_accepted() {
        let password: String = (0..MAX_BYTES).map(|n| char::from(b'!' + u8::try_from(n * 37 % 90).unwrap())).collect();
        assert!(hashed(&password).await.is_ok());
    }

    #[tokio::test]
    async fn a_malformed_hash_is_an_internal_error() {
        let outcome = passwords().verify(GOOD.into(), Some(PasswordHash::new("$md5$x".to_owned()))).await;
        assert!(matches!(outcome, Err(AuthError::Internal(_))));
    }
}
