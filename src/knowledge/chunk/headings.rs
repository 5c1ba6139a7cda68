//! Scanner for Markdown headings, which works line by line.
//!
//! A complete Markdown parser takes quadratic time for nested quotes and allocates for every delimiter. To find headings it
//! suffices to know which lines are code, HTML, or the end of a paragraph.

use std::ops::Range;

/// Top-level heading. Headings inside quotes and lists are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// From 1 to 6.
    pub(super) level: usize,
    /// Byte range of its text, including inline Markdown.
    pub(super) text: Range<usize>,
    /// Byte range of the whole heading, including markers and line ending.
    pub(super) span: Range<usize>,
}

/// Block that contains the current line.
enum Block {
    /// None: at the start of the text or after a blank line.
    None,
    /// Paragraph that starts at this offset. An underline turns it into a heading.
    Paragraph(usize),
    /// List or quote; ends at a blank line.
    Nested,
    /// Code between fences of this character and minimum length.
    Fenced(u8, usize),
    /// HTML block; ends at a line that contains this string.
    Html(&'static str),
}

/// Start and end of HTML blocks that may contain blank lines.
const HTML_BLOCKS: [(&str, &str); 7] = [
    ("<!--", "-->"),
    ("<?", "?>"),
    ("<![cdata[", "]]>"),
    ("<script", "</script>"),
    ("<pre", "</pre>"),
    ("<style", "</style>"),
    ("<textarea", "</textarea>"),
];

/// Returns the headings of a text, in order.
pub(super) fn headings(markdown: &str) -> impl Iterator<Item = Heading> {
    let (mut at, mut block) = (0, Block::None);
    let mut lines = markdown.split_inclusive('\n');
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let start = at;
            at += line.len();
            if let Some(heading) = next(markdown, line, start, &mut block) {
                return Some(heading);
            }
        }
    })
}

/// Processes the line at offset `start`; returns the heading that it completes.
fn next(markdown: &str, line: &str, start: usize, block: &mut Block) -> Option<Heading> {
    let span_of = |part: &str| {
        let begin = part.as_ptr() as usize - markdown.as_ptr() as usize;
        begin..begin + part.len()
    };
    match *block {
        Block::Fenced(fence, length) => {
            let closing = unindented(line).map(str::trim_end).unwrap_or_default();
            if closing.len() >= length && closing.bytes().all(|byte| byte == fence) {
                *block = Block::None;
            }
            return None;
        }
        Block::Html(end) => {
            if contains_ignoring_case(line, end) {
                *block = Block::None;
            }
            return None;
        }
        Block::None | Block::Paragraph(_) | Block::Nested => {}
    }
    if line.trim().is_empty() {
        *block = Block::None;
        return None;
    }
    let Some(text) = unindented(line) else {
        // Indented code, or a continuation line.
        return None;
    };
    if let Some((level, text)) = atx(text) {
        *block = Block::None;
        return Some(Heading { level, text: span_of(text), span: start..start + line.len() });
    }
    if let Some((fence, length)) = fence(text) {
        *block = Block::Fenced(fence, length);
        return None;
    }
    if let Some((beginning, end)) = HTML_BLOCKS.iter().find(|(beginning, _)| starts_ignoring_case(text, beginning)) {
        *block = if contains_ignoring_case(&text[beginning.len()..], end) { Block::None } else { Block::Html(end) };
        return None;
    }
    if let (Block::Paragraph(begin), Some(level)) = (&*block, underline(text)) {
        let heading = Heading { level, text: *begin..start, span: *begin..start + line.len() };
        *block = Block::None;
        return Some(heading);
    }
    match block {
        Block::None if is_nested(text) => *block = Block::Nested,
        Block::None => *block = Block::Paragraph(start),
        // A list item or quote interrupts a paragraph.
        Block::Paragraph(_) if is_nested(text) => *block = Block::Nested,
        Block::Paragraph(_) | Block::Nested | Block::Fenced(..) | Block::Html(_) => {}
    }
    None
}

