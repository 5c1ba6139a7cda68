//! Password strength, hashing with argon2id, and verification. All that is slow runs on the [`HashPool`].

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
/// Nobody types more, and a limit there must be.
const MAX_BYTES: usize = 128;
/// The strength is that of so many characters from the beginning. A text of symbols that stand for letters (`4@8({[<`)
/// costs zxcvbn about a hash at this length and ten times that at 100; and what is strong so far stays strong.
const RATED_CHARS: usize = 32;

/// The best rating of zxcvbn.
const MAX_SCORE: u8 = 4;

/// Stands in for the hash of an account that does not exist, so that its absence takes as long as a wrong password. It is
/// random, not the hash of anything known; that something fits it would not let anybody in.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$tq7IWb1S4cm1jQZCPcsVVA$kCkVAEXTP1o9fgxS4iCspRG/x7JwQFnDvNVt9f/Ag90";

/// Hashes and checks passwords. One for the whole server: it holds the threads.
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
    /// Right, but an earlier version made the hash of another Unicode form. Holds the hash to store instead.
    RightInOldForm(PasswordHash),
}

impl Passwords {
    /// # Errors
    /// When the system has no thread left.
    pub fn start(config: &AuthConfig) -> io::Result<Self> {
        Self::start_measured(config, Arc::default())
    }

    /// The same, with each hash in `metrics`.
    ///
    /// # Errors
    /// As [`Passwords::start`].
    pub fn start_measured(config: &AuthConfig, metrics: Arc<Metrics>) -> io::Result<Self> {
        let pool = HashPool::start(config.hash_threads, config.hash_queue)?;
        Ok(Self { pool, min_score: config.min_password_score, metrics })
    }

    /// The hash of a new password, if it is good enough for this person.
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

    /// Compares a password with a hash, or without one with a hash that nothing fits. Takes the same time for a wrong password
    /// as without a hash.
    ///
    /// # Errors
    /// `HashQueueFull`, and `Internal` when the hash is malformed.
    pub async fn verify(&self, password: SecretString, known: Option<PasswordHash>) -> Result<Verdict, AuthError> {
        let metrics = Arc::clone(&self.metrics);
        self.pool
            .run(move |argon2id| {
                let phc = phc::PasswordHash::new(known.as_ref().map_or(NOBODYS_HASH, PasswordHash::as_str))
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

    /// Hashes computed since the start, to check a password or to keep one.
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

/// Takes milliseconds: for the pool. The length must have been checked.
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

/// The first tries of somebody who knows the person. Takes the same Unicode form as passwords are rated in.
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

    /// With what `production.toml` requires.
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
    async fn a_password_fits_its_own_hash_only() {
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

    /// A hash of exactly these bytes, as versions made it that did not normalise.
    fn earlier_hash(password: &str) -> PasswordHash {
        let phc: phc::PasswordHash = Argon2id::default().hash_password(password.as_bytes()).unwrap();
        PasswordHash::new(phc.to_string())
    }

    #[tokio::test]
    async fn a_password_fits_in_every_unicode_form() {
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
    async fn a_hash_of_another_form_fits_and_is_replaced() {
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
    async fn a_wrong_password_costs_the_same_whatever_the_server_knows() {
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
        // 66 characters of two bytes each when composed, and of three when decomposed.
        let varied = |n: u32| char::from_u32(0xe0 + n * 7 % 0x20).filter(|c| *c != '\u{f7}').unwrap_or('\u{e9}');
        let text: String = (0..62).map(varied).collect();
        let decomposed: String = unicode_normalization::UnicodeNormalization::nfd(text.as_str()).collect();
        assert!(text.len() < MAX_BYTES && decomposed.len() > MAX_BYTES);
        assert!(hashed(&decomposed).await.is_ok());
        let seven = "e\u{301}".repeat(7);
        assert_eq!(hashed(&seven).await, Err(WeakPassword::TooShort { min_chars: MIN_CHARS }.into()));
    }

    #[tokio::test]
    async fn hashes_are_argon2id_with_our_parameters_and_a_salt_of_their_own() {
        let (one, other) = (hashed(GOOD).await.unwrap(), hashed(GOOD).await.unwrap());
        assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.as_str());
        assert_ne!(one, other);
    }

    #[test]
    fn nobodys_hash_costs_what_a_real_one_costs() {
        let nobodys = phc::PasswordHash::new(NOBODYS_HASH).unwrap();
        let real: phc::PasswordHash = Argon2id::default().hash_password(GOOD.as_bytes()).unwrap();
        assert_eq!((nobodys.algorithm, nobodys.version), (real.algorithm, real.version));
        assert_eq!(nobodys.params.to_string(), real.params.to_string());
        assert_eq!(nobodys.salt.unwrap().len(), real.salt.unwrap().len());
        assert_eq!(nobodys.hash.unwrap().len(), real.hash.unwrap().len());
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
    async fn the_required_strength_is_a_setting_and_the_error_names_it() {
        // What zxcvbn rates 0, 1, 2, 3 and 4.
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
    async fn what_is_good_for_one_person_may_be_weak_for_another() {
        let password = "zbigniewkowalczykowski";
        assert!(hashed(password).await.is_ok());
        let (email, _) = ada();
        let name = DisplayName::parse("Zbigniew Kowalczykowski").unwrap();
        assert!(is_weak(&passwords().hash_new(password.into(), email, name).await));
        // In whatever form the name was typed.
        let (composed, decomposed) = ("R\u{e9}mig\u{e8}reDesc\u{f4}teaux", "Re\u{301}mige\u{300}reDesco\u{302}teaux");
        assert!(hashed(composed).await.is_ok());
        for (name, password) in [(composed, decomposed), (decomposed, composed)] {
            let (email, name) = (ada().0, DisplayName::parse(name).unwrap());
            assert!(is_weak(&passwords().hash_new(password.into(), email, name).await));
        }
    }

    #[tokio::test]
    async fn a_password_of_the_greatest_length_is_taken() {
        let password: String = (0..MAX_BYTES).map(|n| char::from(b'!' + u8::try_from(n * 37 % 90).unwrap())).collect();
        assert!(hashed(&password).await.is_ok());
    }

    #[tokio::test]
    async fn a_hash_that_is_none_is_our_failure() {
        let outcome = passwords().verify(GOOD.into(), Some(PasswordHash::new("$md5$x".to_owned()))).await;
        assert!(matches!(outcome, Err(AuthError::Internal(_))));
    }
}
