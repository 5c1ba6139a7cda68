//! A text cut into chunks: along the headings of Markdown, along paragraphs and sentences where a section is too long.
//!
//! The splitter's cost grows with the square of what it is given (it looks at all that remains for each chunk), so it only
//! ever sees a window of the text. The cost of a text is then linear in its size, whatever is in it.

mod headings;

use super::{extract::Extracted, extract_error::ExtractError, extract_limits::Limits};
use crate::domain::Chunk;
use headings::{Heading, headings};
use pulldown_cmark::{CowStr, Event, Parser};
use std::ops::Range;
use text_splitter::{MarkdownSplitter, TextSplitter};

/// Between the headings of a title.
const SEPARATOR: &str = " › ";
/// The longest heading that goes into a title, in characters.
const MAX_HEADING_CHARS: usize = 120;
/// Longest part of a heading that is parsed, in bytes: links in it may be long.
const MAX_HEADING_BYTES: usize = 2_048;
/// The most chunks of one document: a text of nothing but headings would make millions.
pub const MAX_CHUNKS: usize = 20_000;
/// The size of a window, in chunks. For each chunk, the splitter looks at all that remains of it.
const WINDOW_CHUNKS: usize = 3;
/// Titles and texts of all chunks may take so many times `max_text_bytes`: each chunk repeats its title.
pub const MAX_TITLES_FACTOR: usize = 2;

/// Cuts a text into chunks of at most `max_chars` characters. A chunk that stands under no heading has no title.
///
/// # Errors
/// When there would be more than [`MAX_CHUNKS`], more bytes than the limits allow, or the deadline passes.
pub fn chunk(text: &Extracted, max_chars: usize, limits: &Limits) -> Result<Vec<Chunk>, ExtractError> {
    let max_chars = max_chars.max(1);
    let mut chunks = Chunks { chunks: Vec::new(), bytes: 0, limits: *limits };
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

/// The chunks so far, and what they may come to.
struct Chunks {
    chunks: Vec<Chunk>,
    bytes: usize,
    limits: Limits,
}

impl Chunks {
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

/// Splits a text window by window. The last piece of a window may go on after it, so the next window begins with it.
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

/// Calls `visit` with the title and the text of what stands under each heading, up to the next heading of any level.
fn sections<'a>(
    markdown: &'a str,
    mut visit: impl FnMut(&str, &'a str) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    let mut section = |title: &str, body: &'a str| if body.trim().is_empty() { Ok(()) } else { visit(title, body) };
    let mut path: Vec<(usize, String)> = Vec::new();
    let (mut title, mut body_start) = (String::new(), 0);
    // A heading that has nothing under it, not even another heading, is text itself.
    let mut alone: Option<(usize, Range<usize>)> = None;
    for Heading { level, text, place } in headings(markdown) {
        let body = &markdown[body_start..place.start];
        let heading = alone.take().filter(|(above, _)| body.trim().is_empty() && level <= *above);
        section(&title, heading.map_or(body, |(_, heading)| markdown[heading].trim()))?;
        body_start = place.end;
        alone = Some((level, text.clone()));
        path.retain(|(above, _)| *above < level);
        let text = heading_text(&markdown[text]);
        if !text.is_empty() {
            path.push((level, text));
        }
        let headings: Vec<_> = path.iter().map(|(_, text)| text.as_str()).collect();
        title = headings.join(SEPARATOR);
    }
    let body = &markdown[body_start..];
    let heading = alone.filter(|_| body.trim().is_empty());
    section(&title, heading.map_or(body, |(_, heading)| markdown[heading].trim()))
}

/// The text of a heading without its inline Markdown.
fn heading_text(markdown: &str) -> String {
    let markdown = &markdown[..markdown.floor_char_boundary(MAX_HEADING_BYTES)];
    // A mark in front keeps the parser from taking the text for something else, such as an item of a list.
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
