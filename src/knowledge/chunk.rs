//! Chunking: splits a text along its Markdown headings, and long sections along paragraphs and sentences.
//!
//! The splitter's cost is quadratic in its input (it examines the whole rest for each chunk), so it is given one window of
//! the text at a time. The total cost is then linear for any input.

mod headings;

use super::{extract::Extracted, extract_error::ExtractError, extract_limits::Limits};
use crate::domain::Chunk;
use headings::{Heading, headings};
use pulldown_cmark::{CowStr, Event, Parser};
use std::ops::Range;
use text_splitter::{MarkdownSplitter, TextSplitter};

/// Separator of the headings in a title.
const SEPARATOR: &str = " › ";
/// Maximum length of a heading in a title, in characters.
const MAX_HEADING_CHARS: usize = 120;
/// Length of the prefix of a heading that is parsed, in bytes. Longer than [`MAX_HEADING_CHARS`], since links are dropped.
const MAX_HEADING_BYTES: usize = 2_048;
/// Maximum number of chunks of a document.
pub const MAX_CHUNKS: usize = 20_000;
/// Size of a window, in chunks.
const WINDOW_CHUNKS: usize = 3;
/// Maximum total size of titles and texts of all chunks, relative to `max_text_bytes`; each chunk repeats its title.
pub const MAX_TITLES_FACTOR: usize = 2;

/// Splits a text into chunks of at most `max_chars` characters. A chunk outside of any section has an empty title.
///
/// # Errors
/// When the result exceeds [`MAX_CHUNKS`] or the size limit, or the deadline passes.
pub fn chunk(text: &Extracted, max_chars: usize, limits: &Limits) -> Result<Vec<Chunk>, ExtractError> {
    let max_chars = max_chars.max(1);
    let mut chunks = ChunkCollector { chunks: Vec::new(), bytes: 0, limits: *limits };
    match text {
        Extracted::Markdown(markdown) => {
            let splitter = MarkdownSplitter::new(max_chars);
            sections(markdown, |title, body| {
                windows(
                    body,
                    max_chars,
                    |window| splitter.chunk_indices(window).collect(),
                    |text| chunks.push(title, text),
                )
            })?;
        }
        Extracted::Plain(plain) => {
            let splitter = TextSplitter::new(max_chars);
            windows(plain, max_chars, |window| splitter.chunk_indices(window).collect(), |text| chunks.push("", text))?;
        }
    }
    Ok(chunks.chunks)
}

/// Chunks so far, with their limits.
struct ChunkCollector {
    chunks: Vec<Chunk>,
    bytes: usize,
    limits: Limits,
}

impl ChunkCollector {
    fn push(&mut self, title: &str, text: &str) -> Result<(), ExtractError> {
        self.limits.check_time()?;
        self.bytes += title.len() + text.len();
        if self.chunks.len() >= MAX_CHUNKS {
            return Err(ExtractError::TooManyChunks { limit: MAX_CHUNKS });
        }
        if self.bytes > self.limits.max_text_bytes.saturating_mul(MAX_TITLES_FACTOR) {
            return Err(self.limits.too_much_text());
        }
        self.chunks.push(Chunk { title: title.to_owned(), text: text.to_owned() });
        Ok(())
    }
}

/// Splits a text window by window. The last piece of a window may be incomplete, so the next window starts with it.
fn windows<'a>(
    text: &'a str,
    max_chars: usize,
    split: impl Fn(&'a str) -> Vec<(usize, &'a str)>,
    mut push: impl FnMut(&'a str) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let window_chars = max_chars.saturating_mul(WINDOW_CHUNKS);
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(window_chars) {
        let mut pieces = split(&rest[..end]);
        let next = pieces.pop_if(|(at, _)| *at > 0).map_or(end, |(at, _)| at);
        for (_, piece) in pieces {
            push(piece)?;
        }
        rest = &rest[next..];
    }
    split(rest).into_iter().try_for_each(|(_, piece)| push(piece))
}

/// Calls `visit` with the title and body of each section. A section ends at the next heading of any level.
fn sections<'a>(
    markdown: &'a str,
    mut visit: impl FnMut(&str, &'a str) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let mut section = |title: &str, body: &'a str| if body.trim().is_empty() { Ok(()) } else { visit(title, body) };
    let mut path: Vec<(usize, String)> = Vec::new();
    let (mut title, mut body_start) = (String::new(), 0);
    // Level and text of the last heading. If its section has no body and no subsections, its text becomes the body.
    let mut last: Option<(usize, Range<usize>)> = None;
    for Heading { level, text, span } in headings(markdown) {
        let body = &markdown[body_start..span.start];
        let leaf = last.take().filter(|(last_level, _)| body.trim().is_empty() && level <= *last_level);
        section(&title, leaf.map_or(body, |(_, heading)| markdown[heading].trim()))?;
        body_start = span.end;
        last = Some((level, text.clone()));
        path.retain(|(ancestor, _)| *ancestor < level);
        let text = heading_text(&markdown[text]);
        if !text.is_empty() {
            path.push((level, text));
        }
        let headings: Vec<_> = path.iter().map(|(_, text)| text.as_str()).collect();
        title = headings.join(SEPARATOR);
    }
    let body = &markdown[body_start..];
    let leaf = last.filter(|_| body.trim().is_empty());
    section(&title, leaf.map_or(body, |(_, heading)| markdown[heading].trim()))
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

#[cfg(test)]
mod tests;
