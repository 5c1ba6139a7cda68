//! `GET /metrics`: the Prometheus endpoint.

use crate::{
    api_error::InternalError,
    auth::Identity,
    http::{
        error::{ErrorBody, HttpError},
        extract::{client_address, require_operator},
        rules::ScrapeRules,
        state::State,
    },
    knowledge::KnowledgeBase,
    limiter::Limiter,
    logging,
    metrics::{ConnectionCount, EmbeddedPassages, Format, KindCount, LimitCount, Live, Metrics, ProviderState},
    process::Process,
    provider::{ProviderStatus, Providers},
    registry::{ConnectionManager, ConnectionRegistry, RegistryStats},
    workflow::{Recorder, Turns},
};
use actix::Addr;
use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{ACCEPT, CACHE_CONTROL},
    web,
};
use switchboard_protocol::ApiError;

pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(web::resource("/metrics").route(web::get().to(metrics)));
}

/// Returns the server's metrics for Prometheus.
///
/// The format is OpenMetrics, or the older text format for clients that accept only `text/plain`. Addresses in
/// `metrics.allowed_addresses` need no token; others need `metrics.token` or an operator's access token.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "The metrics.", content(
            (String = "application/openmetrics-text"), (String = "text/plain"),
        )),
        (status = 403, description = "`FORBIDDEN`", body = ErrorBody),
    ),
    security((), ("bearer" = [])),
)]
#[expect(clippy::too_many_arguments, reason = "one parameter per source of metrics")]
async fn metrics(
    request: HttpRequest,
    identity: Result<Identity, HttpError>,
    rules: State<ScrapeRules>,
    metrics: State<Metrics>,
    registry: State<Addr<ConnectionManager>>,
    turns: State<Turns>,
    limiter: State<Limiter>,
    recorder: State<Recorder>,
    providers: State<Providers>,
    knowledge: State<KnowledgeBase>,
) -> Result<HttpResponse, HttpError> {
    let is_operator = identity.is_ok_and(|identity| require_operator(&identity).is_ok());
    rules.check(&request, client_address(&request), is_operator)?;
    let stats = registry.stats().await.map_err(|error| ApiError::internal(&error))?;
    let live = Live { embedded: embedded(&knowledge), ..live(&stats, &turns, &limiter, &recorder, &providers) };
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (format, metrics) = (Format::accepted(accept), metrics.into_inner());
    // Reading /proc and encoding the page would delay tokens on this thread.
    let page = web::block(move || metrics.expose(live, Process::statistics_of_this().ok(), format));
    let page = page.await.map_err(|error| ApiError::internal(&error))?.map_err(|error| ApiError::internal(&error))?;
    Ok(HttpResponse::Ok().content_type(format.content_type()).insert_header((CACHE_CONTROL, "no-store")).body(page))
}

fn embedded(knowledge: &KnowledgeBase) -> Option<EmbeddedPassages> {
    let status = knowledge.embeddings_status()?;
    Some(EmbeddedPassages { passages: status.passages, without_vector: status.without_vector })
}

fn live(stats: &RegistryStats, turns: &Turns, limiter: &Limiter, recorder: &Recorder, providers: &Providers) -> Live {
    let connections = stats.by_state.iter().map(|alike| ConnectionCount {
        state: alike.state.as_str(),
        dialect: alike.dialect,
        connections: alike.connections,
    });
    let kinds =
        stats.by_kind.iter().map(|counted| KindCount { kind: counted.kind.as_str(), connections: counted.connections });
    let providers = providers.status().into_iter().map(|ProviderStatus { name, circuit, requests, .. }| {
        ProviderState { name, circuit: circuit.as_str(), requests }
    });
    let of_turns = turns.stats();
    Live {
        accepting: turns.check_open().is_ok(),
        connections: connections.collect(),
        connections_by_kind: kinds.collect(),
        users: stats.users,
        connections_opened: stats.opened,
        connections_stalled: stats.stalled,
        tokens_sent: stats.tokens_sent,
        bytes_waiting: stats.bytes_waiting,
        turns_running: of_turns.running_turns,
        max_running_turns: of_turns.max_running_turns,
        turns_waiting: of_turns.waiting_turns,
        turns_retained: of_turns.retained_turns,
        turns_started: of_turns.started_turns,
        answers_unstored: recorder.unstored(),
        log_lines_lost: logging::lost_lines(),
        limits: limiter.hits().each().map(|(limit, hits)| LimitCount { limit, hits }).collect(),
        providers: providers.collect(),
        embedded: None,
    }
}
