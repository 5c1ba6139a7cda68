//! Tests with PDFs built by the test.

use super::*;
use std::{
    io::Write,
    time::{Duration, Instant},
};

fn limits(max_text_bytes: usize) -> Limits {
    Limits { max_text_bytes, deadline: Instant::now() + Duration::from_secs(10) }
}

/// Builds a PDF of one page with the content stream `content`.
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

pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_text_of_a_pdf_is_extracted() {
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
fn text_over_the_limit_stops_the_parser() {
    let file = pdf_of_lines(&["0123456789"; 40]);
    assert_eq!(text(&file, &limits(100)), Err(ExtractError::TooLarge { limit_bytes: 100 }));
}

#[test]
fn a_form_that_draws_itself_is_rejected() {
    for resources in ["/Resources << /XObject << /X 6 0 R >> >>", ""] {
        let form = format!(
            "<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] {resources} /Length 5 >>\nstream\n/X Do\nendstream"
        );
        let file = pdf(b"/X Do", "", "/XObject << /X 6 0 R >>", &form);
        assert!(matches!(text(&file, &limits(10_000)), Err(ExtractError::Unreadable(_))), "{resources}");
    }
}

#[test]
fn a_page_without_a_size_is_read() {
    let file = pdf_of_lines(&["Sized by the reader."]);
    let file = String::from_utf8(file).unwrap().replace("/MediaBox [0 0 612 792]", &" ".repeat(23));
    assert_eq!(text(file.as_bytes(), &limits(10_000)).unwrap(), "Sized by the reader.");
}
