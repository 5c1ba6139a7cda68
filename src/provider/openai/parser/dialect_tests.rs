//! Streams of real servers, each split at every byte. The bodies in `dialects/` have the members and values of the capture,
//! issue or source named here; texts and ids are shortened. The one of llama.cpp is an unmodified recording.

use super::{Ending, Progress, tests::read_in};
use crate::{
    domain::FinishReason::{self, Length, Stop},
    provider::{
        ProviderErrorKind::{self as Kind, Broken, ContextTooLong, Unavailable},
        openai::chunk::TokenCounts,
    },
};

/// Stream of a server, and the expected result.
struct Dialect {
    name: &'static str,
    body: &'static str,
    text: &'static str,
    end: Result<FinishReason, Kind>,
    /// Token counts of prompt and answer, if the server reports them.
    tokens: Option<(u32, u32)>,
    /// Whether the model reasons before its answer.
    reasons: bool,
}

macro_rules! dialect {
    ($file:literal, $text:literal, $end:expr, $tokens:expr, reasons: $reasons:literal) => {
        Dialect {
            name: $file,
            body: include_str!(concat!("dialects/", $file)),
            text: $text,
            end: $end,
            tokens: $tokens,
            reasons: $reasons,
        }
    };
}

const DIALECTS: &[Dialect] = &[
    // `finish_reason: ""` in every chunk: ollama/ollama#4357. `reasoning`: silverstein/minutes#651.
    dialect!("ollama.sse", " Hello there!", Ok(Stop), Some((26, 4)), reasons: true),
    // Ollama's own protocol, one object per line: attogram/ollama-bash-lib, demos/ollama_generate_stream_json.md.
    dialect!("ollama_native.ndjson", "Soft, quick.", Ok(Stop), Some((18, 5)), reasons: true),
    // vllm-project/vllm#19662.
    dialect!("vllm.sse", "가요?", Ok(Stop), Some((9, 5)), reasons: true),
    // An error in a 200 stream: vllm-project/guidellm#743.
    dialect!("vllm_error.sse", "", Err(Unavailable), None, reasons: false),
    // `role: null`, `finish_reason: ""`, `usage: null`: sgl-project/sglang#3912.
    dialect!("sglang.sse", "Fine.", Ok(Stop), Some((11, 3)), reasons: false),
    // Recorded from the server that tests/real_model/serve.py runs, with a limit of six tokens.
    dialect!("llama_cpp.sse", "Hello! I'm here to", Ok(Length), Some((20, 6)), reasons: false),
    // lmstudio-ai/lmstudio-bug-tracker#378.
    dialect!("lm_studio.sse", "Why not?", Ok(Stop), None, reasons: true),
    // zendev-sh/goai#110.
    dialect!("lm_studio_error.sse", "Half", Err(Broken), None, reasons: false),
    // No space after the colon, an `index` that counts tokens, no `[DONE]`: huggingface/text-generation-inference#1648.
    dialect!("tgi.sse", "I'm", Ok(Length), None, reasons: false),
    // huggingface/huggingface_hub#2558.
    dialect!("tgi_error.sse", "", Err(ContextTooLong), None, reasons: false),
    // https://openrouter.ai/docs/api-reference/streaming; the chunk: BerriAI/litellm#8193.
    dialect!("openrouter.sse", "Yes.", Ok(Stop), Some((8, 30)), reasons: true),
    dialect!("openrouter_error.sse", "Half", Err(Unavailable), None, reasons: false),
    // Content as an array of parts: BerriAI/litellm#16272.
    dialect!("mistral.sse", "Bonjour !", Ok(Stop), Some((12, 40)), reasons: true),
    // https://api-docs.deepseek.com/quick_start/rate_limit and /api/create-chat-completion.
    dialect!("deepseek.sse", "Hello!", Ok(Stop), Some((17, 9)), reasons: true),
    dialect!("deepseek_error.sse", "Half", Err(Unavailable), None, reasons: false),
    // Chunks without choices and without delta: AbanteAI/archive-old-cli-mentat#429, microsoft/autogen#6465.
    dialect!("azure.sse", " have their", Ok(Stop), Some((14, 2)), reasons: false),
    // Portkey-AI/gateway#1338.
    dialect!("groq.sse", "Hello!", Ok(Length), Some((10, 2)), reasons: true),
    // `text` beside `delta`, `finish_reason: "eos"`: mlflow/mlflow#11557, togethercomputer/together-python (FinishReason).
    dialect!("together.sse", "One two", Ok(Stop), Some((17, 3)), reasons: false),
    // lm-sys/FastChat, fastchat/serve/openai_api_server.py.
    dialect!("fastchat.sse", "Sure.", Ok(Stop), None, reasons: false),
    // lm-sys/FastChat#3367.
    dialect!("fastchat_error.sse", "", Err(Unavailable), None, reasons: false),
    // No `finish_reason` before the last chunk: BerriAI/liteLLM-proxy#19.
    dialect!("litellm.sse", "How so?", Ok(Stop), Some((9, 3)), reasons: false),
    // `code` as a string: BerriAI/litellm#5175.
    dialect!("litellm_error.sse", "How", Err(Unavailable), None, reasons: false),
];

fn check(dialect: &Dialect, pieces: &[&[u8]]) {
    let (progress, outcome) = read_in(pieces);
    let text: String =
        progress.iter().map(|part| if let Progress::Text(text) = part { text.as_str() } else { "" }).collect();
    let name = dialect.name;
    assert_eq!(text, dialect.text, "{name}");
    let reasons = |part: &Progress| matches!(part, Progress::Working | Progress::Reasoning(_));
    assert_eq!(progress.iter().any(reasons), dialect.reasons, "{name}");
    match (outcome, dialect.end) {
        (Ok(Ending { reason, token_counts, .. }), Ok(want)) => {
            let (prompt, completion) = dialect.tokens.unzip();
            assert_eq!((reason, token_counts), (want, TokenCounts { prompt, completion, ..token_counts }), "{name}");
        }
        (outcome, want) => assert_eq!(outcome.map(|ending| ending.reason), want, "{name}"),
    }
}

#[test]
fn every_dialect_is_parsed_when_split_at_any_byte() {
    for dialect in DIALECTS {
        let body = dialect.body.as_bytes();
        for cut in 0..=body.len() {
            let (start, end) = body.split_at(cut);
            check(dialect, &[start, end]);
        }
        check(dialect, &body.chunks(1).collect::<Vec<_>>());
    }
}

#[test]
fn every_dialect_is_parsed_with_any_line_ending() {
    for dialect in DIALECTS {
        for end in ["\r\n", "\r"] {
            check(dialect, &[dialect.body.replace('\n', end).as_bytes()]);
        }
        check(dialect, &["\u{feff}".as_bytes(), dialect.body.trim_end().as_bytes()]);
    }
}

#[test]
fn a_truncated_body_is_an_error_in_every_dialect() {
    for dialect in DIALECTS.iter().filter(|dialect| dialect.end.is_ok()) {
        let end = dialect.body.rfind("\"finish_reason\":\"").or_else(|| dialect.body.rfind("\"done\":true")).unwrap();
        // Ollama and SGLang send an empty finish reason from the start.
        let last = dialect.body[..end].rfind("\n").unwrap();
        for cut in 0..last {
            let outcome = read_in(&[&dialect.body.as_bytes()[..cut]]).1;
            assert!(outcome.is_err(), "{} after {cut} bytes: {outcome:?}", dialect.name);
        }
    }
}
