//! Lists in pages: the part that a request asks for.

use crate::{limits::MAX_PAGE_ENTRIES, store::Page};
use serde::Deserialize;
use switchboard_protocol::ApiError;
use utoipa::ToSchema;

/// Entries of a page when the request does not say.
const DEFAULT_LIMIT: i64 = 50;

/// Which part of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery<Id: ToSchema> {
    /// Only entries after this one: the `next` of the page before.
    before: Option<Id>,
    /// The most entries, 1 to 200; 50 when absent. A page of large entries has fewer: `next` tells whether there are more.
    limit: Option<i64>,
}

impl<Id: ToSchema> PageQuery<Id> {
    /// The page that a query with fields of its own asks for.
    pub const fn of(before: Option<Id>, limit: Option<i64>) -> Self {
        Self { before, limit }
    }

    /// The page to ask the store for.
    ///
    /// # Errors
    /// `INVALID_FIELD` when the limit is out of range.
    pub fn page(self) -> Result<Page<Id>, ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_PAGE_ENTRIES).contains(&limit) {
            return Err(ApiError::invalid_field("limit", format_args!("must be 1 to {MAX_PAGE_ENTRIES}")));
        }
        Ok(Page { before: self.before, limit })
    }
}
