//! Search by meaning with a fake embedding model, whose vectors follow a few subjects.

use crate::{
    harness::{TestApp, TestUser, eventually},
    provider::upstream::{Step, Upstream, answers},
};
use diesel::{Connection, QueryableByName, RunQueryDsl, SqliteConnection, sql_query, sql_types::BigInt};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use switchboard::config::{Config, EmbeddingsConfig, ProviderKind};

/// Words of each subject: one axis of the vectors of the fake model.
const SUBJECTS: [&[&str]; 3] = [&["open", "geöffnet"], &["page", "drucken"], &["borrow", "ausleihen"]];
const DOCUMENTS: [(&str, &str); 3] = [
    ("hours.md", "# Opening hours\n\nThe library is open from nine to six."),
    ("printing.md", "# Printing\n\nA page in colour costs fifty cents."),
    ("loans.md", "# Loans\n\nYou may borrow books for four weeks."),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Right,
    NotFinite,
    WrongLength,
    WrongCount,
    Fails,
    TooLarge,
    Hangs,
}

/// A model server that answers in the mode of the moment.
struct FakeModel {
    upstream: Upstream,
    mode: Arc<Mutex<Mode>>,
}

impl FakeModel {
    async fn start() -> Self {
        let mode = Arc::new(Mutex::new(Mode::Right));
        let current = Arc::clone(&mode);
        let upstream = Upstream::answering(move |request| {
            let mode = *current.lock().unwrap();
            let inputs: Vec<&str> =
                request["input"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
            match mode {
                Mode::Hangs => vec![Step::Stall],
                Mode::Fails => answers("500 Internal Server Error", "", "{}"),
                Mode::TooLarge => vec![
                    Step::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()),
                    Step::Repeat(vec![b' '; 1 << 16]),
                ],
                mode => answers("200 OK", "content-type: application/json\r\n", &response(&inputs, mode)),
            }
        })
        .await;
        Self { upstream, mode }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Texts of all requests so far whose `input_type` is this.
    fn inputs(&self, input_type: &str) -> Vec<String> {
        let requests = self.upstream.requests();
        let bodies = requests.iter().map(|request| &request.body).filter(|body| body["input_type"] == input_type);
        bodies.flat_map(|body| body["input"].as_array().unwrap()).map(|it| it.as_str().unwrap().to_owned()).collect()
    }

    fn config(&self, config: &mut Config) {
        config.provider.kind = ProviderKind::Extractive;
        config.provider.extractive.interval_ms = 0;
        config.embeddings = EmbeddingsConfig {
            base_url: Some(self.upstream.base_url()),
            api_key: Some("sk-secret".into()),
            model: Some("fake".to_owned()),
            query_input_type: Some("query".to_owned()),
            passage_input_type: Some("passage".to_owned()),
            passage_prefix: Some("passage: ".to_owned()),
            batch_passages: 2,
            // The machine may be busy with other tests.
            query_timeout_ms: 20_000,
            ..EmbeddingsConfig::default()
        };
    }

    async fn app(&self) -> TestApp {
        TestApp::with(|config| self.config(config)).await
    }
}

fn vector(text: &str) -> Vec<f32> {
    let text = text.to_lowercase();
    let about = |words: &[&str]| if words.iter().any(|word| text.contains(word)) { 1.0 } else { 0.0 };
    SUBJECTS.iter().map(|words| about(words)).chain([0.2]).collect()
}

fn response(inputs: &[&str], mode: Mode) -> String {
    let mut vectors: Vec<Value> = inputs.iter().map(|text| json!(vector(text))).collect();
    match mode {
        // A notation that Python writes, and that is no JSON.
        Mode::NotFinite => return format!("{{\"data\":[{{\"index\":0,\"embedding\":[NaN,1,1,{}]}}]}}", vectors.len()),
        Mode::WrongLength => vectors.iter_mut().for_each(|vector| vector.as_array_mut().unwrap().push(json!(1))),
        Mode::WrongCount => vectors.push(json!([1, 0, 0, 0])),
        _ => {}
    }
    // In another order: the index counts.
    let data =
        vectors.iter().enumerate().rev().map(|(index, embedding)| json!({"index": index, "embedding": embedding}));
    json!({"data": data.collect::<Vec<_>>(), "model": "fake"}).to_string()
}

async fn put(app: &TestApp, operator: &TestUser, source: &str, text: &str) -> Value {
    let document = json!({"source": source, "text": text});
    let (status, document) = app.post("/api/v1/documents", Some(operator), &document).await;
    assert!(status == 201 || status == 200, "{document}");
    document
}

async fn put_all(app: &TestApp, operator: &TestUser) {
    for (source, text) in DOCUMENTS {
        put(app, operator, source, text).await;
    }
}

/// Waits until so many passages have a vector, and none has not.
async fn all_embedded(app: &TestApp, passages: u32) {
    app.metrics_when(|page| {
        let embedded = page.of("switchboard_passages") - page.of("switchboard_passages_without_vector");
        embedded == f64::from(passages) && page.of("switchboard_passages") == f64::from(passages)
    })
    .await;
}

/// Waits until questions are embedded.
async fn is_used(app: &TestApp, user: &TestUser) {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    eventually(async || {
        let question = format!("Wann habt ihr geöffnet, {}?", ASKED.fetch_add(1, Ordering::Relaxed));
        let (_, account) = ask(app, user, &question).await;
        if account["methods"]["embeddings"] == "used" { Ok(()) } else { Err(account) }
    })
    .await;
}

/// Number of vectors in the database.
fn stored_vectors(app: &TestApp) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let mut database = SqliteConnection::establish(app.database_url().trim_start_matches("sqlite://")).unwrap();
    sql_query("SELECT count(*) AS n FROM chunk_vectors").get_result::<Count>(&mut database).unwrap().n
}

