//! A document as `multipart/form-data`: the file and what is said of it.

use super::{OTHER_FIELDS_BYTES, too_large};
use crate::{knowledge::NewDocument, protocol::ApiError};
use actix_multipart::{Field, Multipart};
use actix_web::{http::header::HeaderMap, web};
use futures_util::TryStreamExt;

/// Parts of one form, known or not.
const MAX_PARTS: usize = 16;

/// Reads the parts `file`, `source` and `collection`; others are skipped.
pub(super) async fn read(headers: &HeaderMap, body: web::Payload, limit_bytes: usize) -> Result<NewDocument, ApiError> {
    let mut form = Multipart::new(headers, body);
    let (mut file, mut source, mut collection) = (None, None, None);
    let mut parts = 0;
    while let Some(mut part) = form.try_next().await.map_err(malformed)? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(ApiError::invalid_field("body", format_args!("must have at most {MAX_PARTS} parts")));
        }
        match part.name().unwrap_or_default() {
            "file" if file.is_none() => {
                let media_type = part.content_type().map(|mime| mime.essence_str().to_owned());
                let name = part.content_disposition().and_then(|disposition| disposition.get_filename()).map(base_name);
                let bytes = bytes_of(&mut part, limit_bytes).await?.ok_or_else(|| too_large(limit_bytes))?;
                file = Some((name, media_type, bytes));
            }
            "file" => return Err(ApiError::invalid_field("file", "must be there once")),
            "source" => source = Some(text_of("source", &mut part).await?),
            "collection" => collection = Some(text_of("collection", &mut part).await?),
            // Its bytes count as a file's do, so that what nobody asked for cannot go on without end.
            _ => {
                bytes_of(&mut part, limit_bytes).await?.ok_or_else(|| too_large(limit_bytes))?;
            }
        }
    }
    let (name, media_type, bytes) = file.ok_or_else(|| ApiError::invalid_field("file", "is missing"))?;
    let source =
        source.or(name).ok_or_else(|| ApiError::invalid_field("source", "is missing, and the file has no name"))?;
    Ok(NewDocument { source, collection, bytes, media_type })
}

/// The bytes of a part; `None` as soon as they are over the limit.
async fn bytes_of(part: &mut Field, limit_bytes: usize) -> Result<Option<Vec<u8>>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = part.try_next().await.map_err(malformed)? {
        if bytes.len() + chunk.len() > limit_bytes {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

async fn text_of(name: &'static str, part: &mut Field) -> Result<String, ApiError> {
    bytes_of(part, OTHER_FIELDS_BYTES).await?.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        ApiError::invalid_field(name, format_args!("must be UTF-8 of at most {OTHER_FIELDS_BYTES} bytes"))
    })
}

/// Some clients send the whole path of a file.
fn base_name(name: &str) -> String {
    name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

fn malformed(error: actix_multipart::MultipartError) -> ApiError {
    ApiError::invalid_field("body", format_args!("is not well-formed multipart/form-data: {error}"))
}
