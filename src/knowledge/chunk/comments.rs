//! HTML comments in Markdown: all are removed, and those of the form `<!-- keywords: …; … -->` hold search terms of a section.
//!
//! Works line by line like [`super::headings`]. Comments in code are text; in doubt a comment is removed.

use super::headings::{fence, unindented};
use crate::knowledge::keywords::split_keywords;
use std::borrow::Cow;

const OPENING: &str = "<!--";
const CLOSING: &str = "-->";
/// First word of a comment with keywords, before a colon.
const KEYWORDS: &str = "keywords";
/// Maximum distance between the ends of a code span, in bytes. Bounds the search for its end.
const MAX_CODE_SPAN_BYTES: usize = 1_024;

/// Text without its comments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Uncommented<'a> {
    pub(super) text: Cow<'a, str>,
    /// Keywords with their offsets in the original text.
    pub(super) keywords: Vec<(usize, String)>,
}

/// Comment with keywords that does not end, at this offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed(pub(super) usize);

/// Removes the comments from the body of a section.
///
/// # Errors
/// When a comment with keywords does not end, or contains the beginning of another comment.
pub(super) fn take_comments(body: &str) -> Result<Uncommented<'_>, Unclosed> {
    let mut kept = String::new();
    let (mut done, mut keywords) = (0, Vec::new());
    let mut scanner = Scanner { text: body, at: 0, fence: None, is_line_start: true };
    while let Some(start) = scanner.next_opening() {
        let content_start = start + OPENING.len();
        let listed = keyword_list(&body[content_start..]);
        // From the second character on: `<!-->` is a comment, too.
        let Some(length) = body[start + 2..].find(CLOSING) else {
            if listed.is_some() {
                return Err(Unclosed(start));
            }
            break;
        };
        let end = start + 2 + length + CLOSING.len();
        if let Some(list) = listed {
            let list_start = body.len() - list.len();
            let list = &body[list_start..end - CLOSING.len()];
            if list.contains(OPENING) {
                return Err(Unclosed(start));
            }
            keywords.extend(split_keywords(list, &[';', '\n']).map(|(at, keyword)| (list_start + at, keyword)));
        }
        kept.push_str(&body[done..start]);
        done = end;
        scanner.at = end;
        // One blank line remains where the comment was.
        if kept.trim_end_matches([' ', '\t']).ends_with("\n\n") && body[done..].starts_with('\n') {
            done += 1;
        }
    }
    let text = if done == 0 { Cow::Borrowed(body) } else { Cow::Owned(kept + &body[done..]) };
    Ok(Uncommented { text, keywords })
}

/// Returns the text from the list of keywords on, if a comment begins with one.
fn keyword_list(content: &str) -> Option<&str> {
    let content = content.trim_start();
    let word = content.get(..KEYWORDS.len()).filter(|word| word.eq_ignore_ascii_case(KEYWORDS))?;
    content[word.len()..].trim_start().strip_prefix(':')
}

/// Finds comments outside of code.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Character and length of the fence around the current line.
    fence: Option<(u8, usize)>,
    is_line_start: bool,
}

impl Scanner<'_> {
    /// Returns the offset of the next beginning of a comment, and stops there.
    fn next_opening(&mut self) -> Option<usize> {
        loop {
            if self.is_line_start && self.skip_code_line() {
                continue;
            }
            let rest = &self.text[self.at..];
            let found = rest.find(['\n', '`', '<', '\\'])?;
            self.at += found;
            let rest = &rest[found..];
            self.is_line_start = false;
            match rest.as_bytes()[0] {
                b'\n' => {
                    self.at += 1;
                    self.is_line_start = true;
                }
                b'`' => self.at += code_span(rest),
                b'\\' => self.at += 1 + rest[1..].chars().next().filter(char::is_ascii_punctuation).map_or(0, |_| 1),
                _ if rest.starts_with(OPENING) => return Some(self.at),
                _ => self.at += 1,
            }
        }
    }

    /// Skips the current line if it is a fence or between fences.
    fn skip_code_line(&mut self) -> bool {
        let Some(line) = self.text[self.at..].split_inclusive('\n').next() else { return false };
        let unindented = unindented(line).map(str::trim_end);
        match self.fence {
            Some((fence, length)) => {
                let is_end =
                    unindented.is_some_and(|text| text.len() >= length && text.bytes().all(|byte| byte == fence));
                self.fence = self.fence.filter(|_| !is_end);
            }
            None => match unindented.and_then(fence) {
                None => return false,
                opened => self.fence = opened,
            },
        }
        self.at += line.len();
        true
    }
}

