//! Parts of an answer that are not text.

use serde_json::{Map, Value};

/// A typed part of an answer, such as a citation. Clients ignore kinds that they do not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub kind: String,
    /// Fields that depend on the kind.
    pub fields: Map<String, Value>,
}
