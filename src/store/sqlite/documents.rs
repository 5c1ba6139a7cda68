//! [`DocumentStore`] in SQLite.

use super::{
    SqliteStore,
    page::{json_bytes, listed, rowid_of},
    parse,
    schema::{chunks, documents},
};
use crate::{
    domain::{Chunk, Document, DocumentId, UnixMillis},
    store::{DocumentPassage, DocumentStore, Listed, Page, StoreError},
};
use diesel::{connection::DefaultLoadingMode, dsl::sql, prelude::*, sql_types::BigInt};

/// Maximum number of rows per INSERT. With six variables each, below SQLite's limit of 32,766 variables.
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
    /// One per line.
    keywords: String,
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

    async fn document_named(&self, source: &str) -> Result<Option<Document>, StoreError> {
        let source = source.to_owned();
        self.read(move |connection| {
            let row = documents::table.filter(documents::source.eq(source)).select(DocumentRow::as_select());
            row.first(connection).optional()?.map(Document::try_from).transpose()
        })
        .await
    }

    async fn passages(&self, id: DocumentId, after: u32, max_bytes: usize) -> Result<Vec<DocumentPassage>, StoreError> {
        self.read(move |connection| {
            // Positions count from 0, numbers from 1.
            let rows = chunks::table
                .filter(chunks::document_id.eq(id.to_string()).and(chunks::position.ge(i64::from(after))))
                .order(chunks::position)
                .select((chunks::position, chunks::title, chunks::text));
            let (mut passages, mut bytes) = (Vec::new(), 0);
            for row in rows.load_iter::<(i64, String, String), DefaultLoadingMode>(connection)? {
                let (position, title, text) = row?;
                bytes += title.len() + text.len();
                let number = u32::try_from(position.saturating_add(1));
                let number = number.map_err(|error| StoreError::Corrupt(error.to_string()))?;
                passages.push(DocumentPassage { number, title, text });
                if bytes >= max_bytes {
                    break;
                }
            }
            Ok(passages)
        })
        .await
    }

    async fn delete_document(&self, id: DocumentId) -> Result<(), StoreError> {
        self.write(move |connection| {
            let id = id.to_string();
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

    async fn document_with_chunks(&self, id: DocumentId) -> Result<(Document, Vec<Chunk>), StoreError> {
        self.read(move |connection| connection.transaction(|connection| with_chunks(connection, id))).await
    }

    async fn document_versions(&self) -> Result<Vec<(DocumentId, i64)>, StoreError> {
        self.read(|connection| {
            let rows = documents::table.order(documents::rowid).select((documents::id, documents::updated_at_ms));
            let rows: Vec<(String, i64)> = rows.load(connection)?;
            rows.into_iter().map(|(id, version)| Ok((parse(&id)?, version))).collect()
        })
        .await
    }

    async fn documents_fingerprint(&self) -> Result<(i64, i64, i64), StoreError> {
        self.read(|connection| {
            let sums = ("count(*)", "coalesce(sum(updated_at_ms), 0)", "coalesce(sum(rowid), 0)");
            let sums = (sql::<BigInt>(sums.0), sql::<BigInt>(sums.1), sql::<BigInt>(sums.2));
            Ok(documents::table.select(sums).get_result(connection)?)
        })
        .await
    }
}

fn with_chunks(connection: &mut SqliteConnection, id: DocumentId) -> Result<(Document, Vec<Chunk>), StoreError> {
    let id = id.to_string();
    let row: Option<DocumentRow> =
        documents::table.find(&id).select(DocumentRow::as_select()).first(connection).optional()?;
    let document = row.ok_or(StoreError::NotFound("document"))?.try_into()?;
    let chunks = chunks::table.filter(chunks::document_id.eq(&id)).order(chunks::position);
    let chunks: Vec<(String, String, String)> =
        chunks.select((chunks::title, chunks::text, chunks::keywords)).load(connection)?;
    let chunk = |(title, text, keywords): (String, String, String)| Chunk {
        title,
        text,
        keywords: keywords.lines().map(str::to_owned).collect(),
    };
    Ok((document, chunks.into_iter().map(chunk).collect()))
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
    row.try_into()
}

/// Inserts chunks, the first of them at position `first` of the document.
fn insert_chunks(
    connection: &mut SqliteConnection,
    document_id: &str,
    first: i64,
    chunks: &[Chunk],
) -> Result<(), StoreError> {
    let rows: Vec<_> = (first..)
        .zip(chunks)
        .map(|(position, Chunk { title, text, keywords })| {
            let keywords = keywords.join("\n");
            ChunkRow { document_id, position, title, text, keywords }
        })
        .collect();
    diesel::insert_into(chunks::table).values(&rows).execute(connection)?;
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
