//! Clients that were not written in Rust: the programs of `docs/WEBSOCKET.md` and the clients in `clients/`, each run as
//! its reader would, against the server with its documents and without a model.

mod hardships;
mod probe;
mod prototype;
mod redirects;
mod tokens;

use crate::{
    harness::{TestApp, installed, needs_installed},
    websocket_doc::{examples, examples_in},
};
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};
use switchboard::config::ProviderKind;
use tempfile::TempDir;
use tokio::{process::Command, time::timeout};

/// Time limit for a program.
const PATIENCE: Duration = Duration::from_secs(60);
/// The engine power in the server's documents.
const ENGINE_POWER: &str = "180 kW";

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The Python of `.ci/install-test-tools.sh`.
fn python() -> PathBuf {
    installed("target/tools/venv/bin/python")
}

/// A server that answers from its documents.
pub async fn app() -> TestApp {
    TestApp::with(|config| {
        config.provider.kind = ProviderKind::Extractive;
        config.knowledge.seed = true;
    })
    .await
}

/// Runs a program to its end and returns what it printed.
///
/// # Panics
/// When it fails, or takes too long.
pub async fn run(command: &mut Command) -> String {
    command.kill_on_drop(true);
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, command.output()).await.expect("it ends in time").expect("it starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Node, with a WebSocket also where it is version 20.
fn node(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    needs_installed("node");
    let mut command = Command::new("node");
    command.arg("--experimental-websocket").args(arguments);
    command
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn programs_in_the_websocket_document_work() {
    let app = app().await;
    let folder = TempDir::new().unwrap();
    for example in examples() {
        let file = folder.path().join(example.name).with_extension(if example.language == "js" { "mjs" } else { "py" });
        std::fs::write(&file, example.code).unwrap();
        let mut command = if example.language == "js" { node([&file]) } else { Command::new(python()) };
        if example.language == "python" {
            command.arg(&file);
        }
        let printed = run(command.env("SWITCHBOARD_URL", &app.url)).await;
        assert!(printed.contains(ENGINE_POWER), "{}: {printed}", example.name);
        let verdict = if example.name.ends_with("resume") { "sha256 matches: true" } else { "whole: true" };
        assert!(printed.to_lowercase().contains(verdict), "{}: {printed}", example.name);
        assert_eq!(printed.contains("resumed at 1"), example.name.ends_with("resume"), "{}: {printed}", example.name);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn programs_in_the_readme_work() {
    let app = app().await;
    let folder = TempDir::new().unwrap();
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    let examples = examples_in(&readme);
    assert_eq!(examples.len(), 1);
    assert!(examples[0].code.lines().count() <= 10, "the README promises a client in ten lines");
    for example in examples {
        let file = folder.path().join(example.name).with_extension(if example.language == "js" { "mjs" } else { "py" });
        std::fs::write(&file, example.code).unwrap();
        let mut command = if example.language == "js" { node([] as [&str; 0]) } else { Command::new(python()) };
        let printed = run(command.arg(&file).env("SWITCHBOARD_URL", &app.url)).await;
        assert!(printed.contains(ENGINE_POWER), "{}: {printed}", example.name);
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn javascript_client_survives_a_cut() {
    let app = app().await;
    let client = repository("clients/javascript/example.mjs");
    let direct = run(node([&client]).arg(&app.url)).await;
    let cut = run(node([repository("tests/clients/through_a_cut.mjs")])
        .args([&app.url, "node", "--experimental-websocket"])
        .arg(&client)
        .arg("{url}"))
    .await;
    for printed in [&direct, &cut] {
        assert!(printed.contains(ENGINE_POWER) && printed.contains("SHA-256 verified"), "{printed}");
    }
    assert_eq!(direct, cut);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn rust_example_survives_a_cut() {
    let app = app().await;
    // `cargo test --workspace` builds the examples of all crates.
    let example = Path::new(env!("CARGO_BIN_EXE_switchboard")).with_file_name("examples").join("ask");
    assert!(
        example.exists(),
        "{} is missing: run `cargo build -p switchboard-client --example ask`",
        example.display()
    );
    let direct = run(Command::new(&example).arg(&app.url)).await;
    let cut = run(node([repository("tests/clients/through_a_cut.mjs")]).arg(&app.url).arg(&example).arg("{url}")).await;
    for printed in [&direct, &cut] {
        assert!(printed.contains(ENGINE_POWER) && printed.contains("SHA-256 verified"), "{printed}");
    }
    assert_eq!(direct, cut);
}

/// Browsers have neither `crypto.randomUUID` nor `crypto.subtle` for pages that came over plain http.
#[actix_web::rt::test(system = "crate::harness::System")]
async fn browser_programs_work_on_plain_http() {
    let app = app().await;
    let folder = TempDir::new().unwrap();
    let insecure = repository("tests/clients/insecure_context.mjs");
    let readme = std::fs::read_to_string(repository("README.md")).unwrap();
    for example in examples().into_iter().chain(examples_in(&readme)).filter(|example| example.language == "js") {
        let file = folder.path().join(example.name).with_extension("mjs");
        std::fs::write(&file, example.code).unwrap();
        let printed =
            run(node([OsStr::new("--import"), insecure.as_ref(), file.as_ref()]).env("SWITCHBOARD_URL", &app.url))
                .await;
        assert!(printed.contains(ENGINE_POWER), "{}: {printed}", example.name);
    }
    let client = repository("clients/javascript/example.mjs");
    let printed = run(node([OsStr::new("--import"), insecure.as_ref(), client.as_ref()]).arg(&app.url)).await;
    assert!(printed.contains(ENGINE_POWER) && printed.contains("SHA-256 verified"), "{printed}");
    let printed = run(&mut node([repository("tests/clients/fallbacks.mjs")])).await;
    assert_eq!(printed.trim(), "all right");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn python_client_survives_a_cut() {
    let app = app().await;
    let client = repository("clients/python/example.py");
    let direct = run(Command::new(python()).arg(&client).arg(&app.url)).await;
    let cut = run(node([repository("tests/clients/through_a_cut.mjs")])
        .arg(&app.url)
        .arg(python())
        .arg(&client)
        .arg("{url}"))
    .await;
    for printed in [&direct, &cut] {
        assert!(printed.contains(ENGINE_POWER) && printed.contains("SHA-256 verified"), "{printed}");
    }
    assert_eq!(direct, cut);
}
