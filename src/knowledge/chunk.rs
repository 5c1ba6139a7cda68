//! A text cut into chunks: along the headings of Markdown, along paragraphs and sentences where a section is too long.

use super::{Chunk, extract::Extracted};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use text_splitter::{MarkdownSplitter, TextSplitter};

/// Between the headings of a title.
const SEPARATOR: &str = " › ";
/// The longest heading that goes into a title, in characters.
const MAX_HEADING_CHARS: usize = 120;
/// The most chunks of one document: a text of nothing but headings would make millions.
pub const MAX_CHUNKS: usize = 20_000;

/// Cuts a text into chunks of at most `max_chars` characters. `name` is the title of what stands under no heading.
/// `None` when it would be over [`MAX_CHUNKS`].
pub fn chunk(text: &Extracted, name: &str, max_chars: usize) -> Option<Vec<Chunk>> {
    let max_chars = max_chars.max(1);
    let chunks: Vec<Chunk> = match text {
        Extracted::Markdown(markdown) => {
            let splitter = MarkdownSplitter::new(max_chars);
            sections(markdown, name)
                .iter()
                .flat_map(|section| splitter.chunks(section.body).map(|text| chunk_of(&section.title, text)))
                .take(MAX_CHUNKS + 1)
                .collect()
        }
        Extracted::Plain(plain) => {
            TextSplitter::new(max_chars).chunks(plain).map(|text| chunk_of(name, text)).take(MAX_CHUNKS + 1).collect()
        }
    };
    (chunks.len() <= MAX_CHUNKS).then_some(chunks)
}

fn chunk_of(title: &str, text: &str) -> Chunk {
    Chunk { title: title.to_owned(), text: text.to_owned() }
}

/// What stands under one heading, up to the next heading of any level.
struct Section<'a> {
    title: String,
    body: &'a str,
}

fn sections<'a>(markdown: &'a str, name: &str) -> Vec<Section<'a>> {
    let mut sections = Vec::new();
    let mut path: Vec<(HeadingLevel, String)> = Vec::new();
    let mut heading: Option<String> = None;
    let mut title = name.to_owned();
    let mut body_start = 0;
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                push_section(&mut sections, &title, &markdown[body_start..range.start]);
                path.retain(|(above, _)| *above < level);
                heading = Some(String::new());
            }
            Event::End(TagEnd::Heading(level)) => {
                let text: String = heading.take().unwrap_or_default().trim().chars().take(MAX_HEADING_CHARS).collect();
                if !text.is_empty() {
                    path.push((level, text));
                }
                let headings: Vec<_> = path.iter().map(|(_, text)| text.as_str()).collect();
                title = if headings.is_empty() { name.to_owned() } else { headings.join(SEPARATOR) };
                body_start = range.end;
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            _ => {}
        }
    }
    push_section(&mut sections, &title, markdown.get(body_start..).unwrap_or_default());
    sections
}

fn push_section<'a>(sections: &mut Vec<Section<'a>>, title: &str, body: &'a str) {
    if !body.trim().is_empty() {
        sections.push(Section { title: title.to_owned(), body });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn markdown(text: &str, max_chars: usize) -> Vec<Chunk> {
        chunk(&Extracted::Markdown(text.to_owned()), "notes", max_chars).unwrap()
    }

    #[test]
    fn chunks_follow_the_headings_and_know_their_path() {
        let chunks = markdown("Intro.\n\n# Engine\n\nA.\n\n## Power `kW`\n\nB.\n\n# Tyres\n\n### Winter\n\nC.\n", 100);
        let found: Vec<_> = chunks.iter().map(|c| (c.title.as_str(), c.text.as_str())).collect();
        assert_eq!(
            found,
            [("notes", "Intro."), ("Engine", "A."), ("Engine › Power kW", "B."), ("Tyres › Winter", "C.")]
        );
    }

    #[test]
    fn what_looks_like_a_heading_in_code_is_none() {
        let chunks = markdown("# Shell\n\n```\n# not a heading\n```\n", 100);
        assert_eq!(chunks.len(), 1);
        assert_eq!(chunks[0].title, "Shell");
    }

    #[test]
    fn a_long_section_is_cut_and_keeps_its_title() {
        let chunks = markdown(&format!("# Long\n\n{}", "One sentence of a few words. ".repeat(50)), 200);
        assert!(chunks.len() > 5);
        assert!(chunks.iter().all(|c| c.title == "Long" && c.text.chars().count() <= 200));
    }

    #[test]
    fn plain_text_is_not_read_as_markdown() {
        let chunks = chunk(&Extracted::Plain("# 1 bolt\n\n# 2 nuts".to_owned()), "parts", 100).unwrap();
        assert_eq!(chunks, [Chunk { title: "parts".to_owned(), text: "# 1 bolt\n\n# 2 nuts".to_owned() }]);
    }

    #[test]
    fn a_document_of_countless_sections_is_refused() {
        let text = "# a\nb\n".repeat(MAX_CHUNKS + 1);
        assert_eq!(chunk(&Extracted::Markdown(text), "notes", 100), None);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_within_the_limit(text in "(#{1,3} |\\PC|\n|\\| ){0,300}", max_chars in 1_usize..80) {
            for chunk in markdown(&text, max_chars) {
                prop_assert!(chunk.text.chars().count() <= max_chars);
                prop_assert!(!chunk.title.is_empty());
            }
        }
    }
}
