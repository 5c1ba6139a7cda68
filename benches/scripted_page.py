"""The measurements with scripted answers in docs/BENCHMARKS.md. Pure: records in, text out."""

from relay_page import sizes
from results import growth, medians, number, paired_ratio, ratio, section, spread, table

FLOOR, OURS = "floor", "switchboard"


def render(records):
    """The sections of those that were measured."""
    parts = [streaming(record, connections) for connections, record in sizes(records, "streaming")]
    for part, section_of in (
        ("first-token", first_token),
        ("turns", turns),
        ("sign-ins", sign_ins),
        ("jitter", jitter),
        ("classic", classic),
    ):
        if part in records:
            parts.append(section_of(records[part]))
    return "\n\n".join(parts)


def streaming(record, connections):
    runs, tokens = record["result"]["runs"], record["result"]["tokens"]
    floor = runs[FLOOR]
    head = ["server", "CPU µs/token", "× floor", "kB idle", "× floor", "kB streaming", "jitter p50 ms", "p99 ms"]
    head += ["× floor", "generator"]
    rows = []
    for name, of_name in runs.items():
        middle = medians(of_name)
        rows.append(
            [
                name,
                number(middle["cpu_us_per_token"]),
                number(paired_ratio(of_name, floor, "cpu_us_per_token")),
                number(middle["idle_kb"], 1),
                number(paired_ratio(of_name, floor, "idle_kb"), 1),
                f"{number(middle['streaming_kb_begin'], 1)} to {number(middle['streaming_kb_end'], 1)}",
                number(middle["jitter_p50_ms"]),
                number(middle["jitter_p99_ms"]),
                number(paired_ratio(of_name, floor, "jitter_p99_ms")),
                f"{number((middle['generator_cores'] or 0) * 100, 0)} %",
            ]
        )
    note = f"Each answer has {tokens} tokens of 64 bytes, one every 100 ms. Rounds: {len(floor)}"
    apart = spread([run["cpu_us_per_token"] for run in floor])
    if apart and len(floor) > 1:
        note += f"; the floor's CPU per token differed by {number(apart * 100 - 100, 0)} % between them"
    note += "."
    joined = [name for name, of_name in runs.items() if (medians(of_name)["tokens_per_frame"] or 1) > 1.005]
    if joined:
        note += f" Some tokens shared a frame because the reader was lagging: {', '.join(joined)}."
    return section(f"## {connections:,} streams", record, note, table(head, rows))


def first_token(record):
    runs = record["result"]
    rows = [[name, number(medians(of)["p50_ms"]), number(medians(of)["p99_ms"])] for name, of in runs.items()]
    note = "1,000 connections, about 200 questions per second."
    return section("## First token", record, note, table(["server", "p50 ms", "p99 ms"], rows))


def turns(record):
    runs = record["result"]
    rows = [[name, number(medians(of)["per_second"]), number(medians(of)["cpu_ms"])] for name, of in runs.items()]
    note = "200 connections, each asking its next question when the answer is complete; 20 tokens, no interval. The floor stores nothing."
    return section("## Whole turns", record, note, table(["server", "turns/s", "CPU ms/turn"], rows))


def sign_ins(record):
    middle = medians(record["result"])
    rows = [
        ["bare argon2 loop", number(middle["bare_per_second"], 1), number(middle["bare_cpu_ms"], 1)],
        ["sign-ins to Switchboard", number(middle["per_second"], 1), number(middle["cpu_ms"], 1)],
    ]
    return section("## Sign-ins", record, table(["", "per second", "CPU ms each"], rows))


def jitter(record):
    middle = medians(record["result"])
    rows = [
        ["Switchboard", number(middle["switchboard_alone"]), number(middle["switchboard_beside"])],
        ["floor beside the argon2 loop", number(middle["floor_alone"]), number(middle["floor_beside"])],
    ]
    note = "Jitter of 500 streams, p99 in ms, alone and with sign-ins at full rate "
    note += f"({number(middle['sign_ins_per_second'], 1)} per second)."
    return section("## Jitter while people sign in", record, note, table(["", "alone", "with sign-ins"], rows))


def classic(record):
    runs = record["result"]
    rows = []
    for tokens, new_runs in runs["chat.v2"].items():
        new, old = medians(new_runs), medians(runs["chat.v1"][tokens])
        rows.append(
            [
                f"{int(tokens):,}",
                *(number(new["kb"], 0), number(new["cpu_ms"])),
                *(number(old["kb"], 0), number(old["cpu_ms"]), number(ratio(old["cpu_ms"] * 1000, old["kb"]))),
                number(ratio((old["cpu_ms"] - new["cpu_ms"]) * 1000, old["kb"] - new["kb"])),
                number(old["tokens_per_frame"]),
            ]
        )
    head = [
        "tokens",
        "chat.v2 kB",
        "CPU ms",
        "chat.v1 kB",
        "CPU ms",
        "ns/byte",
        "extra ns/byte over v2",
        "tokens/frame",
    ]
    note = "One answer, with 6 bytes per token. `chat.v1` repeats the answer so far in each frame, so its bytes grow with the "
    note += f"square of the length. Its CPU grows as its bytes to the power of {number(classic_growth(runs))}."
    return section("## `chat.v1`", record, note, table(head, rows))


def classic_growth(runs):
    points = [(medians(of)["kb"], medians(of)["cpu_ms"]) for of in runs["chat.v1"].values()]
    return growth(points)
