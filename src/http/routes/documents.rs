//! `/api/v1/documents`: the knowledge base. Operators write; all signed-in users read and search.

mod disposition;
mod form;
mod upload;

use crate::{
    api_error::InternalError,
    auth::Identity,
    domain::{Document, DocumentId, Passage, is_blank},
    http::{
        error::{ErrorBody, HttpError},
        extract::{Json, Operator, PageQuery, Query, json as json_body},
        rules::JsonLimit,
        state::State,
    },
    knowledge::{DocumentFile, ExtractError, IngestError, KnowledgeBase, NewDocument},
    limiter::{Limit, Limiter},
    limits::MAX_PAGE_BYTES,
    steering::{Audit, AuditedAction},
    store::Listed,
};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, web};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use switchboard_protocol::{ApiError, ErrorCode};

/// Most passages that one search returns.
const MAX_PASSAGES: usize = 50;
/// Allowed ratio of a JSON body's size to that of its text. Escaping expands a non-ASCII byte to at most three bytes; only control
/// characters take more.
const JSON_ESCAPE: usize = 3;
/// Size limit of all fields of a body except the text, in bytes.
const OTHER_FIELDS_BYTES: usize = 4 * 1024;
/// Retry delay while other documents are being processed, in milliseconds.
const BUSY_RETRY_MS: u64 = 5_000;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/api/v1/documents").route(web::post().to(create)).route(web::get().to(list)))
        .service(web::resource("/api/v1/documents/search").route(web::post().to(search)))
        .service(web::resource("/api/v1/documents/{id}").route(web::get().to(get)).route(web::delete().to(delete)));
}

/// A document as JSON. The text is Markdown if `source` ends in `.md`, otherwise plain text.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct TextDocument {
    /// Name of the document. An existing document with this name is replaced.
    #[schema(example = "towing.md")]
    source: String,
    #[schema(example = "# Towing\n\nFit the towing eye first.")]
    text: String,
    /// Collection, by which the scope of a specialist selects documents. Defaults to the one in the text's front matter, or to
    /// none, which every specialist can use.
    #[schema(example = "specs")]
    collection: Option<String>,
}

