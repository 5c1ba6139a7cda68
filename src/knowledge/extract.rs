//! A file's bytes read as text: what kind of file it is, and its words with the headings it has.
//!
//! Runs on a blocking thread that the caller bounds in time. Files are other people's: whatever they claim of their
//! size is checked, and what a parser would unpack is measured before the parser sees it.

use super::{docx, pdf};
use std::time::Instant;

/// The kinds of file that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    Markdown,
    Plain,
    Pdf,
    Docx,
}

impl MediaType {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown",
            Self::Plain => "text/plain",
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        }
    }
}

/// The text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extracted {
    /// With headings, tables and lists as Markdown.
    Markdown(String),
    /// Without structure.
    Plain(String),
}

/// What reading one file may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most text that may come out, in bytes.
    pub max_text_bytes: usize,
    /// When it must be over.
    pub deadline: Instant,
}

impl Limits {
    /// The most that the packed parts of a file may unpack to, in bytes: a format's markup takes several times the
    /// room of its text, and pictures come on top.
    pub const fn max_unpacked_bytes(&self) -> u64 {
        (self.max_text_bytes as u64).saturating_mul(16)
    }

    pub fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    #[error("is {0}, which cannot be read; Markdown, plain text in UTF-8, PDF and DOCX can")]
    Unsupported(String),
    #[error("cannot be read: {0}")]
    Unreadable(String),
    #[error("holds or unpacks to more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("took too long to read")]
    Timeout,
}

/// What kind of file this is. Its bytes decide; its name and what the sender says of it only tell Markdown from plain
/// text.
///
/// # Errors
/// When it is of another kind.
pub fn media_type(bytes: &[u8], name: &str, declared: Option<&str>) -> Result<MediaType, ExtractError> {
    let name = name.to_lowercase();
    let declared = declared.and_then(|declared| declared.split(';').next()).unwrap_or_default().trim();
    let detected = infer::get(bytes).filter(|kind| kind.matcher_type() != infer::MatcherType::Text);
    match detected.map(|kind| kind.mime_type()) {
        Some("application/pdf") => Ok(MediaType::Pdf),
        Some(mime) if mime == MediaType::Docx.as_str() => Ok(MediaType::Docx),
        // Some writers order the parts of the package in a way that looks like any ZIP archive.
        Some("application/zip") if name.ends_with(".docx") || declared == MediaType::Docx.as_str() => {
            Ok(MediaType::Docx)
        }
        Some(mime) => Err(ExtractError::Unsupported(mime.to_owned())),
        None if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() => {
            Err(ExtractError::Unsupported("not text in UTF-8".to_owned()))
        }
        None if name.ends_with(".md") || name.ends_with(".markdown") || declared == MediaType::Markdown.as_str() => {
            Ok(MediaType::Markdown)
        }
        None => Ok(MediaType::Plain),
    }
}

/// Reads the text of a file.
///
/// # Errors
/// When it cannot be read within the limits.
pub fn extract(bytes: &[u8], media_type: MediaType, limits: &Limits) -> Result<Extracted, ExtractError> {
    let text = match media_type {
        MediaType::Markdown => Extracted::Markdown(text_of(bytes)?),
        MediaType::Plain => Extracted::Plain(text_of(bytes)?),
        MediaType::Pdf => Extracted::Plain(pdf::text(bytes, limits)?),
        MediaType::Docx => Extracted::Markdown(docx::markdown(bytes, limits)?),
    };
    let (Extracted::Markdown(words) | Extracted::Plain(words)) = &text;
    if words.len() > limits.max_text_bytes {
        return Err(ExtractError::TooLarge { limit_bytes: limits.max_text_bytes as u64 });
    }
    Ok(text)
}

fn text_of(bytes: &[u8]) -> Result<String, ExtractError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ExtractError::Unreadable(error.to_string()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n"))
}

/// Takes the front matter off a Markdown text, and returns its `collection` if it names one.
pub fn split_front_matter(markdown: &str) -> (Option<&str>, &str) {
    let Some((matter, text)) = markdown.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")) else {
        return (None, markdown);
    };
    let collection = matter
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == "collection")
        .map(|(_, value)| value.trim().trim_matches('"'))
        .filter(|value| !value.is_empty());
    (collection, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits(max_text_bytes: usize) -> Limits {
        Limits { max_text_bytes, deadline: Instant::now() + Duration::from_secs(5) }
    }

    #[test]
    fn bytes_decide_over_the_name() {
        assert_eq!(media_type(b"%PDF-1.4 ...", "notes.md", None), Ok(MediaType::Pdf));
        assert_eq!(media_type(b"# Notes", "notes.MD", None), Ok(MediaType::Markdown));
        assert_eq!(media_type(b"# Notes", "notes", Some("text/markdown; charset=utf-8")), Ok(MediaType::Markdown));
        assert_eq!(media_type(b"<!-- a note --># Notes", "notes.md", None), Ok(MediaType::Markdown));
        assert_eq!(media_type(b"words", "notes.pdf", Some("application/pdf")), Ok(MediaType::Plain));
    }

    #[test]
    fn pictures_archives_and_binary_data_are_refused() {
        for bytes in [&b"\x89PNG\r\n\x1a\n...."[..], b"PK\x03\x04....", b"a\0b", b"caf\xe9"] {
            assert!(matches!(media_type(bytes, "notes.md", None), Err(ExtractError::Unsupported(_))));
        }
    }

    #[test]
    fn text_over_the_limit_is_refused() {
        assert_eq!(extract(b"12345", MediaType::Plain, &limits(5)), Ok(Extracted::Plain("12345".to_owned())));
        assert_eq!(extract(b"123456", MediaType::Plain, &limits(5)), Err(ExtractError::TooLarge { limit_bytes: 5 }));
    }

    #[test]
    fn front_matter_names_the_collection_and_is_no_text() {
        assert_eq!(split_front_matter("---\ntitle: A\ncollection: specs\n---\n# A\n"), (Some("specs"), "# A\n"));
        assert_eq!(split_front_matter("# A\n---\ncollection: x\n---\n"), (None, "# A\n---\ncollection: x\n---\n"));
    }
}
