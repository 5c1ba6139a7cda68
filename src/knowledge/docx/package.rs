//! Package of a Word document: its parts and their relationships (Open Packaging Conventions).

use super::{
    super::extract_error::ExtractError,
    xml::{Node, Nodes, Space},
};
use std::{
    collections::HashMap,
    fmt,
    io::{Cursor, Read},
};
use zip::{ZipArchive, result::ZipError};

/// Maximum number of parts of a package; each picture is one.
const MAX_PARTS: usize = 4_096;
/// Suffixes of the content types of Word documents and templates.
const MAIN_CONTENT_TYPES: [&str; 2] = ["document.main+xml", "template.main+xml"];
/// Suffixes of the content types of Word documents and templates with macros.
const MACRO_CONTENT_TYPES: [&str; 2] = ["document.macroEnabled.main+xml", "template.macroEnabledTemplate.main+xml"];

/// Target of a relationship.
pub(super) struct Part {
    pub(super) id: String,
    /// Last segment of the relationship type, such as `styles`. The rest differs between the transitional and the strict form
    /// of the standard.
    pub(super) kind: String,
    pub(super) path: String,
}

/// Package whose parts are unpacked on demand.
pub(super) struct Package<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// Index of each part by its path in lower case, since part names are case-insensitive.
    parts: HashMap<String, usize>,
    limit_bytes: u64,
    /// Bytes that may still be unpacked.
    left: u64,
}

fn unreadable(error: impl fmt::Display) -> ExtractError {
    ExtractError::Unreadable(error.to_string().chars().take(200).collect())
}

fn damaged(error: ZipError) -> ExtractError {
    unreadable(error)
}

/// Normalizes the path of a part. Some programs write backslashes.
fn key(path: &str) -> String {
    path.replace('\\', "/").trim_start_matches('/').to_lowercase()
}

impl<'a> Package<'a> {
    pub(super) fn open(bytes: &'a [u8], limit_bytes: u64) -> Result<Self, ExtractError> {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
        if archive.len() > MAX_PARTS {
            return Err(ExtractError::Unreadable(format!("it has more than {MAX_PARTS} parts")));
        }
        let mut parts = HashMap::new();
        for index in 0..archive.len() {
            let part = archive.by_index_raw(index).map_err(damaged)?;
            parts.entry(key(&String::from_utf8_lossy(part.name_raw()))).or_insert(index);
        }
        Ok(Self { archive, parts, limit_bytes, left: limit_bytes })
    }

    /// Finds the path of the main part by relationship, content type or usual name.
    pub(super) fn main_part(&mut self) -> Option<String> {
        let related = self.related("").unwrap_or_default();
        let by_relationship = related.into_iter().find(|part| part.kind == "officeDocument").map(|part| part.path);
        let types = self.content_types();
        let by_type = types.iter().find(|(_, content_type)| is_word_type(content_type)).map(|(path, _)| path.clone());
        let usual = Some("word/document.xml".to_owned());
        [by_relationship, by_type, usual].into_iter().flatten().find(|path| {
            let declared = types.iter().find(|(part, _)| part == path);
            self.parts.contains_key(path)
                && declared.map_or_else(|| self.is_word_part(path), |(_, content_type)| is_word_type(content_type))
        })
    }

    /// Whether a part without a declared content type has the root element of a Word document.
    fn is_word_part(&mut self, path: &str) -> bool {
        let Ok(xml) = self.text(path) else { return true };
        let root = Nodes::new(&xml).next();
        // A damaged part is accepted here, so that reading it reports the damage.
        !matches!(root, Ok(Some(Node::Open(root))) if root.space != Space::Word)
    }

    /// Reads the content types of individual parts.
    fn content_types(&mut self) -> Vec<(String, String)> {
        let mut types = Vec::new();
        let Ok(xml) = self.text("[Content_Types].xml") else { return types };
        let mut nodes = Nodes::new(&xml);
        while let Ok(Some(node)) = nodes.next() {
            if let Node::Open(element) = node
                && element.name() == "Override"
                && let (Some(part), Some(content_type)) =
                    (element.attribute("PartName"), element.attribute("ContentType"))
            {
                types.push((key(&part), content_type));
            }
        }
        types
    }

