//! Documents and their chunks in SQLite, found by its full-text index FTS5.

use super::{
    SqliteStore,
    schema::{chunks, documents},
    search::{merge_segments, search},
};
use crate::{
    domain::{DocumentId, UnixMillis},
    knowledge::{Chunk, Document},
    store::{DocumentStore, Page, SearchHits, StoreError},
};
use diesel::prelude::*;

/// Rows of one INSERT: below SQLite's limit of variables (32,766) at four a row.
const INSERT_ROWS: usize = 1_000;

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
                _ => merge_segments(connection),
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
    merge_segments(connection)?;
    row.try_into()
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

pub(super) fn id_of(text: &str) -> Result<DocumentId, StoreError> {
    text.parse().map_err(|error| StoreError::Corrupt(format!("a document id: {error}")))
}

/// A count or a size, which the database never holds below zero.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or_default()
}
