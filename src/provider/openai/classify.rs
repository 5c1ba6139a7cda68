//! Classification of a question: constrained output and a confidence.
//!
//! The model is asked once. A JSON schema restricts the answer to `{"label": one of the labels}`. The confidence is derived
//! from token probabilities: at each token where the labels diverge, the share of the probability that leads to the chosen
//! label, rescaled so that 1/n (a random guess among n labels) becomes 0 and 1 stays 1. A server without `logprobs` gives no
//! confidence.

use super::{
    OpenAi, complete_text,
    failure::Failure,
    json::Json,
    parameters::{Parameter, Parameters},
    request::{ChatBody, system, user},
    retry::Retry,
    usage_of,
};
use crate::provider::{Classification, ClassifyRequest, ProviderErrorKind};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

/// Token limit of a classification; enough for `{"label": "…"}`.
const MAX_LABEL_TOKENS: u32 = 64;
/// Alternatives to request for each token; the maximum of OpenAI and vLLM.
const TOP_LOGPROBS: u32 = 20;

#[derive(Deserialize)]
struct Logprobs {
    content: Vec<TokenLogprob>,
}

#[derive(Deserialize)]
struct TokenLogprob {
    token: String,
    logprob: f64,
    #[serde(default)]
    top_logprobs: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    token: String,
    logprob: f64,
}

#[derive(Deserialize)]
struct Choice {
    label: String,
}