/// Returns the length of the code span at the start of a text, or of its backticks if it does not end soon.
fn code_span(text: &str) -> usize {
    let run = |text: &str| text.bytes().take_while(|byte| *byte == b'`').count();
    let opening = run(text);
    let within = &text[..text.floor_char_boundary(MAX_CODE_SPAN_BYTES)];
    let mut at = opening;
    while let Some(found) = within.get(at..).and_then(|rest| rest.find(['`', '\n'])) {
        at += found;
        let length = run(&within[at..]);
        if length == opening {
            return at + length;
        }
        // A blank line ends the paragraph.
        if length == 0 && within[at + 1..].trim_start_matches([' ', '\t']).starts_with('\n') {
            break;
        }
        at += length.max(1);
    }
    opening
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn taken(body: &str) -> (String, Vec<String>) {
        let Uncommented { text, keywords } = take_comments(body).unwrap();
        (text.into_owned(), keywords.into_iter().map(|(_, keyword)| keyword).collect())
    }

    #[test]
    fn comments_are_removed() {
        for (body, expected) in [
            ("Text <!-- a note --> goes on.", "Text  goes on."),
            ("One.\n\n<!-- a\nnote -->\n\nTwo.", "One.\n\n\nTwo."),
            ("One.\n<!-- a note -->\nTwo.", "One.\n\nTwo."),
            ("<!-->x<!-- -->", "x"),
            ("> quote <!-- a --> b <!-- c -->", "> quote  b "),
            ("- item\n    <!-- a -->", "- item\n    "),
            ("`a` <!-- b --> `c`", "`a`  `c`"),
            ("a ` b <!-- c -->", "a ` b "),
        ] {
            assert_eq!(taken(body), (expected.to_owned(), Vec::new()), "{body}");
        }
    }

    #[test]
    fn comments_in_code_and_unclosed_ones_are_text() {
        for body in [
            "```html\n<!-- a -->\n```\n",
            "~~~\n```\n<!-- keywords: a -->\n~~~\n",
            "Write `<!-- keywords: a -->` below the heading.",
            "``a ` <!-- b --> ` ``",
            "\\<!-- a -->",
            "a <!-- b",
            "a < b -->",
        ] {
            assert_eq!(taken(body), (body.to_owned(), Vec::new()), "{body}");
        }
    }

    #[test]
    fn keywords_are_separated_by_semicolons_and_lines() {
        for (body, expected) in [
            ("<!-- keywords: flat  battery; will not start;-->", &["flat battery", "will not start"][..]),
            (
                "<!--Keywords :\n  Batterie leer;\n  springt nicht\tan\n-->\nText.",
                &["Batterie leer", "springt nicht an"],
            ),
            ("<!-- keywords: a -->\n<!-- keywords: b; \u{200b}; c\u{7}d -->", &["a", "b", "cd"]),
            ("<!-- keywords: -->", &[]),
            ("<!-- keywords -->", &[]),
            ("<!-- other keywords: a -->", &[]),
        ] {
            assert_eq!(taken(body).1, expected, "{body}");
        }
        let at = take_comments("Ä <!-- keywords: a;\n  b -->").unwrap().keywords;
        assert_eq!(at, [(18, "a".to_owned()), (23, "b".to_owned())]);
    }

    #[test]
    fn keywords_without_an_end_are_refused() {
        for body in
            ["A.\n<!-- keywords: a; b", "A.\n<!-- keywords: a\n\n<!-- keywords: b -->", "A.\n<!-- keywords: a ->"]
        {
            assert_eq!(take_comments(body), Err(Unclosed(3)), "{body}");
        }
    }

    #[test]
    fn the_cost_is_linear() {
        for unit in ["<!--", "<!-- -->", "`", "` `` ", "<!-- keywords: a; -->\n", "``` \n", "\\", "<!-- `"] {
            let text = unit.repeat(1024 * 1024 / unit.len());
            let started = Instant::now();
            let _ = take_comments(&text);
            assert!(started.elapsed() < Duration::from_secs(20), "{unit:?} took {:?}", started.elapsed());
        }
    }
}
