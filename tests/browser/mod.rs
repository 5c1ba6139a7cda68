//! The pages in a real browser: `page.mjs`, `reasoning.mjs`, `outage.mjs` and `renewal.mjs` drive Chromium on `/ws/test`, `ops.mjs`
//! on `/ops`.
//! Screenshots are left in `target/screenshots`.

mod ops;

use crate::{
    clients::{app, repository},
    harness::{TestApp, installed},
};
use std::time::Duration;
use switchboard::config::{ProviderKind, Reasoning};
use tokio::{process::Command, time::timeout};

/// Time limit for all scenarios of a suite.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs a suite of `page.mjs`.
pub async fn run_suite(app: &TestApp, suite: &str) {
    run_script("page.mjs", &[&app.url, suite]).await;
}

async fn run_script(name: &str, arguments: &[&str]) {
    installed("tests/browser/node_modules/playwright-core");
    let mut command = Command::new("node");
    command.arg(repository("tests/browser").join(name)).args(arguments).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("node starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_page_shows_answers_in_a_real_browser() {
    let app = app().await;
    run_suite(&app, "answers").await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn page_shows_slow_answers() {
    let app = TestApp::scripted(120, 25).await;
    run_suite(&app, "slow").await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn page_folds_the_reasoning_of_the_model() {
    let app = TestApp::with(|config| {
        (config.workflow.reasoning, config.workflow.keep_reasoning) = (Reasoning::Shown, true);
        let script = &mut config.provider.scripted;
        (script.reasoning_tokens, script.tokens, script.interval_ms) = (60, 40, 50);
    })
    .await;
    run_script("reasoning.mjs", &[&app.url]).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_page_works_on_plain_http_from_another_host() {
    let app = TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.knowledge.seed = true;
        config.server.allowed_hosts = vec!["chat.test".to_owned()];
    })
    .await;
    run_suite(&app, "insecure").await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn page_reports_an_outage_and_keeps_the_question() {
    run_script("outage.mjs", &[env!("CARGO_BIN_EXE_switchboard")]).await;
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn the_page_stays_signed_in_with_tokens_that_live_for_seconds() {
    run_script("renewal.mjs", &[env!("CARGO_BIN_EXE_switchboard")]).await;
}
