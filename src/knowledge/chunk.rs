//! Chunking: splits a text along its Markdown headings, and long sections along paragraphs and sentences.
//!
//! The splitter's cost is quadratic in its input (it examines the whole rest for each chunk), so it is given one window of
//! the text at a time. The total cost is then linear for any input.

mod comments;
mod headings;
mod sections;

use super::{
    embedded_data::strip_embedded_data, extract::Extracted, extract_error::ExtractError, extract_limits::Limits,
};
use crate::domain::Chunk;
use sections::{Section, Sections};
use text_splitter::{MarkdownSplitter, TextSplitter};

/// Maximum number of chunks of a document.
pub const MAX_CHUNKS: usize = 20_000;
/// Size of a window, in chunks.
const WINDOW_CHUNKS: usize = 3;
/// Maximum total size of all chunks, relative to `max_text_bytes`; each chunk repeats its title and its keywords.
pub const MAX_TITLES_FACTOR: usize = 2;

/// Rules by which a document is split into chunks.
pub struct Chunking {
    /// Maximum length of a chunk, in characters.
    pub max_chars: usize,
    pub limits: Limits,
    /// Whether a Markdown text may contain comments: a file does, the text of a Word document does not.
    pub has_comments: bool,
    /// Number of the text's first line in the document, for errors.
    pub first_line: usize,
    /// Keywords of the whole document.
    pub keywords: Vec<String>,
}

impl Chunking {
    /// Splits a text. A chunk outside of any section has an empty title.
    ///
    /// # Errors
    /// When the result exceeds [`MAX_CHUNKS`] or the size limit, keywords are invalid, or the deadline passes.
    pub fn chunk(&self, text: &Extracted) -> Result<Vec<Chunk>, ExtractError> {
        let max_chars = self.max_chars.max(1);
        let mut chunks = ChunkCollector { chunks: Vec::new(), bytes: 0, limits: self.limits };
        match text {
            Extracted::Markdown(markdown) => {
                let splitter = MarkdownSplitter::new(max_chars);
                Sections::new(markdown, self).visit(|section| {
                    let split = |window| splitter.chunk_indices(window).collect();
                    windows(&section.body, max_chars, split, |text| chunks.push(section, text))
                })?;
            }
            Extracted::Plain(plain) => {
                let splitter = TextSplitter::new(max_chars);
                let body = strip_embedded_data(plain).into();
                let section = Section { title: String::new(), body, keywords: self.keywords.clone() };
                let split = |window| splitter.chunk_indices(window).collect();
                windows(&section.body, max_chars, split, |text| chunks.push(&section, text))?;
            }
        }
        Ok(chunks.chunks)
    }
}

/// Chunks so far, with their limits.
struct ChunkCollector {
    chunks: Vec<Chunk>,
    bytes: usize,
    limits: Limits,
}

impl ChunkCollector {
    fn push(&mut self, section: &Section<'_>, text: &str) -> Result<(), ExtractError> {
        self.limits.check_time()?;
        let chunk = Chunk { title: section.title.clone(), text: text.to_owned(), keywords: section.keywords.clone() };
        self.bytes += chunk.bytes();
        if self.chunks.len() >= MAX_CHUNKS {
            return Err(ExtractError::TooManyChunks { limit: MAX_CHUNKS });
        }
        if self.bytes > self.limits.max_text_bytes.saturating_mul(MAX_TITLES_FACTOR) {
            return Err(self.limits.too_much_text());
        }
        self.chunks.push(chunk);
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

#[cfg(test)]
mod tests;
