//! The numbers of a finished load. They are rendered by `text` and `html`.

use super::{
    Plan, Sample,
    run::{Memory, Moments},
    tally::{Tally, Times},
    verdict,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Percentiles of the curves.
const CURVE: [f64; 14] = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.8, 99.9, 99.99, 100.0];
/// Minimum length of a window for a useful CPU measurement, in seconds.
const MIN_WINDOW_S: f64 = 2.0;

/// Results of a load.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub plan: Plan,
    /// From the first connection to the last answer, in seconds.
    pub seconds: f64,
    pub moments: Moments,
    pub latencies: Vec<Latency>,
    pub connections: Connections,
    pub turns: Turns,
    pub tokens: Tokens,
    pub transcripts: Transcripts,
    pub errors: BTreeMap<String, u64>,
    /// For each kind of error, the text of the first one.
    pub error_texts: BTreeMap<String, String>,
    pub close_codes: BTreeMap<u16, u64>,
    /// `None` if its process cannot be read from this host.
    pub server: Option<ServerCost>,
    pub generator: Cost,
    pub samples: Vec<Sample>,
    /// Whether the load was stopped early.
    pub is_interrupted: bool,
    /// Every reason for which the load failed; empty when it succeeded.
    pub problems: Vec<String>,
    /// Advice about the errors, where there is any.
    pub advice: Vec<&'static str>,
}

