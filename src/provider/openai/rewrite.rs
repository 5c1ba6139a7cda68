//! Rewriting of a question so that it can be understood without the conversation before it.

use super::{
    OpenAi, complete_text,
    failure::Failure,
    json::Json,
    request::{ChatBody, conversation, system},
    retry::Retry,
    usage_of,
};
use crate::provider::RewriteRequest;

/// Token limit of a rewritten question.
const MAX_QUESTION_TOKENS: u32 = 128;

impl OpenAi {
    /// Asks the model once to rewrite a question, within the time for preparations.
    pub(super) async fn rewrite_question(&self, request: &RewriteRequest) -> Result<String, Failure> {
        let deadline = self.preparation_deadline();
        let messages = [system(&request.instructions), conversation(&request.history, &request.question)];
        let prompt_bytes = messages.iter().map(|message| message.content.len()).sum();
        let body = ChatBody {
            model: &self.model,
            messages: &messages,
            stream: false,
            stream_options: None,
            temperature: Some(0.0),
            max_tokens: Some(MAX_QUESTION_TOKENS),
            max_completion_tokens: None,
            response_format: None,
            logprobs: None,
            top_logprobs: None,
        };
        let read = |answer: &str| {
            request.meter.add(usage_of(answer, prompt_bytes));
            let completion = Json::parse(answer.trim_start_matches('\u{feff}'));
            complete_text(completion.ok_or_else(|| Failure::broken("the answer is not JSON", Retry::Never))?)
        };
        self.complete(body, deadline, read).await
    }
}
