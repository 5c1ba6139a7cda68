//! The report and progress lines as text for a terminal.

use super::{Report, Sample, report::float};
use std::io;

/// Writes one line of progress.
///
/// # Errors
/// When it cannot be written.
pub fn write_progress(sample: &Sample, before: Option<&Sample>, out: &mut dyn io::Write) -> io::Result<()> {
    let seconds = sample.at_s - before.map_or(0.0, |before| before.at_s);
    let tokens = float(sample.tokens - before.map_or(0, |before| before.tokens)) / seconds.max(0.001);
    write!(
        out,
        "{:6.1} s  {} open  {} turns  {} tokens/s  {} errors",
        sample.at_s,
        grouped(sample.connections),
        grouped(sample.turns),
        decimal(tokens),
        sample.errors
    )?;
    if let (Some(cpu), Some(resident)) = (sample.server_cpu_s, sample.server_resident) {
        let used = cpu - before.and_then(|before| before.server_cpu_s).unwrap_or(cpu);
        write!(out, "  server: {:.0} % CPU, {}", used / seconds.max(0.001) * 100.0, bytes(float(resident)))?;
    }
    writeln!(out)
}

/// Writes the report as text.
///
/// # Errors
/// When it cannot be written.
pub fn write_text(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let plan = &report.plan;
    writeln!(
        out,
        "{} connections to {} ({}), {:.1} s\n",
        grouped(report.connections.opened),
        plan.url,
        plan.dialect.subprotocol(),
        report.seconds
    )?;
    writeln!(
        out,
        "{:<16}{:>12}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "milliseconds", "count", "p50", "p90", "p99", "p99.9", "max"
    )?;
    for latency in report.latencies.iter().filter(|latency| latency.count > 0) {
        writeln!(
            out,
            "{:<16}{:>12}{:>11.2}{:>11.2}{:>11.2}{:>11.2}{:>11.2}",
            latency.name,
            grouped(latency.count),
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.max
        )?;
    }
    let (turns, tokens) = (&report.turns, &report.tokens);
    writeln!(
        out,
        "\nturns        {} complete, {} failed, {} unfinished; {}/s",
        grouped(turns.complete),
        grouped(turns.failed),
        grouped(turns.unfinished),
        decimal(turns.per_second)
    )?;
    writeln!(
        out,
        "tokens       {} in {} frames; {}/s; {} in all, {}/s",
        grouped(tokens.received),
        grouped(tokens.frames),
        decimal(tokens.per_second),
        bytes(float(tokens.bytes)),
        bytes(tokens.bytes_per_second)
    )?;
    writeln!(
        out,
        "transcripts  {} verified by seq and SHA-256, {} wrong",
        grouped(report.transcripts.verified),
        grouped(report.transcripts.wrong)
    )?;
    writeln!(out, "resumes      {}", grouped(report.connections.resumes))?;
    writeln!(out, "lost         {} connections while idle", grouped(report.connections.lost))?;
    write_errors(report, out)?;
    writeln!(out, "close codes  {}", list(report.close_codes.iter()))?;
    match &report.server {
        Some(server) => {
            let gone = if server.is_gone { "; it ended during the load" } else { "" };
            writeln!(out, "server       {}{gone}", cost(&server.cost, server.pid))?;
            writeln!(
                out,
                "             {:.1} kB per connection idle, {:.1} kB busy; {} before, {} at most",
                server.idle_kb_per_connection,
                server.busy_kb_per_connection,
                bytes(float(server.memory.before)),
                bytes(float(server.cost.max_resident))
            )?;
        }
        None => writeln!(out, "server       not measured: it runs on another host or as another user")?,
    }
    writeln!(
        out,
        "generator    {}, {} at most",
        cost(&report.generator, std::process::id()),
        bytes(float(report.generator.max_resident))
    )?;
    write_verdict(report, out)
}

/// Writes the number of errors per code, with the text of the first one.
fn write_errors(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    if report.errors.is_empty() {
        return writeln!(out, "errors       none");
    }
    for (at, (code, count)) in report.errors.iter().enumerate() {
        let (name, text) =
            (if at == 0 { "errors" } else { "" }, report.error_texts.get(code).map_or("", String::as_str));
        writeln!(out, "{name:<13}{code} × {}: {text}", grouped(*count))?;
    }
    Ok(())
}

fn write_verdict(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    if report.is_interrupted {
        writeln!(out, "\ninterrupted: the report covers what happened until then")?;
    }
    for problem in &report.problems {
        writeln!(out, "\nFAILED: {problem}")?;
    }
    report.advice.iter().try_for_each(|advice| writeln!(out, "\nadvice: {advice}"))
}

fn cost(cost: &super::report::Cost, pid: u32) -> String {
    let steady = cost
        .steady_us_per_token
        .map_or_else(String::new, |steady| format!("{steady:.2} µs of CPU per token while all streamed, "));
    format!("{steady}{:.2} µs per token over all, {:.2} s of CPU (pid {pid})", cost.us_per_token, cost.cpu_s)
}

fn list(counts: impl Iterator<Item = (impl ToString, impl ToString)>) -> String {
    let all: Vec<String> =
        counts.map(|(what, count)| format!("{} × {}", what.to_string(), count.to_string())).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// Formats a number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are neither negative nor large")]
pub(super) fn decimal(number: f64) -> String {
    if number < 100.0 { format!("{number:.1}") } else { grouped(number.round() as u64) }
}

pub(super) fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} kB", bytes / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!([grouped(0), grouped(999), grouped(1_000), grouped(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([decimal(1.25), decimal(1_234.6)], ["1.2", "1,235"]);
        assert_eq!([bytes(1_500.0), bytes(2.5e6), bytes(3e9)], ["1.5 kB", "2.5 MB", "3.00 GB"]);
    }
}
