//! A Word document as Markdown: its headings, paragraphs, lists and tables.
//!
//! A DOCX is a ZIP archive of XML. The parser unpacks all of it into memory and recurses into it, so size and depth are
//! measured first, by unpacking: what the archive declares of itself may be a lie.

use super::extract::{ExtractError, Limits};
use docx_rust::{
    Docx, DocxFile,
    document::{BodyContent, Paragraph, ParagraphContent, Run, RunContent, Table, TableCellContent, TableRowContent},
};
use std::{
    fmt::{self, Write as _},
    io::{Cursor, Read},
};
use xmlparser::{ElementEnd, Token, Tokenizer};
use zip::ZipArchive;

/// The most parts of a package; each picture is one.
const MAX_PARTS: usize = 4_096;
/// How deep XML elements may stand in each other; Word itself stays below fifty.
const MAX_XML_DEPTH: usize = 256;

/// Reads a Word document.
pub(super) fn markdown(bytes: &[u8], limits: &Limits) -> Result<String, ExtractError> {
    measure(bytes, limits)?;
    let file = DocxFile::from_reader(Cursor::new(bytes)).map_err(unreadable)?;
    let docx = file.parse().map_err(unreadable)?;
    let mut markdown = String::new();
    write_blocks(&docx, &docx.document.body.content, &mut markdown);
    Ok(markdown.trim().to_owned())
}

fn unreadable(error: impl fmt::Debug) -> ExtractError {
    ExtractError::Unreadable(format!("{error:?}").chars().take(200).collect())
}

/// Checks what the parts say they unpack to, then what they do unpack to, and how deep their XML nests.
fn measure(bytes: &[u8], limits: &Limits) -> Result<(), ExtractError> {
    let limit_bytes = limits.max_unpacked_bytes();
    let too_large = || ExtractError::TooLarge { limit_bytes };
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    if archive.len() > MAX_PARTS {
        return Err(ExtractError::Unreadable(format!("it has over {MAX_PARTS} parts")));
    }
    if archive.decompressed_size().is_none_or(|declared| declared > u128::from(limit_bytes)) {
        return Err(too_large());
    }
    let mut left = limit_bytes;
    for part in 0..archive.len() {
        if limits.is_over() {
            return Err(ExtractError::Timeout);
        }
        let part = archive.by_index(part).map_err(unreadable)?;
        let mut content = Vec::new();
        part.take(left + 1).read_to_end(&mut content).map_err(unreadable)?;
        left = left.checked_sub(content.len() as u64).ok_or_else(too_large)?;
        // Whatever a part is called, the parser may take it for XML.
        if std::str::from_utf8(&content).is_ok_and(|xml| xml_depth(xml) > MAX_XML_DEPTH) {
            return Err(ExtractError::Unreadable("its XML nests too deep".to_owned()));
        }
    }
    Ok(())
}

/// How deep elements nest, up to the first error: there the parser, which reads the same tokens, stops too.
fn xml_depth(xml: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for token in Tokenizer::from(xml).map_while(Result::ok) {
        match token {
            Token::ElementStart { .. } => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            Token::ElementEnd { end: ElementEnd::Close(..) | ElementEnd::Empty, .. } => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn write_blocks(docx: &Docx, blocks: &[BodyContent], markdown: &mut String) {
    for block in blocks {
        match block {
            BodyContent::Paragraph(paragraph) => write_paragraph(docx, paragraph, markdown),
            BodyContent::Table(table) => write_table(table, markdown),
            BodyContent::Sdt(part) => {
                if let Some(content) = &part.content {
                    write_blocks(docx, &content.content, markdown);
                }
            }
            BodyContent::Run(run) => markdown.push_str(&run_text(run)),
            BodyContent::TableCell(_) | BodyContent::SectionProperty(_) => {}
        }
    }
}

fn write_paragraph(docx: &Docx, paragraph: &Paragraph, markdown: &mut String) {
    let text = paragraph_text(paragraph);
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let property = paragraph.property.as_ref();
    let style = property.and_then(|property| property.style_id.as_ref()).map(|style| style.value.as_ref());
    let numbering = property.and_then(|property| property.numbering.as_ref());
    if let Some(level) = style.and_then(|style| heading_level(docx, style)) {
        let _ = write!(markdown, "\n{} {}\n\n", "#".repeat(level), text.replace('\n', " "));
    } else if let Some(numbering) = numbering {
        let level = numbering.level.as_ref().map_or(0, |level| level.value).clamp(0, 8);
        let indent = "  ".repeat(usize::try_from(level).unwrap_or_default());
        let _ = writeln!(markdown, "{indent}- {}", text.replace('\n', " "));
    } else {
        // A list right before would take the paragraph in.
        let _ = write!(markdown, "\n{}\n\n", text);
    }
}

/// The level of a heading style. Its id is translated in a translated Word (`berschrift1`); its name is not.
fn heading_level(docx: &Docx, style_id: &str) -> Option<usize> {
    let named = docx.styles.styles.iter().find(|style| style.style_id == style_id);
    let name = named.and_then(|style| style.name.as_ref()).map_or(style_id, |name| name.value.as_ref());
    let name = name.to_lowercase();
    if name == "title" {
        return Some(1);
    }
    let level: usize = name.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=9).contains(&level).then_some(level.min(6))
}

fn write_table(table: &Table, markdown: &mut String) {
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            row.cells
                .iter()
                .filter_map(|cell| match cell {
                    TableRowContent::TableCell(cell) => Some(&cell.content),
                    TableRowContent::SDT(_) => None,
                })
                .map(|content| {
                    let paragraphs: Vec<_> = content
                        .iter()
                        .map(|TableCellContent::Paragraph(paragraph)| paragraph_text(paragraph))
                        .collect();
                    paragraphs.join(" ").replace('\n', " ").replace('|', "\\|").trim().to_owned()
                })
                .collect()
        })
        .collect();
    markdown.push('\n');
    for (index, row) in rows.iter().enumerate() {
        let _ = writeln!(markdown, "| {} |", row.join(" | "));
        if index == 0 {
            let _ = writeln!(markdown, "|{}", " --- |".repeat(row.len().max(1)));
        }
    }
    markdown.push('\n');
}

