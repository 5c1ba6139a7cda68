//! Tests with PDFs that have common kinds of damage.

use super::super::{
    super::extract_limits::Limits,
    tests::{deflated, pdf, pdf_of_lines},
    text,
};
use std::time::{Duration, Instant};

const SENTENCE: &str = "The bridge carries forty tonnes.";

fn read(file: &[u8]) -> String {
    let limits = Limits { max_text_bytes: 100_000, deadline: Instant::now() + Duration::from_secs(60) };
    text(file, &limits).unwrap()
}

fn intact() -> Vec<u8> {
    pdf_of_lines(&[SENTENCE])
}

/// Returns the offset of the last occurrence of a text in a file.
fn last(file: &[u8], text: &str) -> usize {
    file.windows(text.len()).rposition(|window| window == text.as_bytes()).unwrap()
}

fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = last(file, from);
    [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
}

#[test]
fn a_misplaced_or_wrong_table_is_rebuilt() {
    let file = intact();
    let table = last(&file, "xref\n0");
    for start in [0, 9, table - 1, table + 4, 9_999_999] {
        let moved = replaced(&file, &format!("startxref\n{table}"), &format!("startxref\n{start}"));
        assert_eq!(read(&moved), SENTENCE, "startxref {start}");
    }
    // Changed line endings, leading data, trailing white space.
    let lines = String::from_utf8(file.clone()).unwrap().replace('\n', "\r\n");
    assert_eq!(read(lines.as_bytes()), SENTENCE);
    assert_eq!(read(&[b"HTTP/1.1 200 OK\r\n\r\n", &*file].concat()), SENTENCE);
    assert_eq!(read(&[&*file, &[b'\n'; 2_000]].concat()), SENTENCE);
    let wrong_entry = replaced(&file, "0000000009 00000 n", "0000000011 00000 n");
    assert_eq!(read(&wrong_entry), SENTENCE);
}

#[test]
fn a_truncated_file_is_read_up_to_its_end() {
    let file = intact();
    for end in ["startxref", "trailer", "xref\n0", "endobj", "endstream", " ET"] {
        assert_eq!(read(&file[..last(&file, end)]), SENTENCE, "cut at {end}");
    }
}

#[test]
fn a_stream_with_a_wrong_length_is_read_to_its_end() {
    let content = format!("BT /F1 12 Tf 72 720 Td ({SENTENCE}) Tj ET");
    let file = pdf(content.as_bytes(), "", "", "");
    for length in [0, 5, 999, 999_999] {
        let wrong = replaced(&file, &format!("/Length {}", content.len()), &format!("/Length {length}"));
        assert_eq!(read(&wrong), SENTENCE, "{length}");
    }
}

#[test]
fn the_last_version_of_an_object_wins() {
    let file = intact();
    let update = "5 0 obj\n<< /Length 40 >>\nstream\nBT /F1 12 Tf 72 720 Td (Changed.) Tj ET   \nendstream\nendobj\n";
    assert_eq!(read(&[&file[..last(&file, "xref\n0")], update.as_bytes()].concat()), "Changed.");
}

#[test]
fn objects_in_compressed_streams_are_found() {
    // Since PDF 1.5, the catalog, the pages and the table may be in compressed streams.
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ];
    let (mut index, mut body) = (String::new(), String::new());
    for (number, object) in (1..).zip(objects) {
        index.push_str(&format!("{number} {} ", body.len()));
        body.push_str(object);
        body.push(' ');
    }
    let packed = deflated(format!("{index}{body}").as_bytes());
    let content = format!("BT /F1 12 Tf 72 720 Td ({SENTENCE}) Tj ET");
    let mut file =
        format!("%PDF-1.5\n5 0 obj\n<< /Length {} >>\nstream\n{content}\nendstream\nendobj\n", content.len())
            .into_bytes();
    let head = format!(
        "6 0 obj\n<< /Type /ObjStm /N 4 /First {} /Filter /FlateDecode /Length {} >>\nstream\n",
        index.len(),
        packed.len()
    );
    file.extend_from_slice(head.as_bytes());
    file.extend_from_slice(&packed);
    file.extend_from_slice(b"\nendstream\nendobj\n");
    assert_eq!(read(&file), SENTENCE);
    file.extend_from_slice(b"startxref\n12345\n%%EOF");
    assert_eq!(read(&file), SENTENCE);
}

#[test]
fn pages_without_a_tree_are_read() {
    let file =
        String::from_utf8(intact()).unwrap().replace("/Type /Catalog", "/Type /Damaged").replace("/Kids", "/Kinds");
    assert_eq!(read(file.as_bytes()), SENTENCE);
}
