//! The language of the project: how doc comments open, phrases that were weeded out, and the glossary's "not called" column.

use super::{files, root};
use proc_macro2::{TokenStream, TokenTree};
use std::{collections::BTreeSet, fs};

/// Doc comments open with a noun phrase or a verb in the third person, never with one of these.
const OPENERS: [&str; 6] = ["What", "Who", "Whom", "That", "Of", "How"];

/// Phrases with a plain equivalent.
const PHRASES: [(&str, &str); 9] = [
    ("whoever", "the caller, the client, the user"),
    ("whomever", "the caller, the client, the user"),
    ("somebody else's", "another user's"),
    ("has room", "is not full, fits"),
    ("no room", "full, does not fit"),
    ("said no", "refused"),
    ("says no", "refuses"),
    ("says goodbye", "closes"),
    ("is no more", "was deleted, has ended"),
];

/// Words of `docs/GLOSSARY.md`'s last column that identifiers must not contain, with the paths that may.
const WORDS: [(&str, &str, &[&str]); 13] = [
    ("follower", "subscriber", &[]),
    ("followers", "subscribers", &[]),
    ("unfollow", "unsubscribe", &[]),
    ("vitals", "connection statistics", &[]),
    ("outlet", "response body", &[]),
    ("doorkeeper", "authenticator", &[]),
    ("deed", "audited action", &[]),
    ("whom", "a noun", &[]),
    ("goodbye", "close", &[]),
    ("places", "permits, positions", &[]),
    ("room", "credit, capacity", &[]),
    ("bot", "assistant", &[]),
    // Elsewhere it is the role of human support agents, the header `User-Agent`, or a name of `chat.v1`.
    (
        "agent",
        "specialist",
        &[
            "crates/client/src/connection.rs",
            "crates/protocol/src/field_names.rs",
            "crates/protocol/src/metadata_view.rs",
            "crates/protocol/src/turn_frame.rs",
            "src/auth",
            "src/domain/event.rs",
            "src/domain/user.rs",
            "src/http",
            "src/ops",
            "src/registry",
            "src/store",
            "src/encode/turn_frames.rs",
        ],
    ),
];

/// Names that only `chat.v1` and REST beside it have: no snapshot of `chat.v2` may hold them.
const V1_NAMES: [&str; 4] = ["session_id", "agent", "agent_routing", "rag_retrieval"];

fn sources() -> Vec<(String, String)> {
    ["src", "crates", "tests"].into_iter().flat_map(|folder| files(folder, "rs")).collect()
}

/// The first lines of a text's doc comments, each with its number.
fn openings(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_open = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let was_open = std::mem::replace(&mut is_open, comment.is_some());
        comment.filter(|_| !was_open).map(|comment| (index + 1, comment.trim_start()))
    })
}

fn opens_badly(comment: &str) -> bool {
    let first = comment.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    OPENERS.contains(&first)
}

