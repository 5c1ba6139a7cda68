//! Loading of PDFs, with repair of a wrong, missing or truncated cross-reference table.
//!
//! The table maps each object to its offset. It becomes wrong when a program changes line endings, prepends a header or
//! truncates the file. As other PDF readers do, this module then scans the file for objects, appends a new table and loads the
//! result.

use pdf_extract::{Dictionary, Document, Error, Object, ObjectId, dictionary, xref::XrefEntry};
use std::collections::BTreeMap;

/// Default page size: US Letter, in points.
const MEDIA_BOX: [i64; 4] = [0, 0, 612, 792];
/// Maximum depth of the page tree.
const MAX_TREE_DEPTH: usize = 64;
/// Maximum length of the `/ID` of a trailer, in bytes.
const MAX_ID_BYTES: usize = 512;

/// Loads a PDF and repairs it if necessary.
pub(super) fn load(bytes: &[u8]) -> Result<Document, Error> {
    let loaded = Document::load_mem(bytes);
    let mut document = match loaded {
        Ok(document) if document.is_encrypted() || is_complete(&document) => document,
        loaded => match rebuild(bytes) {
            Ok(rebuilt) if loaded.as_ref().map_or(1, page_count) <= page_count(&rebuilt) => rebuilt,
            _ => loaded?,
        },
    };
    add_page_sizes(&mut document);
    Ok(document)
}

fn page_count(document: &Document) -> usize {
    document.page_iter().count()
}

/// Whether there are pages and every object in the table was loaded completely.
fn is_complete(document: &Document) -> bool {
    let mut entries = document.reference_table.entries.iter();
    page_count(document) > 0
        && entries.all(|(number, entry)| match entry {
            XrefEntry::Normal { generation, .. } => is_object_complete(document, (*number, *generation)),
            _ => true,
        })
}

/// Whether an object was loaded completely. A dictionary with a length is a stream whose data could not be loaded.
fn is_object_complete(document: &Document, id: ObjectId) -> bool {
    match document.objects.get(&id) {
        Some(Object::Dictionary(dictionary)) => !dictionary.has(b"Length"),
        object => object.is_some(),
    }
}

/// Loads a PDF with a new table of the objects found by scanning.
fn rebuild(bytes: &[u8]) -> Result<Document, Error> {
    let header = bytes.windows(5).position(|window| window == b"%PDF-").unwrap_or_default();
    let bytes = &bytes[header..];
    let found = objects(bytes);
    let mut offsets: BTreeMap<u32, (u16, usize)> =
        found.iter().map(|object| (object.number, (object.generation, object.start))).collect();
    let mut file = bytes.to_vec();
    let mut document = Document::load_mem(&with_table(&file, &offsets))?;
    // Streams with a wrong length or a missing end.
    let damaged: Vec<_> = found
        .iter()
        .filter(|object| offsets.get(&object.number).is_some_and(|(_, start)| *start == object.start))
        .filter(|object| !is_object_complete(&document, (object.number, object.generation)))
        .filter_map(|object| Some((object, with_length(&bytes[object.start..object.end])?)))
        .collect();
    if !damaged.is_empty() {
        for (object, repaired) in damaged {
            file.push(b'\n');
            offsets.insert(object.number, (object.generation, file.len()));
            file.extend_from_slice(&repaired);
        }
        document = Document::load_mem(&with_table(&file, &offsets))?;
    }
    repair_catalog(&mut document);
    Ok(document)
}

/// Object found by scanning.
struct FoundObject {
    number: u32,
    generation: u16,
    start: usize,
    /// Start of the next object, or end of the file.
    end: usize,
}

/// Scans a file for objects, which start with `<number> <generation> obj`.
fn objects(bytes: &[u8]) -> Vec<FoundObject> {
    let mut found: Vec<FoundObject> = Vec::new();
    for at in positions(bytes, b"obj") {
        let Some((generation, rest)) = number_before(&bytes[..at]) else { continue };
        let Some((number, rest)) = number_before(rest) else { continue };
        let (Ok(number), Ok(generation)) = (u32::try_from(number), u16::try_from(generation)) else { continue };
        let start = rest.len();
        if let Some(last) = found.last_mut() {
            last.end = start;
        }
        found.push(FoundObject { number, generation, start, end: bytes.len() });
    }
    found
}

fn positions<'a>(bytes: &'a [u8], pattern: &'a [u8]) -> impl DoubleEndedIterator<Item = usize> + 'a {
    bytes.windows(pattern.len()).enumerate().filter(move |(_, window)| *window == pattern).map(|(at, _)| at)
}

/// Splits a number followed by white space off the end of `bytes`. Returns the number and the bytes before it.
fn number_before(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let text = bytes.trim_ascii_end();
    let digits = text.iter().rev().take(10).take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, number) = text.split_at(text.len() - digits);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    (text.len() < bytes.len()).then_some((number, rest))
}

