//! Lets the model choose a label: constrained output, and how sure the model was of it.
//!
//! The answer is held to `{"label": one of the labels}` by a JSON schema. Confidence comes from the token probabilities:
//! at each token of the label where labels part ways, the share of the probability that goes to the chosen one. A server
//! without `logprobs` is asked three times, with the labels in another order each time, and the share is that of the
//! answers that agree, with one further answer for each label added (so that three of three are not certainty).
//!
//! Either share is rescaled from 1/n (n labels; what a guess gets) to 1, to a confidence from 0 to 1: a model that merely
//! guesses is not sure at all.

use super::{
    OpenAi,
    adaptation::Adaptation,
    chunk::{self, ChoiceIndex},
    connection::read_bounded,
    failure::{Failure, Retry},
    framing::EventName,
    json::Json,
    parameters::{Parameter, Parameters},
    request::{ChatBody, system, user},
    thinking::without_thinking,
};
use crate::provider::{Classification, ClassifyRequest, ProviderErrorKind};
use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

/// Enough for `{"label": "…"}`.
const MAX_LABEL_TOKENS: u32 = 64;
/// Alternatives to ask for at each token: the most that OpenAI and vLLM give.
const TOP_LOGPROBS: u32 = 20;
/// Answers to compare where there are no probabilities.
const ASKS: usize = 3;

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
struct Labelled {
    label: String,
}

impl OpenAi {
    /// Asks for a label, for a third of the time that the first token may take.
    pub(super) async fn choose(&self, request: &ClassifyRequest) -> Result<Classification, Failure> {
        // The answer itself needs the rest; without a choice, the caller has other ways to find one.
        let deadline = Instant::now() + self.first_token_timeout.min(self.total_timeout) / 3;
        let logprobs = Parameters::of(&[Parameter::Logprobs]);
        if !self.refused.known().has_any(logprobs) {
            match self.ask(request, 0, true, deadline).await {
                Ok((label, Some(confidence))) => return Ok(Classification { label, confidence }),
                // The server passes over the wish for them.
                Ok((_, None)) => {
                    self.refused.skip(logprobs);
                }
                // Some servers refuse what they do not have without naming it. Others refuse the request as such; the next try
                // shows.
                Err(failure) if failure.error.kind == ProviderErrorKind::Rejected => {
                    let chosen = self.agree(request, deadline).await?;
                    self.refused.learn(logprobs);
                    return Ok(chosen);
                }
                Err(failure) => return Err(failure),
            }
        }
        self.agree(request, deadline).await
    }

    /// The label that most answers agree on.
    async fn agree(&self, request: &ClassifyRequest, deadline: Instant) -> Result<Classification, Failure> {
        let asks = (0..ASKS).map(|rotation| self.ask(request, rotation, false, deadline));
        let answers: Vec<String> = try_join_all(asks).await?.into_iter().map(|(label, _)| label).collect();
        Ok(majority(&answers, request.labels.len()))
    }

