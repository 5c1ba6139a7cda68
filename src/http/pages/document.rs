//! `/documents/{id}`: a document passage by passage, for the holder of a signed link to it.
//!
//! The page is for people who may have no account here: readers of answers that another product shows. It loads a style and
//! nothing else. A document can be large, so its passages are read and sent in batches.

use super::markdown::{markdown_html, plain_html};
use crate::{
    api_error::InternalError,
    auth::{DocumentLinkError, DocumentLinks},
    domain::{Document, DocumentId},
    http::{error::HttpError, state::State},
    knowledge::{KnowledgeBase, MediaType},
    store::{DocumentPassage, StoreError},
};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{CONTENT_SECURITY_POLICY, HeaderValue},
    },
    web::{self, Bytes},
};
use askama::Template;
use futures_util::{Stream, StreamExt, stream};
use std::{
    error::Error,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};
use switchboard_protocol::ApiError;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/documents/{document_id}").route(web::get().to(document_page)));
}

/// Allows the page its style and its icon, and no script.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// End of the page.
const TAIL: &str = "</main>\n</body>\n</html>\n";

#[derive(Template)]
#[template(path = "document/head.html")]
struct Head<'a> {
    kind: &'a str,
    title: &'a str,
    facts: &'a str,
}

#[derive(Template)]
#[template(path = "document/passages.html")]
struct Passages {
    passages: Vec<PassageView>,
}

struct PassageView {
    number: u32,
    /// Headings of the section that begins with this passage, outermost first.
    headings: Option<Vec<String>>,
    /// Safe HTML.
    html: String,
}

async fn document_page(
    request: HttpRequest,
    knowledge: State<KnowledgeBase>,
    links: State<DocumentLinks>,
) -> Result<HttpResponse, HttpError> {
    let id = request.match_info().get("document_id").and_then(|id| id.parse().ok());
    let token = form_urlencoded::parse(request.query_string().as_bytes()).find(|(name, _)| name == "t");
    let (Some(id), Some((_, token))) = (id, token) else { return refusal(DocumentLinkError::Invalid) };
    if let Err(error) = links.verify(id, &token) {
        return refusal(error);
    }
    let document = match knowledge.get(id).await {
        Ok(document) => document,
        Err(StoreError::NotFound(_)) => {
            let text = "It has been deleted, or replaced under another name.";
            return message(StatusCode::NOT_FOUND, "This document no longer exists", text);
        }
        Err(error) => {
            log::error!("document could not be read for its page: {error}");
            let text = "The server cannot read its documents at the moment. Reload the page in a minute.";
            return message(StatusCode::SERVICE_UNAVAILABLE, "This document cannot be shown now", text);
        }
    };
    let head = head("Source", &document.source, &facts(&document))?;
    let is_markdown =
        matches!(MediaType::claimed("", Some(&document.media_type)), Some(MediaType::Markdown | MediaType::Docx));
    let reader = Reader { knowledge: knowledge.into_inner(), id, is_markdown, last: 0, title: String::new() };
    Ok(response(StatusCode::OK).streaming(page(head, reader)))
}

/// Answers a link that gives no access.
fn refusal(error: DocumentLinkError) -> Result<HttpResponse, HttpError> {
    match error {
        DocumentLinkError::Expired => {
            let text =
                "Links to sources are valid for seven days. Open the conversation again, whose sources have new links.";
            message(StatusCode::GONE, "This link has expired", text)
        }
        DocumentLinkError::Invalid => {
            let text =
                "It is incomplete, or was not made by this server. Open the source from the answer that cites it.";
            message(StatusCode::FORBIDDEN, "This link is not valid", text)
        }
    }
}

/// Answers with a page that holds only a message.
fn message(status: StatusCode, title: &str, text: &str) -> Result<HttpResponse, HttpError> {
    let body = head("Source", title, "")? + "<p class=\"message\">" + text + "</p>\n" + TAIL;
    Ok(response(status).body(body))
}

fn response(status: StatusCode) -> actix_web::HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header(("X-Robots-Tag", "noindex"));
    response
}

