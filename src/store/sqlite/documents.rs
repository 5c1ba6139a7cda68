//! Documents and their chunks in SQLite, found by its full-text index FTS5.

use super::{
    SqliteStore,
    schema::{chunks, documents},
};
use crate::{
    domain::{DocumentId, UnixMillis},
    knowledge::{Chunk, Document},
    store::{DocumentStore, Page, SearchHit, SearchHits, StoreError},
};
use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Double, Text},
};
use std::collections::{HashMap, HashSet};

/// Rows of one INSERT: below SQLite's limit of variables (32,766) at four a row.
const INSERT_ROWS: usize = 1_000;

/// A word in a heading says more of what a chunk is about than one in its text: the weights of BM25's columns.
const SEARCH: &str = "\
    SELECT f.rowid AS id, c.document_id, d.source, c.title, c.text, -bm25(chunks_fts, 4.0, 1.0) AS relevance \
    FROM chunks_fts f JOIN chunks c ON c.id = f.rowid JOIN documents d ON d.id = c.document_id \
    WHERE chunks_fts MATCH ?1 AND (d.collection = '' OR json_array_length(?2) = 0 \
        OR d.collection IN (SELECT value FROM json_each(?2))) \
    ORDER BY relevance DESC, f.rowid LIMIT ?3";

#[derive(Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = documents, check_for_backend(diesel::sqlite::Sqlite))]
struct DocumentRow {
    id: String,
    source: String,
    collection: String,
    media_type: String,
    bytes: i64,
    chunks: i64,
    created_at_ms: i64,
    updated_at_ms: i64,
}

#[derive(Insertable)]
#[diesel(table_name = chunks)]
struct ChunkRow<'a> {
    document_id: &'a str,
    position: i64,
    title: &'a str,
    text: &'a str,
}

#[derive(QueryableByName)]
struct HitRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    document_id: String,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Text)]
    title: String,
    #[diesel(sql_type = Text)]
    text: String,
    #[diesel(sql_type = Double)]
    relevance: f64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

#[derive(QueryableByName)]
struct RowId {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[async_trait::async_trait]
impl DocumentStore for SqliteStore {
    async fn put_document(&self, document: Document, chunks: Vec<Chunk>) -> Result<Document, StoreError> {
        self.write(move |connection| put(connection, document, &chunks)).await
    }

    async fn list_documents(&self, page: Page<DocumentId>) -> Result<Vec<Document>, StoreError> {
        self.read(move |connection| {
            let mut rows = documents::table.into_boxed();
            if let Some(before) = page.before {
                rows = rows.filter(documents::id.lt(before.to_string()));
            }
            // Ids sort by the time they were made.
            rows.order(documents::id.desc())
                .limit(page.limit)
                .select(DocumentRow::as_select())
                .load(connection)?
                .into_iter()
                .map(Document::try_from)
                .collect()
        })
        .await
    }

    async fn document(&self, id: DocumentId) -> Result<Document, StoreError> {
        self.read(move |connection| {
            documents::table
                .find(id.to_string())
                .select(DocumentRow::as_select())
                .first(connection)
                .optional()?
                .ok_or(StoreError::NotFound("document"))?
                .try_into()
        })
        .await
    }

