//! The verdict on a load: the reasons why it failed, and advice. Pure.

use super::{Report, text::grouped};

/// Error codes that usually come from a limit per address or per user.
const CODES_OF_LIMITS: [&str; 3] = ["OVERLOADED", "RATE_LIMITED", "TOO_MANY_CONNECTIONS"];

/// Returns every reason why a load failed, as text; empty after a success.
pub(super) fn problems(report: &Report) -> Vec<String> {
    let (plan, turns) = (&report.plan, &report.turns);
    let mut problems = Vec::new();
    let mut too_many = |count: u64, of: u64, what: &str| {
        if is_more_than(count, of, plan.max_failures) {
            let allowed = plan.max_failures;
            let (count, of) = (grouped(count), grouped(of));
            problems.push(format!("{count} of {of} {what} (--max-failures allows {allowed} %)"));
        }
    };
    // An interruption leaves connections unopened and turns unfinished; these are no failures.
    let wanted = if report.is_interrupted { report.connections.tried } else { u64::from(plan.connections) };
    too_many(wanted.saturating_sub(report.connections.opened), wanted, "connections did not open");
    too_many(report.connections.lost, report.connections.opened, "connections were lost");
    too_many(turns.failed.saturating_sub(turns.failed_as_planned), turns.started, "turns failed");
    if report.transcripts.wrong > 0 {
        problems.push(format!("{} answers differ from what the server wrote", grouped(report.transcripts.wrong)));
    }
    if turns.unfinished > 0 && !report.is_interrupted {
        problems.push(format!("{} turns never ended", grouped(turns.unfinished)));
    }
    if report.server.is_some_and(|server| server.is_gone) {
        problems.push("the server's process ended during the load".to_owned());
    }
    problems
}

/// Returns advice about the errors of a load, if there is any.
pub(super) fn advice(report: &Report) -> Vec<&'static str> {
    let mut advice = Vec::new();
    if CODES_OF_LIMITS.iter().any(|code| report.errors.contains_key(*code)) {
        advice.push(
            "the server has limits per address and per user: start it with this machine's address in \
             limits.exempt_addresses, or reduce the load; its total limit is workflow.max_running_turns",
        );
    }
    if report.turns.off_script > 0 {
        advice.push(
            "the answers do not follow --tokens: only a server with provider.kind = \"scripted\" follows the script of a \
             question",
        );
    }
    advice
}

/// Whether `count` is a larger share of `of` than `percent`.
#[expect(clippy::cast_precision_loss, reason = "counts of a load are far below 2^52")]
fn is_more_than(count: u64, of: u64, percent: f64) -> bool {
    count > 0 && count as f64 * 100.0 > percent * of as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threshold_is_a_percentage() {
        assert!(!is_more_than(0, 0, 0.0) && !is_more_than(0, 10, 0.0));
        assert!(is_more_than(1, 1_000, 0.0) && is_more_than(1, 0, 0.0));
        assert!(!is_more_than(5, 100, 5.0) && is_more_than(6, 100, 5.0) && !is_more_than(100, 100, 100.0));
    }
}