/// A document as an uploaded file.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its schema is used: the parts are streamed")]
pub struct FileDocument {
    /// A Markdown, plain text (UTF-8), PDF or DOCX file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// Name of the document. Defaults to the file's name.
    source: Option<String>,
    /// Collection. Defaults to the one in the text's front matter, or to none.
    collection: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct DocumentsPage {
    /// Newest first.
    documents: Vec<Document>,
    /// Cursor of the next page, to pass as `before`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<DocumentId>,
}

#[derive(Deserialize, utoipa::ToSchema)]
pub struct SearchRequest {
    /// The question to find passages for.
    #[schema(example = "What is the engine power?")]
    query: String,
    /// Maximum number of passages: 1 to 50, default 5.
    limit: Option<usize>,
    /// Restricts the search to these collections and to documents without one. Absent or empty: all documents.
    #[serde(default)]
    collections: Vec<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct SearchResponse {
    /// Most relevant first. Long passages may reduce their number below `limit`.
    passages: Vec<Passage>,
}

/// Adds a document, or replaces the one with the same name.
#[utoipa::path(
    post, path = "/api/v1/documents", tag = "documents", operation_id = "create_document",
    request_body(content((TextDocument = "application/json"), (FileDocument = "multipart/form-data"))),
    responses(
        (status = 200, description = "The document replaced an existing one.", body = Document),
        (status = 201, description = "The document was added.", body = Document),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 403, description = "`FORBIDDEN`: the caller is not an operator", body = ErrorBody),
        (status = 408, description = "`REQUEST_TIMEOUT`: the upload took too long", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`: the body is too large, or its extraction takes too much memory", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`: a field is invalid, or the file cannot be read", body = ErrorBody),
        (status = 503, description = "`OVERLOADED`: too many documents are being processed", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn create(
    Operator(operator): Operator,
    request: HttpRequest,
    body: web::Payload,
    knowledge: State<KnowledgeBase>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let limit_bytes = knowledge.max_document_bytes();
    let stall_timeout = State::<JsonLimit>::of(&request).timeout;
    let body = upload::timed(body, stall_timeout);
    let reading = async {
        if request.content_type() == "multipart/form-data" {
            form::read(request.headers(), body, limit_bytes).await
        } else {
            read_json(body, limit_bytes).await
        }
    };
    let new =
        tokio::time::timeout(knowledge.upload_timeout(), reading).await.unwrap_or_else(|_| Err(upload::too_slow()));
    let new = new.inspect_err(|error| {
        if error.code == ErrorCode::RequestTimeout {
            State::<Limiter>::of(&request).hit(Limit::RequestBodyTime);
        }
    })?;
    let detail = json!({"collection": new.collection, "bytes": new.file.size_bytes()});
    let audited = AuditedAction { action: "put_document", target: Some(new.source.clone()), detail };
    let work = async move { knowledge.ingest(new).await.map_err(ApiError::from) };
    let document = audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?;
    let is_new = document.created_at_ms == document.updated_at_ms;
    Ok(if is_new { HttpResponse::Created() } else { HttpResponse::Ok() }.json(document))
}

/// Reads a document from a JSON body.
async fn read_json(mut body: upload::Body, limit_bytes: usize) -> Result<NewDocument, ApiError> {
    let body_limit = limit_bytes.saturating_mul(JSON_ESCAPE).saturating_add(OTHER_FIELDS_BYTES);
    let mut bytes = web::BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| upload::refusal(&error, "ended before it was complete"))?;
        if bytes.len() + chunk.len() > body_limit {
            return Err(too_large(limit_bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
    let TextDocument { source, text, collection } = json_body::parse(&bytes)?;
    drop(bytes);
    let file = tokio::task::spawn_blocking(move || DocumentFile::from_bytes(text.as_bytes())).await;
    let file = file.map_err(std::io::Error::other).flatten().map_err(|error| ApiError::internal(&error))?;
    Ok(NewDocument { source, collection, file, media_type: None })
}

/// Lists the documents of the knowledge base.
#[utoipa::path(
    get, path = "/api/v1/documents", tag = "documents", operation_id = "list_documents", params(PageQuery<DocumentId>),
    responses(
        (status = 200, description = "A page of documents.", body = DocumentsPage),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn list(
    _identity: Identity,
    Query(query): Query<PageQuery<DocumentId>>,
    knowledge: State<KnowledgeBase>,
) -> Result<HttpResponse, HttpError> {
    let Listed { items: documents, has_more } = knowledge.list(query.page()?).await?;
    let next = documents.last().filter(|_| has_more).map(|document| document.id);
    Ok(HttpResponse::Ok().json(DocumentsPage { documents, next }))
}

/// Returns a document's metadata.
#[utoipa::path(
    get, path = "/api/v1/documents/{id}", tag = "documents", operation_id = "get_document",
    params(("id" = DocumentId, Path)),
    responses(
        (status = 200, description = "The document.", body = Document),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 404, description = "`NOT_FOUND`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn get(
    _identity: Identity,
    id: web::Path<DocumentId>,
    knowledge: State<KnowledgeBase>,
) -> Result<HttpResponse, HttpError> {
    Ok(HttpResponse::Ok().json(knowledge.get(*id).await?))
}

/// Deletes a document from the knowledge base.
#[utoipa::path(
    delete, path = "/api/v1/documents/{id}", tag = "documents", operation_id = "delete_document",
    params(("id" = DocumentId, Path)),
    responses(
        (status = 204, description = "The document was deleted."),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 403, description = "`FORBIDDEN`: the caller is not an operator", body = ErrorBody),
        (status = 404, description = "`NOT_FOUND`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn delete(
    Operator(operator): Operator,
    id: web::Path<DocumentId>,
    knowledge: State<KnowledgeBase>,
    audit: State<Audit>,
) -> Result<HttpResponse, HttpError> {
    let id = *id;
    let document = knowledge.get(id).await?;
    let audited =
        AuditedAction { action: "delete_document", target: Some(document.source), detail: json!({"document_id": id}) };
    let work = async move { knowledge.delete(id).await.map_err(ApiError::from) };
    audit.into_inner().record::<_, ApiError>(&operator, audited, work).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Searches the knowledge base for passages relevant to a question.
#[utoipa::path(
    post, path = "/api/v1/documents/search", tag = "documents", operation_id = "search_documents",
    request_body = SearchRequest,
    responses(
        (status = 200, description = "The passages; none if nothing is relevant.", body = SearchResponse),
        (status = 400, description = "`INVALID_JSON`", body = ErrorBody),
        (status = 401, description = "`AUTH_REQUIRED`, `INVALID_TOKEN`, `EXPIRED_TOKEN`", body = ErrorBody),
        (status = 413, description = "`MESSAGE_TOO_LONG`", body = ErrorBody),
        (status = 422, description = "`INVALID_FIELD`", body = ErrorBody),
    ),
    security(("bearer" = [])),
)]
async fn search(
    _identity: Identity,
    knowledge: State<KnowledgeBase>,
    Json(request): Json<SearchRequest>,
) -> Result<HttpResponse, HttpError> {
    let limit = request.limit.unwrap_or(5);
    if !(1..=MAX_PASSAGES).contains(&limit) {
        return Err(ApiError::invalid_field("limit", format_args!("must be 1 to {MAX_PASSAGES}")).into());
    }
    if is_blank(&request.query) {
        return Err(ApiError::invalid_field("query", "must not be empty").into());
    }
    let mut passages = knowledge.search(&request.query, &request.collections, limit).await?;
    let mut bytes = 0;
    let fit = passages.iter().take_while(|passage| {
        bytes += passage.text.len();
        bytes <= MAX_PAGE_BYTES
    });
    let fit = fit.count().max(1);
    passages.truncate(fit);
    Ok(HttpResponse::Ok().json(SearchResponse { passages }))
}

fn too_large(limit_bytes: usize) -> ApiError {
    ApiError::new(
        ErrorCode::MessageTooLong,
        format!(
            "The document is over the limit of {limit_bytes} bytes. Split it, or ask the operator to raise `knowledge.max_document_bytes`."
        ),
    )
}

/// Formats an error as a sentence.
fn sentence(error: &IngestError) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::InvalidName { field, reason } => Self::invalid_field(field, reason),
            IngestError::TooLarge { limit_bytes } => too_large(limit_bytes),
            IngestError::Extract {
                error: ExtractError::TooLarge { .. } | ExtractError::OutOfMemory { .. }, ..
            } => Self::new(ErrorCode::MessageTooLong, sentence(&error)),
            IngestError::Extract { .. } => Self::new(ErrorCode::InvalidField, sentence(&error)),
            IngestError::Busy => {
                Self::overloaded("Too many documents are being processed. Please try again soon.", BUSY_RETRY_MS)
            }
            IngestError::File(_) | IngestError::Reader(_) => Self::internal(&error),
            IngestError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests;
