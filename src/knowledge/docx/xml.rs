//! XML as a stream of elements with resolved namespaces, since prefixes may differ between documents.

use super::super::extract_error::ExtractError;
use quick_xml::{
    NsReader, XmlVersion,
    escape::resolve_predefined_entity,
    events::{BytesStart, Event},
    name::{Namespace, ResolveResult},
};
use std::borrow::Cow;

/// Maximum nesting depth of elements; documents written by Word stay below fifty.
const MAX_DEPTH: usize = 1_024;

/// Relevant XML namespaces, each in its transitional and its strict form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// WordprocessingML, usually `w`.
    Word,
    /// Office Math, usually `m`.
    Math,
    /// DrawingML including diagrams and charts, usually `a`, `dgm`, `c`.
    Drawing,
    /// Markup compatibility, usually `mc`.
    Compatibility,
    /// Legacy drawings, usually `v`.
    Vml,
    Other,
}

impl Space {
    fn of(namespace: &ResolveResult) -> Self {
        let name = match namespace {
            ResolveResult::Bound(Namespace(name)) => *name,
            ResolveResult::Unbound => return Self::Other,
            // An undeclared prefix is taken for the usual one.
            ResolveResult::Unknown(prefix) => {
                return match prefix.as_str() {
                    "w" => Self::Word,
                    "m" => Self::Math,
                    "a" | "dgm" | "c" => Self::Drawing,
                    "mc" => Self::Compatibility,
                    "v" => Self::Vml,
                    _ => Self::Other,
                };
            }
        };
        if name.ends_with("/wordprocessingml/2006/main") || name.ends_with("/ooxml/wordprocessingml/main") {
            Self::Word
        } else if name.ends_with("/officeDocument/2006/math") || name.ends_with("/ooxml/officeDocument/math") {
            Self::Math
        } else if name.contains("/drawingml/") {
            Self::Drawing
        } else if name.ends_with("/markup-compatibility/2006") {
            Self::Compatibility
        } else if name == "urn:schemas-microsoft-com:vml" {
            Self::Vml
        } else {
            Self::Other
        }
    }
}

/// Start tag of an element.
pub(super) struct Element<'a> {
    pub(super) space: Space,
    start: BytesStart<'a>,
}

impl Element<'_> {
    /// Returns the name without prefix.
    pub(super) fn name(&self) -> &str {
        self.start.local_name().into_inner()
    }

    /// Returns the value of an attribute by its name without prefix.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let mut attributes = self.start.attributes();
        let attribute = attributes.with_checks(false).flatten().find(|a| a.key.local_name().into_inner() == name)?;
        let value = attribute.normalized_value(XmlVersion::Explicit1_0);
        Some(value.map_or_else(|_| attribute.value.to_string(), Cow::into_owned))
    }

    /// Returns the attribute `val`, the value of most property elements.
    pub(super) fn val(&self) -> Option<String> {
        self.attribute("val")
    }

    /// Whether a boolean property is on; without a value it is.
    pub(super) fn is_on(&self) -> bool {
        self.val().is_none_or(|value| !matches!(value.as_str(), "0" | "false" | "off" | "none"))
    }
}

/// Node of the stream.
pub(super) enum Node<'a> {
    Open(Element<'a>),
    Close(Space, String),
    Text(Cow<'a, str>),
}

/// Stream of the nodes of a part. An empty element yields `Open` and `Close`.
pub(super) struct Nodes<'a> {
    reader: NsReader<&'a [u8]>,
    depth: usize,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(xml: &'a str) -> Self {
        let mut reader = NsReader::from_str(xml);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.allow_dangling_amp = true;
        Self { reader, depth: 0 }
    }

    /// Returns the next node; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Node<'a>>, ExtractError> {
        loop {
            let (namespace, event) = self
                .reader
                .read_resolved_event()
                .map_err(|error| ExtractError::Unreadable(format!("its XML is not well-formed: {error}")))?;
            let space = Space::of(&namespace);
            match event {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > MAX_DEPTH {
                        return Err(ExtractError::Unreadable("its XML is nested too deeply".to_owned()));
                    }
                    return Ok(Some(Node::Open(Element { space, start })));
                }
                Event::End(end) => {
                    self.depth = self.depth.saturating_sub(1);
                    return Ok(Some(Node::Close(space, end.local_name().into_inner().to_owned())));
                }
                Event::Text(text) => return Ok(Some(Node::Text(text.xml10_content()))),
                Event::CData(text) => return Ok(Some(Node::Text(text.xml10_content()))),
                // Custom entities are not expanded, which prevents entity bombs.
                Event::GeneralRef(reference) => {
                    let text = match reference.resolve_char_ref() {
                        Ok(Some(c)) => c.to_string(),
                        _ => resolve_predefined_entity(&reference).unwrap_or_default().to_owned(),
                    };
                    return Ok(Some(Node::Text(Cow::Owned(text))));
                }
                Event::Eof if self.depth > 0 => {
                    return Err(ExtractError::Unreadable("its XML is truncated".to_owned()));
                }
                Event::Eof => return Ok(None),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(xml: &str) -> Result<String, ExtractError> {
        let (mut nodes, mut text) = (Nodes::new(xml), String::new());
        while let Some(node) = nodes.next()? {
            if let Node::Text(more) = node {
                text.push_str(&more);
            }
        }
        Ok(text)
    }

    #[test]
    fn references_are_resolved_except_custom_entities() {
        assert_eq!(text("<a>A&amp;B &#x41;&#66; &lt;c&gt; <![CDATA[<&>]]></a>").unwrap(), "A&B AB <c> <&>");
        assert_eq!(text("<!DOCTYPE a [<!ENTITY b \"bbbb\">]><a>&b;&b;</a>").unwrap(), "");
    }

    #[test]
    fn namespaces_are_resolved_independently_of_prefixes() {
        let strict = "http://purl.oclc.org/ooxml/wordprocessingml/main";
        let usual = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
        for xml in [
            format!("<w:p xmlns:w=\"{usual}\"/>"),
            format!("<ns0:p xmlns:ns0=\"{usual}\"/>"),
            format!("<p xmlns=\"{strict}\"/>"),
            "<w:p/>".to_owned(),
        ] {
            let Ok(Some(Node::Open(element))) = Nodes::new(&xml).next() else { panic!("{xml}") };
            assert_eq!((element.space, element.name()), (Space::Word, "p"), "{xml}");
        }
    }

    #[test]
    fn deeply_nested_truncated_and_malformed_xml_is_rejected() {
        assert!(text(&"<a>".repeat(MAX_DEPTH + 1)).is_err());
        assert!(text("<a><b></b>").is_err());
        assert!(text("<a></b>").is_err());
    }
}
