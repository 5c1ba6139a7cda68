//! The page that Prometheus scrapes, as OpenMetrics or in the older text format.
//!
//! `docs/OPERATIONS.md` lists every family; a test compares them.

mod models;

use super::{ConnectionCount, HistogramSnapshot, KindCount, Label, Live, Metrics, ProviderState, TurnStep};
use crate::{build_info, process::Statistics};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text},
    metrics::{MetricType, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use std::{
    fmt::{self, Write},
    sync::Arc,
};

/// States of the circuit of a provider.
const CIRCUITS: [&str; 3] = ["closed", "open", "half_open"];
/// Prefix of all names.
const PREFIX: &str = "switchboard";

/// Format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Text,
}

impl Format {
    /// Negotiates the format by the `Accept` header: OpenMetrics, unless only plain text is accepted.
    pub fn accepted(accept: &str) -> Self {
        let names = |name: &str| accept.to_ascii_lowercase().contains(name);
        if names("text/plain") && !names("application/openmetrics-text") { Self::Text } else { Self::OpenMetrics }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metrics {
    /// Writes the whole page. `process` holds the resource usage of this process, where that is known.
    ///
    /// # Errors
    /// Fails only if the encoder does, which does not happen when it writes to memory.
    pub fn expose(
        self: &Arc<Self>,
        live: Live,
        process: Option<Statistics>,
        format: Format,
    ) -> Result<String, fmt::Error> {
        let mut ours = Registry::with_prefix(PREFIX);
        ours.register_collector(Box::new(Ours { metrics: Arc::clone(self), live }));
        let mut page = String::with_capacity(32 * 1024);
        text::encode_registry(&mut page, &ours)?;
        if let Some(process) = process {
            // The standard names that every exporter uses.
            let mut of_process = Registry::with_prefix("process");
            of_process.register_collector(Box::new(OfProcess(process)));
            text::encode_registry(&mut page, &of_process)?;
        }
        text::encode_eof(&mut page)?;
        Ok(match format {
            Format::OpenMetrics => page,
            Format::Text => as_text(&page),
        })
    }
}

/// Converts a page to the older format, which names samples instead of families and has no `info` type.
fn as_text(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None;
    for line in page.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // Kept until the type is known, on which the name in this format depends.
            (Some("#"), Some("HELP"), Some(_), Some(what)) => help = Some(what),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (ending, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some(help) = help.take() {
                    let _ = writeln!(text, "# HELP {name}{ending} {help}");
                }
                let _ = writeln!(text, "# TYPE {name}{ending} {kind}");
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// The labels of one series.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Encoder of metric families.
struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge<'l>(
        &mut self,
        name: &str,
        unit: Option<Unit>,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
        for (labels, value) in series {
            let gauge = ConstGauge::new(value);
            match labels.is_empty() {
                true => family.encode_gauge(&value)?,
                false => gauge.encode(family.encode_family(&labels)?)?,
            }
        }
        Ok(())
    }

    fn counter<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in series {
            match labels.is_empty() {
                true => family.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
                false => family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
            }
        }
        Ok(())
    }

    /// A histogram of seconds.
    fn histogram<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (Labels<'l>, HistogramSnapshot)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, snapshot) in series {
            let (count, mut before) = (snapshot.count(), 0);
            // The encoder expects counts that are not cumulative.
            let own = |(bound, up_to): (f64, u64)| (bound, up_to - std::mem::replace(&mut before, up_to));
            let buckets: Vec<_> = snapshot.buckets.iter().copied().map(own).collect();
            match labels.is_empty() {
                true => family.encode_histogram::<NoLabelSet>(snapshot.sum, count, &buckets, None)?,
                false => family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
                    snapshot.sum,
                    count,
                    &buckets,
                    None,
                )?,
            }
        }
        Ok(())
    }
}

/// A family of one series without labels.
fn one<'l, T>(value: T) -> [(Labels<'l>, T); 1] {
    [(Labels::new(), value)]
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[derive(Debug)]
struct Ours {
    metrics: Arc<Metrics>,
    live: Live,
}

impl Collector for Ours {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        self.server(&mut families)?;
        self.connections(&mut families)?;
        self.turns(&mut families)?;
        self.models(&mut families)?;
        self.latencies(&mut families)?;
        self.failures(&mut families)?;
        self.deprecated(&mut families)
    }
}

