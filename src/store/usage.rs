//! Daily consumption of users, for their budgets.

use super::StoreError;
use crate::domain::{UserId, UtcDay};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Consumption of tokens, and their cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumption {
    pub tokens: u64,
    /// Trillionths of the currency.
    pub cost: u64,
}

/// Consumption to add to that of a user's day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub user_id: UserId,
    pub day: UtcDay,
    pub consumption: Consumption,
}

/// Users that consumed something on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsersOfDay {
    pub users: u64,
    /// Those of them that have reached one of the limits that are not 0.
    pub at_limit: u64,
}

/// Stores the consumption of users by day.
#[async_trait::async_trait]
pub trait UsageStore: Send + Sync {
    /// Returns the consumption of users on a day, without users that consumed nothing.
    async fn usage_on(&self, day: UtcDay, users: Vec<UserId>) -> Result<HashMap<UserId, Consumption>, StoreError>;

    /// Counts the users that consumed something on a day.
    async fn users_on(&self, day: UtcDay, limits: Consumption) -> Result<UsersOfDay, StoreError>;

    /// Adds to the consumption of a user; no effect if the user has been deleted. Turns that end are charged with
    /// [`EndedTurn::charge`](super::EndedTurn::charge) instead.
    async fn charge(&self, charge: Charge) -> Result<(), StoreError>;

    /// Deletes the consumption of the days before `day`; returns the number of entries.
    async fn forget_usage(&self, day: UtcDay) -> Result<usize, StoreError>;
}
