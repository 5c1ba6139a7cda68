//! Timestamps, as sent on the wire and stored in the database.

use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// Day in UTC, as the number of days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UtcDay(pub i64);

impl UtcDay {
    /// Returns the moment at which the day ends.
    pub const fn end(self) -> UnixMillis {
        UnixMillis(self.0.saturating_add(1).saturating_mul(DAY_MS))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    pub fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    /// Returns the day in UTC.
    pub const fn day(self) -> UtcDay {
        UtcDay(self.0.div_euclid(DAY_MS))
    }

    /// Returns whole seconds since the epoch, as used in JWT claims.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_in_utc() {
        assert_eq!((UnixMillis(-1).day(), UnixMillis(0).day()), (UtcDay(-1), UtcDay(0)));
        assert_eq!((UnixMillis(DAY_MS - 1).day(), UnixMillis(DAY_MS).day()), (UtcDay(0), UtcDay(1)));
        assert_eq!(UtcDay(1).end(), UnixMillis(2 * DAY_MS));
        assert_eq!(UnixMillis(i64::MAX).day().end(), UnixMillis(i64::MAX));
    }
}
