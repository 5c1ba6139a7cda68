//! A file that is the same for everybody until the program changes: kept by browsers, and revalidated by its `ETag`.

use actix_web::{
    HttpMessage, HttpRequest, HttpResponse,
    http::header::{CACHE_CONTROL, ETag, EntityTag, IfNoneMatch},
};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// Bytes of the hash that go into an entity tag.
const TAG_BYTES: usize = 16;

/// Answers with the file, or with 304 to a browser that has it.
pub fn static_file(request: &HttpRequest, content_type: &str, bytes: Vec<u8>) -> HttpResponse {
    let mut tag = String::with_capacity(2 * TAG_BYTES);
    for byte in &Sha256::digest(&bytes)[..TAG_BYTES] {
        let _ = write!(tag, "{byte:02x}");
    }
    let tag = EntityTag::new_strong(tag);
    let is_known = request.get_header::<IfNoneMatch>().is_some_and(|known| match known {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|known| known.weak_eq(&tag)),
    });
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    // Kept, but used only after asking: after an upgrade of the server, pages and their scripts change together.
    response.insert_header((CACHE_CONTROL, "no-cache")).insert_header(ETag(tag));
    if is_known {
        return response.finish();
    }
    response.content_type(content_type).body(bytes)
}
