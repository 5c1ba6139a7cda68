//! Sections of a Markdown text: from a heading to the next one of any level.

use super::{
    Chunking,
    comments::{Unclosed, Uncommented, take_comments},
    headings::{Heading, headings},
};
use crate::knowledge::{embedded_data::strip_embedded_data, extract_error::ExtractError, keywords::add_keywords};
use pulldown_cmark::{CowStr, Event, Parser};
use std::{borrow::Cow, ops::Range};

/// Separator of the headings in a title.
const SEPARATOR: &str = " › ";
/// Maximum length of a heading in a title, in characters.
const MAX_HEADING_CHARS: usize = 120;
/// Length of the prefix of a heading that is parsed, in bytes. Longer than [`MAX_HEADING_CHARS`], since links are dropped.
const MAX_HEADING_BYTES: usize = 2_048;

/// Keywords with their lines in the document.
type LineKeywords = Vec<(usize, String)>;

/// Section with text.
pub(super) struct Section<'a> {
    /// Its headings, outermost first, joined by [`SEPARATOR`].
    pub(super) title: String,
    /// Without comments and embedded data.
    pub(super) body: Cow<'a, str>,
    pub(super) keywords: Vec<String>,
}

/// Reads the sections of a text in order.
pub(super) struct Sections<'a> {
    markdown: &'a str,
    chunking: &'a Chunking,
    /// Keywords of the whole document: those of its front matter and those before the first heading.
    keywords: Vec<String>,
    /// Headings around the current section, and its own.
    path: Vec<Ancestor>,
    /// Offset up to which lines have been counted, and the number of the line there.
    counted: (usize, usize),
}

struct Ancestor {
    level: usize,
    /// Empty if the heading has no text.
    title: String,
    /// Keywords that its subsections inherit, since it has no text of its own.
    keywords: LineKeywords,
}

impl<'a> Sections<'a> {
    pub(super) fn new(markdown: &'a str, chunking: &'a Chunking) -> Self {
        let counted = (0, chunking.first_line);
        Self { markdown, chunking, keywords: chunking.keywords.clone(), path: Vec::new(), counted }
    }

    /// Calls `visit` with each section that has text. A section without text and subsections has its heading as text.
    ///
    /// # Errors
    /// The error of `visit`, or when keywords are invalid.
    pub(super) fn visit(
        mut self,
        mut visit: impl FnMut(&Section<'_>) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        let mut last: Option<Heading> = None;
        for next in headings(self.markdown).map(Some).chain([None]) {
            let start = last.as_ref().map_or(0, |heading| heading.span.end);
            let end = next.as_ref().map_or(self.markdown.len(), |heading| heading.span.start);
            let (mut body, keywords) = self.body(start..end)?;
            let level = last.as_ref().map_or(0, |heading| heading.level);
            let has_subsections = next.as_ref().is_some_and(|heading| heading.level > level);
            if body.trim().is_empty()
                && let Some(heading) = last.as_ref().filter(|_| !has_subsections)
            {
                body = strip_embedded_data(self.markdown[heading.text.clone()].trim()).into();
            }
            let has_text = !body.trim().is_empty();
            match self.path.last_mut() {
                None => add_keywords(&mut self.keywords, keywords.iter().cloned())?,
                Some(ancestor) if !has_text => ancestor.keywords.clone_from(&keywords),
                Some(_) => {}
            }
            if has_text {
                visit(&self.section(body, keywords)?)?;
            }
            if let Some(heading) = &next {
                self.enter(heading);
            }
            last = next;
        }
        Ok(())
    }

    /// Returns the text in a range without comments and embedded data, and its keywords, each with its line.
    fn body(&mut self, range: Range<usize>) -> Result<(Cow<'a, str>, LineKeywords), ExtractError> {
        let body = &self.markdown[range.clone()];
        if !self.chunking.has_comments {
            return Ok((strip_embedded_data(body).into(), Vec::new()));
        }
        let Uncommented { text, keywords } = take_comments(body)
            .map_err(|Unclosed(at)| ExtractError::UnclosedKeywords { line: self.line_at(range.start + at) })?;
        let keywords = keywords.into_iter().map(|(at, keyword)| (self.line_at(range.start + at), keyword)).collect();
        Ok((strip_embedded_data(&text).into(), keywords))
    }

    /// Returns the line of the document at an offset, which must not be before an earlier one.
    fn line_at(&mut self, at: usize) -> usize {
        let (from, line) = self.counted;
        self.counted = (at, line + self.markdown[from..at].bytes().filter(|byte| *byte == b'\n').count());
        self.counted.1
    }

    fn section<'b>(&self, body: Cow<'b, str>, own: LineKeywords) -> Result<Section<'b>, ExtractError> {
        let titles: Vec<_> =
            self.path.iter().map(|ancestor| &*ancestor.title).filter(|title| !title.is_empty()).collect();
        let mut keywords = self.keywords.clone();
        for ancestor in &self.path {
            add_keywords(&mut keywords, ancestor.keywords.iter().cloned())?;
        }
        add_keywords(&mut keywords, own)?;
        Ok(Section { title: titles.join(SEPARATOR), body, keywords })
    }

    fn enter(&mut self, heading: &Heading) {
        self.path.retain(|ancestor| ancestor.level < heading.level);
        let title = heading_text(&strip_embedded_data(&self.markdown[heading.text.clone()]));
        self.path.push(Ancestor { level: heading.level, title, keywords: Vec::new() });
    }
}

/// Returns the text of a heading without its inline Markdown.
fn heading_text(markdown: &str) -> String {
    let markdown = &markdown[..markdown.floor_char_boundary(MAX_HEADING_BYTES)];
    // The `#` keeps the parser from reading the text as another block, such as a list item.
    let heading = format!("# {}", markdown.split_whitespace().collect::<Vec<_>>().join(" "));
    let texts = Parser::new(&heading).filter_map(|event| match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        _ => None,
    });
    let text: String = texts.map(CowStr::into_string).collect();
    text.trim().chars().take(MAX_HEADING_CHARS).collect()
}
