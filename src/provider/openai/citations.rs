//! Citations of web pages, which model servers with a web search attach to their text as annotations.
//!
//! OpenAI and OpenRouter send `{"type": "url_citation", "url_citation": {"url": …, "title": …}}`, some servers the same fields
//! without the inner object.

use super::json::Json;
use crate::domain::Part;
use serde_json::Map;

/// Longest URL or title that is passed on, in bytes.
const MAX_FIELD_BYTES: usize = 2_048;

/// Reads the citations among annotations. Other annotations, and citations without a web address, are skipped.
pub(super) fn citations(annotations: Json<'_>) -> Vec<Part> {
    annotations.elements().into_iter().filter_map(citation).collect()
}

fn citation(annotation: Json<'_>) -> Option<Part> {
    let [kind, inner] = annotation.members(["type", "url_citation"]);
    if kind?.lossy_string()? != "url_citation" {
        return None;
    }
    let [url, title] = inner.unwrap_or(annotation).members(["url", "title"]).map(|field| {
        field.and_then(Json::lossy_string).filter(|text| !text.is_empty() && text.len() <= MAX_FIELD_BYTES)
    });
    // Clients make links of them: a script must not get there.
    let url = url.filter(|url| url.starts_with("https://") || url.starts_with("http://"))?;
    let mut fields = Map::new();
    fields.insert("url".to_owned(), url.into());
    if let Some(title) = title {
        fields.insert("title".to_owned(), title.into());
    }
    Some(Part { kind: "url_citation".to_owned(), fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(annotations: &serde_json::Value) -> Vec<serde_json::Value> {
        let text = annotations.to_string();
        citations(Json::parse(&text).unwrap()).into_iter().map(|part| part.fields.into()).collect()
    }

    #[test]
    fn both_known_forms_are_read() {
        let fields = json!({"url": "https://example.com/", "title": "Engines"});
        let nested = json!([{"type": "url_citation", "url_citation": {"url": "https://example.com/", "title": "Engines", "start_index": 3}}]);
        let flat = json!([{"type": "url_citation", "url": "https://example.com/", "title": "Engines"}]);
        assert_eq!((read(&nested), read(&flat)), (vec![fields.clone()], vec![fields]));
    }

    #[test]
    fn anything_else_is_skipped() {
        for annotations in [
            json!(null),
            json!({"type": "url_citation"}),
            json!([7, {"type": "file_citation", "url": "https://example.com/"}]),
            json!([{"type": "url_citation", "url": "javascript:alert(1)"}]),
            json!([{"type": "url_citation", "url": format!("https://{}", "x".repeat(MAX_FIELD_BYTES))}]),
            json!([{"type": "url_citation", "url_citation": []}]),
        ] {
            assert!(read(&annotations).is_empty(), "{annotations}");
        }
    }
}
