//! Limits per client, address and user, and their effect on other clients.

mod budgets;
mod connections;
mod frames;
mod requests;
mod sign_in;
mod turns;

use crate::harness::TestApp;

/// Number of refusals by a limit, as operators see it.
async fn hits(app: &TestApp, limit: &str) -> u64 {
    let operator = app.operator().await;
    let (_, stats) = app.get("/api/v1/connections/stats", Some(&operator)).await;
    stats["limits"][limit].as_u64().unwrap_or_else(|| panic!("no `{limit}` in {stats}"))
}
