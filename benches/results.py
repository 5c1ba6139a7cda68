"""What the reports of the load generator say, as the few numbers that are compared. Pure: no server, no file, no clock."""

import math
import statistics

# Load average over a minute above which times on the clock are not reliable.
QUIET = 0.5
BUSY = "**The machine was busy with other work: ratios of CPU are rough, and times are not reliable.**"


def streaming(report, interval_ms):
    """Of one load in which every connection streams one answer."""
    latency = latencies(report)
    gaps, late = latency["between tokens"], latency["behind schedule"]
    begin, end = streaming_memory(report)
    return {
        "cpu_us_per_token": report["server"]["steady_us_per_token"],
        "idle_kb": report["server"]["idle_kb_per_connection"],
        "streaming_kb_begin": begin,
        "streaming_kb_end": end,
        "jitter_p50_ms": max(0.0, gaps["p50"] - interval_ms),
        "jitter_p99_ms": max(0.0, gaps["p99"] - interval_ms),
        "late_p50_ms": late["p50"],
        "late_p99_ms": late["p99"],
        "generator_cores": generator_cores(report),
        "tokens_per_frame": report["tokens"]["received"] / max(1, report["tokens"]["frames"]),
    }


def latencies(report):
    return {latency["name"]: latency for latency in report["latencies"]}


def while_all_stream(report):
    """The samples between the last first question and the first end of an answer."""
    moments = report["moments"]
    end = moments["first_turn_ended_s"] or float("inf")
    return [sample for sample in report["samples"] if moments["all_asked_s"] < sample["at_s"] < end]


def streaming_memory(report):
    """kB that a connection adds: when the last one has begun to stream, and just before the first one ends."""
    opened, before = report["connections"]["opened"], report["server"]["memory"]["before"]
    inside = [(sample["server_resident"] - before) / 1000 / opened for sample in while_all_stream(report)]
    return (inside[0], inside[-1]) if inside else (None, None)


def generator_cores(report):
    """Cores that the generator itself kept busy; near 1.0, what it says about times is about itself."""
    inside = while_all_stream(report)
    if len(inside) < 2:
        return None
    seconds = inside[-1]["at_s"] - inside[0]["at_s"]
    return (inside[-1]["client_cpu_s"] - inside[0]["client_cpu_s"]) / seconds


def faults(report):
    """What went wrong; a number that comes with faults is worth nothing."""
    found = []
    if report["connections"]["opened"] != report["plan"]["connections"]:
        found.append(f"{report['connections']['opened']} of {report['plan']['connections']} connections opened")
    for what, count in (
        ("turns failed", report["turns"]["failed"]),
        ("turns unfinished", report["turns"]["unfinished"]),
        ("transcripts wrong", report["transcripts"]["wrong"]),
    ):
        if count:
            found.append(f"{count} {what}")
    found += [f"{count} × {label}" for label, count in report["errors"].items()]
    return found


def relay(report, tokens_per_answer):
    """Of one relay job: CPU per token of the whole job and of streaming alone, and what a question costs beside its tokens."""
    moments, named = report["moments"], report["named"]
    tokens = report["complete"] * tokens_per_answer
    whole_s = named["end"]["cpu_s"] - named["before_asking"]["cpu_s"]
    begin, end = moments["last_asked_s"] or 0, moments["first_ended_s"] or 0
    inside = [sample for sample in report["samples"] if begin + 0.3 < sample["at_s"] < end - 0.1]
    streaming_us = streaming_kb = question_ms = None
    if len(inside) > 1 and inside[-1]["tokens"] > inside[0]["tokens"]:
        streamed = inside[-1]["tokens"] - inside[0]["tokens"]
        streaming_us = (inside[-1]["cpu_s"] - inside[0]["cpu_s"]) / streamed * 1e6
        half_way = min(inside, key=lambda sample: abs(sample["at_s"] - (begin + end) / 2))
        streaming_kb = (half_way["resident"] - named["start"]["resident"]) / 1000 / report["connections"]
        if report["complete"]:
            question_ms = (whole_s - streaming_us * tokens / 1e6) / report["complete"] * 1000
    idle = named["before_asking"]["resident"] - named["start"]["resident"]
    return {
        "complete": report["complete"] / report["connections"],
        "whole_us": ratio(whole_s * 1e6, tokens),
        "streaming_us": streaming_us,
        "question_ms": question_ms,
        "idle_kb": idle / 1000 / report["connections"],
        "streaming_kb": streaming_kb,
        "first_token_p50_ms": report["first_token_ms"]["p50"],
        "first_token_p99_ms": report["first_token_ms"]["p99"],
        "late_p99_ms": report["late_ms"]["p99"],
    }


def relay_faults(report):
    """What went wrong in a relay job. Only an answer whose text is the upstream's is complete."""
    connections, found = report["connections"], []
    for what, count in (("connections opened", report["connected"]), ("answers complete", report["complete"])):
        if count != connections:
            found.append(f"{count} of {connections} {what}")
    if report["wrong"]:
        found.append(f"{report['wrong']} answers differ from the upstream's")
    return found + [f"{count} × {label}" for label, count in report["errors"].items()]


def medians(runs):
    """The median of each number over runs of the same; of none, when it is missing in all."""
    return {key: median([run[key] for run in runs]) for key in runs[0]}


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values):
    """How far the runs lie apart: the largest over the smallest."""
    known = [value for value in values if value]
    return max(known) / min(known) if known else None


def ratio(value, floor):
    return value / floor if value is not None and floor else None


def paired_ratios(runs, floor_runs, key):
    """The ratios of runs that were made one after the other: what slows the machine slows both."""
    pairs = [ratio(run[key], floor[key]) for run, floor in zip(runs, floor_runs, strict=False)]
    return [pair for pair in pairs if pair is not None]


def paired_ratio(runs, floor_runs, key):
    return median(paired_ratios(runs, floor_runs, key))


def ratio_between(runs, one, other, key):
    """The same for two servers of a measurement; `None` when one of them was not measured."""
    return paired_ratio(runs[one], runs[other], key) if one in runs and other in runs else None


def quartiles(values):
    """The first and the third; of fewer than two values, `None`."""
    if len(values) < 2:
        return None
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def growth(points):
    """The exponent p of y ~ x^p, least squares over logarithms: 1 is linear, 2 quadratic."""
    known = [(math.log(x), math.log(y)) for x, y in points if x and y]
    if len(known) < 2:
        return None
    slope, _ = statistics.linear_regression(*zip(*known, strict=False))
    return slope


def target(what, value, limit, is_at_most=True, unit="", note="", measured=""):
    """One line of the table of targets. `measured`: when and at which commit."""
    is_met = None if value is None else value <= limit if is_at_most else value >= limit
    sign = "≤" if is_at_most else "≥"
    return {
        "what": what,
        "value": value,
        "target": f"{sign} {limit:g}{unit}",
        "unit": unit,
        "is_met": is_met,
        "note": note,
        "measured": measured if value is not None else "",
    }


def number(value, digits=2):
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}"


def table(head, rows):
    """A Markdown table; the first column is text, the others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def stamp(record):
    """When and at which commit a part was measured."""
    return f"{record['date']}, {record['switchboard']}" if record else ""


def is_busy(record):
    return float(record["load_before"]) > QUIET


def section(heading, record, *texts):
    """A section of the page, which says when it was measured."""
    measured = f"Measured on {record['date']} with Switchboard {record['switchboard']}."
    if is_busy(record):
        measured += f" {BUSY}"
    if record.get("note"):
        measured += f" {record['note']}"
    return "\n\n".join([heading, measured, *texts])
