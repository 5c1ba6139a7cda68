//! One-time tickets for opening a WebSocket, which a browser puts into the URL instead of its token.
//!
//! Kept in memory only: a ticket lives for seconds.

use super::{AuthError, Identity};
use crate::domain::{UnixMillis, UserId};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// 256 random bits.
const SECRET_BYTES: usize = 32;
/// Unused tickets of one user; one more replaces the oldest.
const MAX_PER_USER: usize = 16;
/// Unused tickets of all users; one more is refused.
const MAX_TICKETS: usize = 100_000;
const _: () = assert!(MAX_PER_USER < MAX_TICKETS);
/// The time after which a refused client may ask again.
const RETRY_AFTER_MS: u64 = 1_000;

type Secret = [u8; SECRET_BYTES];

/// The unused tickets of the server.
pub struct Tickets {
    ttl: Duration,
    max_tickets: usize,
    waiting: Mutex<Waiting>,
}

impl Tickets {
    /// `ttl_s`: lifetime of a ticket in seconds.
    pub fn new(ttl_s: u64) -> Self {
        Self::with_limit(ttl_s, MAX_TICKETS)
    }

    fn with_limit(ttl_s: u64, max_tickets: usize) -> Self {
        Self { ttl: Duration::from_secs(ttl_s), max_tickets, waiting: Mutex::default() }
    }

    /// Lifetime of a new ticket in seconds.
    pub const fn ttl_s(&self) -> u64 {
        self.ttl.as_secs()
    }

    /// Issues a ticket for `identity`.
    ///
    /// # Errors
    /// `TooManyTickets`, and `Internal` when the operating system has no random bytes.
    pub fn issue(&self, identity: Identity) -> Result<String, AuthError> {
        self.issue_at(identity, Instant::now())
    }

    fn issue_at(&self, identity: Identity, now: Instant) -> Result<String, AuthError> {
        let mut secret = Secret::default();
        getrandom::fill(&mut secret).map_err(AuthError::internal)?;
        let mut waiting = self.lock();
        waiting.remove_expired(now);
        waiting.evict_for(identity.user_id);
        if waiting.by_secret.len() >= self.max_tickets {
            return Err(AuthError::TooManyTickets { retry_after_ms: RETRY_AFTER_MS });
        }
        waiting.add(secret, identity, now + self.ttl);
        Ok(to_hex(&secret))
    }

    /// Redeems a ticket, which is then invalid, and returns its identity.
    ///
    /// # Errors
    /// `InvalidTicket` and `ExpiredTicket`.
    pub fn redeem(&self, ticket: &str) -> Result<Identity, AuthError> {
        self.redeem_at(ticket, Instant::now(), UnixMillis::now())
    }

    fn redeem_at(&self, ticket: &str, now: Instant, wall_clock: UnixMillis) -> Result<Identity, AuthError> {
        let taken = from_hex(ticket).and_then(|secret| self.lock().take(&secret));
        match taken {
            Some(ticket) if ticket.good_until > now => {
                if ticket.identity.expires_at <= wall_clock.seconds() {
                    return Err(AuthError::ExpiredTicket);
                }
                Ok(ticket.identity)
            }
            _ => Err(AuthError::InvalidTicket),
        }
    }

    /// Ignores poisoning: every change leaves the tickets consistent.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Ticket {
    number: u64,
    identity: Identity,
    good_until: Instant,
}

/// Three indexes of the same tickets: by secret, by age, and by age for each user.
#[derive(Default)]
struct Waiting {
    by_secret: HashMap<Secret, Ticket>,
    /// Numbers increase and all tickets have the same lifetime, so the first one expires first.
    by_number: BTreeMap<u64, Secret>,
    by_user: HashMap<UserId, VecDeque<u64>>,
    next_number: u64,
}

impl Waiting {
    fn add(&mut self, secret: Secret, identity: Identity, good_until: Instant) {
        let number = self.next_number;
        self.next_number += 1;
        self.by_number.insert(number, secret);
        self.by_user.entry(identity.user_id).or_default().push_back(number);
        self.by_secret.insert(secret, Ticket { number, identity, good_until });
    }

    fn take(&mut self, secret: &Secret) -> Option<Ticket> {
        let ticket = self.by_secret.remove(secret)?;
        self.by_number.remove(&ticket.number);
        if let Some(numbers) = self.by_user.get_mut(&ticket.identity.user_id) {
            numbers.retain(|number| *number != ticket.number);
            if numbers.is_empty() {
                self.by_user.remove(&ticket.identity.user_id);
            }
        }
        Some(ticket)
    }

    fn remove_expired(&mut self, now: Instant) {
        while let Some((_, &secret)) = self.by_number.first_key_value() {
            if self.by_secret.get(&secret).is_some_and(|ticket| ticket.good_until > now) {
                return;
            }
            self.take(&secret);
        }
    }