    async fn delete_document(&self, id: DocumentId) -> Result<(), StoreError> {
        self.write(move |connection| {
            let id = id.to_string();
            // The chunks first: their triggers keep the index in step.
            diesel::delete(chunks::table.filter(chunks::document_id.eq(&id))).execute(connection)?;
            match diesel::delete(documents::table.find(&id)).execute(connection)? {
                0 => Err(StoreError::NotFound("document")),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn count_documents(&self) -> Result<u64, StoreError> {
        self.read(|connection| Ok(unsigned(documents::table.count().get_result(connection)?))).await
    }

    async fn search_chunks(
        &self,
        terms: Vec<String>,
        scope: Vec<String>,
        limit: u32,
    ) -> Result<SearchHits, StoreError> {
        self.read(move |connection| search(connection, &terms, &scope, limit)).await
    }
}

fn put(connection: &mut SqliteConnection, document: Document, chunks: &[Chunk]) -> Result<Document, StoreError> {
    let mut row = DocumentRow::from(document);
    let existing: Option<(String, i64)> = documents::table
        .filter(documents::source.eq(&row.source))
        .select((documents::id, documents::created_at_ms))
        .first(connection)
        .optional()?;
    if let Some((id, created_at_ms)) = existing {
        (row.id, row.created_at_ms) = (id, created_at_ms);
        diesel::delete(chunks::table.filter(chunks::document_id.eq(&row.id))).execute(connection)?;
        diesel::update(documents::table.find(&row.id)).set(&row).execute(connection)?;
    } else {
        diesel::insert_into(documents::table).values(&row).execute(connection)?;
    }
    let rows: Vec<_> = (0..)
        .zip(chunks)
        .map(|(position, chunk)| ChunkRow { document_id: &row.id, position, title: &chunk.title, text: &chunk.text })
        .collect();
    for rows in rows.chunks(INSERT_ROWS) {
        diesel::insert_into(chunks::table).values(rows).execute(connection)?;
    }
    row.try_into()
}

fn search(
    connection: &mut SqliteConnection,
    terms: &[String],
    scope: &[String],
    limit: u32,
) -> Result<SearchHits, StoreError> {
    let phrases: Vec<_> = terms.iter().map(|term| phrase(term)).collect();
    if phrases.is_empty() {
        return Ok(SearchHits::default());
    }
    // One transaction, so that the counts and the hits are of the same moment.
    connection.transaction(|connection| {
        let rows: Vec<HitRow> = sql_query(SEARCH)
            .bind::<Text, _>(phrases.join(" OR "))
            .bind::<Text, _>(serde_json::json!(scope).to_string())
            .bind::<BigInt, _>(i64::from(limit))
            .load(connection)?;
        let ids = serde_json::json!(rows.iter().map(|row| row.id).collect::<Vec<_>>()).to_string();
        let mut frequencies = Vec::with_capacity(phrases.len());
        let mut holders: HashMap<i64, HashSet<usize>> = HashMap::new();
        for (term, phrase) in phrases.iter().enumerate() {
            let count: Count = sql_query("SELECT count(*) AS count FROM chunks_fts WHERE chunks_fts MATCH ?1")
                .bind::<Text, _>(phrase)
                .get_result(connection)?;
            frequencies.push(unsigned(count.count));
            let matching: Vec<RowId> = sql_query(
                "SELECT rowid AS id FROM chunks_fts \
                 WHERE chunks_fts MATCH ?1 AND rowid IN (SELECT value FROM json_each(?2))",
            )
            .bind::<Text, _>(phrase)
            .bind::<Text, _>(&ids)
            .load(connection)?;
            for row in matching {
                holders.entry(row.id).or_default().insert(term);
            }
        }
        let chunks = unsigned(chunks::table.count().get_result(connection)?);
        let hits = rows
            .into_iter()
            .map(|row| {
                let held = holders.get(&row.id);
                Ok(SearchHit {
                    document_id: id_of(&row.document_id)?,
                    source: row.source,
                    title: row.title,
                    text: row.text,
                    bm25: row.relevance,
                    matched: (0..terms.len()).map(|term| held.is_some_and(|held| held.contains(&term))).collect(),
                })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(SearchHits { chunks, frequencies, hits })
    })
}

/// A term as an FTS5 string: inside the quotes nothing is an operator.
fn phrase(term: &str) -> String {
    format!("\"{}\"", term.replace('\0', " ").replace('"', "\"\""))
}

impl From<Document> for DocumentRow {
    fn from(document: Document) -> Self {
        Self {
            id: document.id.to_string(),
            source: document.source,
            collection: document.collection,
            media_type: document.media_type,
            bytes: i64::try_from(document.bytes).unwrap_or(i64::MAX),
            chunks: i64::from(document.chunks),
            created_at_ms: document.created_at_ms.0,
            updated_at_ms: document.updated_at_ms.0,
        }
    }
}

impl TryFrom<DocumentRow> for Document {
    type Error = StoreError;

    fn try_from(row: DocumentRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: id_of(&row.id)?,
            source: row.source,
            collection: row.collection,
            media_type: row.media_type,
            bytes: unsigned(row.bytes),
            chunks: u32::try_from(row.chunks).map_err(|error| StoreError::Corrupt(error.to_string()))?,
            created_at_ms: UnixMillis(row.created_at_ms),
            updated_at_ms: UnixMillis(row.updated_at_ms),
        })
    }
}

fn id_of(text: &str) -> Result<DocumentId, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("a document id: {error}")))
}

/// A count or a size, which the database never holds below zero.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or_default()
}
