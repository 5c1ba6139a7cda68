//! Reader of a document uploaded as `multipart/form-data`.

use super::{
    OTHER_FIELDS_BYTES,
    disposition::Disposition,
    too_large,
    upload::{self, Spool},
};
use crate::{
    api_error::InternalError,
    knowledge::{DocumentFile, NewDocument},
};
use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue};
use futures_util::TryStreamExt;
use switchboard_protocol::ApiError;

/// Most parts of one form, including unknown ones.
const MAX_PARTS: usize = 16;

/// Reads the parts `file`, `source` and `collection`, and skips others.
pub(super) async fn read(headers: &HeaderMap, body: upload::Body, limit_bytes: usize) -> Result<NewDocument, ApiError> {
    let mut form = Multipart::new(&as_mixed(headers), body);
    let (mut file, mut source, mut collection) = (None, None, None);
    let mut parts = 0;
    while let Some(mut part) = form.try_next().await.map_err(malformed)? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(ApiError::invalid_field("body", format_args!("must have at most {MAX_PARTS} parts")));
        }
        let disposition = part.headers().get(CONTENT_DISPOSITION).map(|value| Disposition::parse(value.as_bytes()));
        let Some(disposition) = disposition.filter(|disposition| disposition.is_form_data) else {
            return Err(ApiError::invalid_field("body", "has a part without `Content-Disposition: form-data`"));
        };
        match disposition.name.as_deref().unwrap_or_default() {
            "file" if file.is_none() => {
                let media_type = part.content_type().map(|mime| mime.essence_str().to_owned());
                file = Some((disposition.file_name(), media_type, spool(&mut part, limit_bytes).await?));
            }
            "file" => return Err(ApiError::invalid_field("file", "must occur only once")),
            "source" => source = Some(read_text("source", &mut part).await?),
            "collection" => collection = Some(read_text("collection", &mut part).await?),
            // Bounded like a file, so that an unknown part cannot be endless.
            _ => skip(&mut part, limit_bytes).await?,
        }
    }
    let (name, media_type, file) = file.ok_or_else(|| ApiError::invalid_field("file", "is missing"))?;
    let source =
        source.or(name).ok_or_else(|| ApiError::invalid_field("source", "is missing, and the file has no name"))?;
    Ok(NewDocument { source, collection, file, media_type })
}

/// Returns the `Content-Type` as `multipart/mixed`. For `form-data`, actix-multipart parses each part's `Content-Disposition` itself
/// and refuses file names that are not UTF-8, which .NET and older clients send.
fn as_mixed(headers: &HeaderMap) -> HeaderMap {
    let mut mixed = HeaderMap::new();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let parameters = content_type.split_once(';').map_or("", |(_, parameters)| parameters);
    if let Ok(value) = HeaderValue::from_str(&format!("multipart/mixed;{parameters}")) {
        mixed.insert(CONTENT_TYPE, value);
    }
    mixed
}

/// Writes a part to a temporary file.
async fn spool(part: &mut Field, limit_bytes: usize) -> Result<DocumentFile, ApiError> {
    let internal = |error: std::io::Error| ApiError::internal(&error);
    let mut file = Spool::new(limit_bytes).await.map_err(internal)?;
    while let Some(chunk) = part.try_next().await.map_err(malformed)? {
        if !file.write(&chunk).await.map_err(internal)? {
            return Err(too_large(limit_bytes));
        }
    }
    file.finish().await.map_err(internal)
}

async fn skip(part: &mut Field, limit_bytes: usize) -> Result<(), ApiError> {
    let mut bytes = 0;
    while let Some(chunk) = part.try_next().await.map_err(malformed)? {
        bytes += chunk.len();
        if bytes > limit_bytes {
            return Err(too_large(limit_bytes));
        }
    }
    Ok(())
}

async fn read_text(name: &'static str, part: &mut Field) -> Result<String, ApiError> {
    let refused = || ApiError::invalid_field(name, format_args!("must be UTF-8 of at most {OTHER_FIELDS_BYTES} bytes"));
    let mut bytes = Vec::new();
    while let Some(chunk) = part.try_next().await.map_err(malformed)? {
        if bytes.len() + chunk.len() > OTHER_FIELDS_BYTES {
            return Err(refused());
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| refused())
}

fn malformed(error: MultipartError) -> ApiError {
    match error {
        MultipartError::Payload(error) => {
            let reason = format!("is not well-formed multipart/form-data: {error}");
            match upload::refusal(&error, &reason) {
                refusal if refusal.code == switchboard_protocol::ErrorCode::RequestTimeout => refusal,
                _ => ApiError::invalid_field("body", reason),
            }
        }
        error => ApiError::invalid_field("body", format_args!("is not well-formed multipart/form-data: {error}")),
    }
}
