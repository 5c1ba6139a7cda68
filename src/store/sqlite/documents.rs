//! [`DocumentStore`] in SQLite, with the full-text index FTS5.

use super::{
    SqliteStore,
    page::{json_bytes, listed, rowid_of},
    parse,
    schema::{chunks, chunks_fts, documents},
    search::{merge_segments, search},
};
use crate::{
    domain::{Chunk, Document, DocumentId, UnixMillis},
    store::{DocumentStore, Listed, Page, SearchHits, StoreError},
    terms::{INDEX_VERSION, SearchTerm, index_terms},
};
use diesel::{connection::DefaultLoadingMode, prelude::*};
use std::collections::HashSet;

/// Maximum number of rows per INSERT. With five variables each, below SQLite's limit of 32,766 variables.
const INSERT_ROWS: usize = 1_000;
/// Size of text after which a batch of updated chunks ends, in bytes.
const UPDATE_BATCH_BYTES: usize = 128 * 1024;

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
    terms_version: i32,
}

/// Index entry of a chunk.
#[derive(Insertable)]
#[diesel(table_name = chunks_fts)]
struct TermsRow {
    rowid: i64,
    title: String,
    text: String,
}

impl TermsRow {
    fn new(id: i64, title: &str, text: &str) -> Self {
        Self { rowid: id, title: index_terms(title), text: index_terms(text) }
    }
}

#[async_trait::async_trait]
impl DocumentStore for SqliteStore {
    async fn put_document(&self, document: Document, chunks: Vec<Chunk>) -> Result<Document, StoreError> {
        self.write(move |connection| put(connection, document, &chunks)).await
    }

    async fn list_documents(&self, page: Page<DocumentId>) -> Result<Listed<Document>, StoreError> {
        self.read(move |connection| {
            let mut rows = documents::table.into_boxed();
            if let Some(before) = page.before {
                rows = rows.filter(documents::rowid.lt(rowid_of!(documents, connection, before)));
            }
            let rows = rows
                .order(documents::rowid.desc())
                .limit(page.limit.saturating_add(1))
                .select(DocumentRow::as_select())
                .load_iter::<DocumentRow, DefaultLoadingMode>(connection)?;
            let bytes = |row: &DocumentRow| json_bytes(&row.source) + json_bytes(&row.collection);
            listed(rows, page.limit, bytes, Document::try_from)
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
            // Chunks first: a trigger removes them from the index.
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
        terms: Vec<SearchTerm>,
        scope: Vec<String>,
        limit: u32,
    ) -> Result<SearchHits, StoreError> {
        self.read(move |connection| search(connection, &terms, &scope, limit)).await
    }

    async fn update_chunk_terms(&self) -> Result<usize, StoreError> {
        // Computes terms on a reader's thread, so that the writer is not blocked.
        let rows = self.read(outdated_chunks).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        self.write(move |connection| update_terms(connection, rows)).await
    }
}

/// Computes new index entries of a batch of chunks with another index version.
fn outdated_chunks(connection: &mut SqliteConnection) -> Result<Vec<TermsRow>, StoreError> {
    let outdated = chunks::terms_version.lt(INDEX_VERSION).or(chunks::terms_version.gt(INDEX_VERSION));
    let chunks = chunks::table.filter(outdated).select((chunks::id, chunks::title, chunks::text));
    let (mut rows, mut bytes) = (Vec::new(), 0);
    for chunk in chunks.load_iter::<(i64, String, String), DefaultLoadingMode>(connection)? {
        let (id, title, text) = chunk?;
        bytes += title.len() + text.len();
        rows.push(TermsRow::new(id, &title, &text));
        if bytes >= UPDATE_BATCH_BYTES || rows.len() == INSERT_ROWS {
            break;
        }
    }
    Ok(rows)
}

fn update_terms(connection: &mut SqliteConnection, mut rows: Vec<TermsRow>) -> Result<usize, StoreError> {
    // Meanwhile a chunk may have been deleted, and its id reused.
    let ids: Vec<_> = rows.iter().map(|row| row.rowid).collect();
    let outdated = chunks::table.filter(chunks::id.eq_any(&ids)).filter(chunks::terms_version.ne(INDEX_VERSION));
    let outdated: HashSet<i64> = outdated.select(chunks::id).load(connection)?.into_iter().collect();
    rows.retain(|row| outdated.contains(&row.rowid));
    let ids: Vec<_> = rows.iter().map(|row| row.rowid).collect();
    diesel::delete(chunks_fts::table.filter(chunks_fts::rowid.eq_any(&ids))).execute(connection)?;
    diesel::insert_into(chunks_fts::table).values(&rows).execute(connection)?;
    diesel::update(chunks::table.filter(chunks::id.eq_any(&ids)))
        .set(chunks::terms_version.eq(INDEX_VERSION))
        .execute(connection)?;
    merge_segments(connection)?;
    // At least 1, since only `outdated_chunks` can tell that nothing is left.
    Ok(rows.len().max(1))
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
    for (first, chunks) in (0_i64..).step_by(INSERT_ROWS).zip(chunks.chunks(INSERT_ROWS)) {
        insert_chunks(connection, &row.id, first, chunks)?;
    }
    merge_segments(connection)?;
    row.try_into()
}

/// Inserts and indexes chunks, the first of them at position `first` of the document.
fn insert_chunks(
    connection: &mut SqliteConnection,
    document_id: &str,
    first: i64,
    chunks: &[Chunk],
) -> Result<(), StoreError> {
    let rows: Vec<_> = (first..)
        .zip(chunks)
        .map(|(position, Chunk { title, text })| ChunkRow {
            document_id,
            position,
            title,
            text,
            terms_version: INDEX_VERSION,
        })
        .collect();
    diesel::insert_into(chunks::table).values(&rows).execute(connection)?;
    let ids: Vec<i64> = chunks::table
        .filter(chunks::document_id.eq(document_id).and(chunks::position.ge(first)))
        .order(chunks::position)
        .select(chunks::id)
        .load(connection)?;
    let terms: Vec<_> =
        ids.iter().zip(chunks).map(|(id, chunk)| TermsRow::new(*id, &chunk.title, &chunk.text)).collect();
    diesel::insert_into(chunks_fts::table).values(&terms).execute(connection)?;
    Ok(())
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
            id: parse(&row.id)?,
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

/// Converts a count or size, which is never negative in the database.
fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or_default()
}
