//! The report as text.

use super::Asked;
use crate::{
    cli::table::{harmless, write_table},
    eval::{Report, wilson},
};
use std::io;

/// Passages listed for a missed question.
const LISTED_PASSAGES: usize = 4;
/// Length of the answer listed for a missed question, in characters.
const LISTED_ANSWER_CHARS: usize = 300;

/// Writes a line for each measure of each row.
pub(super) fn write_report(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let models: Vec<_> =
        report.models.iter().map(|(model, answers)| format!("{} ({answers})", harmless(model))).collect();
    writeln!(out, "{} questions; answers by {}\n", report.questions, models.join(", "))?;
    let mut lines = Vec::new();
    for row in &report.rows {
        for (measure, value) in &row.values {
            let mean = format!("{:.3}", value.mean());
            let (count, interval) = if measure.is_proportion() {
                let interval = wilson(value.count(), value.n);
                (value.count().to_string(), format!("{:.3}–{:.3}", interval.low, interval.high))
            } else {
                (String::new(), String::new())
            };
            let n = value.n.to_string();
            lines.push(vec![
                row.by.name().to_owned(),
                row.name.clone(),
                measure.name().to_owned(),
                mean,
                count,
                n,
                interval,
            ]);
        }
    }
    write_table(&["BY", "ROW", "MEASURE", "VALUE", "COUNT", "N", "95 %"], &lines, out)?;
    let latency = report.latency_ms;
    writeln!(out, "\nLatency: p50 {:.1} ms, p95 {:.1} ms", latency.p50, latency.p95)?;
    let usage = &report.usage;
    writeln!(out, "Tokens: {} of prompts, {} of answers", usage.prompt_tokens, usage.completion_tokens)?;
    for (currency, trillionths) in &usage.cost_trillionths {
        let unknown = match usage.answers_without_price {
            0 => String::new(),
            answers => format!(" and that of {answers} answers whose price is unknown"),
        };
        writeln!(out, "Cost: {:.6} {}{unknown}", *trillionths as f64 / 1e12, harmless(currency))?;
    }
    Ok(())
}

/// Writes each missed question with what was found and answered.
pub(super) fn write_misses(asked: &[Asked<'_>], out: &mut dyn io::Write) -> io::Result<()> {
    for asked in asked {
        let missed = asked.missed();
        if missed.is_empty() {
            continue;
        }
        let missed: Vec<_> = missed.iter().map(|measure| measure.name()).collect();
        let Asked { place, question, answered, .. } = asked;
        writeln!(out, "\n{} ({}): {}", harmless(&question.id), harmless(place), missed.join(", "))?;
        for message in &question.history {
            writeln!(out, "  before:     {}", harmless(message))?;
        }
        writeln!(out, "  question:   {}", harmless(&question.question))?;
        writeln!(out, "  specialist: {} ({:?})", harmless(&answered.specialist), answered.basis)?;
        for passage in answered.ranking.iter().take(LISTED_PASSAGES) {
            writeln!(out, "  passage:    {}: {}", harmless(&passage.document), harmless(&passage.title))?;
        }
        let answer: String = answered.text.chars().take(LISTED_ANSWER_CHARS).collect();
        writeln!(out, "  answer:     {}", harmless(&answer))?;
    }
    Ok(())
}
