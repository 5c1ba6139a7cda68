//! Tests of chunking with ordinary texts and with hostile ones.

use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn limits() -> Limits {
    Limits { max_text_bytes: 10 * 1024 * 1024, deadline: Instant::now() + Duration::from_secs(60) }
}

fn chunk(text: &Extracted, max_chars: usize, limits: &Limits) -> Result<Vec<Chunk>, ExtractError> {
    let chunking = Chunking { max_chars, limits: *limits, has_comments: true, first_line: 1, keywords: Vec::new() };
    chunking.chunk(text)
}

fn markdown(text: &str, max_chars: usize) -> Vec<Chunk> {
    chunk(&Extracted::Markdown(text.to_owned()), max_chars, &limits()).unwrap()
}

fn plain(text: &str, max_chars: usize) -> Vec<Chunk> {
    chunk(&Extracted::Plain(text.to_owned()), max_chars, &limits()).unwrap()
}

#[test]
fn keywords_belong_to_their_section_and_comments_to_none() {
    let chunks = markdown(
        "# Engine\n<!-- keywords: motor -->\n\n## Power\n\n74 kW. <!-- checked -->\n\n## Start\n\nTurn the key.\n\n\
         <!-- keywords: ignition;\nanlassen -->\n\n# Tyres\n\n<!-- keywords: air -->\n\n# Roof\n\nOpen it.\n",
        100,
    );
    let found: Vec<_> = chunks.iter().map(|c| (c.title.as_str(), c.text.as_str(), c.keywords.join(","))).collect();
    let expected = [
        ("Engine › Power", "74 kW.", "motor"),
        ("Engine › Start", "Turn the key.", "motor,ignition,anlassen"),
        ("Tyres", "Tyres", "air"),
        ("Roof", "Open it.", ""),
    ];
    assert_eq!(found, expected.map(|(title, text, keywords)| (title, text, keywords.to_owned())));
}

#[test]
fn every_chunk_of_a_section_has_its_keywords_and_they_count_towards_the_size_limit() {
    let text = format!("# Long\n\n<!-- keywords: a; b -->\n{}", "A few words. ".repeat(100));
    let chunks = markdown(&text, 100);
    assert!(chunks.len() > 5 && chunks.iter().all(|chunk| chunk.keywords == ["a", "b"]), "{chunks:?}");
    let keywords: Vec<_> = (0..90).map(|n| format!("{n}{}", "x".repeat(90))).collect();
    let text = text.replace("a; b", &keywords.join(";"));
    let limits = Limits { max_text_bytes: text.len(), ..limits() };
    assert_eq!(chunk(&Extracted::Markdown(text), 100, &limits), Err(limits.too_much_text()));
}

#[test]
fn chunks_follow_the_headings_and_have_their_path_as_title() {
    let chunks = markdown("Intro.\n\n# Engine\n\nA.\n\n## Power `kW`\n\nB.\n\n# Tyres\n\n### Winter\n\nC.\n", 100);
    let found: Vec<_> = chunks.iter().map(|c| (c.title.as_str(), c.text.as_str())).collect();
    assert_eq!(found, [("", "Intro."), ("Engine", "A."), ("Engine › Power kW", "B."), ("Tyres › Winter", "C.")]);
}

#[test]
fn the_heading_of_an_empty_section_is_its_text() {
    let chunks = markdown("# Contacts\n\n## Workshop: 555-1234\n\n## Towing: 555-9876\n", 100);
    let found: Vec<_> = chunks.iter().map(|c| (c.title.as_str(), c.text.as_str())).collect();
    let expected =
        [("Contacts › Workshop: 555-1234", "Workshop: 555-1234"), ("Contacts › Towing: 555-9876", "Towing: 555-9876")];
    assert_eq!(found, expected);
}

#[test]
fn code_that_resembles_a_heading_is_not_one() {
    let chunks = markdown("# Shell\n\n```\n# not a heading\n```\n", 100);
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].title, "Shell");
}

