//! The daily budget of a user whose turn was lost with the process.

use crate::program::{NO_SEED, Program, SCRIPTED};
use serde_json::json;
use tempfile::TempDir;

const BUDGET: (&str, &str) = ("SWITCHBOARD__BUDGETS__TOKENS_PER_USER_PER_DAY", "100");

#[tokio::test]
async fn a_turn_that_is_lost_with_the_process_is_charged() {
    let folder = TempDir::new().unwrap();
    let settings = [SCRIPTED, NO_SEED, BUDGET];
    let mut program = Program::serve(folder.path(), &settings).await;
    let user = program.sign_in("register", "ada@example.org").await;
    let mut socket = program.socket().signed_in(&user).await;
    let script = json!({"tokens": 10_000, "interval_ms": 2});
    let first =
        socket.start(json!({"type": "message", "message": "A long one?", "metadata": {"script": script}})).await;
    // Enough tokens for several checkpoints.
    socket.read_tokens(first, 300).await;
    program.child.kill().await.unwrap();
    while socket.next_or_end().await.is_some() {}

    let program = Program::serve(folder.path(), &settings).await;
    let mut socket = program.socket().signed_in(&user).await;
    socket.send(json!({"type": "message", "message": "Another?", "client_message_id": "m"})).await;
    let error = socket.expect_error("BUDGET_EXCEEDED").await;
    assert_eq!(error["client_message_id"], "m");
    socket.close().await;
}
