//! Lists in pages: which part a request asks for, and what comes next.

use crate::{limits::MAX_PAGE, protocol::ApiError, store::Page};
use serde::Deserialize;
use utoipa::ToSchema;

/// Entries of a page when the request does not say.
const DEFAULT_LIMIT: i64 = 50;

/// Which part of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery<Id: ToSchema> {
    /// Only what comes behind this one: the `next` of the page before.
    before: Option<Id>,
    /// 1 to 200; 50 when absent.
    limit: Option<i64>,
}

impl<Id: ToSchema> PageQuery<Id> {
    /// The page that a query with fields of its own asks for.
    pub const fn of(before: Option<Id>, limit: Option<i64>) -> Self {
        Self { before, limit }
    }

    /// What to ask the store for, and how many entries the page may have. The store is asked for one more, to see whether
    /// there is another page.
    ///
    /// # Errors
    /// `INVALID_FIELD` when the limit is out of range.
    pub fn page(self) -> Result<(Page<Id>, usize), ApiError> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(ApiError::invalid_field("limit", format_args!("must be 1 to {MAX_PAGE}")));
        }
        let entries = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok((Page { before: self.before, limit: limit + 1 }, entries))
    }
}
