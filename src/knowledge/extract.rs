//! Text extraction: detects the media type of a file and extracts its text, with headings if the format has them.
//!
//! Runs in a child process ([`super::worker`]) whose memory and time are limited from outside. The checks here report the
//! common causes with an error that names the limit.

use super::{docx, extract_error::ExtractError, extract_limits::Limits, pdf};
use serde::{Deserialize, Serialize};

/// Length of the prefix of a file that may contain the PDF header, in bytes; the common value among PDF readers.
const MAX_PDF_HEADER_OFFSET: usize = 1_024;

/// Supported media types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaType {
    Markdown,
    Plain,
    Pdf,
    Docx,
}

impl MediaType {
    pub const ALL: [Self; 4] = [Self::Markdown, Self::Plain, Self::Pdf, Self::Docx];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown",
            Self::Plain => "text/plain",
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        }
    }

    /// Returns the media type according to the file name or the sender's `Content-Type`. The name takes precedence.
    pub fn claimed(name: &str, content_type: Option<&str>) -> Option<Self> {
        let name = name.to_lowercase();
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let by_name = match extension {
            Some("md" | "markdown") => Some(Self::Markdown),
            Some("pdf") => Some(Self::Pdf),
            Some("docx" | "docm" | "dotx" | "dotm") => Some(Self::Docx),
            _ => None,
        };
        let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
        by_name.or_else(|| Self::ALL.into_iter().find(|kind| content_type.eq_ignore_ascii_case(kind.as_str())))
    }
}

/// Extracted text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extracted {
    /// Markdown with headings, tables and lists.
    Markdown(String),
    /// Plain text without structure.
    Plain(String),
}

/// Detects the media type of a file by its contents. The claimed type only distinguishes Markdown from plain text, and a PDF
/// with leading data from a text that mentions the PDF header.
///
/// # Errors
/// `Unsupported` for other types.
pub fn media_type(bytes: &[u8], claimed: Option<MediaType>) -> Result<MediaType, ExtractError> {
    if is_pdf(bytes, claimed) {
        return Ok(MediaType::Pdf);
    }
    let detected = infer::get(bytes).filter(|kind| kind.matcher_type() != infer::MatcherType::Text);
    match detected.map(|kind| kind.mime_type()).filter(|mime| *mime != MediaType::Pdf.as_str()) {
        Some(mime) if mime == MediaType::Docx.as_str() => Ok(MediaType::Docx),
        // With an unusual order of parts, a DOCX package is detected as a plain ZIP archive.
        Some("application/zip") if claimed == Some(MediaType::Docx) || docx::is_word_document(bytes) => {
            Ok(MediaType::Docx)
        }
        Some(mime) => Err(ExtractError::Unsupported(mime.to_owned())),
        None if bytes.contains(&0) || std::str::from_utf8(bytes).is_err() => {
            Err(ExtractError::Unsupported("not text in UTF-8".to_owned()))
        }
        None if claimed == Some(MediaType::Markdown) => Ok(MediaType::Markdown),
        None => Ok(MediaType::Plain),
    }
}

/// Whether a file is a PDF, possibly with other data before its header.
fn is_pdf(bytes: &[u8], claimed: Option<MediaType>) -> bool {
    let start = &bytes[..bytes.len().min(MAX_PDF_HEADER_OFFSET)];
    let header = start.windows(5).position(|window| window == b"%PDF-");
    match header {
        None => false,
        Some(0) => true,
        Some(_) if claimed == Some(MediaType::Pdf) => true,
        Some(_) if claimed == Some(MediaType::Markdown) => false,
        Some(_) => {
            let is_text = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
            !is_text || bytes.windows(9).any(|window| window == b"startxref")
        }
    }
}

/// Extracts the text of a file.
///
/// # Errors
/// When the file is damaged or a limit is exceeded.
pub fn extract(bytes: &[u8], media_type: MediaType, limits: &Limits) -> Result<Extracted, ExtractError> {
    let text = match media_type {
        MediaType::Markdown => Extracted::Markdown(decode(bytes)?),
        MediaType::Plain => Extracted::Plain(decode(bytes)?),
        MediaType::Pdf => Extracted::Plain(pdf::text(bytes, limits)?),
        MediaType::Docx => Extracted::Markdown(docx::markdown(bytes, limits)?),
    };
    let (Extracted::Markdown(content) | Extracted::Plain(content)) = &text;
    if content.len() > limits.max_text_bytes {
        return Err(limits.too_much_text());
    }
    Ok(text)
}

/// Decodes UTF-8, strips the byte order mark and normalizes line endings.
fn decode(bytes: &[u8]) -> Result<String, ExtractError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ExtractError::Unreadable(error.to_string()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn limits(max_text_bytes: usize) -> Limits {
        Limits { max_text_bytes, deadline: Instant::now() + Duration::from_secs(5) }
    }

    fn kind(bytes: &[u8], name: &str, content_type: Option<&str>) -> Result<MediaType, ExtractError> {
        media_type(bytes, MediaType::claimed(name, content_type))
    }

    #[test]
    fn contents_take_precedence_over_the_name() {
        assert_eq!(kind(b"%PDF-1.4 ...", "notes.md", None), Ok(MediaType::Pdf));
        assert_eq!(kind(b"# Notes", "notes.MD", None), Ok(MediaType::Markdown));
        assert_eq!(kind(b"# Notes", "notes", Some("text/markdown; charset=utf-8")), Ok(MediaType::Markdown));
        assert_eq!(kind(b"<!-- a note --># Notes", "notes.md", None), Ok(MediaType::Markdown));
        assert_eq!(kind(b"words", "notes.pdf", Some("application/pdf")), Ok(MediaType::Plain));
    }

    #[test]
    fn a_pdf_may_have_other_data_before_its_header() {
        assert_eq!(kind(b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4\n", "a.pdf", None), Ok(MediaType::Pdf));
        assert_eq!(kind(b"\0\0\0%PDF-1.4\n", "a", None), Ok(MediaType::Pdf));
        assert_eq!(kind(b"A file begins with %PDF-1.4.", "a.md", None), Ok(MediaType::Markdown));
        assert_eq!(kind(b"A file begins with %PDF-1.4.", "a.txt", None), Ok(MediaType::Plain));
    }

    #[test]
    fn pictures_archives_and_binary_data_are_rejected() {
        for bytes in [&b"\x89PNG\r\n\x1a\n...."[..], b"PK\x03\x04....", b"a\0b", b"caf\xe9"] {
            assert!(matches!(kind(bytes, "notes.md", None), Err(ExtractError::Unsupported(_))));
        }
    }

    #[test]
    fn text_over_the_limit_is_rejected() {
        assert_eq!(extract(b"12345", MediaType::Plain, &limits(5)), Ok(Extracted::Plain("12345".to_owned())));
        assert_eq!(extract(b"123456", MediaType::Plain, &limits(5)), Err(ExtractError::TooLarge { limit_bytes: 5 }));
    }
}
