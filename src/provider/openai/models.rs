//! Startup check of the model server: reachability, URL, API key and model name, so that the operator notices a wrong setting
//! before a user does.

use super::{OpenAi, failure::Failure, json::Json};
use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::time::Instant;

/// Maximum duration of the check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

impl OpenAi {
    pub(super) async fn check_models(&self) -> Result<(), ProviderError> {
        let deadline = Instant::now() + CHECK_TIMEOUT.min(self.first_token_timeout);
        let list = match self.connection.models(deadline).await {
            Ok(list) => list,
            // Not every server implements the list.
            Err(failure) if failure.status.is_some_and(is_absent) => return self.check_chat(deadline).await,
            Err(failure) => return self.check_failure(failure),
        };
        if lists(&String::from_utf8_lossy(&list), &self.model) == Some(false) {
            let detail = "the server's list of models does not contain provider.model";
            return Err(ProviderError::new(Kind::UnknownModel, detail));
        }
        Ok(())
    }

    /// Checks a server without a list of models: if it has no `/chat/completions` either, the URL is wrong.
    async fn check_chat(&self, deadline: Instant) -> Result<(), ProviderError> {
        match self.connection.probe_chat(deadline).await {
            Ok(()) => Ok(()),
            Err(failure) if failure.status.is_some_and(is_absent) => {
                Err(ProviderError::new(Kind::Rejected, "it has neither /models nor /chat/completions"))
            }
            Err(failure) => self.check_failure(failure),
        }
    }

    /// Any response shows that the server is reachable; most also that it accepts the key.
    fn check_failure(&self, failure: Failure) -> Result<(), ProviderError> {
        match failure.error.kind {
            Kind::Unavailable | Kind::Timeout => Err(self.reporter.redact(failure)),
            Kind::Unauthorized | Kind::OutOfCredit => Err(self.reporter.report(failure)),
            _ => Ok(()),
        }
    }
}

/// Whether a status says that the server does not have the route.
fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
}

/// Whether a list of models contains `model`; `None` if the body is not a list of models or the list is empty.
fn lists(body: &str, model: &str) -> Option<bool> {
    let list = Json::parse(body)?;
    let [data, models] = list.members(["data", "models"]);
    let mut names = Vec::new();
    for entry in [data, models, Some(list)].into_iter().flatten().flat_map(Json::elements) {
        let [id, name, model] = entry.members(["id", "name", "model"]);
        names.extend([id, name, model].into_iter().flatten().filter_map(Json::lossy_string));
    }
    // Ollama lists `llama3.2:latest` and accepts `llama3.2`; Gemini lists `models/gemini-…`.
    let matches = |name: &String| {
        name == model
            || name.strip_prefix(model).is_some_and(|tag| tag == ":latest")
            || name.strip_suffix(model).is_some_and(|path| path.ends_with('/'))
    };
    (!names.is_empty()).then(|| names.iter().any(matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_in_every_list_format() {
        for list in [
            r#"{"object":"list","data":[{"id":"other"},{"id":"m","object":"model"}]}"#,
            r#"{"models":[{"name":"m:latest","model":"m:latest"}],"data":[{"id":"x"}]}"#,
            r#"[{"id":"m"}]"#,
            r#"{"data":[{"id":"models/m"}]}"#,
        ] {
            assert_eq!(lists(list, "m"), Some(true), "{list}");
        }
        assert_eq!(lists(r#"{"data":[{"id":"m2"},{"id":"m:7b"}]}"#, "m"), Some(false));
        for none in ["", "<html>", "{}", r#"{"data":[]}"#, r#"{"data":null}"#, "data: {}\n\n"] {
            assert_eq!(lists(none, "m"), None, "{none}");
        }
    }
}