fn head(kind: &str, title: &str, facts: &str) -> Result<String, HttpError> {
    Ok(Head { kind, title, facts }.render().map_err(|error| ApiError::internal(&error))?)
}

/// Describes a document in one line.
fn facts(document: &Document) -> String {
    let updated = UNIX_EPOCH + Duration::from_millis(u64::try_from(document.updated_at_ms.0).unwrap_or_default());
    // Such as `Fri, 27 Nov 2026 12:00:00 GMT`.
    let date = httpdate::fmt_http_date(updated).get(5..16).unwrap_or_default().to_owned();
    let passages = if document.chunks == 1 { "passage" } else { "passages" };
    format!("{} {passages}, updated {date}", document.chunks)
}

/// Position in a document.
struct Reader {
    knowledge: Arc<KnowledgeBase>,
    id: DocumentId,
    is_markdown: bool,
    /// Number of the last passage that has been read.
    last: u32,
    /// Title of that passage.
    title: String,
}

impl Reader {
    /// Reads the next passages as HTML; `None` after the last.
    async fn next(&mut self) -> Result<Option<String>, Box<dyn Error>> {
        let passages = self.knowledge.passages(self.id, self.last).await?;
        let Some(last) = passages.last() else { return Ok(None) };
        self.last = last.number;
        let passages = passages.into_iter().map(|passage| self.view(passage)).collect();
        Ok(Some(Passages { passages }.render()?))
    }

    fn view(&mut self, DocumentPassage { number, title, text }: DocumentPassage) -> PassageView {
        let begins_section = !title.is_empty() && title != self.title;
        let headings = begins_section.then(|| title.split(" › ").map(str::to_owned).collect());
        self.title = title;
        let html = if self.is_markdown { markdown_html(&text) } else { plain_html(&text) };
        PassageView { number, headings, html }
    }
}