    /// Returns the parts of the package that a part refers to. An empty path denotes the package itself.
    pub(super) fn related(&mut self, path: &str) -> Result<Vec<Part>, ExtractError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let relationships =
            if folder.is_empty() { format!("_rels/{name}.rels") } else { format!("{folder}/_rels/{name}.rels") };
        let mut related = Vec::new();
        if !self.parts.contains_key(&key(&relationships)) {
            return Ok(related);
        }
        let xml = self.text(&relationships)?;
        let mut nodes = Nodes::new(&xml);
        while let Some(node) = nodes.next()? {
            let Node::Open(element) = node else { continue };
            if element.name() != "Relationship"
                || element.attribute("TargetMode").is_some_and(|mode| mode == "External")
            {
                continue;
            }
            let attribute = |name| element.attribute(name).unwrap_or_default();
            let (kind, target) = (attribute("Type"), attribute("Target"));
            let path = resolve(folder, &target);
            if self.parts.contains_key(&path) {
                let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                related.push(Part { id: attribute("Id"), kind, path });
            }
        }
        Ok(related)
    }

    /// Unpacks a part and decodes it from UTF-8 or UTF-16.
    pub(super) fn text(&mut self, path: &str) -> Result<String, ExtractError> {
        let index = *self.parts.get(&key(path)).ok_or_else(|| unreadable(format_args!("it has no part {path}")))?;
        let too_large = ExtractError::TooLarge { limit_bytes: self.limit_bytes };
        let part = self.archive.by_index(index).map_err(damaged)?;
        let mut bytes = Vec::new();
        part.take(self.left.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(too_large)?;
        Ok(decode(bytes))
    }
}

fn is_word_type(content_type: &str) -> bool {
    content_type.contains("wordprocessingml") && MAIN_CONTENT_TYPES.iter().any(|ending| content_type.ends_with(ending))
        || content_type.contains("ms-word") && MACRO_CONTENT_TYPES.iter().any(|ending| content_type.ends_with(ending))
}

/// Resolves the target of a relationship relative to a folder.
fn resolve(folder: &str, target: &str) -> String {
    let target = percent_encoding::percent_decode_str(target).decode_utf8_lossy().replace('\\', "/");
    let mut segments: Vec<&str> = if target.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for segment in target.split('/') {
        match segment {
            ".." => drop(segments.pop()),
            "." => {}
            segment => segments.push(segment),
        }
    }
    segments.retain(|segment| !segment.is_empty());
    key(&segments.join("/"))
}

/// Decodes XML, detecting UTF-16 by the byte order mark or the zero byte of the first `<`.
fn decode(bytes: Vec<u8>) -> String {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        text.collect::<String>().trim_start_matches('\u{feff}').to_owned()
    };
    match bytes.as_slice() {
        [0xfe, 0xff, ..] | [0, b'<', ..] => utf_16(&bytes, u16::from_be_bytes),
        [0xff, 0xfe, ..] | [b'<', 0, ..] => utf_16(&bytes, u16::from_le_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        _ => String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_absolute_or_relative() {
        for (folder, target, path) in [
            ("", "word/document.xml", "word/document.xml"),
            ("", "/word/Document2.xml", "word/document2.xml"),
            ("word", "styles.xml", "word/styles.xml"),
            ("word", "../custom/a.xml", "custom/a.xml"),
            ("word", "./a.xml", "word/a.xml"),
            ("word", "..\\custom\\a%20b.xml", "custom/a b.xml"),
            ("", "../../a.xml", "a.xml"),
        ] {
            assert_eq!(resolve(folder, target), path, "{folder} {target}");
        }
    }

    #[test]
    fn parts_are_decoded_from_utf_8_and_utf_16() {
        let xml = "<a>ä😀</a>";
        let units: Vec<u16> = xml.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [
            xml.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", xml.as_bytes()].concat(),
            little.clone(),
            big.clone(),
            [&b"\xff\xfe"[..], &little].concat(),
            [&b"\xfe\xff"[..], &big].concat(),
        ] {
            assert_eq!(decode(bytes), xml);
        }
    }
}
