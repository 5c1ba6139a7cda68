//! `[rerank]`: the model that reorders what a search found.

use super::{declare::settings, redacted, setting::HOUR_MS};
use secrecy::SecretString;

settings! {
    /// Reordering of the first 50 passages of a search by a reranking model, on any server with a `/rerank` like that of Cohere or Jina.
    /// It is off unless `base_url` and `model` are set.
    RerankConfig [rerank] {
        /// URL of the API without `/rerank`.
        base_url: Option<String>, example "\"http://127.0.0.1:8012/v1\"";
        /// The API key; set it with `SWITCHBOARD__RERANK__API_KEY` rather than in a file. Absent: none is sent.
        #[serde(serialize_with = "redacted")]
        api_key: Option<SecretString>, example "\"…\"";
        /// Name of the model on that server.
        model: Option<String>, example "\"bge-reranker-v2-m3\"";
        /// Time limit for connecting to the server.
        connect_timeout_ms: u64 = 1_000, in 1..=HOUR_MS;
        /// Time limit for one request; after it, the passages keep their order. Each turn sends at least one.
        timeout_ms: u64 = 500, in 1..=HOUR_MS;
    }
}
