//! Styles of a Word document: heading and list levels, and visibility.

use super::{
    super::extract_error::ExtractError,
    xml::{Node, Nodes, Space},
};
use std::collections::HashMap;

/// Maximum length of a chain of styles that are based on each other; also ends loops.
const MAX_CHAIN: usize = 16;

#[derive(Default)]
struct Style {
    name: Option<String>,
    based_on: Option<String>,
    outline_level: Option<usize>,
    list_level: Option<usize>,
    is_list: Option<bool>,
    is_hidden: Option<bool>,
}

/// Styles of a document by id.
#[derive(Default)]
pub(super) struct Styles {
    by_id: HashMap<String, Style>,
}

impl Styles {
    pub(super) fn read(xml: &str) -> Result<Self, ExtractError> {
        let mut styles = Self::default();
        let mut current: Option<(String, Style)> = None;
        let mut nodes = Nodes::new(xml);
        while let Some(node) = nodes.next()? {
            match (node, &mut current) {
                (Node::Open(element), current) if element.space == Space::Word && element.name() == "style" => {
                    *current = element.attribute("styleId").map(|id| (id, Style::default()));
                }
                (Node::Open(element), Some((_, style))) if element.space == Space::Word => match element.name() {
                    "name" => style.name = element.val(),
                    "basedOn" => style.based_on = element.val(),
                    "outlineLvl" => style.outline_level = element.val().and_then(|level| level.parse().ok()),
                    "ilvl" => style.list_level = element.val().and_then(|level| level.parse().ok()),
                    "numId" => style.is_list = Some(element.val().is_some_and(|id| id != "0")),
                    "vanish" => style.is_hidden = Some(element.is_on()),
                    _ => {}
                },
                (Node::Close(Space::Word, name), current) if name == "style" => styles.by_id.extend(current.take()),
                _ => {}
            }
        }
        Ok(styles)
    }

    /// Iterates over a style and those that it is based on.
    fn chain(&self, id: &str) -> impl Iterator<Item = &Style> {
        let first = self.by_id.get(id);
        let next = |style: &&Style| style.based_on.as_ref().and_then(|id| self.by_id.get(id));
        std::iter::successors(first, next).take(MAX_CHAIN)
    }

    /// Returns the level of a heading style, from 1 to 6. Localized versions of Word translate the id of a built-in style
    /// (`berschrift1`) but not its name. A custom style has an outline level or is based on a built-in heading.
    pub(super) fn heading_level(&self, id: &str) -> Option<usize> {
        if !self.by_id.contains_key(id) {
            return level_from_name(id);
        }
        self.chain(id).find_map(|style| {
            let by_name = style.name.as_deref().and_then(level_from_name);
            by_name.or_else(|| style.outline_level.and_then(level_from_outline))
        })
    }

    /// Returns the level of a list style, from 0.
    pub(super) fn list_level(&self, id: &str) -> Option<usize> {
        let is_list = self.chain(id).find_map(|style| style.is_list)?;
        is_list.then(|| self.chain(id).find_map(|style| style.list_level).unwrap_or_default())
    }

    pub(super) fn is_hidden(&self, id: &str) -> bool {
        self.chain(id).find_map(|style| style.is_hidden).unwrap_or_default()
    }
}

fn level_from_name(name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    if name == "title" {
        return Some(1);
    }
    let level: usize = name.strip_prefix("heading")?.trim().parse().ok()?;
    (1..=9).contains(&level).then_some(level.min(6))
}

/// Converts an outline level to a heading level. Outline levels count from 0; 9 denotes body text.
pub(super) fn level_from_outline(level: usize) -> Option<usize> {
    (level < 9).then_some((level + 1).min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heading_levels_come_from_name_outline_level_or_base_style() {
        let styles = Styles::read(
            "<w:styles>\
             <w:style w:styleId='berschrift2'><w:name w:val='heading 2'/></w:style>\
             <w:style w:styleId='Chapter'><w:name w:val='Chapter'/><w:basedOn w:val='berschrift2'/></w:style>\
             <w:style w:styleId='Own'><w:name w:val='Own'/><w:pPr><w:outlineLvl w:val='2'/></w:pPr></w:style>\
             <w:style w:styleId='Body'><w:name w:val='Body'/><w:pPr><w:outlineLvl w:val='9'/></w:pPr></w:style>\
             <w:style w:styleId='Loop'><w:basedOn w:val='Loop'/></w:style>\
             <w:style w:styleId='Secret'><w:rPr><w:vanish/></w:rPr></w:style>\
             <w:style w:styleId='Bullet'><w:pPr><w:numPr><w:ilvl w:val='1'/><w:numId w:val='3'/></w:numPr></w:pPr></w:style>\
             </w:styles>",
        )
        .unwrap();
        let level = |id| styles.heading_level(id);
        assert_eq!(level("berschrift2"), Some(2));
        assert_eq!(level("Chapter"), Some(2));
        assert_eq!(level("Own"), Some(3));
        assert_eq!((level("Body"), level("Loop"), level("Unknown")), (None, None, None));
        assert_eq!((level("Heading1"), level("Title"), level("Heading9")), (Some(1), Some(1), Some(6)));
        assert!(styles.is_hidden("Secret") && !styles.is_hidden("Own"));
        assert_eq!((styles.list_level("Bullet"), styles.list_level("Own")), (Some(1), None));
    }
}