impl Ours {
    fn server(&self, families: &mut Families<'_>) -> fmt::Result {
        let version = [("version", build_info::VERSION), ("commit", build_info::COMMIT)];
        families
            .0
            .encode_descriptor(
                "build",
                "The version of the program, and the commit it was built from.",
                None,
                MetricType::Info,
            )?
            .encode_info(&version)?;
        let accepting = one(u64::from(self.live.accepting));
        families.gauge(
            "accepting",
            None,
            "1 while connections and turns are accepted, 0 while the server drains.",
            accepting,
        )
    }

    fn connections(&self, families: &mut Families<'_>) -> fmt::Result {
        let Self { metrics, live } = self;
        families.gauge("connections", None, "Open chat connections.", self.open_connections(|state| state))?;
        let kinds = live.connections_by_kind.iter();
        let kinds = kinds.map(|KindCount { kind, connections }| (vec![("kind", *kind)], count(*connections)));
        families.gauge("connections_by_kind", None, "Open connections of every kind.", kinds)?;
        families.gauge("users", None, "Users with an open connection.", one(count(live.users)))?;
        families.counter("connections_opened", "Connections that were opened.", one(live.connections_opened))?;
        let codes = self.close_codes();
        families.counter("connections_closed", "Closed connections, by the side that closed.", self.closed(&codes))?;
        let stalled = one(live.connections_stalled);
        families.counter("connections_stalled", "Connections closed because the client did not read.", stalled)?;
        let auth = metrics.auth.each();
        let auth = auth.map(|(way, result, count)| (vec![("way", way.value()), ("result", result.value())], count));
        families.counter("auth_attempts", "Attempts to authenticate.", auth)?;
        let resumes = metrics.resumes.each().map(|(outcome, count)| (vec![("outcome", outcome.value())], count));
        families.counter("resumes", "Requests to resume a turn or a conversation.", resumes)?;
        let full = one(metrics.mailbox_full.get());
        families.counter("mailbox_full", "Times that a subscriber's mailbox was full and it began to lag.", full)?;
        let waiting = one(live.bytes_waiting);
        families.gauge("waiting", Some(Unit::Bytes), "Text that lagging subscribers have yet to take.", waiting)
    }

    /// The names that some families had before, until 1.0.
    fn deprecated(&self, families: &mut Families<'_>) -> fmt::Result {
        let Self { metrics, live } = self;
        let state = |state| if state == "lagging" { "behind" } else { state };
        families.gauge("sessions", None, "Deprecated: see switchboard_connections.", self.open_connections(state))?;
        let opened = one(live.connections_opened);
        families.counter("sessions_opened", "Deprecated: see switchboard_connections_opened.", opened)?;
        let codes = self.close_codes();
        let closed = self.closed(&codes);
        families.counter("sessions_closed", "Deprecated: see switchboard_connections_closed.", closed)?;
        let stalled = one(live.connections_stalled);
        families.counter("sessions_stalled", "Deprecated: see switchboard_connections_stalled.", stalled)?;
        let auth = one(metrics.connection_auth.snapshot());
        families.histogram("session_auth", "Deprecated: see switchboard_connection_auth_seconds.", auth)
    }

    /// Open connections by state, under the name that `name` has for it, and by dialect.
    fn open_connections(
        &self,
        name: impl Fn(&'static str) -> &'static str,
    ) -> impl Iterator<Item = (Labels<'static>, u64)> {
        self.live.connections.iter().map(move |ConnectionCount { state, dialect, connections }| {
            (vec![("state", name(state)), ("dialect", dialect.value())], count(*connections))
        })
    }

    fn close_codes(&self) -> Vec<String> {
        self.metrics.closed.each().map(|(reason, _)| reason.code().to_string()).collect()
    }

    fn closed<'l>(&'l self, codes: &'l [String]) -> impl Iterator<Item = (Labels<'l>, u64)> {
        let by_server = self.metrics.closed.each().zip(codes).map(|((reason, count), code)| {
            (vec![("by", "server"), ("code", code.as_str()), ("reason", reason.value())], count)
        });
        let by_client = self.metrics.left.each();
        by_server.chain(
            by_client.map(|(close, count)| (vec![("by", "client"), ("code", close.value()), ("reason", "")], count)),
        )
    }