fn paragraph_text(paragraph: &Paragraph) -> String {
    paragraph
        .content
        .iter()
        .map(|content| match content {
            ParagraphContent::Run(run) => run_text(run),
            ParagraphContent::Link(link) => link.content.as_ref().map(run_text).unwrap_or_default(),
            ParagraphContent::SDT(part) => part.text(),
            _ => String::new(),
        })
        .collect()
}

/// What a reader sees of a run: no field codes, no deleted text.
fn run_text(run: &Run) -> String {
    run.content
        .iter()
        .map(|content| match content {
            RunContent::Text(text) => text.text.as_ref(),
            RunContent::Break(_) | RunContent::CarriageReturn(_) => "\n",
            RunContent::Tab(_) => " ",
            RunContent::NoBreakHyphen(_) => "-",
            _ => "",
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use docx_rust::{
        document::{TableCell, TableRow},
        formatting::{NumberingProperty, ParagraphProperty},
        styles::{Style, StyleType},
    };
    use std::{
        io::Write,
        time::{Duration, Instant},
    };
    use zip::{ZipWriter, write::SimpleFileOptions};

    fn limits(max_text_bytes: usize) -> Limits {
        Limits { max_text_bytes, deadline: Instant::now() + Duration::from_secs(10) }
    }

    fn styled(style: &'static str, text: &'static str) -> Paragraph<'static> {
        Paragraph::default().property(ParagraphProperty::default().style_id(style)).push_text(text)
    }

    /// A Word document with headings (one of a translated Word), a list and a table.
    pub fn docx() -> Vec<u8> {
        let mut docx = Docx::default();
        docx.styles.push(Style::new(StyleType::Paragraph, "berschrift2").name("heading 2"));
        docx.document.push(styled("Heading1", "Roof box"));
        docx.document.push(Paragraph::default().push_text("The roof carries 75 kg."));
        docx.document.push(styled("berschrift2", "Fitting"));
        for item in ["Fit the bars.", "Lift the box."] {
            docx.document.push(
                Paragraph::default()
                    .property(ParagraphProperty::default().numbering(NumberingProperty::from((1, 0))))
                    .push_text(item),
            );
        }
        let mut table = Table::default();
        for (name, value) in [("Part", "Torque"), ("Bar clamp", "6 Nm")] {
            let cell = |text| TableCell::paragraph(Paragraph::default().push_text(text));
            table = table.push_row(TableRow::default().push_cell(cell(name)).push_cell(cell(value)));
        }
        docx.document.push(table);
        docx.write(Cursor::new(Vec::new())).unwrap().into_inner()
    }

    /// A package whose only part of weight is `document`.
    fn package(document: &[u8]) -> Vec<u8> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, part) in [("[Content_Types].xml", &b"<Types/>"[..]), ("word/document.xml", document)] {
            archive.start_file(name, options).unwrap();
            archive.write_all(part).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn headings_lists_and_tables_become_markdown() {
        let markdown = markdown(&docx(), &limits(100_000)).unwrap();
        assert_eq!(
            markdown,
            "# Roof box\n\n\nThe roof carries 75 kg.\n\n\n## Fitting\n\n- Fit the bars.\n- Lift the box.\n\n\
             | Part | Torque |\n| --- | --- |\n| Bar clamp | 6 Nm |"
        );
    }

    #[test]
    fn a_package_that_declares_too_much_is_refused() {
        let bomb = package(&vec![b' '; 4 * 1024 * 1024]);
        assert!(bomb.len() < 20_000);
        assert!(matches!(markdown(&bomb, &limits(1_000)), Err(ExtractError::TooLarge { .. })));
    }

    #[test]
    fn a_package_that_lies_about_its_size_is_refused() {
        let mut bomb = package(&vec![b' '; 4 * 1024 * 1024]);
        // The size stands in the local header and in the central directory, as 32 bits.
        let declared = (4_u32 * 1024 * 1024).to_le_bytes();
        let places: Vec<_> = bomb.windows(4).enumerate().filter(|(_, w)| *w == declared).map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        for at in places {
            bomb[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
        }
        assert!(markdown(&bomb, &limits(1_000)).is_err());
    }

    #[test]
    fn xml_that_nests_without_end_is_refused() {
        let bomb = package("<w:sdt><w:sdtContent>".repeat(100_000).as_bytes());
        let refused = markdown(&bomb, &limits(10_000_000)).unwrap_err();
        assert_eq!(refused, ExtractError::Unreadable("its XML nests too deep".to_owned()));
    }

    #[test]
    fn depth_counts_open_elements_only() {
        assert_eq!(xml_depth("<?xml version='1.0'?><a><b x='>/'/><b/><c><!-- <d></c> --></c></a>"), 2);
        assert_eq!(xml_depth("<a>text<b></b><b></b></a>"), 2);
        assert_eq!(xml_depth("not XML"), 0);
    }

    #[test]
    fn a_damaged_package_is_refused() {
        let mut file = docx();
        file.truncate(file.len() / 2);
        assert!(matches!(markdown(&file, &limits(100_000)), Err(ExtractError::Unreadable(_))));
    }
}
