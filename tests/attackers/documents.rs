//! Documents that are small until they are opened.
//!
//! Memory is measured on the program itself: in a process of its own, next to nothing else.

use crate::harness::{Program, TestApp, TestUser, eventually};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Cursor, Write},
    time::{Duration, Instant},
};
use zip::{ZipWriter, write::SimpleFileOptions};

const MIB: u64 = 1024 * 1024;
/// By how much a server may grow while it refuses a document.
const MAX_GROWTH_BYTES: u64 = 50 * MIB;

/// A DOCX whose main part is this.
fn docx(document: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, part) in [("[Content_Types].xml", &b"<Types/>"[..]), ("word/document.xml", document)] {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        archive.write_all(part).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// A PDF of one page with this content stream.
fn pdf(content: &[u8], filter: &str) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n\
        2 0 obj\n<< /Type /Pages /Kids [3 0 R] /Count 1 >>\nendobj\n\
        3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << >> >>\nendobj\n"
        .to_vec();
    write!(file, "4 0 obj\n<< /Length {} /Filter {filter} >>\nstream\n", content.len()).unwrap();
    file.extend_from_slice(content);
    file.extend_from_slice(b"\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n");
    file
}

fn deflated(bytes: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    bytes.for_each(|bytes| encoder.write_all(&bytes).unwrap());
    encoder.finish().unwrap()
}

/// So many MiB of blanks, deflated.
fn blanks(mib: usize) -> Vec<u8> {
    deflated((0..mib).map(|_| vec![b' '; 1024 * 1024]))
}

