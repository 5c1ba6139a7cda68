//! The report as a self-contained HTML page.

use super::{
    Report, Sample,
    plot::{Line, seconds, svg},
    report::{Latency, float},
    text::{bytes, decimal, grouped, write_text},
};
use askama::Template;
use std::io;

#[derive(Template)]
#[template(path = "load_report.html")]
struct Page<'a> {
    report: &'a Report,
    facts: Vec<(&'static str, String)>,
    figures: Vec<Figure>,
    latencies: Vec<&'a Latency>,
    text: String,
}

struct Figure {
    title: &'static str,
    svg: String,
    names: Vec<String>,
}

/// Writes the report as an HTML page.
///
/// # Errors
/// When it cannot be written.
pub fn write_html(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let mut text = Vec::new();
    write_text(report, &mut text)?;
    let page = Page {
        report,
        facts: facts(report),
        figures: figures(report),
        latencies: report.latencies.iter().filter(|latency| latency.count > 0).collect(),
        text: String::from_utf8_lossy(&text).into_owned(),
    };
    out.write_all(page.render().map_err(io::Error::other)?.as_bytes())
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("connections", grouped(report.connections.opened)),
        ("turns per second", decimal(report.turns.per_second)),
        ("tokens per second", decimal(report.tokens.per_second)),
        ("transcripts verified", grouped(report.transcripts.verified)),
        ("transcripts wrong", grouped(report.transcripts.wrong)),
        ("errors", grouped(report.errors.values().sum())),
    ];
    if let Some(server) = &report.server {
        let per_token = server.cost.steady_us_per_token.unwrap_or(server.cost.us_per_token);
        facts.push(("server CPU per token", format!("{per_token:.2} µs")));
        facts.push(("server memory per idle connection", format!("{:.1} kB", server.idle_kb_per_connection)));
        facts.push(("peak server memory", bytes(float(server.cost.max_resident))));
    }
    facts
}

fn figures(report: &Report) -> Vec<Figure> {
    let time = seconds(report.samples.last().map_or(1.0, |sample| sample.at_s));
    let figure = |title, unit: &str, lines: Vec<Line>| Figure {
        title,
        svg: svg(title, unit, &lines, &time),
        names: lines.into_iter().map(|line| line.name).collect(),
    };
    let samples = &report.samples;
    let mut figures = vec![
        figure("Connections open", "", vec![level("connections", samples, |sample| Some(float(sample.connections)))]),
        figure(
            "Per second",
            "",
            vec![
                rate("tokens", samples, |sample| Some(float(sample.tokens))),
                rate("turns", samples, |sample| Some(float(sample.turns))),
            ],
        ),
        figure(
            "CPU, of one core",
            "%",
            vec![
                rate("server", samples, |sample| sample.server_cpu_s.map(|cpu| cpu * 100.0)),
                rate("generator", samples, |sample| Some(sample.client_cpu_s * 100.0)),
            ],
        ),
        figure(
            "Resident memory",
            "MB",
            vec![
                level("server", samples, |sample| sample.server_resident.map(|bytes| float(bytes) / 1e6)),
                level("generator", samples, |sample| Some(float(sample.client_resident) / 1e6)),
            ],
        ),
    ];
    figures.extend(percentiles("Connecting and first token", report, &["authenticated", "first token"]));
    figures.extend(percentiles("Between tokens", report, &["between tokens", "behind schedule"]));
    figures
}

fn level(name: &str, samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Line {
    let points = samples.iter().filter_map(|sample| Some((sample.at_s, value(sample)?))).collect();
    Line { name: name.to_owned(), points }
}

/// Rate at which a count grows.
fn rate(name: &str, samples: &[Sample], count: impl Fn(&Sample) -> Option<f64>) -> Line {
    let points = samples.windows(2).filter_map(|pair| {
        let seconds = (pair[1].at_s - pair[0].at_s).max(0.05);
        Some((pair[1].at_s, (count(&pair[1])? - count(&pair[0])?) / seconds))
    });
    Line { name: name.to_owned(), points: points.collect() }
}

/// Percentile curves on a logarithmic axis: each nine takes the same width.
fn percentiles(title: &'static str, report: &Report, names: &[&str]) -> Option<Figure> {
    let nines = |percent: f64| -(1.0 - percent.min(99.99) / 100.0).log10();
    let lines: Vec<Line> = report
        .latencies
        .iter()
        .filter(|latency| names.contains(&latency.name) && latency.count > 0)
        .map(|latency| Line {
            name: latency.name.to_owned(),
            points: latency.curve.iter().map(|(percent, ms)| (nines(*percent), *ms)).collect(),
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99].map(|percent| (nines(percent), format!("{percent} %")));
    let svg = svg(title, "ms", &lines, &ticks);
    Some(Figure { title, svg, names: lines.into_iter().map(|line| line.name).collect() })
}
