//! `[embeddings]`: the model behind the search by meaning.

use super::{declare::settings, redacted, setting::HOUR_MS};
use secrecy::SecretString;

settings! {
    /// Search by meaning with the vectors of an embedding model, on any server with an OpenAI-compatible `/embeddings`. It is off
    /// unless `base_url` and `model` are set.
    EmbeddingsConfig [embeddings] {
        /// URL of the API without `/embeddings`.
        base_url: Option<String>, example "\"http://127.0.0.1:11434/v1\"";
        /// The API key; set it with `SWITCHBOARD__EMBEDDINGS__API_KEY` rather than in a file. Absent: none is sent.
        #[serde(serialize_with = "redacted")]
        api_key: Option<SecretString>, example "\"…\"";
        /// Name of the model on that server. With another name, all passages are embedded again in the background.
        model: Option<String>, example "\"nomic-embed-text\"";
        /// Length of the vectors, which is sent to the server; absent: that of the model.
        dimensions: Option<u32>, in 1..=8_192, example "384";
        /// Text before each question, for models that are trained with one.
        query_prefix: Option<String>, example "\"query: \"";
        /// Text before each passage.
        passage_prefix: Option<String>, example "\"passage: \"";
        /// `input_type` of questions, for servers that add the prefix themselves; absent: none is sent.
        query_input_type: Option<String>, example "\"query\"";
        /// `input_type` of passages.
        passage_input_type: Option<String>, example "\"passage\"";
        /// Passages of one request. A server that embeds one request at a time answers no question meanwhile.
        batch_passages: usize = 16, in 1..=2_048;
        /// Time limit for connecting to the server.
        connect_timeout_ms: u64 = 1_000, in 1..=HOUR_MS;
        /// Time limit for the vector of a question; after it, the question is answered without. No further question waits until the
        /// server has answered a request in the background.
        query_timeout_ms: u64 = 200, in 1..=HOUR_MS;
        /// Time limit for the vectors of one request with passages.
        batch_timeout_ms: u64 = 60_000, in 1..=HOUR_MS;
    }
}
