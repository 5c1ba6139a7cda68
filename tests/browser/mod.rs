//! The page `/ws/test` in a real browser: `page.mjs` drives Chromium. Screenshots are left in `target/screenshots`.

use crate::clients::{app, repository};
use std::time::Duration;
use tokio::{process::Command, time::timeout};

/// How long all scenarios together may take.
const PATIENCE: Duration = Duration::from_secs(300);

#[actix_web::test]
async fn the_page_works_in_a_real_browser() {
    let packages = repository("tests/browser/node_modules/playwright-core");
    assert!(packages.exists(), "{} is missing: run .ci/install-test-tools.sh", packages.display());
    let app = app().await;
    let mut command = Command::new("node");
    command.arg(repository("tests/browser/page.mjs")).arg(&app.url).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("node starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    app.finish().await;
}
