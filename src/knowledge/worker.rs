//! Document extraction in the child process, and its protocol.
//!
//! A small hostile file can make a parser allocate gigabytes, loop, overflow the stack or panic. In a process of its own,
//! that costs only this document.
//!
//! The child reads the document from stdin and answers on stdout with lines of JSON: a `document`, its `chunk`s and an `end`,
//! or a single `refused`. An answer without its last line is discarded.

use super::{
    chunk::chunk,
    embedded_data::strip_embedded_data,
    extract::{Extracted, MediaType, extract, media_type},
    extract_error::ExtractError,
    extract_limits::Limits,
    front_matter::split_front_matter,
};
use crate::domain::{Chunk, is_blank};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

/// Parameters of an extraction.
#[derive(Clone, Copy, Debug)]
pub struct ReadTask {
    /// Media type according to the document's name or sender.
    pub claimed: Option<MediaType>,
    /// Maximum length of a chunk, in characters.
    pub chunk_chars: usize,
    /// Maximum size of the document, in bytes.
    pub max_document_bytes: usize,
    /// Maximum size of the extracted text, in bytes.
    pub max_text_bytes: usize,
    /// Memory limit of the process, in bytes.
    pub memory_bytes: u64,
    pub timeout: Duration,
}

/// Result of an extraction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadDocument {
    pub media_type: MediaType,
    /// Collection named in the front matter.
    pub collection: Option<String>,
    pub chunks: Vec<Chunk>,
}

/// Line of the child's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    Document { media_type: MediaType, collection: Option<String> },
    Chunk { title: String, text: String },
    End { chunks: usize },
    Refused { error: ExtractError },
}

impl ReadTask {
    /// Extracts the document in `input` and writes the answer to `output`.
    ///
    /// # Errors
    /// When the answer cannot be written.
    pub fn run(&self, input: impl Read, output: impl Write) -> io::Result<()> {
        let mut output = io::BufWriter::new(output);
        match self.read_from(input) {
            Ok(ReadDocument { media_type, collection, chunks }) => {
                write_line(&mut output, &Line::Document { media_type, collection })?;
                let count = chunks.len();
                for Chunk { title, text } in chunks {
                    write_line(&mut output, &Line::Chunk { title, text })?;
                }
                write_line(&mut output, &Line::End { chunks: count })?;
            }
            Err(error) => write_line(&mut output, &Line::Refused { error })?,
        }
        output.flush()
    }

    fn read_from(&self, input: impl Read) -> Result<ReadDocument, ExtractError> {
        let deadline = Instant::now() + self.timeout;
        let mut bytes = Vec::new();
        // The file may have grown since its size was checked.
        input.take(self.max_document_bytes as u64).read_to_end(&mut bytes).map_err(|error| self.io_error(&error))?;
        self.read(&bytes, deadline)
    }

    /// Extracts a document in this process, without a memory limit.
    ///
    /// # Errors
    /// When the document is invalid, unsupported or empty, or a limit is exceeded.
    pub(super) fn read(&self, bytes: &[u8], deadline: Instant) -> Result<ReadDocument, ExtractError> {
        let limits = Limits { max_text_bytes: self.max_text_bytes, deadline };
        let media_type = media_type(bytes, self.claimed)?;
        let mut text = extract(bytes, media_type, &limits)?;
        let mut collection = None;
        if media_type == MediaType::Markdown
            && let Extracted::Markdown(markdown) = &text
        {
            let (named, rest) = split_front_matter(markdown);
            collection = named.map(str::to_owned);
            text = Extracted::Markdown(rest.to_owned());
        }
        if matches!(media_type, MediaType::Markdown | MediaType::Plain) {
            let (Extracted::Markdown(content) | Extracted::Plain(content)) = &mut text;
            *content = strip_embedded_data(content);
        }
        let chunks = chunk(&text, self.chunk_chars, &limits)?;
        if chunks.iter().all(|chunk| is_blank(&chunk.text)) {
            return Err(ExtractError::Empty);
        }
        Ok(ReadDocument { media_type, collection, chunks })
    }

    fn io_error(&self, error: &io::Error) -> ExtractError {
        match error.kind() {
            io::ErrorKind::OutOfMemory => ExtractError::OutOfMemory { limit_bytes: self.memory_bytes },
            _ => ExtractError::Unreadable(error.to_string()),
        }
    }
}

fn write_line(output: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *output, line)?;
    output.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(document: &[u8]) -> Vec<serde_json::Value> {
        let task = ReadTask {
            claimed: Some(MediaType::Markdown),
            chunk_chars: 100,
            max_document_bytes: 1_000,
            max_text_bytes: 1_000,
            memory_bytes: 1 << 30,
            timeout: Duration::from_secs(60),
        };
        let mut output = Vec::new();
        task.run(document, &mut output).unwrap();
        output
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn an_answer_ends_with_the_number_of_chunks() {
        let document = b"---\ncollection: specs\n---\n# Engine\n\n180 kW.\n\n# Tyres\n\n2.4 bar.\n";
        let expected = serde_json::json!([
            {"type": "document", "media_type": "markdown", "collection": "specs"},
            {"type": "chunk", "title": "Engine", "text": "180 kW."},
            {"type": "chunk", "title": "Tyres", "text": "2.4 bar."},
            {"type": "end", "chunks": 2},
        ]);
        assert_eq!(serde_json::Value::from(answer(document)), expected);
    }

    #[test]
    fn an_error_is_the_only_line_of_the_answer() {
        assert_eq!(answer(b" \n"), [serde_json::json!({"type": "refused", "error": "empty"})]);
    }
}
