//! Excerpts: the beginning of a passage as plain text, for lists of sources.

use crate::domain::{Passage, Source};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Maximum length of an excerpt, in characters.
const MAX_EXCERPT_CHARS: usize = 240;
/// Length of the prefix of a passage that is parsed, in bytes; markup makes it longer than the excerpt.
const MAX_PARSED_BYTES: usize = 4 * 1024;
/// Mark at the end of an excerpt that is cut.
const ELLIPSIS: &str = "…";

impl From<&Passage> for Source {
    fn from(passage: &Passage) -> Self {
        Self {
            source: passage.source.clone(),
            title: passage.title.clone(),
            score: passage.score,
            document_id: Some(passage.document_id),
            passage: Some(passage.passage),
            excerpt: Some(excerpt(&passage.text)),
            url: None,
        }
    }
}

/// Returns the beginning of a Markdown text without its markup, on one line and cut after a word.
fn excerpt(markdown: &str) -> String {
    let parsed = &markdown[..markdown.floor_char_boundary(MAX_PARSED_BYTES)];
    let mut text = Line::default();
    for event in Parser::new_ext(parsed, Options::ENABLE_TABLES) {
        match event {
            Event::Text(part) | Event::Code(part) | Event::Html(part) | Event::InlineHtml(part) => text.push(&part),
            Event::SoftBreak | Event::HardBreak => text.push(" "),
            Event::End(TagEnd::TableCell) => text.separate(" · "),
            Event::End(TagEnd::TableRow | TagEnd::TableHead | TagEnd::Item) => text.separate("; "),
            Event::Start(Tag::Paragraph | Tag::List(_) | Tag::Table(_)) => text.push(" "),
            Event::End(TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::CodeBlock) => text.separate(" "),
            _ => {}
        }
        if text.chars > MAX_EXCERPT_CHARS {
            break;
        }
    }
    cut(&text.text, text.chars > MAX_EXCERPT_CHARS || parsed.len() < markdown.len())
}

/// Text whose white space is collapsed, without separators at its ends.
#[derive(Default)]
struct Line {
    text: String,
    chars: usize,
    /// Separator to insert before the next word.
    separator: &'static str,
}

impl Line {
    fn push(&mut self, part: &str) {
        for c in part.chars() {
            if c.is_whitespace() {
                self.separate(" ");
                continue;
            }
            if !self.text.is_empty() {
                self.text.push_str(self.separator);
                self.chars += self.separator.chars().count();
            }
            self.separator = "";
            self.text.push(c);
            self.chars += 1;
        }
    }

    /// Separates the next word; the last separator that is not a space prevails.
    fn separate(&mut self, separator: &'static str) {
        if self.separator.is_empty() || separator != " " {
            self.separator = separator;
        }
    }
}

/// Cuts a text to [`MAX_EXCERPT_CHARS`], after a word if there is one. `is_cut`: the text continues in any case.
fn cut(text: &str, is_cut: bool) -> String {
    let Some((end, _)) = text.char_indices().nth(MAX_EXCERPT_CHARS - 1) else {
        return if is_cut { format!("{text}{ELLIPSIS}") } else { text.to_owned() };
    };
    if !is_cut && text[end..].chars().nth(1).is_none() {
        return text.to_owned();
    }
    let end = text[..end].rfind(' ').filter(|space| *space > end / 2).unwrap_or(end);
    format!("{}{ELLIPSIS}", text[..end].trim_end_matches([' ', '·', ';', ',']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_is_removed() {
        for (markdown, wanted) in [
            ("Use **0W-20** oil.\nSee [the manual](https://example.com/).", "Use 0W-20 oil. See the manual."),
            ("Checks:\n\n- the *belt*\n- the `ECU`\n\nThen drive.", "Checks: the belt; the ECU; Then drive."),
            (
                "| Item | Value |\n|---|---|\n| Power | 74 kW |\n| Torque | 150 Nm |",
                "Item · Value; Power · 74 kW; Torque · 150 Nm",
            ),
            ("First.\n\nSecond.", "First. Second."),
            ("a <b>bold</b> claim", "a <b>bold</b> claim"),
            ("![A belt](belt.png) is worn", "A belt is worn"),
            ("  \n ", ""),
        ] {
            assert_eq!(excerpt(markdown), wanted, "{markdown}");
        }
    }

    #[test]
    fn a_long_text_is_cut_after_a_word() {
        let long = excerpt(&"Zündkerze ".repeat(100));
        assert!(long.chars().count() <= MAX_EXCERPT_CHARS && long.ends_with("Zündkerze…"), "{long}");
        assert_eq!(excerpt(&"x".repeat(10_000)).chars().count(), MAX_EXCERPT_CHARS);
        let exact = "y".repeat(MAX_EXCERPT_CHARS);
        assert_eq!(excerpt(&exact), exact);
    }

    proptest! {
        #[test]
        fn excerpts_are_bounded_lines(markdown in "(\\PC|[ \n|*_`#-]){0,600}") {
            let excerpt = excerpt(&markdown);
            prop_assert!(excerpt.chars().count() <= MAX_EXCERPT_CHARS);
            prop_assert!(!excerpt.contains(['\n', '\t']));
        }
    }
}
