//! Full-text search with FTS5. Its three statements are prepared once per connection, since a search is a significant part of
//! the cost of a turn.

use super::{parse, schema::chunks};
use crate::{
    store::{SearchHit, SearchHits, StoreError},
    terms::SearchTerm,
};
use diesel::{
    connection::SimpleConnection,
    prelude::*,
    query_builder::{AstPass, Query, QueryFragment, QueryId},
    sql_types::{BigInt, Bool, Double, Text},
    sqlite::Sqlite,
};

/// Number of index pages (4 KiB each) to merge after a change of a document. FTS5 searches every segment for each term. This
/// keeps the number of segments small (one for some hundred kilobytes) while bounding the cost of a change.
const MERGED_PAGES: u32 = 256;

/// Query for the best chunks by BM25. Matches in titles have a higher weight than those in texts.
#[derive(QueryId)]
struct BestChunks {
    /// FTS5 expression.
    any_of: String,
    /// JSON array of collections; empty: all.
    scope: String,
    limit: i64,
}

type HitRow = (i64, String, String, String, i64, String, bool, f64);

impl Query for BestChunks {
    type SqlType = (BigInt, Text, Text, Text, BigInt, Text, Bool, Double);
}

impl RunQueryDsl<SqliteConnection> for BestChunks {}

impl QueryFragment<Sqlite> for BestChunks {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        // Texts are loaded only for the chunks that remain after ranking.
        out.push_sql(
            "SELECT r.id, c.document_id, d.source, c.title, c.position, c.text, r.in_scope, r.relevance \
             FROM (SELECT *, row_number() OVER (PARTITION BY in_scope ORDER BY relevance DESC, id) AS position \
                   FROM (SELECT f.rowid AS id, -bm25(chunks_fts, 4.0, 1.0) AS relevance, \
                         d.collection = '' OR json_array_length(",
        );
        out.push_bind_param::<Text, _>(&self.scope)?;
        out.push_sql(") = 0 OR d.collection IN (SELECT value FROM json_each(");
        out.push_bind_param::<Text, _>(&self.scope)?;
        out.push_sql(
            ")) AS in_scope \
             FROM chunks_fts f JOIN chunks c ON c.id = f.rowid JOIN documents d ON d.id = c.document_id \
             WHERE chunks_fts MATCH ",
        );
        out.push_bind_param::<Text, _>(&self.any_of)?;
        out.push_sql(")) r JOIN chunks c ON c.id = r.id JOIN documents d ON d.id = c.document_id WHERE r.position <= ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(" ORDER BY r.relevance DESC, r.id");
        Ok(())
    }
}

/// Query for each term that any chunk contains: its index in `terms`, the number of chunks that contain it, and which of
/// `chunks` do.
#[derive(QueryId)]
struct TermCounts {
    /// JSON array of FTS5 expressions.
    terms: String,
    /// JSON array of chunk ids.
    chunks: String,
}

type TermRow = (i64, i64, String);

impl Query for TermCounts {
    type SqlType = (BigInt, BigInt, Text);
}

impl RunQueryDsl<SqliteConnection> for TermCounts {}

impl QueryFragment<Sqlite> for TermCounts {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(
            "SELECT t.key, count(*), json_group_array(f.rowid) FILTER (WHERE f.rowid IN (SELECT value FROM json_each(",
        );
        out.push_bind_param::<Text, _>(&self.chunks)?;
        out.push_sql("))) FROM json_each(");
        out.push_bind_param::<Text, _>(&self.terms)?;
        out.push_sql(") t JOIN chunks_fts f ON f.chunks_fts MATCH t.value GROUP BY t.key");
        Ok(())
    }
}

pub(super) fn search(
    connection: &mut SqliteConnection,
    terms: &[SearchTerm],
    scope: &[String],
    limit: u32,
) -> Result<SearchHits, StoreError> {
    if terms.is_empty() {
        return Ok(SearchHits::default());
    }
    let expressions: Vec<_> = terms.iter().map(expression).collect();
    let (any_of, scope) = (expressions.join(" OR "), serde_json::json!(scope).to_string());
    // One transaction, so that counts and hits are consistent.
    connection.transaction(|connection| {
        let rows: Vec<HitRow> = BestChunks { any_of, scope, limit: i64::from(limit) }.load(connection)?;
        let ids: Vec<_> = rows.iter().map(|row| row.0).collect();
        let (terms_json, chunks) = (serde_json::json!(expressions).to_string(), serde_json::json!(ids).to_string());
        let counted: Vec<TermRow> = TermCounts { terms: terms_json, chunks }.load(connection)?;
        let all: i64 = chunks::table.count().get_result(connection)?;

        let mut frequencies = vec![0; terms.len()];
        let mut matched = vec![vec![false; terms.len()]; rows.len()];
        for (term, frequency, matching) in counted {
            let term = usize::try_from(term).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let matching: Vec<i64> =
                serde_json::from_str(&matching).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            frequencies[term] = unsigned(frequency);
            for (id, matched) in ids.iter().zip(&mut matched) {
                matched[term] = matching.contains(id);
            }
        }
        let hits = rows.into_iter().zip(matched).map(
            |((_, document_id, source, title, position, text, in_scope, bm25), matched)| {
                let (document_id, passage) = (parse(&document_id)?, number_of(position)?);
                Ok(SearchHit { document_id, source, title, passage, text, in_scope, bm25, matched })
            },
        );
        Ok(SearchHits { chunks: unsigned(all), frequencies, hits: hits.collect::<Result<_, StoreError>>()? })
    })
}

/// Merges index segments after a change of a document, up to [`MERGED_PAGES`].
pub(super) fn merge_segments(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // A negative number merges segments of all levels.
    let merge = format!("INSERT INTO chunks_fts (chunks_fts, rank) VALUES ('merge', -{MERGED_PAGES})");
    Ok(connection.batch_execute(&merge)?)
}

/// Formats a term as FTS5 expression. Quoting prevents interpretation as operators.
fn expression(term: &SearchTerm) -> String {
    let phrases = term.any_of.iter().map(|words| format!("\"{}\"", words.replace('"', "\"\"")));
    phrases.collect::<Vec<_>>().join(" OR ")
}

/// Returns the number of the chunk at a position: positions count from 0, numbers from 1.
pub(super) fn number_of(position: i64) -> Result<u32, StoreError> {
    u32::try_from(position.saturating_add(1)).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Converts a count, which is never negative in the database.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or_default()
}
