"""Two binaries of Switchboard in alternating rounds, in docs/BENCHMARKS.md. Pure: records in, text out."""

from results import median, medians, number, paired_ratios, quartiles, ratio, section, table

BARE, FLOOR, OURS, BEFORE = "bare relay", "floor", "switchboard", "switchboard before"
PART = "comparison"
NO_WORSE = "no worse"

NOTE = """Two binaries of Switchboard, measured in alternating order in the same rounds, each restarted for each load. *Ratio*: that of
this version to the one before within a round, as the median of all rounds, the middle half of them, and all. A ratio whose middle half
contains 1 does not differ beyond the noise of this machine."""


def render(records):
    record = records.get(PART)
    if not record:
        return ""
    result = record["result"]
    head = ["", "target", "this version", result["before"], "ratio", "middle half", "all", "rounds"]
    heading = f"## Compared with {result['before']}"
    return section(heading, record, NOTE, table(head, rows(result)))


def rows(result):
    """A row for each number of the relay job's targets, and for those that must not become worse."""
    relay, wire = result["relay"], result["wire"]
    return [
        of_ratios("relay, whole job: CPU per token, × bare relay", "≤ 1.6", relay, "whole_us"),
        of_ratios("relay, streaming alone: CPU per token, × bare relay", "≤ 1.2", relay, "streaming_us"),
        of_values("relay: CPU to start and end a question, ms", "≤ 0.6", relay, "question_ms"),
        ["relay: bytes per token on the WebSocket", "≤ 85", *once(wire)],
        of_values("relay: kB per streaming connection, half-way", "≤ 24", relay, "streaming_kb"),
        of_values("kB per idle connection, at 1,000", NO_WORSE, relay, "idle_kb"),
        of_values("whole stored turns/s", NO_WORSE, result["turns"], "per_second"),
        of_values("first token p99 over the floor, ms", NO_WORSE, over_the_floor(result["first_token"]), "p99_ms"),
    ]


def of_ratios(what, limit, runs, key):
    """A number that is a ratio to the bare relay of the same round."""
    ours, before = (median(paired_ratios(runs[name], runs[BARE], key)) for name in (OURS, BEFORE))
    return [what, limit, number(ours), number(before), *pairs(runs, key)]


def of_values(what, limit, runs, key):
    ours, before = (medians(runs[name])[key] for name in (OURS, BEFORE))
    return [what, limit, number(ours), number(before), *pairs(runs, key)]


def once(values):
    """The columns of a number that does not differ from round to round."""
    ours, before = values[OURS], values[BEFORE]
    return [number(ours, 1), number(before, 1), number(ratio(ours, before)), "–", "–", 1]


def pairs(runs, key):
    """The ratios of the two binaries within the rounds: their median, middle half, range and number."""
    found = paired_ratios(runs[OURS], runs[BEFORE], key)
    middle = quartiles(found)
    half = f"{number(middle[0])} to {number(middle[1])}" if middle else "–"
    between = f"{number(min(found))} to {number(max(found))}" if found else "–"
    return [number(median(found)), half, between, len(found)]


def over_the_floor(runs):
    """The difference between a server's 99th percentile and the floor's in the same round."""
    return {
        name: [
            {"p99_ms": max(0.0, of_name["p99_ms"] - floor["p99_ms"])}
            for of_name, floor in zip(runs[name], runs[FLOOR], strict=False)
        ]
        for name in (OURS, BEFORE)
    }
