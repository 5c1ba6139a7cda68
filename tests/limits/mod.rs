//! How much one client may do, and what the others notice of it.

mod connections;
mod frames;
mod requests;
mod sign_in;
mod turns;

use crate::harness::TestApp;

/// How often a limit said no, as operators see it.
async fn hits(app: &TestApp, limit: &str) -> u64 {
    let operator = app.operator().await;
    let (_, stats) = app.get("/api/v1/connections/stats", Some(&operator)).await;
    stats["limits"][limit].as_u64().unwrap_or_else(|| panic!("no `{limit}` in {stats}"))
}