impl OpenAi {
    /// Asks the model for a label, within the time for preparations.
    pub(super) async fn choose_label(&self, request: &ClassifyRequest) -> Result<Classification, Failure> {
        let deadline = self.preparation_deadline();
        let logprobs = Parameters::of(&[Parameter::Logprobs]);
        if self.rejected.get().intersects(logprobs) {
            return self.ask(request, false, deadline).await;
        }
        match self.ask(request, true, deadline).await {
            Ok(classification) => {
                if classification.confidence.is_none() {
                    // The server ignores the parameter.
                    self.rejected.insert(logprobs);
                }
                Ok(classification)
            }
            // Some servers reject unsupported parameters without naming them. If the request succeeds without the
            // parameter, that was the reason.
            Err(failure) if failure.error.kind == ProviderErrorKind::Rejected => {
                let classification = self.ask(request, false, deadline).await?;
                self.rejected.learn(logprobs);
                Ok(classification)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Asks once. The classification has a confidence if the server reports probabilities.
    async fn ask(
        &self,
        request: &ClassifyRequest,
        logprobs: bool,
        deadline: Instant,
    ) -> Result<Classification, Failure> {
        if request.labels.is_empty() {
            return Err(Failure::broken("the classification request has no labels", Retry::Never));
        }
        let mut instructions = format!("{}\n\nThe labels:\n", request.instructions);
        for (label, description) in &request.labels {
            instructions.push_str(&format!("- {label}: {description}\n"));
        }
        instructions.push_str("\nAnswer with JSON: {\"label\": \"…\"}");
        let names: Vec<&str> = request.labels.iter().map(|(label, _)| label.as_str()).collect();
        let messages = [system(&instructions), user(&request.question)];
        let body = ChatBody {
            model: &self.model,
            messages: &messages,
            stream: false,
            stream_options: None,
            temperature: Some(0.0),
            max_tokens: Some(MAX_LABEL_TOKENS),
            max_completion_tokens: None,
            response_format: Some(json!({
                "type": "json_schema",
                "json_schema": { "name": "choice", "strict": true, "schema": {
                    "type": "object",
                    "properties": { "label": { "type": "string", "enum": names } },
                    "required": ["label"],
                    "additionalProperties": false,
                }},
            })),
            logprobs: logprobs.then_some(true),
            top_logprobs: logprobs.then_some(TOP_LOGPROBS),
        };
        let prompt_bytes = instructions.len() + request.question.len();
        let read = |answer: &str| {
            request.meter.add(usage_of(answer, prompt_bytes));
            read_choice(answer, &names)
        };
        self.complete(body, deadline, read).await
    }
}

/// Reads the label of an answer, and the confidence if the answer has token probabilities.
fn read_choice(body: &str, labels: &[&str]) -> Result<Classification, Failure> {
    let unreadable = || Failure::broken("the answer does not name one of the labels", Retry::Never);
    let completion = Json::parse(body.trim_start_matches('\u{feff}')).ok_or_else(unreadable)?;
    let content = complete_text(completion)?;
    // Servers that ignore the schema may wrap the object in a code block or a sentence.
    let object = content.find('{').zip(content.rfind('}')).and_then(|(start, end)| content.get(start..=end));
    let Choice { label } = object.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(unreadable)?;
    if !labels.contains(&label.as_str()) {
        return Err(unreadable());
    }
    // Probabilities in an unknown format are ignored.
    let logprobs = completion.member("choices").map(Json::elements).unwrap_or_default();
    let logprobs = logprobs.first().and_then(|choice| choice.member("logprobs"));
    let tokens = logprobs.and_then(|logprobs| serde_json::from_str::<Logprobs>(logprobs.raw()).ok());
    let tokens = tokens.map(|logprobs| logprobs.content).unwrap_or_default();
    let confidence = share(&tokens, &label, labels).map(|share| above_chance(share, labels.len()));
    Ok(Classification { label, confidence })
}

/// Rescales a share so that 1/`labels` becomes 0 and 1 stays 1.
fn above_chance(share: f64, labels: usize) -> f64 {
    if labels < 2 {
        return 1.0;
    }
    let chance = 1.0 / labels as f64;
    ((share - chance) / (1.0 - chance)).clamp(0.0, 1.0)
}

/// Probability of `label` among `labels`: the product, over the tokens where labels diverge, of the share of the probability
/// that leads to `label`. A label that no listed token leads to is given the probability of the least likely listed token,
/// which is the upper bound of its own. `None` if the tokens do not match the answer.
fn share(tokens: &[TokenLogprob], label: &str, labels: &[&str]) -> Option<f64> {
    let text: String = tokens.iter().map(|token| token.token.as_str()).collect();
    let key_end = text.find("\"label\"")? + "\"label\"".len();
    let start = key_end + text[key_end..].find('"')? + 1;
    let mut share = 1.0;
    let mut at = 0;
    for token in tokens {
        let span = at..at + token.token.len();
        at = span.end;
        if span.end <= start {
            continue;
        }
        // The part of the label before this token, and the part of this token before the label.
        let written = text.get(start..span.start.max(start))?;
        let prefix = token.token.get(..start.saturating_sub(span.start))?;
        let candidates: Vec<&str> = labels.iter().filter_map(|label| label.strip_prefix(written)).collect();
        let chosen = label.strip_prefix(written).filter(|suffix| !suffix.is_empty());
        let Some(chosen) = chosen.filter(|_| candidates.len() > 1) else { break };
        share *= token_share(token, prefix, chosen, &candidates);
    }
    (at > start).then_some(share)
}

/// Share of one token's probability that leads to `chosen`, one of the label suffixes `candidates`. `prefix`: the start of the
/// token that precedes the label.
fn token_share(token: &TokenLogprob, prefix: &str, chosen: &str, candidates: &[&str]) -> f64 {
    let leads_to = |token: &str, suffix: &str| {
        let text = token.strip_prefix(prefix).filter(|text| !text.is_empty());
        text.is_some_and(|text| {
            suffix.starts_with(text) || text.strip_prefix(suffix).is_some_and(|end| end.starts_with('"'))
        })
    };
    let mut listed: Vec<(&str, f64)> =
        token.top_logprobs.iter().map(|other| (other.token.as_str(), other.logprob.exp())).collect();
    if !listed.iter().any(|(text, _)| *text == token.token) {
        listed.push((&token.token, token.logprob.exp()));
    }
    let least = listed.iter().map(|(_, probability)| *probability).fold(1.0, f64::min);
    let sum = |leads: &dyn Fn(&str) -> bool| -> f64 {
        listed.iter().filter(|(text, _)| leads(text)).map(|(_, probability)| probability).sum()
    };
    let for_chosen = sum(&|text| leads_to(text, chosen));
    let for_others = sum(&|text| !leads_to(text, chosen) && candidates.iter().any(|other| leads_to(text, other)));
    let unlisted = candidates.iter().filter(|other| !listed.iter().any(|(text, _)| leads_to(text, other))).count();
    let total = for_chosen + for_others + unlisted as f64 * least;
    if total > 0.0 { (for_chosen / total).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const LABELS: &[&str] = &["specs", "maintenance", "troubleshoot"];

    fn token(token: &str, probability: f64, others: &[(&str, f64)]) -> Value {
        let top: Vec<_> = [(token, probability)]
            .iter()
            .chain(others)
            .map(|(token, probability)| json!({"token": token, "logprob": probability.ln()}))
            .collect();
        json!({"token": token, "logprob": probability.ln(), "top_logprobs": top})
    }

    fn completion(tokens: &[Value]) -> String {
        let content: String = tokens.iter().map(|token| token["token"].as_str().unwrap()).collect();
        json!({"choices": [{"message": {"content": content}, "logprobs": {"content": tokens}}]}).to_string()
    }

    /// Returns the label, and the share recomputed from the confidence.
    fn chosen(tokens: &[Value], labels: &[&str]) -> (String, f64) {
        let Classification { label, confidence } = read_choice(&completion(tokens), labels).unwrap();
        let chance = 1.0 / labels.len() as f64;
        (label, chance + confidence.unwrap() * (1.0 - chance))
    }

    #[test]
    fn confidence_is_the_share_at_the_tokens_where_labels_diverge() {
        let others = [("main", 0.2), ("trouble", 0.1), ("banana", 0.3)];
        let tokens = [
            token("{\"label\": \"", 1.0, &[]),
            token("spec", 0.4, &others),
            token("s", 0.5, &[("x", 0.5)]),
            token("\"}", 1.0, &[]),
        ];
        let (label, share) = chosen(&tokens, LABELS);
        assert_eq!(label, "specs");
        assert!((share - 0.4 / 0.7).abs() < 1e-9, "{share}");
    }

    #[test]
    fn a_token_may_begin_before_the_label_and_end_after_it() {
        let others = [("\"maintenance\"", 0.25), ("\"", 0.2)];
        let tokens = [token("{\"label\":", 1.0, &[]), token("\"specs\"}", 0.5, &others)];
        // `troubleshoot` is not listed, so it is given the lowest listed probability.
        let (_, share) = chosen(&tokens, LABELS);
        assert!((share - 0.5 / (0.5 + 0.25 + 0.2)).abs() < 1e-9, "{share}");
    }

    #[test]
    fn labels_with_a_common_prefix_diverge_at_a_later_token() {
        let tokens = [
            token("{\"label\":\"", 1.0, &[]),
            token("car", 0.9, &[("bus", 0.1)]),
            token("-old", 0.6, &[("-new", 0.2)]),
            token("\"}", 1.0, &[]),
        ];
        let (_, share) = chosen(&tokens, &["car-new", "car-old", "bus"]);
        assert!((share - 0.9 * 0.75).abs() < 1e-9, "{share}");
    }

    #[test]
    fn a_random_guess_has_zero_confidence() {
        assert_eq!([above_chance(1.0 / 3.0, 3), above_chance(0.1, 3), above_chance(1.0, 3)], [0.0, 0.0, 1.0]);
        assert_eq!(above_chance(1.0, 1), 1.0);
        let tokens = [token("{\"label\":\"", 1.0, &[]), token("specs\"}", 0.001, &[("banana", 0.9)])];
        assert!((chosen(&tokens, LABELS).1 - 1.0 / 3.0).abs() < 1e-9, "each unlisted label may be as likely");
    }

    #[test]
    fn an_answer_without_probabilities_has_no_confidence() {
        let plain = |content: &str| json!({"choices": [{"message": {"content": content}}]}).to_string();
        let fenced = "```json\n{\"label\": \"specs\"}\n```";
        let specs = Classification { label: "specs".to_owned(), confidence: None };
        let reasoned = "<think>{\"label\": \"maintenance\"}?</think> {\"label\": \"specs\"}";
        for content in [fenced, reasoned] {
            assert_eq!(read_choice(&plain(content), LABELS).unwrap(), specs);
        }
        let odd = plain(fenced)
            .replace("}]}", ", \"index\": null, \"logprobs\": {\"content\": [{\"token\": 1}]}}], \"usage\": 7}");
        assert_eq!(read_choice(&odd, LABELS).unwrap(), specs, "{odd}");
        for wrong in ["{\"label\": \"banana\"}", "specs", "}{", ""] {
            let failure = read_choice(&plain(wrong), LABELS).unwrap_err();
            assert_eq!(failure.error.kind, ProviderErrorKind::Broken, "{wrong}");
        }
    }
}
