//! Actions of operators on a running server, and their effect on real connections.

mod audit;
mod drain;
mod kick;
mod lock;
mod notices;
mod revocation;
mod settings;
mod shell;
mod tail;
mod turns;
mod users;

use crate::harness::{TestApp, TestUser};
use serde_json::Value;

/// The id of the only live connection of a user.
async fn connection_of(app: &TestApp, operator: &TestUser, user: &TestUser) -> String {
    let path = format!("/api/v1/connections?user_id={}", user.id);
    let page = app.get_when(&path, operator, |page| page["total"] == 1).await;
    page["connections"][0]["id"].as_str().unwrap().to_owned()
}

/// The newest entries of the audit: action, target and outcome of each.
async fn audited(app: &TestApp, operator: &TestUser, count: usize) -> Vec<(String, Value, String)> {
    let (status, page) = app.get(&format!("/api/v1/audit?limit={count}"), Some(operator)).await;
    assert_eq!(status, 200, "{page}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let entries = page["entries"].as_array().unwrap().iter();
    entries.map(|entry| (text(&entry["action"]), entry["target"].clone(), text(&entry["outcome"]))).collect()
}
