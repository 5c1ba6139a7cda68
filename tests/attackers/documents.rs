//! Documents that are small until they are opened.

use crate::harness::TestApp;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use zip::{ZipWriter, write::SimpleFileOptions};

/// A DOCX whose text is this.
fn docx(document: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, part) in [("[Content_Types].xml", &b"<Types/>"[..]), ("word/document.xml", document)] {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(part).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[actix_web::test]
async fn a_bomb_is_refused_and_the_server_stays_well() {
    let entities =
        br#"<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><w:document>&b;</w:document>"#;
    let bombs: [(&str, Vec<u8>); 3] = [
        ("16 MiB of nothing", docx(&vec![b' '; 16 * 1024 * 1024])),
        ("a tower of elements", docx("<w:sdt><w:sdtContent>".repeat(200_000).as_bytes())),
        ("entities of entities", docx(entities)),
    ];
    // Made before: a connection that waits meanwhile would be closed.
    let app = TestApp::with(|config| config.knowledge.max_text_bytes = 100_000).await;
    let operator = app.operator().await;
    for (what, bomb) in bombs {
        assert!(bomb.len() < 1024 * 1024, "{what} is {} bytes", bomb.len());
        let mut body = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"bomb.docx\"\r\n\r\n".to_vec();
        body.extend(bomb);
        body.extend(b"\r\n--x--\r\n");
        let request = app
            .http
            .post(format!("{}/api/v1/documents", app.url))
            .bearer_auth(&operator.access_token)
            .header("Content-Type", "multipart/form-data; boundary=x")
            .body(body);
        let response = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = response.status().as_u16();
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        assert!(matches!(status, 413 | 422), "{what}: {status} {answer}");
        assert!(["MESSAGE_TOO_LONG", "INVALID_FIELD"].iter().any(|code| answer["code"] == *code), "{what}: {answer}");
    }
    let (_, list) = app.get("/api/v1/documents", Some(&operator)).await;
    assert_eq!(list["documents"], json!([]));
    assert_eq!(app.get("/health/ready", None).await.0, 200);
    app.finish().await;
}