#[test]
fn every_chunk_of_a_long_section_has_its_title() {
    let chunks = markdown(&format!("# Long\n\n{}", "One sentence of a few words. ".repeat(50)), 200);
    assert!(chunks.len() > 5);
    assert!(chunks.iter().all(|c| c.title == "Long" && c.text.chars().count() <= 200));
}

#[test]
fn windows_lose_nothing_and_split_between_sentences() {
    let sentences: Vec<_> = (0..5_000).map(|n| format!("Sentence number {n} is here.")).collect();
    let text = sentences.join(" ");
    for chunks in [plain(&text, 300), markdown(&text, 300)] {
        let joined: Vec<_> = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
        assert_eq!(joined.join(" "), text);
        assert!(chunks.iter().all(|chunk| chunk.text.ends_with('.')), "a sentence was cut");
        assert!(chunks.iter().filter(|chunk| chunk.text.len() < 200).count() <= 1, "windows leave short chunks");
    }
    let blank = format!("First.{}Last.", " ".repeat(100_000));
    let texts: Vec<_> = plain(&blank, 100).into_iter().map(|chunk| chunk.text).collect();
    assert_eq!(texts, ["First.", "Last."]);
}

#[test]
fn plain_text_is_not_read_as_markdown() {
    let chunks = plain("# 1 bolt\n\n# 2 nuts", 100);
    assert_eq!(chunks, [Chunk { text: "# 1 bolt\n\n# 2 nuts".to_owned(), ..Chunk::default() }]);
}

#[test]
fn a_document_of_countless_sections_is_refused() {
    let text = "# a\nb\n".repeat(MAX_CHUNKS + 1);
    let refused = chunk(&Extracted::Markdown(text), 100, &limits());
    assert_eq!(refused, Err(ExtractError::TooManyChunks { limit: MAX_CHUNKS }));
}

#[test]
fn titles_count_towards_the_size_limit() {
    let mut text: String = (1..6).map(|level| format!("{} {}\n", "#".repeat(level), "x".repeat(120))).collect();
    text.push_str(&"###### a\nb\n".repeat(1_000));
    let limits = Limits { max_text_bytes: text.len(), ..limits() };
    assert_eq!(chunk(&Extracted::Markdown(text), 100, &limits), Err(limits.too_much_text()));
}

#[test]
fn chunking_stops_at_the_deadline() {
    let limits = Limits { deadline: Instant::now(), ..limits() };
    assert_eq!(chunk(&Extracted::Plain("Words.".to_owned()), 100, &limits), Err(ExtractError::Timeout));
}

/// Without windows, each of these takes minutes or hours per megabyte. The bound is generous for the sake of loaded machines.
#[test]
fn the_cost_is_linear_in_the_size_of_the_text() {
    const BYTES: usize = 256 * 1024;
    for (what, unit) in [
        ("one line", "word "),
        ("one word", "a"),
        ("emphasis", "*a* "),
        ("a list", "- a\n"),
        ("a table", "| a | b |\n"),
        ("code fences", "```\na\n```\n"),
        ("block quotes", "> a\n\n"),
        ("quotes in quotes", "> "),
        ("links", "[a](b) "),
        ("brackets", "["),
        ("HTML", "<b>a</b>\n"),
    ] {
        let text = unit.repeat(BYTES / unit.len());
        let started = Instant::now();
        let chunks = markdown(&text, 1_200);
        assert!(!chunks.is_empty(), "{what}");
        assert!(started.elapsed() < Duration::from_secs(30), "{what} took {:?}", started.elapsed());
    }
}

proptest! {
    #[test]
    fn chunks_of_any_text_are_within_the_limit(text in "(#{1,3} |\\PC|\n|\\| ){0,300}", max_chars in 1_usize..80) {
        for chunk in markdown(&text, max_chars) {
            prop_assert!(chunk.text.chars().count() <= max_chars);
        }
    }

    #[test]
    fn chunks_of_any_plain_text_contain_all_of_it(text in "(\\PC|\n| ){0,600}", max_chars in 1_usize..20) {
        let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let chunks: String = plain(&text, max_chars).iter().map(|chunk| chunk.text.as_str()).collect();
        prop_assert_eq!(visible(&chunks), visible(&text));
    }
}