/// Distribution of one kind of latency, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub name: &'static str,
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    /// Pairs of percentile and milliseconds.
    pub curve: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Connections {
    pub tried: u64,
    pub opened: u64,
    /// Connections that ended while idle.
    pub lost: u64,
    /// Turns resumed after a lost connection.
    pub resumes: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Turns {
    pub started: u64,
    pub complete: u64,
    pub failed: u64,
    /// Failed turns that `--fail-after` asked for.
    pub failed_as_planned: u64,
    /// Complete answers with another number of tokens than `--tokens`.
    pub off_script: u64,
    /// Turns still running when the load ended.
    pub unfinished: u64,
    /// Rate while questions were asked.
    pub per_second: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tokens {
    pub received: u64,
    pub frames: u64,
    pub per_second: f64,
    /// Total size of all text frames.
    pub bytes: u64,
    pub bytes_per_second: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Transcripts {
    /// Complete answers without gaps that equal the response and its SHA-256.
    pub verified: u64,
    pub wrong: u64,
}

/// CPU time and memory of a process.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Cost {
    /// CPU time while questions were asked and answered, in seconds.
    pub cpu_s: f64,
    pub us_per_token: f64,
    /// CPU time per token while every connection streamed; `None` if that period was too short.
    pub steady_us_per_token: Option<f64>,
    /// Peak resident memory, in bytes.
    pub max_resident: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct ServerCost {
    pub pid: u32,
    #[serde(flatten)]
    pub cost: Cost,
    pub memory: Memory,
    /// Whether the process ended during the load.
    pub is_gone: bool,
    /// Memory that each idle connection adds, in kB of 1,000 bytes; 0 when the process did not grow.
    pub idle_kb_per_connection: f64,
    /// Peak memory that each connection adds while questions are asked, in the same unit.
    pub busy_kb_per_connection: f64,
}

/// Results of a load, for its report.
pub(super) struct Observed<'a> {
    pub plan: &'a Plan,
    pub tally: &'a Tally,
    pub samples: Vec<Sample>,
    pub moments: Moments,
    pub memory: Memory,
    pub server_pid: Option<u32>,
    /// From the first connection to the last answer, in seconds.
    pub seconds: f64,
    pub is_interrupted: bool,
}

impl Report {
    pub(super) fn new(observed: Observed<'_>) -> Self {
        let Observed { plan, tally, samples, moments, memory, server_pid, seconds, is_interrupted } = observed;
        let asking_s = moments.last_turn_ended_s.unwrap_or(seconds) - moments.asking_from_s;
        let per_second = |count: u64| if asking_s > 0.0 { float(count) / asking_s } else { 0.0 };
        let server = server_pid.map(|pid| {
            let cost = cost(&samples, &moments, |sample| (sample.server_cpu_s, sample.server_resident));
            let opened = float(tally.opened.max(1));
            let busy = samples.iter().filter(|sample| sample.at_s >= moments.asking_from_s);
            let busy = busy.filter_map(|sample| sample.server_resident).max().unwrap_or_default();
            // A server that handled a load before may free memory meanwhile.
            let added = |resident: u64| float(resident.saturating_sub(memory.before)) / 1_000.0 / opened;
            ServerCost {
                pid,
                cost,
                memory,
                is_gone: samples.last().is_some_and(|sample| sample.server_resident.is_none()),
                idle_kb_per_connection: added(memory.idle),
                busy_kb_per_connection: added(busy),
            }
        });
        let mut report = Self {
            plan: plan.clone(),
            seconds,
            moments,
            latencies: Latency::all(tally),
            connections: Connections {
                tried: tally.tries,
                opened: tally.opened,
                lost: tally.lost,
                resumes: tally.resumes,
            },
            turns: Turns {
                started: tally.turns_started,
                complete: tally.turns_complete,
                failed: tally.turns_failed,
                failed_as_planned: tally.failed_as_planned,
                off_script: tally.off_script,
                unfinished: tally.turns_started.saturating_sub(tally.turns_complete + tally.turns_failed),
                per_second: per_second(tally.turns_complete),
            },
            tokens: Tokens {
                received: tally.tokens,
                frames: tally.token_frames,
                per_second: per_second(tally.tokens),
                bytes: tally.bytes,
                bytes_per_second: per_second(tally.bytes),
            },
            transcripts: Transcripts { verified: tally.verified, wrong: tally.unverified },
            errors: tally.errors.clone(),
            error_texts: tally.error_texts.clone(),
            close_codes: tally.close_codes.clone(),
            server,
            generator: cost(&samples, &moments, |sample| (Some(sample.client_cpu_s), Some(sample.client_resident))),
            samples,
            is_interrupted,
            problems: Vec::new(),
            advice: Vec::new(),
        };
        report.problems = verdict::problems(&report);
        report.advice = verdict::advice(&report);
        report
    }

    /// Whether the load ran to its end with no more failures than the plan allows.
    pub fn is_success(&self) -> bool {
        self.problems.is_empty() && !self.is_interrupted
    }
}

impl Latency {
    fn all(tally: &Tally) -> Vec<Self> {
        vec![
            Self::new("connect", &tally.connect),
            Self::new("authenticated", &tally.authenticated),
            Self::new("first token", &tally.first_token),
            Self::new("between tokens", &tally.between_tokens),
            Self::new("behind schedule", &tally.behind_schedule),
            Self::new("whole turn", &tally.turn),
            Self::new("cut to resumed", &tally.resume),
        ]
    }

    fn new(name: &'static str, times: &Times) -> Self {
        Self {
            name,
            count: times.count(),
            mean: times.mean_ms(),
            p50: times.percentile_ms(50.0),
            p90: times.percentile_ms(90.0),
            p99: times.percentile_ms(99.0),
            p999: times.percentile_ms(99.9),
            max: times.max_ms(),
            curve: CURVE.iter().map(|percent| (*percent, times.percentile_ms(*percent))).collect(),
        }
    }
}

/// Computes the cost of a process from its CPU time and resident memory in each sample.
fn cost(samples: &[Sample], moments: &Moments, usage: impl Fn(&Sample) -> (Option<f64>, Option<u64>)) -> Cost {
    let window = |from: f64, until: f64| {
        // The samples of a process that ended stop early.
        let mut seen = samples.iter().filter(|sample| usage(sample).0.is_some());
        let first = seen.clone().rev().find(|sample| sample.at_s <= from).or(seen.clone().next())?;
        let last = seen.clone().find(|sample| sample.at_s >= until).or(seen.next_back())?;
        Some((first, last, (usage(last).0? - usage(first).0?).max(0.0)))
    };
    let per_token = |first: &Sample, last: &Sample, cpu_s: f64| {
        let tokens = last.tokens.saturating_sub(first.tokens);
        if tokens == 0 { 0.0 } else { cpu_s * 1e6 / float(tokens) }
    };
    let Some((first, last, cpu_s)) = window(moments.asking_from_s, f64::INFINITY) else { return Cost::default() };
    // Only samples strictly within the period in which every connection streams.
    let steady = moments.first_turn_ended_s.and_then(|end| {
        let inside = |sample: &&Sample| sample.at_s > moments.all_asked_s && sample.at_s < end;
        let (first, last) = (samples.iter().find(inside)?, samples.iter().rev().find(inside)?);
        let cpu_s = usage(last).0? - usage(first).0?;
        (last.at_s - first.at_s >= MIN_WINDOW_S).then(|| per_token(first, last, cpu_s))
    });
    Cost {
        cpu_s,
        us_per_token: per_token(first, last, cpu_s),
        steady_us_per_token: steady,
        max_resident: samples.iter().filter_map(|sample| usage(sample).1).max().unwrap_or(0),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a load are far below 2^52")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_cpu_per_token_covers_the_period_in_which_all_stream() {
        let sample = |at_s: u32, tokens: u64, cpu: f64| Sample {
            at_s: f64::from(at_s),
            tokens,
            client_cpu_s: cpu,
            client_resident: u64::from(at_s),
            ..Sample::default()
        };
        // Opening costs 5 s of CPU, asking 1 s, streaming 10 µs a token.
        let samples: Vec<Sample> = [
            (0, 0, 0.0),
            (1, 0, 5.0),
            (2, 1_000, 6.0),
            (3, 2_000, 6.01),
            (4, 3_000, 6.02),
            (5, 4_000, 6.03),
            (6, 4_000, 7.0),
        ]
        .map(|(at, tokens, cpu)| sample(at, tokens, cpu))
        .into();
        let moments = Moments {
            asking_from_s: 1.0,
            all_asked_s: 1.5,
            first_turn_ended_s: Some(5.5),
            last_turn_ended_s: Some(6.0),
        };
        let cost = cost(&samples, &moments, |sample| (Some(sample.client_cpu_s), Some(sample.client_resident)));
        assert!((cost.steady_us_per_token.unwrap() - 10.0).abs() < 0.01, "{cost:?}");
        assert!((cost.cpu_s - 2.0).abs() < 1e-9 && (cost.us_per_token - 500.0).abs() < 0.01, "{cost:?}");
        assert_eq!(cost.max_resident, 6);
    }
}
