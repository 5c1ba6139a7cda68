//! [`VectorStore`] in SQLite.

use super::{
    SqliteStore,
    schema::{chunk_vectors, chunks, documents},
};
use crate::{
    domain::{Chunk, DocumentId},
    store::{DocumentVectors, PassageVector, StoreError, VectorStore},
};
use diesel::prelude::*;

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = chunk_vectors)]
struct VectorRow<'a> {
    chunk_id: i64,
    space: &'a str,
    dimensions: i64,
    vector: Vec<u8>,
}

#[async_trait::async_trait]
impl VectorStore for SqliteStore {
    async fn vectors(&self, id: DocumentId, space: String) -> Result<DocumentVectors, StoreError> {
        // The version belongs to the vectors only if both are read in one transaction.
        self.read(move |connection| connection.transaction(|connection| read(connection, id, &space))).await
    }

    async fn put_vectors(&self, space: String, vectors: Vec<PassageVector>) -> Result<(), StoreError> {
        self.write(move |connection| vectors.iter().try_for_each(|vector| put(connection, &space, vector))).await
    }
}

fn read(connection: &mut SqliteConnection, id: DocumentId, space: &str) -> Result<DocumentVectors, StoreError> {
    let id = id.to_string();
    let version = documents::table.find(&id).select(documents::updated_at_ms).first(connection).optional()?;
    let rows: Vec<(i64, Vec<u8>)> = chunk_vectors::table
        .inner_join(chunks::table)
        .filter(chunks::document_id.eq(&id).and(chunk_vectors::space.eq(space)))
        .select((chunks::position, chunk_vectors::vector))
        .load(connection)?;
    let vectors = rows.into_iter().map(|(position, bytes)| {
        let number = u32::try_from(position.saturating_add(1));
        Ok((number.map_err(|error| StoreError::Corrupt(error.to_string()))?, floats(&bytes)?))
    });
    Ok(DocumentVectors { version, vectors: vectors.collect::<Result<_, StoreError>>()? })
}

/// Stores a vector if its passage is still the one that was embedded. The id of a deleted passage may be given to another one.
fn put(connection: &mut SqliteConnection, space: &str, new: &PassageVector) -> Result<(), StoreError> {
    let position = i64::from(new.number) - 1;
    let stored: Option<(i64, String, String, String)> = chunks::table
        .filter(chunks::document_id.eq(new.document_id.to_string()).and(chunks::position.eq(position)))
        .select((chunks::id, chunks::title, chunks::text, chunks::keywords))
        .first(connection)
        .optional()?;
    let Chunk { title, text, keywords } = &new.chunk;
    let is_same = |(_, stored_title, stored_text, stored_keywords): &(i64, String, String, String)| {
        stored_title == title && stored_text == text && *stored_keywords == keywords.join("\n")
    };
    let Some((chunk_id, ..)) = stored.filter(is_same) else { return Ok(()) };
    let vector: Vec<u8> = new.vector.iter().flat_map(|float| float.to_le_bytes()).collect();
    let dimensions = i64::try_from(new.vector.len()).unwrap_or(i64::MAX);
    let row = VectorRow { chunk_id, space, dimensions, vector };
    diesel::insert_into(chunk_vectors::table)
        .values(&row)
        .on_conflict(chunk_vectors::chunk_id)
        .do_update()
        .set(&row)
        .execute(connection)?;
    Ok(())
}

fn floats(bytes: &[u8]) -> Result<Vec<f32>, StoreError> {
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(StoreError::Corrupt(format!("a vector of {} bytes", bytes.len())));
    }
    Ok(floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
