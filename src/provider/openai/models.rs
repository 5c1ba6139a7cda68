//! Whether the model server is there, takes the key and has the model: asked once at start, so that a mistake in the settings is not
//! first noticed by a user.

use super::{OpenAi, json::Json};
use crate::provider::{ProviderError, ProviderErrorKind as Kind};
use std::time::Duration;
use tokio::time::Instant;

/// The most time that the check takes.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

impl OpenAi {
    pub(super) async fn check_models(&self) -> Result<(), ProviderError> {
        let deadline = Instant::now() + CHECK_TIMEOUT.min(self.first_token_timeout);
        let list = match self.connection.models(deadline).await {
            Ok(list) => list,
            Err(failure) => {
                // Not every server has the list. The question shows all the same whether it is there and takes the key.
                let error = match failure.error.kind {
                    Kind::Unavailable | Kind::Timeout => self.exit.seal(failure),
                    Kind::Unauthorized | Kind::OutOfCredit => self.exit.report(failure),
                    _ => return Ok(()),
                };
                return if error.detail.starts_with("status 501") { Ok(()) } else { Err(error) };
            }
        };
        if lists(&String::from_utf8_lossy(&list), &self.model) == Some(false) {
            let detail = "the server's list of models does not have provider.model";
            return Err(ProviderError::new(Kind::UnknownModel, detail));
        }
        Ok(())
    }
}

/// Whether a list of models has this one; `None` when it is no list, or an empty one.
fn lists(body: &str, model: &str) -> Option<bool> {
    let list = Json::parse(body)?;
    let [data, models] = list.members(["data", "models"]);
    let mut names = Vec::new();
    for item in [data, models, Some(list)].into_iter().flatten().flat_map(Json::items) {
        let [id, name, model] = item.members(["id", "name", "model"]);
        names.extend([id, name, model].into_iter().flatten().filter_map(Json::lossy_text));
    }
    // Ollama lists `llama3.2:latest` and takes `llama3.2`; Gemini lists `models/gemini-…`.
    let is_it = |name: &String| {
        name == model
            || name.strip_prefix(model).is_some_and(|tag| tag == ":latest")
            || name.strip_suffix(model).is_some_and(|path| path.ends_with('/'))
    };
    (!names.is_empty()).then(|| names.iter().any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_in_the_lists_of_all_servers() {
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
