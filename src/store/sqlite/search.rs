//! The search in FTS5: three statements, each prepared once for a connection. A search is a good part of a turn's cost.

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

/// Pages of the index (4 KiB each) that a change of a document merges. FTS5 looks into every segment for each term; a base
/// of some hundred kilobytes stays in one, a larger one in few, and no change waits for a merge of all.
const MERGED_PAGES: u32 = 256;

/// The best chunks by BM25. A word in a heading says more of what a chunk is about than one in its text: the weights of
/// the columns.
#[derive(QueryId)]
struct BestChunks {
    /// An expression of FTS5.
    any_of: String,
    /// A JSON list of collections; empty: all.
    scope: String,
    limit: i64,
}

type HitRow = (i64, String, String, String, String, bool, f64);

impl Query for BestChunks {
    type SqlType = (BigInt, Text, Text, Text, Text, Bool, Double);
}

impl RunQueryDsl<SqliteConnection> for BestChunks {}

impl QueryFragment<Sqlite> for BestChunks {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        // The texts are looked up for what is left of the ranking.
        out.push_sql(
            "SELECT r.id, c.document_id, d.source, c.title, c.text, r.in_scope, r.relevance \
             FROM (SELECT *, row_number() OVER (PARTITION BY in_scope ORDER BY relevance DESC, id) AS place \
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
        out.push_sql(")) r JOIN chunks c ON c.id = r.id JOIN documents d ON d.id = c.document_id WHERE r.place <= ");
        out.push_bind_param::<BigInt, _>(&self.limit)?;
        out.push_sql(" ORDER BY r.relevance DESC, r.id");
        Ok(())
    }
}

/// For each term that any chunk holds: its place in the list, how many chunks hold it, and which of some chunks do.
#[derive(QueryId)]
struct TermCounts {
    /// A JSON list of expressions of FTS5.
    terms: String,
    /// A JSON list.
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
    // One transaction, so that the counts and the hits are of the same moment.
    connection.transaction(|connection| {
        let rows: Vec<HitRow> = BestChunks { any_of, scope, limit: i64::from(limit) }.load(connection)?;
        let ids: Vec<_> = rows.iter().map(|row| row.0).collect();
        let (terms_json, chunks) = (serde_json::json!(expressions).to_string(), serde_json::json!(ids).to_string());
        let counted: Vec<TermRow> = TermCounts { terms: terms_json, chunks }.load(connection)?;
        let all: i64 = chunks::table.count().get_result(connection)?;

        let mut frequencies = vec![0; terms.len()];
        let mut matched = vec![vec![false; terms.len()]; rows.len()];
        for (term, frequency, holders) in counted {
            let term = usize::try_from(term).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            let holders: Vec<i64> =
                serde_json::from_str(&holders).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            frequencies[term] = unsigned(frequency);
            for (id, matched) in ids.iter().zip(&mut matched) {
                matched[term] = holders.contains(id);
            }
        }
        let hits =
            rows.into_iter().zip(matched).map(|((_, document_id, source, title, text, in_scope, bm25), matched)| {
                Ok(SearchHit { document_id: parse(&document_id)?, source, title, text, in_scope, bm25, matched })
            });
        Ok(SearchHits { chunks: unsigned(all), frequencies, hits: hits.collect::<Result<_, StoreError>>()? })
    })
}

/// Brings the index closer to one segment, behind a change of a document.
pub(super) fn merge_segments(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    // Below zero: segments of every level are merged.
    let merge = format!("INSERT INTO chunks_fts (chunks_fts, rank) VALUES ('merge', -{MERGED_PAGES})");
    Ok(connection.batch_execute(&merge)?)
}

/// A term as an expression of FTS5. Inside the quotes nothing is an operator.
fn expression(term: &SearchTerm) -> String {
    let phrases = term.any_of.iter().map(|words| format!("\"{}\"", words.replace('"', "\"\"")));
    phrases.collect::<Vec<_>>().join(" OR ")
}

/// A count, which the database never holds below zero.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or_default()
}