/// Returns the parts of a page. A failure of the store ends the response, so that the browser shows it as incomplete.
fn page(head: String, reader: Reader) -> impl Stream<Item = Result<Bytes, Box<dyn Error>>> {
    let body = stream::try_unfold(Some(reader), |reader| async {
        let Some(mut reader) = reader else { return Ok(None) };
        match reader.next().await {
            Ok(Some(html)) => Ok(Some((Bytes::from(html), Some(reader)))),
            Ok(None) => Ok(Some((Bytes::from_static(TAIL.as_bytes()), None))),
            Err(error) => {
                log::error!("page of a document ended early: {error}");
                Err(error)
            }
        }
    });
    stream::once(std::future::ready(Ok(Bytes::from(head)))).chain(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::test_support::{access_token, user},
        domain::{Chunk, Role, UnixMillis},
        http::{
            error,
            state::{WorkerState, test_support::state},
        },
        store::DocumentStore,
    };
    use actix_web::{
        App,
        test::{TestRequest, call_service, init_service, read_body},
        web::Data,
    };
    use tempfile::TempDir;

    /// A document of `passages` passages, and a link to it that was made at a time.
    struct Fixture {
        state: Data<WorkerState>,
        id: DocumentId,
        _folder: TempDir,
    }

    impl Fixture {
        async fn new(media_type: &str, passages: Vec<Chunk>) -> Self {
            let mut documents: Option<Arc<dyn DocumentStore>> = None;
            let (state, folder) = state(|_, store| documents = Some(Arc::new(store.clone())));
            let id = DocumentId::new();
            let document = Document {
                id,
                source: "a <manual>.md".to_owned(),
                collection: String::new(),
                media_type: media_type.to_owned(),
                bytes: 1,
                chunks: u32::try_from(passages.len()).unwrap(),
                created_at_ms: UnixMillis(0),
                updated_at_ms: UnixMillis(0),
            };
            documents.unwrap().put_document(document, passages).await.unwrap();
            Self { state, id, _folder: folder }
        }

        fn link(&self, now: UnixMillis) -> String {
            let url = self.state.app.document_links.url_at(self.id, 1, now).unwrap();
            url.split('#').next().unwrap().to_owned()
        }

        async fn get(&self, path: &str) -> (u16, String) {
            let app = App::new().wrap(error::error_bodies()).app_data(self.state.clone()).configure(routes);
            let response = call_service(&init_service(app).await, TestRequest::with_uri(path).to_request()).await;
            let content_type = response.headers().get("Content-Type").unwrap();
            assert_eq!(content_type, "text/html; charset=utf-8", "{path}");
            assert!(response.headers().get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap().contains("'none'"));
            let status = response.status().as_u16();
            (status, String::from_utf8(read_body(response).await.to_vec()).unwrap())
        }
    }

    fn chunk(title: &str, text: &str) -> Chunk {
        Chunk { title: title.to_owned(), text: text.to_owned(), keywords: vec!["hidden".to_owned()] }
    }

    #[actix_web::test]
    async fn passages_are_shown_in_order_with_their_headings() {
        let passages = vec![
            chunk("Oil", "**First**"),
            chunk("Oil", "<b>Second</b>"),
            chunk("Oil › Grades", "| A |\n|---|\n| <i>x</i> |"),
        ];
        let fixture = Fixture::new("text/markdown", passages).await;
        let (status, page) = fixture.get(&fixture.link(UnixMillis::now())).await;
        assert_eq!(status, 200, "{page}");
        for part in
            ["<h1>a &#60;manual&#62;.md</h1>", "<strong>First</strong>", "&lt;b&gt;Second", "<th scope=\"col\">A"]
        {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert_eq!(page.matches("<h2").count(), 2, "{page}");
        let at = |number: u32| page.find(&format!("<section id=\"passage-{number}\"")).unwrap();
        assert!(at(1) < at(2) && at(2) < at(3) && page.ends_with(TAIL));
        assert!(!page.contains("<script") && !page.contains(" style=") && !page.contains("<i>"), "{page}");
    }

    #[actix_web::test]
    async fn a_plain_text_keeps_its_lines_and_its_characters() {
        let fixture = Fixture::new("text/plain", vec![chunk("", "1 * 2 * 3\n# 4")]).await;
        let (_, page) = fixture.get(&fixture.link(UnixMillis::now())).await;
        assert!(page.contains("<p class=\"lines\">1 * 2 * 3\n# 4</p>") && !page.contains("<h2"), "{page}");
    }

    #[actix_web::test]
    async fn a_long_document_is_complete() {
        let passages = (0..1_000).map(|number| chunk("", &format!("{number} {}", "x".repeat(1_000)))).collect();
        let fixture = Fixture::new("text/plain", passages).await;
        let (_, page) = fixture.get(&fixture.link(UnixMillis::now())).await;
        assert_eq!(page.matches("<section").count(), 1_000);
        assert!(page.contains("id=\"passage-1000\"") && page.ends_with(TAIL));
    }

    #[actix_web::test]
    async fn a_link_gives_access_to_its_document_for_seven_days() {
        let fixture = Fixture::new("text/plain", vec![chunk("", "secret")]).await;
        let now = UnixMillis::now();
        let link = fixture.link(now);
        let other = link.replace(&fixture.id.to_string(), &DocumentId::new().to_string());
        let access = format!("/documents/{}?t={}", fixture.id, access_token(&user("ada@example.org", Role::Operator)));
        let week_ago = fixture.link(UnixMillis(now.0 - 7 * 24 * 3_600 * 1_000));
        let without_token = format!("/documents/{}", fixture.id);
        for (path, wanted) in [
            (&link, 200),
            (&week_ago, 410),
            (&other, 403),
            (&access, 403),
            (&without_token, 403),
            (&format!("{without_token}?t="), 403),
            (&"/documents/x?t=1.2".to_owned(), 403),
        ] {
            let (status, page) = fixture.get(path).await;
            assert_eq!(status, wanted, "{path}: {page}");
            assert_eq!(page.contains("secret"), wanted == 200, "{path}");
        }
        fixture.state.app.knowledge.delete(fixture.id).await.unwrap();
        assert_eq!(fixture.get(&link).await.0, 404);
    }
}
