//! Rows of `turns` and `messages`, and the encodings of their columns.

use super::schema::{messages, turns};
use crate::{domain::AnswerMetadata, store::StoreError};
use diesel::{Insertable, Queryable, Selectable};

// Values of `turns.state`.
pub(super) const RUNNING: &str = "running";
pub(super) const COMPLETE: &str = "complete";
pub(super) const FAILED: &str = "failed";

/// Size of one entry of `turns.token_ends`: an unsigned 32-bit integer, little endian.
pub(super) const BYTES_PER_END: i64 = 4;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = turns)]
pub(super) struct TurnRow {
    pub(super) id: String,
    pub(super) conversation_id: String,
    pub(super) user_id: String,
    pub(super) client_message_id: Option<String>,
    pub(super) state: String,
    pub(super) error_code: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) token_ends: Option<Vec<u8>>,
    pub(super) items: Option<String>,
    pub(super) started_at_ms: i64,
    pub(super) ended_at_ms: Option<i64>,
    pub(super) epoch: i64,
    pub(super) owner_node: Option<String>,
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = messages)]
pub(super) struct MessageRow {
    pub(super) id: String,
    pub(super) conversation_id: String,
    pub(super) turn_id: Option<String>,
    pub(super) role: String,
    pub(super) content: String,
    pub(super) finish_reason: Option<String>,
    pub(super) metadata: Option<String>,
    pub(super) reasoning: Option<String>,
    pub(super) created_at_ms: i64,
}

/// Decodes `messages.metadata`.
pub(super) fn metadata(json: Option<&str>) -> Result<Option<AnswerMetadata>, StoreError> {
    json.map(|json| serde_json::from_str(json).map_err(|error| StoreError::Corrupt(error.to_string()))).transpose()
}

/// Encodes `messages.metadata`.
pub(super) fn json_of(metadata: &AnswerMetadata) -> Result<String, StoreError> {
    serde_json::to_string(metadata).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Encodes `turns.token_ends`.
pub(super) fn bytes_of(ends: &[u32]) -> Vec<u8> {
    ends.iter().flat_map(|end| end.to_le_bytes()).collect()
}

/// Decodes `turns.token_ends`.
pub(super) fn ends_of(bytes: &[u8]) -> Result<Vec<u32>, StoreError> {
    let (ends, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(StoreError::Corrupt("the length of token_ends is not a multiple of four".to_owned()));
    }
    Ok(ends.iter().map(|end| u32::from_le_bytes(*end)).collect())
}
