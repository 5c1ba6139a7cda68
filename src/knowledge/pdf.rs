//! The text of a PDF, within bounds.
//!
//! The parser trusts its input: a loop of form objects would overflow the stack, and a stream may unpack to a thousand
//! times its size. Both are looked for before it runs. What it panics at is caught where this is called.

use super::extract::{ExtractError, Limits};
use flate2::read::ZlibDecoder;
use pdf_extract::{ConvertToFmt, Dictionary, Document, Object, ObjectId, OutputError, PlainTextOutput, output_doc};
use std::{
    collections::HashSet,
    fmt,
    io::{self, Read},
};

/// How deep forms may stand in forms, and page nodes in page nodes; real documents stay below five.
const MAX_NESTING: usize = 16;
/// Between two looks at the clock while text comes out, in writes.
const CLOCK_INTERVAL: u32 = 1_024;

/// Reads the text of a PDF, page after page.
pub(super) fn text(bytes: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    measure(bytes, limits)?;
    let mut document = Document::load_mem(bytes).map_err(unreadable)?;
    if document.is_encrypted() {
        document.decrypt("").map_err(|_| ExtractError::Unreadable("it is protected by a password".to_owned()))?;
    }
    check_nesting(&document)?;
    let mut output = Bounded { text: String::new(), writes: 0, limits: *limits, refused: None };
    let outcome = output_doc(&document, &mut PlainTextOutput::new(&mut output));
    if let Some(refused) = output.refused {
        return Err(refused);
    }
    outcome.map_err(|error| match error {
        OutputError::PdfError(error) => unreadable(error),
        other => unreadable(other),
    })?;
    Ok(tidy(&output.text))
}

fn unreadable(error: impl fmt::Display) -> ExtractError {
    ExtractError::Unreadable(error.to_string())
}

/// Unpacks every compressed stream into nothing, to know what it would take.
fn measure(bytes: &[u8], limits: &Limits) -> Result<(), ExtractError> {
    const STREAM: &[u8] = b"stream";
    let limit_bytes = limits.max_unpacked_bytes();
    let mut left = limit_bytes;
    for at in bytes.windows(STREAM.len()).enumerate().filter(|(_, window)| *window == STREAM).map(|(at, _)| at) {
        if limits.is_over() {
            return Err(ExtractError::Timeout);
        }
        let data = &bytes[at + STREAM.len()..];
        let data = data.strip_prefix(b"\r").unwrap_or(data);
        let data = data.strip_prefix(b"\n").unwrap_or(data);
        // What is not zlib data ends at once; what is damaged counts up to the damage, as the parser takes it.
        let mut unpacked = Counted { bytes: 0 };
        let _ = io::copy(&mut ZlibDecoder::new(data).take(left + 1), &mut unpacked);
        left = left.checked_sub(unpacked.bytes).ok_or(ExtractError::TooLarge { limit_bytes })?;
    }
    Ok(())
}

/// Counts what is written to it.
struct Counted {
    bytes: u64,
}