    fn evict_for(&mut self, user_id: UserId) {
        let oldest = self.by_user.get(&user_id).filter(|numbers| numbers.len() >= MAX_PER_USER);
        if let Some(secret) = oldest.and_then(VecDeque::front).and_then(|number| self.by_number.get(number)).copied() {
            self.take(&secret);
        }
    }
}

fn to_hex(secret: &Secret) -> String {
    secret.iter().fold(String::with_capacity(2 * SECRET_BYTES), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Secret> {
    if text.len() != 2 * SECRET_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = Secret::default();
    for (index, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{access_token, tokens, user},
        domain::Role,
    };
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    fn identity() -> Identity {
        tokens().verify_access(&access_token(&user("ada@example.org", Role::User))).unwrap()
    }

    fn refusal(outcome: Result<Identity, AuthError>) -> AuthError {
        outcome.unwrap_err()
    }

    #[test]
    fn a_ticket_is_valid_once() {
        let (tickets, ada) = (Tickets::new(30), identity());
        let ticket = tickets.issue(ada.clone()).unwrap();
        assert_eq!(tickets.redeem(&ticket), Ok(ada));
        assert_eq!(refusal(tickets.redeem(&ticket)), AuthError::InvalidTicket);
        assert!(tickets.lock().by_number.is_empty() && tickets.lock().by_user.is_empty());
    }

    #[test]
    fn only_one_of_many_concurrent_redemptions_succeeds() {
        let (tickets, ada) = (Tickets::new(30), identity());
        for _ in 0..200 {
            let ticket = tickets.issue(ada.clone()).unwrap();
            let (barrier, winners) = (Barrier::new(4), AtomicUsize::new(0));
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        barrier.wait();
                        winners.fetch_add(usize::from(tickets.redeem(&ticket).is_ok()), Ordering::SeqCst);
                    });
                }
            });
            assert_eq!(winners.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn a_ticket_expires_and_is_removed() {
        let (tickets, ada, start) = (Tickets::new(30), identity(), Instant::now());
        let wall_clock = UnixMillis::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (early, late) = (tickets.issue_at(ada.clone(), start).unwrap(), tickets.issue_at(ada, start).unwrap());
        assert!(tickets.redeem_at(&early, at(29), wall_clock).is_ok());
        assert_eq!(refusal(tickets.redeem_at(&late, at(30), wall_clock)), AuthError::InvalidTicket);

        tickets.issue_at(identity(), start).unwrap();
        tickets.issue_at(identity(), at(31)).unwrap();
        let waiting = tickets.lock();
        assert_eq!((waiting.by_secret.len(), waiting.by_number.len(), waiting.by_user.len()), (1, 1, 1));
    }

    #[test]
    fn a_ticket_does_not_outlive_its_sign_in() {
        let (tickets, ada) = (Tickets::new(30), identity());
        let ticket = tickets.issue(ada.clone()).unwrap();
        let over = UnixMillis(ada.expires_at * 1_000);
        assert_eq!(refusal(tickets.redeem_at(&ticket, Instant::now(), over)), AuthError::ExpiredTicket);
    }

    #[test]
    fn malformed_and_unknown_tickets_are_refused() {
        let tickets = Tickets::new(30);
        tickets.issue(identity()).unwrap();
        for text in ["", "0", &"0".repeat(64), &"+".repeat(64), &"é".repeat(32), &"0".repeat(10_000)] {
            assert_eq!(refusal(tickets.redeem(text)), AuthError::InvalidTicket, "{text:?}");
        }
    }

    #[test]
    fn a_user_has_few_tickets_and_the_oldest_is_replaced() {
        let (tickets, ada) = (Tickets::new(30), identity());
        let issued: Vec<_> = (0..=MAX_PER_USER).map(|_| tickets.issue(ada.clone()).unwrap()).collect();
        assert_eq!(tickets.lock().by_secret.len(), MAX_PER_USER);
        assert_eq!(refusal(tickets.redeem(&issued[0])), AuthError::InvalidTicket);
        assert!(issued[1..].iter().all(|ticket| tickets.redeem(ticket).is_ok()));
    }

    #[test]
    fn beyond_the_limit_of_all_users_tickets_are_refused_until_some_expire() {
        let (tickets, start) = (Tickets::with_limit(30, 3), Instant::now());
        for _ in 0..3 {
            tickets.issue_at(identity(), start).unwrap();
        }
        let refused = tickets.issue_at(identity(), start).unwrap_err();
        assert_eq!(refused, AuthError::TooManyTickets { retry_after_ms: RETRY_AFTER_MS });
        assert!(tickets.issue_at(identity(), start + Duration::from_secs(30)).is_ok());
    }
}