/// Strips up to three spaces of indentation; `None` if the line is indented further.
pub(super) fn unindented(line: &str) -> Option<&str> {
    let text = line.trim_start_matches(' ');
    (line.len() - text.len() <= 3 && !text.starts_with('\t')).then_some(text)
}

/// Parses an ATX heading, such as `## Power ##`, into level and text.
fn atx(text: &str) -> Option<(usize, &str)> {
    let rest = text.trim_start_matches('#');
    let level = text.len() - rest.len();
    if !(1..=6).contains(&level) || !(rest.is_empty() || rest.starts_with(char::is_whitespace)) {
        return None;
    }
    let rest = rest.trim();
    let without_end = rest.trim_end_matches('#');
    let is_closed = without_end.is_empty() || without_end.ends_with([' ', '\t']);
    Some((level, if is_closed { without_end.trim_end() } else { rest }))
}

/// Parses a code fence into its character and length.
pub(super) fn fence(text: &str) -> Option<(u8, usize)> {
    let fence = *text.as_bytes().first().filter(|byte| matches!(byte, b'`' | b'~'))?;
    let length = text.bytes().take_while(|byte| *byte == fence).count();
    let is_code_span = fence == b'`' && text[length..].contains('`');
    (length >= 3 && !is_code_span).then_some((fence, length))
}

/// Parses the underline of a setext heading into its level.
fn underline(text: &str) -> Option<usize> {
    let text = text.trim_end();
    match text.as_bytes().first()? {
        b'=' if text.bytes().all(|byte| byte == b'=') => Some(1),
        b'-' if text.bytes().all(|byte| byte == b'-') => Some(2),
        _ => None,
    }
}

/// Whether a line starts a list item or a quote.
fn is_nested(text: &str) -> bool {
    let after_digits = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_numbered = after_digits.len() < text.len() && after_digits.starts_with(['.', ')']);
    let marker = if is_numbered { after_digits } else { text };
    let is_marker = is_numbered || text.starts_with(['-', '+', '*']);
    text.starts_with('>') || is_marker && marker[1..].chars().next().is_none_or(char::is_whitespace)
}

fn starts_ignoring_case(text: &str, beginning: &str) -> bool {
    text.as_bytes().get(..beginning.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(beginning.as_bytes()))
}

fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(markdown: &str) -> Vec<(usize, &str)> {
        headings(markdown).map(|heading| (heading.level, markdown[heading.text].trim())).collect()
    }

    #[test]
    fn atx_and_setext_headings_are_found() {
        assert_eq!(
            found("# One\n## Two ##\n   ### Three # \nFour\n====\n\nFive\nlines\n---\n#\n#hashtag\n####### seven\n"),
            [(1, "One"), (2, "Two"), (3, "Three"), (1, "Four"), (2, "Five\nlines"), (1, "")]
        );
    }

    #[test]
    fn code_html_lists_quotes_and_rules_are_not_headings() {
        for markdown in [
            "```\n# a\n~~~\n# b\n```\n",
            "~~~~ sh\n# a\n~~~\n# b\n~~~~~\n",
            "    # code\n",
            "\t# code\n",
            "<!-- a\n\n# b\n-->\n",
            "<PRE>\n\n# b\n</pre>\n",
            "> # quoted\n",
            "- item\n---\n",
            "1. item\nlazy\n---\n",
            "> quoted\n---\n",
            "a\n\n---\n",
            "---\n",
            "| a |\n| - |\n",
            "```never closed\n# a\n",
        ] {
            assert_eq!(found(markdown), [], "{markdown:?}");
        }
        assert_eq!(found("<!-- a --> \n# b\n```x`\n# c\n- item\n\nText\n---\n"), [(1, "b"), (1, "c"), (2, "Text")]);
    }
}