impl io::Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.bytes += buffer.len() as u64;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Refuses page trees and forms that contain themselves, or nest too deep for the parser's recursion.
fn check_nesting(document: &Document) -> Result<(), ExtractError> {
    let too_deep = || ExtractError::Unreadable("its objects contain themselves, or nest too deep".to_owned());
    let mut checked = HashSet::new();
    for page in document.get_pages().into_values() {
        let mut node = document.get_dictionary(page).map_err(unreadable)?;
        for depth in 0.. {
            if depth > MAX_NESTING {
                return Err(too_deep());
            }
            for form in forms(document, node) {
                if !nests_within(document, form, MAX_NESTING, &mut checked) {
                    return Err(too_deep());
                }
            }
            match node.get(b"Parent").and_then(Object::as_reference).and_then(|parent| document.get_dictionary(parent))
            {
                Ok(parent) => node = parent,
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// Whether a form, and what it draws, nests at most `levels` deep. `checked` holds those known to, from any depth that
/// was not the deepest; a loop never gets in, because it never ends well.
fn nests_within(document: &Document, form: ObjectId, levels: usize, checked: &mut HashSet<ObjectId>) -> bool {
    if checked.contains(&form) {
        return true;
    }
    let Ok(stream) = document.get_object(form).and_then(Object::as_stream) else { return true };
    if levels == 0 {
        return false;
    }
    if !stream.dict.has(b"Resources") {
        // It draws with the resources of whoever draws it, itself among them: sound only when it draws no form.
        let draws = stream.decode_content().map(|content| content.operations.iter().any(|op| op.operator == "Do"));
        return !draws.unwrap_or(false);
    }
    let sound = forms(document, &stream.dict).into_iter().all(|form| nests_within(document, form, levels - 1, checked));
    if sound {
        checked.insert(form);
    }
    sound
}

/// The objects that a page or a form can draw.
fn forms(document: &Document, owner: &Dictionary) -> Vec<ObjectId> {
    let dictionary = |owner: &Dictionary, key: &[u8]| {
        owner.get(key).and_then(|object| document.dereference(object)).and_then(|(_, object)| object.as_dict()).cloned()
    };
    dictionary(owner, b"Resources")
        .and_then(|resources| dictionary(&resources, b"XObject"))
        .map(|objects| objects.iter().filter_map(|(_, object)| object.as_reference().ok()).collect())
        .unwrap_or_default()
}

/// Where the parser writes to: it stops at the limit of text or of time.
struct Bounded {
    text: String,
    writes: u32,
    limits: Limits,
    refused: Option<ExtractError>,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.writes = self.writes.wrapping_add(1);
        if self.text.len() + text.len() > self.limits.max_text_bytes {
            self.refused = Some(ExtractError::TooLarge { limit_bytes: self.limits.max_text_bytes as u64 });
        } else if self.writes.is_multiple_of(CLOCK_INTERVAL) && self.limits.is_over() {
            self.refused = Some(ExtractError::Timeout);
        }
        if self.refused.is_some() {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

impl<'a> ConvertToFmt for &'a mut Bounded {
    type Writer = &'a mut Bounded;

    fn convert(self) -> Self::Writer {
        self
    }
}

/// Lines of a paragraph become one, so that sentences are whole; empty lines between paragraphs stay.
fn tidy(text: &str) -> String {
    let mut paragraphs: Vec<String> = vec![String::new()];
    for line in text.lines().map(str::trim) {
        match paragraphs.last_mut() {
            Some(paragraph) if !line.is_empty() => {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(line);
            }
            Some(paragraph) if !paragraph.is_empty() => paragraphs.push(String::new()),
            _ => {}
        }
    }
    paragraphs.join("\n\n").trim_end().to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::{
        io::Write,
        time::{Duration, Instant},
    };

    fn limits(max_text_bytes: usize) -> Limits {
        Limits { max_text_bytes, deadline: Instant::now() + Duration::from_secs(10) }
    }

    /// A PDF of one page whose content stream is `content`, with its cross-reference table.
    pub fn pdf(content: &[u8], filter: &str, resources: &str, extra: &str) -> Vec<u8> {
        let mut file = b"%PDF-1.4\n".to_vec();
        let mut offsets = Vec::new();
        let mut object = |file: &mut Vec<u8>, body: &[u8]| {
            offsets.push(file.len());
            writeln!(file, "{} 0 obj", offsets.len()).unwrap();
            file.extend_from_slice(body);
            file.extend_from_slice(b"\nendobj\n");
        };
        object(&mut file, b"<< /Type /Catalog /Pages 2 0 R >>");
        object(&mut file, b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
        let page = format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R \
             /Resources << /Font << /F1 4 0 R >> {resources} >> >>"
        );
        object(&mut file, page.as_bytes());
        object(&mut file, b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>");
        let mut stream = format!("<< /Length {} {filter} >>\nstream\n", content.len()).into_bytes();
        stream.extend_from_slice(content);
        stream.extend_from_slice(b"\nendstream");
        object(&mut file, &stream);
        if !extra.is_empty() {
            object(&mut file, extra.as_bytes());
        }
        let start = file.len();
        writeln!(file, "xref\n0 {}\n0000000000 65535 f ", offsets.len() + 1).unwrap();
        for offset in &offsets {
            writeln!(file, "{offset:010} 00000 n ").unwrap();
        }
        writeln!(file, "trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF", offsets.len() + 1).unwrap();
        file
    }

    pub fn pdf_of_lines(lines: &[&str]) -> Vec<u8> {
        let mut content = "BT /F1 12 Tf 72 720 Td ".to_owned();
        for line in lines {
            content.push_str(&format!("({line}) Tj 0 -14 Td "));
        }
        content.push_str("ET");
        pdf(content.as_bytes(), "", "", "")
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_words_of_a_pdf_come_out() {
        let file = pdf_of_lines(&["The towing capacity is 1,600 kg.", "Fit the towing eye first."]);
        let text = text(&file, &limits(10_000)).unwrap();
        assert!(text.contains("The towing capacity is 1,600 kg."), "{text:?}");
        assert!(text.contains("Fit the towing eye first."), "{text:?}");
    }

    #[test]
    fn a_compressed_pdf_is_read() {
        let file = pdf(&deflated(b"BT /F1 12 Tf 72 720 Td (Packed words) Tj ET"), "/Filter /FlateDecode", "", "");
        assert_eq!(text(&file, &limits(10_000)).unwrap(), "Packed words");
    }

    #[test]
    fn a_stream_that_unpacks_to_too_much_is_refused_before_it_is_parsed() {
        let file = pdf(&deflated(&vec![b' '; 4 * 1024 * 1024]), "/Filter /FlateDecode", "", "");
        assert!(file.len() < 20_000);
        assert!(matches!(text(&file, &limits(100_000)), Err(ExtractError::TooLarge { .. })));
    }

    #[test]
    fn text_over_the_limit_stops_the_parser() {
        let file = pdf_of_lines(&["0123456789"; 40]);
        assert_eq!(text(&file, &limits(100)), Err(ExtractError::TooLarge { limit_bytes: 100 }));
    }

    #[test]
    fn a_form_that_draws_itself_is_refused() {
        for resources in ["/Resources << /XObject << /X 6 0 R >> >>", ""] {
            let form = format!(
                "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] {resources} /Length 5 >>\nstream\n/X Do\nendstream"
            );
            let file = pdf(b"/X Do", "", "/XObject << /X 6 0 R >>", &form);
            assert!(matches!(text(&file, &limits(10_000)), Err(ExtractError::Unreadable(_))), "{resources}");
        }
    }

    #[test]
    fn lines_of_a_paragraph_are_joined() {
        assert_eq!(tidy("\n\nOne\n two \n\n\nThree\n"), "One two\n\nThree");
    }
}
