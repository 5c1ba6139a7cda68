//! Warnings at the start.

use super::{NO_SEED, Program, SCRIPTED};
use tempfile::TempDir;

const PRODUCTION: (&str, &str) = ("SWITCHBOARD__ENV", "production");
const SECRET: (&str, &str) = ("SWITCHBOARD__AUTH__JWT_SECRET", "0123456789abcdef0123456789abcdef");
const BUDGET: (&str, &str) = ("SWITCHBOARD__BUDGETS__COST_PER_USER_PER_DAY", "0.5");

/// The log of a server with these settings, from its start to its end.
async fn log(settings: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("prices.toml"), "[[price]]\nmodel = \"script*\"\ninput = 0\noutput = 1\n")
        .unwrap();
    let mut program = Program::serve(folder.path(), &[&[SCRIPTED, NO_SEED], settings].concat()).await;
    program.terminate().await;
    assert_eq!(program.exit_code().await, Some(0));
    std::fs::read_to_string(folder.path().join("log")).unwrap()
}

#[tokio::test]
async fn production_warns_of_links_that_work_in_its_own_pages_only() {
    const WARNING: &str = "links to sources are relative";
    let url = ("SWITCHBOARD__SERVER__PUBLIC_URL", "https://chat.example.org");
    assert!(log(&[PRODUCTION, SECRET]).await.contains(WARNING));
    assert!(!log(&[PRODUCTION, SECRET, url]).await.contains(WARNING));
    assert!(!log(&[]).await.contains(WARNING));
}

#[tokio::test]
async fn a_budget_of_cost_warns_of_models_without_a_price() {
    const WARNING: &str = "the price of this model is unknown";
    let prices = ("SWITCHBOARD__BUDGETS__PRICES_FILE", "prices.toml");
    let warned = log(&[BUDGET]).await;
    let line = warned.lines().find(|line| line.contains(WARNING)).unwrap_or_else(|| panic!("{warned}"));
    assert!(line.contains("default") && line.contains("scripted"), "{line}");
    assert!(!log(&[BUDGET, prices]).await.contains(WARNING));
    assert!(!log(&[]).await.contains(WARNING));
}