    /// One question; the label, and the confidence when the answer has probabilities.
    async fn ask(
        &self,
        request: &ClassifyRequest,
        rotation: usize,
        logprobs: bool,
        deadline: Instant,
    ) -> Result<(String, Option<f64>), Failure> {
        let mut labels: Vec<_> = request.labels.iter().collect();
        if labels.is_empty() {
            return Err(Failure::broken("there is no label to choose", Retry::Never));
        }
        let rotation = rotation % labels.len();
        labels.rotate_left(rotation);
        let mut instructions = format!("{}\n\nThe labels:\n", request.instructions);
        for (label, meaning) in &labels {
            instructions.push_str(&format!("- {label}: {meaning}\n"));
        }
        instructions.push_str("\nAnswer with JSON: {\"label\": \"…\"}");
        let names: Vec<&str> = labels.iter().map(|(label, _)| label.as_str()).collect();
        let messages = [system(&instructions), user(&request.question)];
        let mut body = ChatBody {
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
        let mut adaptation = Adaptation::new(&self.refused, &mut body);
        loop {
            let read = async {
                let response = self.connection.post(&body, "application/json", deadline).await?;
                let answer = read_bounded(response, deadline).await?;
                read_choice(&String::from_utf8_lossy(&answer), &names)
            };
            match read.await {
                Ok(choice) => {
                    adaptation.learn(&self.refused);
                    return Ok(choice);
                }
                Err(failure) => adaptation.apply(failure, &mut body)?,
            }
        }
    }
}

/// The label that an answer holds, and how sure the model was of it.
fn read_choice(body: &str, labels: &[&str]) -> Result<(String, Option<f64>), Failure> {
    let unreadable = || Failure::broken("the answer is not a choice of one of the labels", Retry::Never);
    let completion = Json::parse(body.trim_start_matches('\u{feff}')).ok_or_else(unreadable)?;
    let chunk = chunk::read(completion, EventName::Message, &mut ChoiceIndex::default())?;
    let content = without_thinking(&String::from_utf8_lossy(&chunk.text.unwrap_or_default()));
    // Servers that do not know the schema put the object into a fence, or into a sentence.
    let object = content.find('{').zip(content.rfind('}')).and_then(|(start, end)| content.get(start..=end));
    let Labelled { label } = object.and_then(|text| serde_json::from_str(text).ok()).ok_or_else(unreadable)?;
    if !labels.contains(&label.as_str()) {
        return Err(unreadable());
    }
    // Probabilities of another shape are as good as none.
    let logprobs = completion.member("choices").map(Json::items).unwrap_or_default();
    let logprobs = logprobs.first().and_then(|choice| choice.member("logprobs"));
    let tokens = logprobs.and_then(|logprobs| serde_json::from_str::<Logprobs>(logprobs.raw()).ok());
    let tokens = tokens.map(|logprobs| logprobs.content).unwrap_or_default();
    let confidence = share(&tokens, &label, labels).map(|share| above_chance(share, labels.len()));
    Ok((label, confidence))
}

/// A share of 1/`labels` becomes 0, one of 1 stays 1.
fn above_chance(share: f64, labels: usize) -> f64 {
    if labels < 2 {
        return 1.0;
    }
    let chance = 1.0 / labels as f64;
    ((share - chance) / (1.0 - chance)).clamp(0.0, 1.0)
}

/// How likely the label was: at each token where labels part ways, the share of the probability of those tokens that lead
/// to a label which goes to those that lead to `label`; all shares multiplied. A label that none of the listed tokens
/// leads to counts with the probability of the least likely listed one, which is the most it can have.
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
        // What of the label was written before this token, and what of the token stands before the label.
        let written = text.get(start..span.start.max(start))?;
        let lead = token.token.get(..start.saturating_sub(span.start))?;
        let open: Vec<&str> = labels.iter().filter_map(|label| label.strip_prefix(written)).collect();
        let wanted = label.strip_prefix(written).filter(|rest| !rest.is_empty());
        let Some(wanted) = wanted.filter(|_| open.len() > 1) else { break };
        share *= share_of(token, lead, wanted, &open);
    }
    // No token at all within the label means that these are not the tokens of this answer.
    (at > start).then_some(share)
}