    fn turns(&self, families: &mut Families<'_>) -> fmt::Result {
        let Self { metrics, live } = self;
        families.gauge("turns_running", None, "Turns that run.", one(count(live.turns_running)))?;
        let limit = one(count(live.max_running_turns));
        families.gauge("turns_running_limit", None, "Turns that may run at once.", limit)?;
        families.gauge("turns_waiting", None, "Turns that wait for a permit.", one(count(live.turns_waiting)))?;
        let retained = one(count(live.turns_retained));
        families.gauge("turns_retained", None, "Turns that ended a short while ago, still in memory.", retained)?;
        families.counter("turns_started", "Turns that got a permit.", one(live.turns_started))?;
        let ended = metrics.specialists.iter().flat_map(|(name, ended)| {
            ended.each().map(move |(reason, count)| {
                (vec![("specialist", name.as_str()), ("finish_reason", reason.value())], count)
            })
        });
        families.counter("turns_ended", "Turns that ended.", ended)?;
        for (name, help, ratings) in [
            ("answers_rated", "Ratings of answers that users gave.", &metrics.ratings),
            ("ratings_withdrawn", "Ratings of answers that users withdrew or replaced.", &metrics.withdrawn_ratings),
        ] {
            let counts = ratings.each();
            let rows = counts.iter().map(|rated| (rated.labels(&metrics.specialists[rated.specialist].0), rated.count));
            families.counter(name, help, rows)?;
        }
        families.counter("tokens", "Tokens of all answers.", one(metrics.tokens()))?;
        families.counter("tokens_sent", "Tokens sent to WebSockets.", one(live.tokens_sent))
    }

    fn latencies(&self, families: &mut Families<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        let mut plain =
            |name, help, histogram: &super::Histogram| families.histogram(name, help, one(histogram.snapshot()));
        plain(
            "connection_auth",
            "From the opening of a connection to its first successful authentication.",
            &metrics.connection_auth,
        )?;
        plain("first_token", "From a question to the first token of its answer.", &metrics.first_token)?;
        plain("token_interval", "Between two tokens of an answer.", &metrics.token_interval)?;
        plain("turn", "From a question to the end of its turn.", &metrics.turn)?;
        plain("password_hash", "One hash of a password, without the wait for a free thread.", &metrics.password_hash)?;
        plain("store_commit", "One transaction of the store's writer, with its sync.", &metrics.store_commit)?;
        let steps = TurnStep::ALL.iter().zip(&metrics.steps);
        let steps = steps.map(|(step, histogram)| (vec![("step", step.value())], histogram.snapshot()));
        families.histogram("turn_step", "One step of a turn.", steps)
    }

    fn failures(&self, families: &mut Families<'_>) -> fmt::Result {
        let Self { metrics, live } = self;
        let errors = metrics.errors.each();
        let errors =
            errors.map(|(surface, code, count)| (vec![("surface", surface.value()), ("code", code.value())], count));
        families.counter("errors", "Errors that clients were told of.", errors)?;
        let provider = metrics.provider_errors.each();
        let provider =
            provider.map(|(task, kind, count)| (vec![("task", task.value()), ("kind", kind.value())], count));
        families.counter("provider_errors", "Failures of the model's server.", provider)?;
        let requests = live.providers.iter().flat_map(|ProviderState { name, requests, .. }| {
            requests
                .iter()
                .map(move |(outcome, count)| (vec![("provider", name.as_str()), ("outcome", *outcome)], *count))
        });
        families.counter(
            "provider_requests",
            "Requests to providers, and those that an open circuit spared.",
            requests,
        )?;
        let circuits = live.providers.iter().flat_map(|ProviderState { name, circuit, .. }| {
            CIRCUITS.map(|state| (vec![("provider", name.as_str()), ("state", state)], u64::from(state == *circuit)))
        });
        families.gauge("provider_circuit", None, "1 for the state of the provider's circuit.", circuits)?;
        let store =
            metrics.store_errors.each().map(|(operation, count)| (vec![("operation", operation.value())], count));
        families.counter("store_errors", "Failures of the database.", store)?;
        families.counter(
            "store_changes",
            "Changes that the store's writer committed.",
            one(metrics.store_changes.get()),
        )?;
        let unstored = one(count(live.answers_unstored));
        families.gauge("answers_unstored", None, "Answers in memory that the store has not taken.", unstored)?;
        let lost = one(live.log_lines_lost);
        families.counter("log_lines_lost", "Log lines that were dropped or could not be written.", lost)?;
        let limits = live.limits.iter().map(|limit| (vec![("limit", limit.limit)], limit.hits));
        families.counter("limit_hits", "Frames, requests and connections that a limit refused.", limits)
    }
}