/// Asks in a conversation of its own. Returns the name of the first source and the account of the search.
pub async fn ask(app: &TestApp, user: &TestUser, question: &str) -> (String, Value) {
    let mut socket = app.socket().signed_in(user).await;
    let turn = socket.ask(question).await;
    socket.close().await;
    let metadata = &turn.terminal["metadata"];
    let source = metadata["sources"][0]["source"].as_str().unwrap_or_default().to_owned();
    (source, metadata["retrieval"].clone())
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_question_without_a_word_of_its_passage_finds_it() {
    let model = FakeModel::start().await;
    let app = model.app().await;
    let operator = app.operator().await;
    put_all(&app, &operator).await;
    all_embedded(&app, 3).await;
    is_used(&app, &operator).await;
    for (question, source) in [("Wann habt ihr geöffnet?", "hours.md"), ("Kann ich etwas ausleihen?", "loans.md")] {
        let (found, account) = ask(&app, &operator, question).await;
        assert_eq!((found.as_str(), &account["methods"]["embeddings"]), (source, &json!("used")), "{account}");
        assert_eq!(account["methods"]["word_vectors"], Value::Null, "{account}");
    }
    let search = json!({"query": "Was kostet drucken?", "limit": 1});
    let (_, found) = app.post("/api/v1/documents/search", Some(&operator), &search).await;
    assert_eq!(found["passages"][0]["source"], "printing.md");
    let mut passages = model.inputs("passage");
    passages.sort();
    assert_eq!(passages.len(), 3);
    assert_eq!(passages[0], "passage: Loans\nYou may borrow books for four weeks.");
    let head = &model.upstream.requests()[0].head;
    assert!(head.starts_with("POST /v1/embeddings ") && head.contains("Bearer sk-secret"), "{head}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_model_that_fails_leaves_the_search_by_words() {
    let model = FakeModel::start().await;
    let app = TestApp::with(|config| {
        model.config(config);
        config.embeddings.query_timeout_ms = 2_000;
    })
    .await;
    let operator = app.operator().await;
    put_all(&app, &operator).await;
    all_embedded(&app, 3).await;
    is_used(&app, &operator).await;
    let modes = [Mode::NotFinite, Mode::WrongLength, Mode::WrongCount, Mode::Fails, Mode::TooLarge, Mode::Hangs];
    for (n, mode) in modes.into_iter().enumerate() {
        model.set(mode);
        let question = format!("Is colour number {n} any good?");
        let (found, account) = ask(&app, &operator, &question).await;
        assert_eq!((found.as_str(), &account["methods"]["embeddings"]), ("printing.md", &json!("failed")), "{mode:?}");
        // Nobody waits for it a second time, until it has recovered.
        let began = Instant::now();
        let (_, account) = ask(&app, &operator, &format!("Is red number {n} any good?")).await;
        assert_eq!(account["methods"]["embeddings"], "failed", "{mode:?}");
        assert!(mode != Mode::Hangs || began.elapsed() < Duration::from_millis(1_900), "{:?}", began.elapsed());
        model.set(Mode::Right);
        is_used(&app, &operator).await;
    }
    assert_eq!(stored_vectors(&app), 3);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_model_that_hangs_delays_the_search_by_less_than_300_ms() {
    let model = FakeModel::start().await;
    let app = TestApp::with(|config| {
        model.config(config);
        config.embeddings.query_timeout_ms = EmbeddingsConfig::default().query_timeout_ms;
    })
    .await;
    let operator = app.operator().await;
    put_all(&app, &operator).await;
    all_embedded(&app, 3).await;
    is_used(&app, &operator).await;
    // The machine may be busy with other tests: the fastest of several counts.
    let mut fastest = Duration::MAX;
    for n in 0..4 {
        model.set(Mode::Hangs);
        let before = model.upstream.requests().len();
        let search = json!({"query": format!("Warum quietscht das Lenkrad {n}?")});
        let began = Instant::now();
        let (status, _) = app.post("/api/v1/documents/search", Some(&operator), &search).await;
        fastest = fastest.min(began.elapsed());
        assert_eq!(status, 200);
        assert!(model.upstream.requests().len() > before, "the question was not embedded");
        model.set(Mode::Right);
        is_used(&app, &operator).await;
    }
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn ingesting_never_waits_and_bad_vectors_are_not_stored() {
    let model = FakeModel::start().await;
    model.set(Mode::Hangs);
    let app = TestApp::with(|config| {
        model.config(config);
        config.embeddings.dimensions = Some(4);
        config.embeddings.batch_timeout_ms = 500;
    })
    .await;
    let operator = app.operator().await;
    put_all(&app, &operator).await;
    let (found, _) = ask(&app, &operator, "What does a page in colour cost?").await;
    assert_eq!(found, "printing.md");
    for mode in [Mode::WrongLength, Mode::NotFinite] {
        model.set(mode);
        let before = model.upstream.requests().len();
        eventually(async || {
            let requests = model.upstream.requests().len();
            if requests > before { Ok(()) } else { Err(requests) }
        })
        .await;
        assert_eq!(stored_vectors(&app), 0, "{mode:?}");
    }
    model.set(Mode::Right);
    all_embedded(&app, 3).await;
    assert_eq!(stored_vectors(&app), 3);
    assert_eq!(model.upstream.requests()[0].body["dimensions"], 4);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn vectors_go_with_their_passages() {
    let model = FakeModel::start().await;
    let app = model.app().await;
    let operator = app.operator().await;
    put_all(&app, &operator).await;
    all_embedded(&app, 3).await;
    let replaced = put(&app, &operator, "hours.md", "# Keys\n\nYou may borrow keys here.").await;
    all_embedded(&app, 3).await;
    assert_eq!(stored_vectors(&app), 3);
    let (found, _) = ask(&app, &operator, "Wann habt ihr geöffnet?").await;
    assert_ne!(found, "hours.md", "the vector of the earlier version");
    let path = format!("/api/v1/documents/{}", replaced["id"].as_str().unwrap());
    assert_eq!(app.delete(&path, Some(&operator)).await.0, 204);
    all_embedded(&app, 2).await;
    assert_eq!(stored_vectors(&app), 2);
}

#[actix_web::rt::test(system = "crate::harness::System")]
async fn a_restart_embeds_nothing_again_and_another_model_everything() {
    let model = FakeModel::start().await;
    let app = model.app().await;
    let operator = app.operator().await;
    put_all(&app, &operator).await;
    all_embedded(&app, 3).await;
    app.stop().await;
    let restarted = async |change: fn(&mut Config)| {
        let server = TestApp::with(|config| {
            model.config(config);
            config.database.url = app.database_url().to_owned();
            change(config);
        })
        .await;
        all_embedded(&server, 3).await;
        // The search uses the vectors of this model.
        is_used(&server, &operator).await;
        assert_eq!(ask(&server, &operator, "Wann habt ihr geöffnet?").await.0, "hours.md");
        assert_eq!(stored_vectors(&server), 3);
        server.stop().await;
        model.inputs("passage").len()
    };
    assert_eq!(restarted(|_| {}).await, 3);
    assert_eq!(restarted(|config| config.embeddings.model = Some("other".to_owned())).await, 6);
    assert_eq!(restarted(|config| config.embeddings.passage_prefix = None).await, 9);
}