/// The share of one token's probability that goes to `wanted`, one of the rests of labels still `open`.
fn share_of(token: &TokenLogprob, lead: &str, wanted: &str, open: &[&str]) -> f64 {
    let leads_to = |token: &str, rest: &str| {
        let text = token.strip_prefix(lead).filter(|text| !text.is_empty());
        text.is_some_and(|text| {
            rest.starts_with(text) || text.strip_prefix(rest).is_some_and(|end| end.starts_with('"'))
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
    let for_it = sum(&|text| leads_to(text, wanted));
    let against = sum(&|text| !leads_to(text, wanted) && open.iter().any(|rest| leads_to(text, rest)));
    let unseen = open.iter().filter(|rest| !listed.iter().any(|(text, _)| leads_to(text, rest))).count();
    let all = for_it + against + unseen as f64 * least;
    if all > 0.0 { (for_it / all).clamp(0.0, 1.0) } else { 0.0 }
}

/// The label most answers name, the first of equals. `answers` is not empty.
fn majority(answers: &[String], labels: usize) -> Classification {
    let votes = |label: &String| answers.iter().filter(|answer| *answer == label).count();
    let mut best = (answers[0].clone(), votes(&answers[0]));
    for label in answers {
        if votes(label) > best.1 {
            best = (label.clone(), votes(label));
        }
    }
    let share = (best.1 + 1) as f64 / (answers.len() + labels) as f64;
    Classification { label: best.0, confidence: above_chance(share, labels) }
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

    /// The label, and the share that its confidence stands for.
    fn chosen(tokens: &[Value], labels: &[&str]) -> (String, f64) {
        let (label, confidence) = read_choice(&completion(tokens), labels).unwrap();
        let chance = 1.0 / labels.len() as f64;
        (label, chance + confidence.unwrap() * (1.0 - chance))
    }

    #[test]
    fn confidence_is_the_share_of_the_tokens_that_part_the_labels() {
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
    fn a_token_may_begin_before_the_label_and_end_behind_it() {
        let others = [("\"maintenance\"", 0.25), ("\"", 0.2)];
        let tokens = [token("{\"label\":", 1.0, &[]), token("\"specs\"}", 0.5, &others)];
        // `troubleshoot` is not listed: it counts with the least listed probability.
        let (_, share) = chosen(&tokens, LABELS);
        assert!((share - 0.5 / (0.5 + 0.25 + 0.2)).abs() < 1e-9, "{share}");
    }

    #[test]
    fn labels_with_a_common_start_part_later() {
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
    fn a_guess_is_no_confidence() {
        assert_eq!([above_chance(1.0 / 3.0, 3), above_chance(0.1, 3), above_chance(1.0, 3)], [0.0, 0.0, 1.0]);
        assert_eq!(above_chance(1.0, 1), 1.0);
        let tokens = [token("{\"label\":\"", 1.0, &[]), token("specs\"}", 0.001, &[("banana", 0.9)])];
        assert!((chosen(&tokens, LABELS).1 - 1.0 / 3.0).abs() < 1e-9, "nothing else is listed: it may be as likely");
    }

    #[test]
    fn without_probabilities_there_is_no_confidence_yet() {
        let plain = |content: &str| json!({"choices": [{"message": {"content": content}}]}).to_string();
        let fenced = "```json\n{\"label\": \"specs\"}\n```";
        let reasoned = "<think>{\"label\": \"maintenance\"}?</think> {\"label\": \"specs\"}";
        for content in [fenced, reasoned] {
            assert_eq!(read_choice(&plain(content), LABELS).unwrap(), ("specs".to_owned(), None));
        }
        let odd = plain(fenced)
            .replace("}]}", ", \"index\": null, \"logprobs\": {\"content\": [{\"token\": 1}]}}], \"usage\": 7}");
        assert_eq!(read_choice(&odd, LABELS).unwrap(), ("specs".to_owned(), None), "{odd}");
        for wrong in ["{\"label\": \"banana\"}", "specs", "}{", ""] {
            let failure = read_choice(&plain(wrong), LABELS).unwrap_err();
            assert_eq!(failure.error.kind, ProviderErrorKind::Broken, "{wrong}");
        }
    }

    #[test]
    fn agreement_counts() {
        let vote = |labels: [&str; 3]| majority(&labels.map(str::to_owned), 3);
        let all = vote(["specs", "specs", "specs"]);
        let two = vote(["maintenance", "specs", "specs"]);
        let none = vote(["maintenance", "specs", "troubleshoot"]);
        assert_eq!((all.label.as_str(), two.label.as_str(), none.label.as_str()), ("specs", "specs", "maintenance"));
        for (chosen, want) in [(all, 0.5), (two, 0.25), (none, 0.0)] {
            assert!((chosen.confidence - want).abs() < 1e-9, "{chosen:?}");
        }
    }
}
