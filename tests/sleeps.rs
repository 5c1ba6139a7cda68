//! Tests wait for conditions (`harness::eventually`), not for a time in which something has probably happened. Here are the
//! sleeps that remain, each with its reason.

use std::{fs, path::Path};

/// A file, its sleeps, and what they are for.
const SLEEPS: [(&str, usize, &str); 26] = [
    ("src/knowledge/base/tests.rs", 1, "the interval of polling, until a second process has indexed a change"),
    ("src/pause.rs", 1, "blocks the thread, as a paused process does"),
    ("src/provider/chain/tests.rs", 4, "the clock is paused: slow providers, and the time for which a circuit is open"),
    ("src/provider/openai/answer.rs", 1, "the clock is paused: an upstream that sends an event every four seconds"),
    ("src/provider/scripted.rs", 1, "the clock is paused: a reader that comes late"),
    ("src/store/sqlite/tests.rs", 2, "a change that comes while another waits for a lock; the interval between checks"),
    ("src/workflow/cited_answer.rs", 1, "the clock is paused: a stream that stalls inside a marker"),
    ("src/workflow/turns/tests.rs", 1, "leaves an attempt time to succeed too early"),
    ("tests/chaos/client.rs", 2, "a client's back-off, and its wait before it repeats a question"),
    ("tests/clock.rs", 1, "leaves the server time to delete what it must not delete"),
    ("tests/harness/chaos_proxy.rs", 3, "the network delays, stalls and falls silent"),
    ("tests/harness/eventually.rs", 1, "the interval of polling"),
    ("tests/knowledge/mod.rs", 1, "a client that uploads slowly"),
    ("tests/limits/frames.rs", 1, "a client that waits as long as `retry_after_ms` says"),
    ("tests/limits/requests.rs", 1, "a client that sends its request slowly"),
    ("tests/load.rs", 1, "the server dies in the middle of a load, which announces no middle"),
    ("tests/operations/revocation.rs", 1, "leaves the server time to revoke what it must not revoke"),
    ("tests/ops/feed.rs", 1, "a client that reads nothing for a while"),
    ("tests/program/open_files.rs", 1, "measures the processor time of an idle server"),
    ("tests/program/pauses.rs", 3, "the server is paused"),
    ("tests/program/slow_readers.rs", 1, "a client that reads slowly"),
    ("tests/provider/upstream.rs", 2, "an upstream that answers slowly"),
    ("tests/proxies/proxy.rs", 1, "waits for a proxy in `Drop`, where nothing can be awaited"),
    ("tests/reliability/watch.rs", 1, "a subscriber stays longer than the limit for turns without one"),
    ("tests/session/auth.rs", 1, "a ticket expires"),
    ("tests/session/tabs.rs", 2, "two actions at many distances from each other"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The test code below a folder: each file's path from the top, and its text.
fn test_code(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let is_all_test = name.starts_with("tests/") || name.ends_with("tests.rs") || name.contains("/tests/");
                let text = if is_all_test {
                    &text
                } else {
                    text.split_once("#[cfg(test)]\nmod ").map_or("", |(_, test)| test)
                };
                found.push((name, text.to_owned()));
            }
        }
    }
    found
}

fn sleeps(text: &str) -> usize {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.map(|line| line.matches("sleep(").count() + line.matches("sleep_until(").count()).sum()
}

#[test]
fn sleeps_in_tests_are_listed_with_a_reason() {
    let own = "tests/sleeps.rs";
    let mut listed: Vec<_> = SLEEPS.iter().map(|(name, count, _)| ((*name).to_owned(), *count)).collect();
    let code = ["src", "crates", "tests"].into_iter().filter(|folder| root().join(folder).exists()).flat_map(test_code);
    let counted = code.map(|(name, text)| (name, sleeps(&text)));
    let mut found: Vec<_> = counted.filter(|(name, count)| *count > 0 && name != own).collect();
    listed.sort();
    found.sort();
    assert_eq!(found, listed, "wait for a condition with `harness::eventually`, or list the sleep with its reason");
}

#[test]
fn tests_with_servers_run_the_leak_check() {
    for (name, text) in test_code("tests").into_iter().filter(|(name, _)| name != "tests/sleeps.rs") {
        assert!(!text.contains("#[actix_web::test]"), "{name}: use `System`, which checks servers for leaks");
    }
}