/// Whether a line has a phrase as whole words, in any case.
fn has_phrase(line: &str, phrase: &str) -> bool {
    let lower = line.to_lowercase();
    lower.match_indices(phrase).any(|(at, _)| {
        let before = lower[..at].chars().next_back();
        let after = lower[at + phrase.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// All identifiers of a file, also those in macros.
fn identifiers(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                found.insert(ident.to_string());
            }
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// The words of `snake_case`, `CamelCase` and `UPPER_CASE` names, in lower case.
fn words(identifier: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut was_lower = false;
    for c in identifier.chars() {
        if c == '_' {
            was_lower = false;
            words.push(String::new());
            continue;
        }
        if words.is_empty() || (c.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = c.is_lowercase() || c.is_numeric();
        words.last_mut().expect("there is one").extend(c.to_lowercase());
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn doc_comments_open_with_a_noun_phrase_or_a_verb() {
    let mut bad = Vec::new();
    for (name, text) in sources() {
        let found = openings(&text).filter(|(_, comment)| opens_badly(comment));
        bad.extend(found.map(|(line, comment)| format!("{name}:{line}: {comment}")));
    }
    assert!(bad.is_empty(), "{} doc comments open with {OPENERS:?}:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn phrases_that_were_weeded_out_stay_out() {
    let mut texts = sources();
    texts.retain(|(name, _)| name != "tests/tidy/words.rs");
    texts.extend(files("docs", "md"));
    texts.extend(["html", "js"].into_iter().flat_map(|ending| files("templates", ending)));
    for name in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "config/default.toml"] {
        texts.push((name.to_owned(), fs::read_to_string(root().join(name)).unwrap()));
    }
    let mut bad = Vec::new();
    for (name, text) in &texts {
        for (index, line) in text.lines().enumerate() {
            let found = PHRASES.iter().filter(|(phrase, _)| has_phrase(line, phrase));
            bad.extend(found.map(|(phrase, plain)| format!("{name}:{}: “{phrase}” (better: {plain})", index + 1)));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn identifiers_use_the_words_of_the_glossary() {
    let mut bad = Vec::new();
    for (name, text) in sources() {
        let mut found = BTreeSet::new();
        identifiers(text.parse().unwrap_or_else(|error| panic!("{name}: {error}")), &mut found);
        for identifier in &found {
            let words = words(identifier);
            // `user_agent` is a header.
            let is_header = words.windows(2).any(|pair| pair == ["user", "agent"]);
            let wrong = WORDS.iter().filter(|(word, _, homes)| {
                words.iter().any(|one| one == word)
                    && !(*word == "agent" && (is_header || name.starts_with("tests/")))
                    && !homes.iter().any(|home| name.starts_with(home))
            });
            bad.extend(wrong.map(|(word, better, _)| format!("{name}: `{identifier}` says {word} (better: {better})")));
        }
    }
    assert!(bad.is_empty(), "{} identifiers:\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn the_glossary_lists_the_words_that_are_refused() {
    let glossary = fs::read_to_string(root().join("docs/GLOSSARY.md")).unwrap();
    for word in ["session", "room", "follower", "behind", "place", "agent", "deed"] {
        let is_listed = glossary
            .lines()
            .filter_map(|line| line.trim_end().strip_suffix(" |")?.rsplit_once("| "))
            .any(|(_, refused)| refused.split(", ").any(|one| one == word));
        assert!(is_listed, "docs/GLOSSARY.md does not refuse “{word}” in its last column");
    }
}

#[test]
fn snapshots_of_chat_v2_have_its_names_only() {
    let snapshots = files("tests", "snap");
    let mut of_v2 = snapshots.iter().filter(|(name, _)| name.contains("chat_v2")).peekable();
    assert!(of_v2.peek().is_some(), "there are snapshots of chat.v2");
    for (name, text) in of_v2 {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        // Frames of the server; clients may use either name.
        let frames = text.lines().filter_map(|line| line.strip_prefix("< "));
        let found = frames.flat_map(|frame| frame.split(|c| !is_word(c))).find(|word| V1_NAMES.contains(word));
        assert_eq!(found, None, "{name} has a name of chat.v1");
    }
}

#[test]
fn openings_are_found_and_judged() {
    let text = "//! What it is.\n//! Of it.\n\n/// Returns x.\n/// How so.\nfn f() {}\n    /// That y.\n    y: u8,";
    let found: Vec<_> = openings(text).filter(|(_, comment)| opens_badly(comment)).collect();
    assert_eq!(found, [(1, "What it is."), (7, "That y.")]);
    assert!(!opens_badly("Whatever") && !opens_badly("Whether it is") && !opens_badly("However"));
}

#[test]
fn phrases_are_whole_words() {
    assert!(has_phrase("It Says no.", "says no") && has_phrase("says no", "says no"));
    assert!(!has_phrase("It says nothing", "says no") && !has_phrase("essays no", "says no"));
}

#[test]
fn identifiers_fall_into_words() {
    assert_eq!(words("AddressPlace"), ["address", "place"]);
    assert_eq!(words("_room_for_MORE"), ["room", "for", "more"]);
    assert_eq!(words("MAX_ROOMS"), ["max", "rooms"]);
    let mut found = BTreeSet::new();
    identifiers("fn a() { log::info!(b = c; \"{d}\"); }".parse().unwrap(), &mut found);
    assert!(found.contains("b") && found.contains("c") && !found.contains("d"));
}
