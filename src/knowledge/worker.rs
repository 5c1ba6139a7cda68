//! Document extraction in the child process, and its protocol.
//!
//! A small hostile file can make a parser allocate gigabytes, loop, overflow the stack or panic. In a process of its own,
//! that costs only this document.
//!
//! The child reads the document from stdin and answers on stdout with lines of JSON: a `document`, its `chunk`s and an `end`,
//! or a single `refused`. An answer without its last line is discarded.

use super::{
    chunk::Chunking,
    extract::{Extracted, MediaType, extract, media_type},
    extract_error::ExtractError,
    extract_limits::Limits,
    front_matter::split_front_matter,
    keywords::add_keywords,
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
    Document {
        media_type: MediaType,
        collection: Option<String>,
    },
    Chunk {
        title: String,
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keywords: Vec<String>,
    },
    End {
        chunks: usize,
    },
    Refused {
        error: ExtractError,
    },
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
                for Chunk { title, text, keywords } in chunks {
                    write_line(&mut output, &Line::Chunk { title, text, keywords })?;
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
        let has_comments = media_type == MediaType::Markdown;
        let (max_chars, mut collection) = (self.chunk_chars, None);
        let mut chunking = Chunking { max_chars, limits, has_comments, first_line: 1, keywords: Vec::new() };
        if media_type == MediaType::Markdown
            && let Extracted::Markdown(markdown) = &text
        {
            let front = split_front_matter(markdown);
            collection = front.collection.map(str::to_owned);
            chunking.first_line = front.first_line;
            add_keywords(&mut chunking.keywords, front.keywords)?;
            text = Extracted::Markdown(front.text.to_owned());
        }
        let chunks = chunking.chunk(&text)?;
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
    use crate::knowledge::keywords::MAX_KEYWORD_CHARS;

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
        let document =
            b"---\ncollection: specs\n---\n# Engine\n\n180 kW.\n\n# Tyres\n<!-- keywords: air; psi -->\n2.4 bar.\n";
        let expected = serde_json::json!([
            {"type": "document", "media_type": "markdown", "collection": "specs"},
            {"type": "chunk", "title": "Engine", "text": "180 kW."},
            {"type": "chunk", "title": "Tyres", "text": "2.4 bar.", "keywords": ["air", "psi"]},
            {"type": "end", "chunks": 2},
        ]);
        assert_eq!(serde_json::Value::from(answer(document)), expected);
    }

    #[test]
    fn keywords_of_the_document_are_those_of_each_chunk() {
        let document =
            b"---\nkeywords: [a]\n---\n<!-- keywords: b -->\n# One\n\n1.\n\n# Two\n\n2.\n\n<!-- keywords: c; a -->\n";
        let keywords: Vec<_> = answer(document).iter().filter_map(|line| line.get("keywords").cloned()).collect();
        assert_eq!(keywords, [serde_json::json!(["a", "b"]), serde_json::json!(["a", "b", "c"])]);
    }

    #[test]
    fn errors_of_keywords_name_the_line_in_the_file() {
        let front = "---\ncollection: specs\n---\n# One\n\n1.\n";
        let error = |rest: &str| answer(format!("{front}{rest}").as_bytes())[0]["error"].clone();
        assert_eq!(error("## Two\n\n2.\n<!-- keywords: a\n"), serde_json::json!({"unclosed_keywords": {"line": 10}}));
        let long = "a".repeat(MAX_KEYWORD_CHARS + 1);
        let refused = error(&format!("<!-- keywords: b\n{long} -->\n"));
        assert_eq!(refused, serde_json::json!({"long_keyword": {"line": 8, "limit": MAX_KEYWORD_CHARS}}));
    }

    #[test]
    fn an_error_is_the_only_line_of_the_answer() {
        assert_eq!(answer(b" \n"), [serde_json::json!({"type": "refused", "error": "empty"})]);
    }
}
