//! Text of diagrams and charts, which are parts of their own.

use super::{
    super::extract_error::ExtractError,
    xml::{Node, Nodes, Space},
};

/// Extracts the text of a diagram or chart, one line per paragraph.
pub(super) fn drawing_text(xml: &str) -> Result<String, ExtractError> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let (mut is_in_text, mut is_in_labels) = (false, false);
    let mut nodes = Nodes::new(xml);
    while let Some(node) = nodes.next()? {
        match node {
            Node::Open(element) if element.space == Space::Drawing => match element.name() {
                "t" => is_in_text = true,
                "strCache" => is_in_labels = true,
                // Values of a chart outside of labels are numbers.
                "v" => is_in_text = is_in_labels,
                _ => {}
            },
            Node::Close(Space::Drawing, name) => match name.as_str() {
                "t" => is_in_text = false,
                "strCache" => is_in_labels = false,
                "p" | "v" => {
                    is_in_text = false;
                    lines.extend(Some(std::mem::take(&mut line)).filter(|line| !line.trim().is_empty()));
                }
                _ => {}
            },
            Node::Text(text) if is_in_text => line.push_str(&text),
            Node::Open(_) | Node::Close(..) | Node::Text(_) => {}
        }
    }
    Ok(lines.join("\n"))
}