async fn upload(url: &str, operator: &TestUser, name: &str, file: &[u8]) -> (u16, Value) {
    let head = format!("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    let request = reqwest::Client::new()
        .post(format!("{url}/api/v1/documents"))
        .bearer_auth(&operator.access_token)
        .header("Content-Type", "multipart/form-data; boundary=x")
        .body([head.as_bytes(), file, b"\r\n--x--\r\n"].concat());
    let response = request.send().await.unwrap_or_else(|error| panic!("{name}: {error}"));
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// The processes that a process has started and that still run.
fn children(pid: u32) -> Vec<u32> {
    let is_child = |entry: &fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name, in parentheses, may hold anything.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(pid)
    };
    let entries = fs::read_dir("/proc").unwrap().flatten().filter(is_child);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn memory_hungry_documents_kill_the_reader_and_not_the_server() {
    let server =
        Program::start(&[("knowledge.extract_memory_bytes", "134217728"), ("knowledge.extract_timeout_s", "600")]);
    let operator = server.operator().await;
    // What the first document of any kind costs is none of its fault.
    assert_eq!(upload(&server.url, &operator, "first.md", b"Words.").await.0, 201);
    let nested = deflated(std::iter::once(blanks(512)));
    let states = deflated((0..10).map(|_| b"q ".repeat(1_000_000)));
    let bombs = [
        ("two-filters.pdf", pdf(&nested, "[/FlateDecode /FlateDecode]")),
        ("states.pdf", pdf(&states, "/FlateDecode")),
        ("blanks.pdf", pdf(&blanks(512), "/FlateDecode")),
    ];
    for (name, bomb) in bombs {
        assert!((bomb.len() as u64) < MIB, "{name} has {} bytes", bomb.len());
        let before = server.reset_peak_resident_bytes();
        let (status, answer) = upload(&server.url, &operator, name, &bomb).await;
        let growth = server.peak_resident_bytes().saturating_sub(before);
        assert!(growth < MAX_GROWTH_BYTES, "{name} made the server grow by {} MiB", growth / MIB);
        assert_eq!((status, &answer["code"]), (413, &json!("MESSAGE_TOO_LONG")), "{name}: {answer}");
        let error = answer["error"].as_str().unwrap();
        for part in [name, "knowledge.extract_memory_bytes = 134217728", "split it"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
        assert_eq!(children(server.pid()), [0_u32; 0], "{name} left a process behind");
    }
    let (status, _) = upload(&server.url, &operator, "last.md", b"Words.").await;
    assert_eq!(status, 201, "the server reads documents as before");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn document_of_many_paragraphs_does_not_grow_the_server() {
    let server = Program::start(&[]);
    let operator = server.operator().await;
    assert_eq!(upload(&server.url, &operator, "first.md", b"Words.").await.0, 201);
    let file = docx("<w:p><w:r><w:t>ab</w:t></w:r></w:p>".repeat(100_000).as_bytes());
    let before = server.reset_peak_resident_bytes();
    let (status, answer) = upload(&server.url, &operator, "paragraphs.docx", &file).await;
    let growth = server.peak_resident_bytes().saturating_sub(before);
    assert_eq!(status, 201, "{answer}");
    assert!(growth < MAX_GROWTH_BYTES, "it grew by {} MiB", growth / MIB);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn document_reader_is_killed_at_the_deadline_and_frees_its_permit() {
    // A program that never answers, in place of a parser that never ends: what is tested is the parent.
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("hangs");
    fs::write(&program, "#!/bin/sh\nsleep 600 &\nwait\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Program::start(&[
        ("knowledge.extract_timeout_s", "2"),
        ("knowledge.extract_program", program.to_str().unwrap()),
    ]);
    let operator = server.operator().await;
    for _ in 0..3 {
        let began = Instant::now();
        let document = upload(&server.url, &operator, "slow.md", b"Words.");
        let watch = async {
            eventually(async || {
                let readers = children(server.pid());
                if readers.is_empty() { Err("no reader has started") } else { Ok(readers) }
            })
            .await
        };
        let ((status, answer), readers) = futures_util::future::join(document, watch).await;
        assert_eq!((status, &answer["code"]), (422, &json!("INVALID_FIELD")), "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("knowledge.extract_timeout_s"), "{answer}");
        assert!(began.elapsed() >= Duration::from_secs(2));
        for reader in readers {
            assert!(!fs::exists(format!("/proc/{reader}")).unwrap(), "process {reader} still runs");
        }
    }
    let sleeping = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let path = entry.path();
        fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == server.folder())
            && fs::read_to_string(path.join("cmdline")).is_ok_and(|line| line.starts_with("sleep"))
    });
    assert_eq!(sleeping.count(), 0, "what the reader had started still runs");
    let log = server.log_when(|log| log.matches("killed the child process").count() == 3).await;
    assert!(!log.contains("slow.md"), "the name of a document is in the log: {log}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn expensive_documents_are_read_or_refused_in_time() {
    let server = Program::start(&[("knowledge.extract_timeout_s", "120")]);
    let operator = server.operator().await;
    let file = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len());
    for (name, text) in [
        ("line.md", file("word ", 500_000)),
        ("word.txt", file("a", 500_000)),
        ("list.md", (0..2_000).map(|depth| format!("{}- a\n", "  ".repeat(depth % 500))).collect()),
        ("quotes.md", file("> ", 250_000) + "a\n" + &file("a\n", 250_000)),
        ("table.md", file("| a | b |\n", 500_000)),
        ("headings.md", file("# a\n", 500_000)),
        ("fences.md", file("```\n", 500_000)),
        ("brackets.md", file("[", 500_000)),
        ("pictures.md", file("![a](data:image/png;base64,AAAA ", 500_000)),
    ] {
        let began = Instant::now();
        let (status, answer) = upload(&server.url, &operator, name, text.as_bytes()).await;
        println!("{name}: {status} after {:?}", began.elapsed());
        assert!(matches!(status, 201 | 413 | 422), "{name}: {status} {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(!error.contains("extract_timeout_s"), "{name}: {error}");
    }
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn decompression_bomb_is_refused() {
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
        let (status, answer) = upload(&app.url, &operator, "bomb.docx", &bomb).await;
        assert!(matches!(status, 413 | 422), "{what}: {status} {answer}");
        assert!(["MESSAGE_TOO_LONG", "INVALID_FIELD"].iter().any(|code| answer["code"] == *code), "{what}: {answer}");
    }
    let (_, list) = app.get("/api/v1/documents", Some(&operator)).await;
    assert_eq!(list["documents"], json!([]));
    assert_eq!(app.get("/health/ready", None).await.0, 200);
}
