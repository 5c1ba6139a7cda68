//! Tests with Word documents built by the test.

use super::*;
use std::{
    io::{Cursor, Write},
    time::{Duration, Instant},
};
use zip::{ZipWriter, write::SimpleFileOptions};

const NAMESPACES: &str = "xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\" \
     xmlns:v=\"urn:schemas-microsoft-com:vml\" \
     xmlns:mc=\"http://schemas.openxmlformats.org/markup-compatibility/2006\" \
     xmlns:m=\"http://schemas.openxmlformats.org/officeDocument/2006/math\" \
     xmlns:a=\"http://schemas.openxmlformats.org/drawingml/2006/main\" \
     xmlns:dgm=\"http://schemas.openxmlformats.org/drawingml/2006/diagram\" \
     xmlns:c=\"http://schemas.openxmlformats.org/drawingml/2006/chart\" \
     xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"";
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

fn limits(max_text_bytes: usize) -> Limits {
    Limits { max_text_bytes, deadline: Instant::now() + Duration::from_secs(60) }
}

fn package(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, part) in parts {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(part).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

fn relationships(targets: &[(&str, &str, &str)]) -> String {
    let all: String = targets
        .iter()
        .map(|(id, kind, target)| format!("<Relationship Id=\"{id}\" Type=\"{OFFICE}/{kind}\" Target=\"{target}\"/>"))
        .collect();
    format!(
        "<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">{all}</Relationships>"
    )
}

fn part(element: &str, content: &str) -> String {
    format!("<?xml version=\"1.0\"?><w:{element} {NAMESPACES}>{content}</w:{element}>")
}

/// Builds a document with a body and related parts (id, kind, content).
fn document(body: &str, parts: &[(&str, &str, String)]) -> Vec<u8> {
    let main = part("document", &format!("<w:body>{body}</w:body>"));
    let root = relationships(&[("r1", "officeDocument", "word/document.xml")]);
    let names: Vec<_> = parts.iter().map(|(id, ..)| format!("{id}.xml")).collect();
    let targets: Vec<_> = parts.iter().zip(&names).map(|((id, kind, _), name)| (*id, *kind, name.as_str())).collect();
    let related = relationships(&targets);
    let mut all: Vec<(String, &[u8])> = vec![
        ("[Content_Types].xml".to_owned(), b"<Types/>"),
        ("_rels/.rels".to_owned(), root.as_bytes()),
        ("word/_rels/document.xml.rels".to_owned(), related.as_bytes()),
        ("word/document.xml".to_owned(), main.as_bytes()),
    ];
    all.extend(parts.iter().zip(&names).map(|((.., content), name)| (format!("word/{name}"), content.as_bytes())));
    package(&all.iter().map(|(name, part)| (name.as_str(), *part)).collect::<Vec<_>>())
}

fn read(body: &str) -> String {
    markdown(&document(body, &[]), &limits(100_000)).unwrap()
}

fn run(text: &str) -> String {
    format!("<w:r><w:t xml:space=\"preserve\">{text}</w:t></w:r>")
}

fn paragraph(content: &str) -> String {
    format!("<w:p>{content}</w:p>")
}

fn styled(style: &str, text: &str) -> String {
    paragraph(&format!("<w:pPr><w:pStyle w:val=\"{style}\"/></w:pPr>{}", run(text)))
}

fn cell(content: &str) -> String {
    format!("<w:tc><w:tcPr/>{content}</w:tc>")
}

fn table(rows: &[&[&str]]) -> String {
    let row = |cells: &&[&str]| {
        let cells: String = cells.iter().map(|text| cell(&paragraph(&run(text)))).collect();
        format!("<w:tr>{cells}</w:tr>")
    };
    format!("<w:tbl><w:tblPr/>{}</w:tbl>", rows.iter().map(row).collect::<String>())
}

/// Builds a document with headings (one with a localized style id), a list and a table.
pub fn docx() -> Vec<u8> {
    let item = |text| {
        paragraph(&format!(
            "<w:pPr><w:numPr><w:ilvl w:val=\"0\"/><w:numId w:val=\"1\"/></w:numPr></w:pPr>{}",
            run(text)
        ))
    };
    let body = [
        styled("Heading1", "Roof box"),
        paragraph(&run("The roof carries 75 kg.")),
        styled("berschrift2", "Fitting"),
        item("Fit the bars."),
        item("Lift the box."),
        table(&[&["Part", "Torque"], &["Bar clamp", "6 Nm"]]),
    ];
    let styles = "<w:style w:type=\"paragraph\" w:styleId=\"berschrift2\"><w:name w:val=\"heading 2\"/></w:style>";
    document(&body.concat(), &[("s", "styles", part("styles", styles))])
}

#[test]
fn headings_lists_and_tables_become_markdown() {
    assert_eq!(
        markdown(&docx(), &limits(100_000)).unwrap(),
        "# Roof box\n\nThe roof carries 75 kg.\n\n## Fitting\n\n- Fit the bars.\n- Lift the box.\n\n\
         | Part | Torque |\n| --- | --- |\n| Bar clamp | 6 Nm |"
    );
}

#[test]
fn visible_text_is_extracted_once() {
    const AUTHOR: &str = "w:id=\"1\" w:author=\"a\" w:date=\"2026-01-01T00:00:00Z\"";
    let x = run("X");
    let text_box = format!("<w:txbxContent>{}</w:txbxContent>", paragraph(&x));
    let field = |instruction: &str, result: &str| {
        format!(
            "<w:r><w:fldChar w:fldCharType=\"begin\"/></w:r>{instruction}<w:r><w:fldChar w:fldCharType=\"separate\"/></w:r>\
             {result}<w:r><w:fldChar w:fldCharType=\"end\"/></w:r>"
        )
    };
    let code = "<w:r><w:instrText> IF 1 = 1 </w:instrText></w:r>";
    for (what, content, expected) in [
        ("tracked insertion", format!("{}<w:ins {AUTHOR}>{x}</w:ins>", run("a ")), "a X"),
        ("tracked deletion", format!("{x}<w:del {AUTHOR}><w:r><w:delText>gone</w:delText></w:r></w:del>"), "X"),
        ("moved text", format!("<w:moveFrom {AUTHOR}>{x}</w:moveFrom><w:moveTo {AUTHOR}>{x}</w:moveTo>"), "X"),
        ("insertion within an insertion", format!("<w:ins {AUTHOR}><w:moveTo {AUTHOR}>{x}</w:moveTo></w:ins>"), "X"),
        ("link", format!("<w:hyperlink w:anchor=\"a\">{}{x}</w:hyperlink>", run("See ")), "See X"),
        ("simple field", format!("<w:fldSimple w:instr=\" REF a \">{x}</w:fldSimple>"), "X"),
        ("complex field", field(code, &x), "X"),
        ("field in an instruction", field(&format!("{code}{}", field(code, &run("no"))), &x), "X"),
        ("field in a result", field(code, &field(code, &x)), "X"),
        ("field that never ends", format!("<w:r><w:fldChar w:fldCharType=\"begin\"/></w:r>{code}{x}"), "X"),
        ("smart tag", format!("<w:smartTag w:uri=\"u\" w:element=\"e\">{x}</w:smartTag>"), "X"),
        ("custom XML", format!("<w:customXml w:element=\"e\">{x}</w:customXml>"), "X"),
        ("content control", format!("<w:sdt><w:sdtPr/><w:sdtContent>{x}</w:sdtContent></w:sdt>"), "X"),
        ("text direction", format!("<w:bdo w:val=\"rtl\"><w:dir w:val=\"ltr\">{x}</w:dir></w:bdo>"), "X"),
        ("text box", format!("{}<w:r><w:pict><v:shape><v:textbox>{text_box}</v:textbox></v:shape></w:pict></w:r>", run("a")), "a\n\nX"),
        (
            "text box for new and old programs",
            format!(
                "{}<w:r><mc:AlternateContent><mc:Choice Requires=\"wps\"><w:drawing>{text_box}</w:drawing></mc:Choice>\
                 <mc:Fallback><w:pict>{text_box}</w:pict></mc:Fallback></mc:AlternateContent></w:r>",
                run("a")
            ),
            "a\n\nX",
        ),
        (
            "text box for old programs only",
            format!(
                "<w:r><mc:AlternateContent><mc:Choice Requires=\"x\"><w:drawing/></mc:Choice>\
                 <mc:Fallback><w:pict>{text_box}</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
            ),
            "X",
        ),
        ("text as a drawing", "<w:r><w:pict><v:shape><v:textpath string=\"DRAFT\"/></v:shape></w:pict></w:r>".to_owned(), "DRAFT"),
        ("ruby", format!("<w:r><w:ruby><w:rubyPr/><w:rt>{}</w:rt><w:rubyBase>{x}</w:rubyBase></w:ruby></w:r>", run("k")), "X"),
        ("symbol", format!("{}<w:r><w:sym w:font=\"Symbol\" w:char=\"F0B0\"/><w:t>C</w:t></w:r>", run("5 ")), "5 °C"),
        ("tab", "<w:pPr><w:tabs><w:tab w:val=\"left\"/></w:tabs></w:pPr><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t></w:r>".to_owned(), "a b"),
        ("line break", "<w:r><w:t>a</w:t><w:br/><w:t>b</w:t><w:cr/><w:t>c</w:t></w:r>".to_owned(), "a\nb\nc"),
        ("hyphens", "<w:r><w:t>a</w:t><w:noBreakHyphen/><w:t>b</w:t><w:softHyphen/><w:t>c</w:t></w:r>".to_owned(), "a-bc"),
        ("formula", "<m:oMath><m:f><m:num><m:r><m:t>F</m:t></m:r></m:num><m:den><m:r><m:t>A</m:t></m:r></m:den></m:f></m:oMath>".to_owned(), "F/A"),
        ("references", run("A &amp; B &lt; &#176;C"), "A & B < °C"),
        ("hidden text", format!("<w:r><w:rPr><w:vanish/></w:rPr><w:t>no</w:t></w:r>{x}"), "X"),
        ("text that is not hidden", "<w:r><w:rPr><w:vanish w:val=\"0\"/></w:rPr><w:t>X</w:t></w:r>".to_owned(), "X"),
        ("mark of a hidden paragraph", format!("<w:pPr><w:rPr><w:vanish/></w:rPr></w:pPr>{x}"), "X"),
        ("former style", format!("<w:pPr><w:pPrChange {AUTHOR}><w:pPr><w:pStyle w:val=\"Heading1\"/></w:pPr></w:pPrChange></w:pPr>{x}"), "X"),
        ("outline level", format!("<w:pPr><w:outlineLvl w:val=\"1\"/></w:pPr>{x}"), "## X"),
        ("what looks like Markdown", run("# X"), "\\# X"),
    ] {
        assert_eq!(read(&paragraph(&content)), expected, "{what}");
    }
}

#[test]
fn text_outside_of_paragraphs_and_inside_block_controls_is_extracted() {
    for (what, body, expected) in [
        (
            "content control around a paragraph",
            format!("<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>", paragraph(&run("X"))),
            "X",
        ),
        ("run in the body", run("X"), "X"),
        ("custom XML around a paragraph", format!("<w:customXml>{}</w:customXml>", paragraph(&run("X"))), "X"),
    ] {
        assert_eq!(read(&body), expected, "{what}");
    }
}

#[test]
fn nested_tables_keep_all_cells() {
    let inner = table(&[&["a", "b"], &["c", "d"]]);
    let outer = format!(
        "<w:tbl><w:tr>{}{}</w:tr></w:tbl>",
        cell(&format!("{}{inner}{}", paragraph(&run("outer")), paragraph(""))),
        cell(&paragraph(&run("last")))
    );
    assert_eq!(read(&outer), "| outer a b c d | last |\n| --- | --- |");
    let controls = format!(
        "<w:tbl><w:sdt><w:sdtContent><w:tr><w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>{}</w:tr></w:sdtContent></w:sdt></w:tbl>",
        cell(&paragraph(&run("a"))),
        cell(&format!("<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>", paragraph(&run("b|c"))))
    );
    assert_eq!(read(&controls), "| a | b\\|c |\n| --- | --- |");
    let deleted = "<w:tr><w:trPr><w:del w:id=\"1\"/></w:trPr><w:tc><w:p><w:r><w:t>gone</w:t></w:r></w:p></w:tc></w:tr>";
    let tracked = table(&[&["a"], &["b"]]).replacen("</w:tr>", &format!("</w:tr>{deleted}"), 1);
    assert_eq!(read(&tracked), "| a |\n| --- |\n| b |");
    let merged = cell(&paragraph(&run("gone"))).replace("<w:tcPr/>", "<w:tcPr><w:cellDel w:id=\"1\"/></w:tcPr>");
    assert_eq!(
        read(&format!("<w:tbl><w:tr>{merged}{}</w:tr></w:tbl>", cell(&paragraph(&run("a"))))),
        "|  | a |\n| --- | --- |"
    );
}

#[test]
fn notes_headers_and_drawings_are_extracted_from_their_parts() {
    let note = |element: &str, id: &str, text: &str| {
        format!("<w:{element} w:id=\"{id}\">{}</w:{element}>", paragraph(&run(text)))
    };
    let line = "<w:footnote w:type=\"separator\" w:id=\"-1\"><w:p><w:r><w:t>line</w:t></w:r></w:p></w:footnote>";
    let body = format!(
        "{}{}{}",
        paragraph(&format!("{}<w:r><w:footnoteReference w:id=\"2\"/></w:r>{}", run("Tighten to 6 Nm"), run("."))),
        paragraph(&format!("{}<w:r><w:endnoteReference w:id=\"2\"/></w:r>", run("Check"))),
        paragraph(
            "<w:r><w:drawing><dgm:relIds r:dm=\"dm\"/></w:drawing><w:drawing><c:chart r:id=\"chart\"/></w:drawing></w:r>"
        ),
    );
    let paragraphs = |texts: &[&str]| texts.iter().map(|text| paragraph(&run(text))).collect::<String>();
    let parts = [
        ("f", "footnotes", part("footnotes", &format!("{line}{}", note("footnote", "2", "Only when cold.")))),
        ("e", "endnotes", part("endnotes", &note("endnote", "2", "Every year."))),
        ("h1", "header", part("hdr", &paragraphs(&["Workshop manual"]))),
        ("h2", "header", part("hdr", &paragraphs(&["Workshop manual"]))),
        ("h3", "header", part("hdr", &paragraphs(&["First page"]))),
        ("ft", "footer", part("ftr", &paragraphs(&["Confidential"]))),
        ("c", "comments", part("comments", &format!("<w:comment>{}</w:comment>", paragraphs(&["Is this so?"])))),
        (
            "dm",
            "diagramData",
            format!(
                "<dgm:dataModel {NAMESPACES}><a:p><a:r><a:t>Step</a:t></a:r><a:r><a:t> one</a:t></a:r></a:p></dgm:dataModel>"
            ),
        ),
        (
            "chart",
            "chart",
            format!(
                "<c:chartSpace {NAMESPACES}><a:p><a:r><a:t>Sales</a:t></a:r></a:p><c:strCache><c:pt><c:v>North</c:v></c:pt></c:strCache><c:numCache><c:pt><c:v>17</c:v></c:pt></c:numCache></c:chartSpace>"
            ),
        ),
    ];
    assert_eq!(
        markdown(&document(&body, &parts), &limits(100_000)).unwrap(),
        "Workshop manual\n\nFirst page\n\nTighten to 6 Nm[^1].\n\n[^1]: Only when cold.\n\nCheck[^2]\n\n[^2]: Every year.\n\n\
         Step one\n\nSales\nNorth\n\nConfidential"
    );
}

#[test]
fn styles_can_hide_text_and_create_list_items() {
    let styles = "<w:style w:styleId=\"Note\"><w:rPr><w:vanish/></w:rPr></w:style>\
                  <w:style w:styleId=\"ListBullet\"><w:pPr><w:numPr><w:numId w:val=\"4\"/></w:numPr></w:pPr></w:style>";
    let body = [
        styled("Note", "hidden"),
        styled("ListBullet", "item"),
        paragraph(&format!("<w:r><w:rPr><w:rStyle w:val=\"Note\"/></w:rPr><w:t>hidden</w:t></w:r>{}", run("shown"))),
    ];
    let file = document(&body.concat(), &[("s", "styles", part("styles", styles))]);
    assert_eq!(markdown(&file, &limits(100_000)).unwrap(), "- item\n\nshown");
}

#[test]
fn the_main_part_is_found_in_every_layout() {
    let main = part("document", &format!("<w:body>{}</w:body>", paragraph(&run("X"))));
    let utf_16: Vec<u8> = main.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let strict = main.replace(
        "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
        "http://purl.oclc.org/ooxml/wordprocessingml/main",
    );
    let renamed = main.replace("w:", "ns0:").replace("xmlns:ns0", "xmlns:w").replace("xmlns:w=", "xmlns:ns0=");
    let absolute = relationships(&[("r1", "officeDocument", "/word/document2.xml")]);
    let strict_rels = absolute.replace(OFFICE, "http://purl.oclc.org/ooxml/officeDocument/relationships");
    let types = "<Types><Override PartName=\"/word/document2.xml\" ContentType=\"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml\"/></Types>";
    for (what, parts) in [
        ("another name", vec![("_rels/.rels", absolute.as_bytes()), ("word/document2.xml", main.as_bytes())]),
        ("strict", vec![("_rels/.rels", strict_rels.as_bytes()), ("word/document2.xml", strict.as_bytes())]),
        ("UTF-16", vec![("_rels/.rels", absolute.as_bytes()), ("word/document2.xml", &utf_16)]),
        ("another prefix", vec![("_rels/.rels", absolute.as_bytes()), ("word/document2.xml", renamed.as_bytes())]),
        ("by content type", vec![("[Content_Types].xml", types.as_bytes()), ("word/document2.xml", main.as_bytes())]),
        ("by its usual name", vec![("word/document.xml", main.as_bytes())]),
        (
            "separators of Windows",
            vec![("_rels\\.rels", absolute.as_bytes()), ("word\\Document2.xml", main.as_bytes())],
        ),
    ] {
        let file = package(&parts);
        assert!(is_word_document(&file), "{what}");
        assert_eq!(markdown(&file, &limits(100_000)).unwrap(), "X", "{what}");
    }
    let workbook = package(&[
        ("_rels/.rels", absolute.replace("word/document2", "xl/workbook").as_bytes()),
        ("xl/workbook.xml", b"<workbook/>"),
    ]);
    assert!(!is_word_document(&workbook));
}

#[test]
fn an_archive_with_data_descriptors_is_read() {
    let main = part("document", &format!("<w:body>{}</w:body>", paragraph(&run("X"))));
    let mut archive = ZipWriter::new_stream(Vec::new());
    for (name, part) in [("[Content_Types].xml", "<Types/>"), ("word/document.xml", &main)] {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(part.as_bytes()).unwrap();
    }
    let file = archive.finish().unwrap().into_inner();
    assert!(file.windows(4).any(|window| window == b"PK\x07\x08"), "no data descriptor");
    assert_eq!(markdown(&file, &limits(100_000)).unwrap(), "X");
}

#[test]
fn a_zip_bomb_is_rejected() {
    let bomb = package(&[("word/document.xml", &vec![b' '; 4 * 1024 * 1024])]);
    assert!(bomb.len() < 20_000);
    assert!(matches!(markdown(&bomb, &limits(1_000)), Err(ExtractError::TooLarge { .. })));
    // The local header and the central directory declare the size, as 32 bits.
    let declared = (4_u32 * 1024 * 1024).to_le_bytes();
    let offsets: Vec<_> = bomb.windows(4).enumerate().filter(|(_, w)| *w == declared).map(|(at, _)| at).collect();
    assert!(!offsets.is_empty());
    let mut wrong_size = bomb;
    for at in offsets {
        wrong_size[at..at + 4].copy_from_slice(&100_u32.to_le_bytes());
    }
    assert!(markdown(&wrong_size, &limits(1_000)).is_err());
}

#[test]
fn pictures_do_not_count_towards_the_size_limit() {
    let main = part("document", &format!("<w:body>{}</w:body>", paragraph(&run("X"))));
    let file = package(&[("word/document.xml", main.as_bytes()), ("word/media/image1.bmp", &vec![0; 4 * 1024 * 1024])]);
    assert_eq!(markdown(&file, &limits(1_000)).unwrap(), "X");
}

#[test]
fn text_over_the_limit_and_deep_nesting_are_rejected() {
    let body = paragraph(&run(&"x".repeat(2_000)));
    assert_eq!(markdown(&document(&body, &[]), &limits(1_000)), Err(ExtractError::TooLarge { limit_bytes: 1_000 }));
    let tower = package(&[("word/document.xml", "<w:sdt><w:sdtContent>".repeat(100_000).as_bytes())]);
    let refused = markdown(&tower, &limits(10_000_000)).unwrap_err();
    assert_eq!(refused, ExtractError::Unreadable("its XML is nested too deeply".to_owned()));
}

#[test]
fn a_damaged_package_is_rejected() {
    let mut file = docx();
    file.truncate(file.len() / 2);
    assert!(matches!(markdown(&file, &limits(100_000)), Err(ExtractError::Unreadable(_))));
}