#[derive(Debug)]
struct OfProcess(Statistics);

impl Collector for OfProcess {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let Statistics { usage, virtual_bytes, threads, open_files, max_open_files, started_at } = self.0;
        let mut cpu = families.0.encode_descriptor(
            "cpu",
            "Time on processors, of users and the system.",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        cpu.encode_counter::<NoLabelSet, _, f64>(&usage.cpu.as_secs_f64(), None)?;
        let bytes = || Some(Unit::Bytes);
        families.gauge("resident_memory", bytes(), "Memory in use.", one(usage.resident))?;
        families.gauge("virtual_memory", bytes(), "Memory that is addressed.", one(virtual_bytes))?;
        families.gauge("threads", None, "Threads.", one(threads))?;
        families.gauge("open_fds", None, "Files and connections that are open.", one(open_files))?;
        families.gauge("max_fds", None, "Files and connections that may be open.", one(max_open_files))?;
        let mut started = families.0.encode_descriptor(
            "start_time",
            "When the process began, since 1970.",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        started.encode_gauge(&started_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ProviderErrorKind;
    use crate::metrics::{LimitCount, ModelTask};
    use std::time::Duration;
    use switchboard_protocol::Dialect;

    fn page(format: Format) -> String {
        let metrics = Arc::new(Metrics::new(&["specs".to_owned()]));
        metrics.first_token.record(Duration::from_millis(2));
        metrics.provider_errors.increment(ModelTask::Generate, ProviderErrorKind::Timeout);
        let live = Live {
            connections: vec![ConnectionCount { state: "idle", dialect: Dialect::V2, connections: 3 }],
            limits: vec![LimitCount { limit: "frames", hits: 7 }],
            ..Live::default()
        };
        metrics.expose(live, None, format).unwrap()
    }

    #[track_caller]
    fn expect(page: &str, line: &str) {
        assert!(page.lines().any(|have| have == line), "no {line} in\n{page}");
    }

    #[test]
    fn open_metrics_has_families_with_units() {
        let page = page(Format::OpenMetrics);
        for line in [
            "# TYPE switchboard_build info",
            "# TYPE switchboard_limit_hits counter",
            "switchboard_limit_hits_total{limit=\"frames\"} 7",
            "switchboard_connections{state=\"idle\",dialect=\"chat.v2\"} 3",
            "switchboard_provider_errors_total{task=\"generate\",kind=\"timeout\"} 1",
            "# TYPE switchboard_first_token_seconds histogram",
            "# UNIT switchboard_first_token_seconds seconds",
            "switchboard_first_token_seconds_bucket{le=\"0.001\"} 0",
            "switchboard_first_token_seconds_bucket{le=\"0.0025\"} 1",
            "switchboard_first_token_seconds_bucket{le=\"+Inf\"} 1",
            "switchboard_first_token_seconds_count 1",
            "switchboard_waiting_bytes 0",
        ] {
            expect(&page, line);
        }
        assert!(page.ends_with("\n# EOF\n"));
    }

    #[test]
    fn plain_text_names_its_samples() {
        let page = page(Format::Text);
        for line in [
            "# TYPE switchboard_build_info gauge",
            "# TYPE switchboard_limit_hits_total counter",
            "# HELP switchboard_limit_hits_total Frames, requests and connections that a limit refused.",
            "switchboard_limit_hits_total{limit=\"frames\"} 7",
            "# TYPE switchboard_first_token_seconds histogram",
        ] {
            expect(&page, line);
        }
        assert!(!page.contains("# EOF") && !page.contains("# UNIT"));
    }

    #[test]
    fn plain_text_is_returned_on_request() {
        for (accept, format) in [
            ("", Format::OpenMetrics),
            ("*/*", Format::OpenMetrics),
            ("text/plain", Format::Text),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text),
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }
}