/// Appends a cross-reference table of `offsets`, which replaces the file's own.
fn with_table(bytes: &[u8], offsets: &BTreeMap<u32, (u16, usize)>) -> Vec<u8> {
    let mut file = bytes.to_vec();
    let mut table = String::from("xref\n0 1\n0000000000 65535 f \n");
    for (number, (generation, start)) in offsets.iter().filter(|(number, _)| **number > 0) {
        table.push_str(&format!("{number} 1\n{start:010} {generation:05} n \n"));
    }
    let size = offsets.last_key_value().map_or(0, |(number, _)| *number).saturating_add(1);
    table.push_str(&format!("trailer\n<< /Size {size} "));
    for key in ["/Root", "/Encrypt"] {
        if let Some((number, generation)) = last_reference(bytes, key.as_bytes()) {
            table.push_str(&format!("{key} {number} {generation} R "));
        }
    }
    // The encryption key depends on the ID.
    let id = positions(bytes, b"/ID").rev().find_map(|at| {
        let value = bytes[at + 3..].trim_ascii_start();
        let value = &value[..value.len().min(MAX_ID_BYTES)];
        let end = value.iter().position(|byte| *byte == b']')?;
        value.starts_with(b"[").then(|| value[..=end].to_vec())
    });
    // Terminates an object truncated at the end.
    file.extend_from_slice(b"\nendobj\n");
    let start = file.len();
    file.extend_from_slice(table.as_bytes());
    if let Some(id) = id {
        file.extend_from_slice(b"/ID ");
        file.extend_from_slice(&id);
    }
    file.extend_from_slice(format!(">>\nstartxref\n{start}\n%%EOF\n").as_bytes());
    file
}

/// Returns the last reference that is the value of `key`, such as `/Root 1 0 R`.
fn last_reference(bytes: &[u8], key: &[u8]) -> Option<(u64, u64)> {
    positions(bytes, key).rev().find_map(|at| {
        let value = &bytes[at + key.len()..];
        let end = value.iter().take(32).position(|byte| *byte == b'R')?;
        let (generation, rest) = number_before(&value[..end])?;
        let (number, rest) = number_before(&[rest, b" "].concat()).map(|(number, rest)| (number, rest.to_vec()))?;
        rest.trim_ascii().is_empty().then_some((number, generation))
    })
}

/// Corrects the length of a stream. `None` if the object is not a stream.
fn with_length(object: &[u8]) -> Option<Vec<u8>> {
    let at = positions(object, b"stream").find(|at| matches!(object.get(at + 6), Some(b'\r' | b'\n')))?;
    let (head, data) = (&object[..at], &object[at + b"stream".len()..]);
    let data = data.strip_prefix(b"\r").unwrap_or(data);
    let data = data.strip_prefix(b"\n").unwrap_or(data);
    let end = positions(data, b"endstream").next().unwrap_or(data.len());
    let opening = positions(head, b"<<").next()? + 2;
    let mut repaired = head[..opening].to_vec();
    repaired.extend_from_slice(format!("/Length {end} ").as_bytes());
    let mut rest = &head[opening..];
    // Renames the wrong length.
    while let Some(at) = positions(rest, b"/Length").next() {
        repaired.extend_from_slice(&rest[..at]);
        repaired.extend_from_slice(b"/WrongLength");
        rest = &rest[at + b"/Length".len()..];
    }
    repaired.extend_from_slice(rest);
    repaired.extend_from_slice(b"stream\n");
    repaired.extend_from_slice(&data[..end]);
    repaired.extend_from_slice(b"\nendstream\nendobj\n");
    Some(repaired)
}

/// Finds a lost catalog, or creates a catalog and page tree with all pages.
fn repair_catalog(document: &mut Document) {
    if page_count(document) > 0 {
        return;
    }
    let objects_of_type = |document: &Document, name: &[u8]| -> Vec<ObjectId> {
        let objects = document.objects.iter();
        objects
            .filter(|(_, object)| object.as_dict().is_ok_and(|dict| dict.has_type(name)))
            .map(|(id, _)| *id)
            .collect()
    };
    if let Some(catalog) = objects_of_type(document, b"Catalog").last() {
        document.trailer.set("Root", *catalog);
    }
    if page_count(document) > 0 {
        return;
    }
    let pages: Vec<Object> = objects_of_type(document, b"Page").into_iter().map(Object::Reference).collect();
    let count = i64::try_from(pages.len()).unwrap_or(i64::MAX);
    document.max_id = document.objects.keys().map(|(number, _)| *number).max().unwrap_or_default();
    let tree = document.add_object(dictionary! { "Type" => "Pages", "Kids" => pages, "Count" => count });
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
    document.trailer.set("Root", catalog);
}

/// Sets the default size on pages without one, which the parser requires.
fn add_page_sizes(document: &mut Document) {
    let sizeless: Vec<_> = document.page_iter().filter(|page| !has_size(document, *page)).collect();
    for page in sizeless {
        if let Ok(page) = document.get_dictionary_mut(page) {
            page.set("MediaBox", MEDIA_BOX.map(Object::from).to_vec());
        }
    }
}

fn has_size(document: &Document, page: ObjectId) -> bool {
    let parent = |node: &&Dictionary| {
        let parent = node.get(b"Parent").and_then(Object::as_reference).ok()?;
        document.get_dictionary(parent).ok()
    };
    let nodes = std::iter::successors(document.get_dictionary(page).ok(), parent);
    nodes.take(MAX_TREE_DEPTH).any(|node| node.has(b"MediaBox"))
}

#[cfg(test)]
mod tests;
