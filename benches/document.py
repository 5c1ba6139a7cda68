"""docs/BENCHMARKS.md and the targets in docs/PERFORMANCE.md, from what was measured last. Pure: records in, text out."""

import comparison_page
import relay_page
import scripted_page
from results import median, medians, number, paired_ratio, ratio, ratio_between, stamp, table, target

FLOOR, OURS = "floor", "switchboard"
SMALL, LARGE = 1000, 15000

HEAD = """# Benchmarks

Switchboard doing its whole job, beside minimal servers. First what people run: answers relayed from a model server. Then scripted
answers, which need no upstream; their **floor** is a bare tokio socket loop. `make bench` measures and writes this page from
[benches/results](../benches/results); do not edit it. Parts can be measured apart, so each table says when it was measured.
[How it was measured](#how-it-was-measured) defines each number, [PERFORMANCE.md](PERFORMANCE.md#targets) compares them
with the targets, and [LOAD_TESTING.md](LOAD_TESTING.md) describes the generator.
"""

METHOD = f"""## How it was measured

{relay_page.METHOD}- Server and load generator (`switchboard load`) run on one machine and talk over loopback. Every server is measured by the same
  generator, and the servers alternate: floor, axum, …, Switchboard, floor, … Each server is restarted for each load. A
  number is the median of the rounds. **Ratios** are the medians of the ratios within a round, because whatever slows the machine down
  slows down neighbouring measurements alike.
- **CPU per token**: user and system time of the server's process between two samples, divided by the tokens received
  in that time, while every connection streams. It includes the kernel's work for `send` and wake-ups: with few streams a
  server wakes up for each token, with many it finds several tokens waiting, so a token costs less at 15,000 than at 1,000.
  Compare within a table.
- **Idle memory**: resident memory 1.5 s after the last connection has authenticated, minus that of the freshly started process
  before the first, divided by the number of connections. A kB is 1,000 bytes.
- **Streaming memory**: the same when the last connection has begun to stream, and when the first answer is about to end.
  An answer is kept in memory while it streams, so that it can be resumed. Its text is included, for the other servers too, whose
  `complete` frame repeats it.
- **Jitter**: the time between two tokens, minus the intended 100 ms. *generator* is the share of a core that the
  generator used meanwhile; near 100 %, times are those of the generator.
- **First token**: from the scheduled time of a question to its first token at the generator. A scripted answer has no latency of its own to
  subtract. For Switchboard it includes storing the question, routing and retrieval; the floor shows what machine and
  generator contribute.
- **Settings of Switchboard**: `env = "production"`, `log.level = "info"` as JSON into a file, metrics on, an empty
  database on disk, two workers. `limits.exempt_addresses` is 127.0.0.0/8, and the limits on sign-ins per account and on
  turns per user are off, because the load comes from one address and few users. Everything else has its default.
- **Other servers** ([benches/peers](../benches/peers)) accept the upgrade, accept any token, and stream a scripted answer in frames
  of the same JSON and the same size. They verify no token, keep no log for resuming, and do not store, route, retrieve or
  count anything. `actix` is Switchboard's design without its job: a session actor per WebSocket, a turn as a task of
  the runtime that sends to its mailbox, and the same allocator. The Rust servers have two worker threads; FastAPI and Node have
  one process with one thread, and are therefore not measured with 15,000 streams.
- Every answer of every server was verified by `seq` and SHA-256.
"""

TARGETS_BEGIN = "<!-- targets: written by `make bench` -->"
TARGETS_END = "<!-- end of targets -->"


def render(records):
    parts = [HEAD, summary(records), relay_page.render(records), comparison_page.render(records)]
    parts += [scripted_page.render(records), faults(records), machine(records), METHOD]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def with_targets(page, records):
    """The text of docs/PERFORMANCE.md with the table of targets replaced."""
    before, rest = page.split(TARGETS_BEGIN)
    _, after = rest.split(TARGETS_END)
    return f"{before}{TARGETS_BEGIN}\n\n{targets_table(records)}\n\n{TARGETS_END}{after}"


def machine(records):
    """The machine and the versions of each part; once, when they are the same."""
    parts_on = {}
    for part, record in records.items():
        facts = "\n".join(f"- {name}: {value}" for name, value in record["machine"].items())
        parts_on.setdefault(facts, []).append(part)
    lists = [facts if len(parts_on) == 1 else f"{', '.join(parts)}:\n\n{facts}" for facts, parts in parts_on.items()]
    loads = [f"{part} {record['load_before']}" for part, record in records.items()]
    return "\n\n".join(["## The machine", *lists, f"Load average before each part: {', '.join(loads)}."])


def faults(records):
    lines = [f"- {part}: {fault}" for part, record in records.items() for fault in record["faults"]]
    lines = lines or ["None: no connection failed, no answer was wrong, no error was reported."]
    return "## Faults\n\n" + "\n".join(lines)


def summary(records):
    """The results of Switchboard in one table."""
    rows = [[line["what"], shown(line), line["note"], line["measured"]] for line in targets(records)]
    return "## Results\n\n" + table(["Switchboard", "result", "note", "measured"], rows)


def targets_table(records):
    is_met = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        [line["what"], shown(line), line["target"], is_met[line["is_met"]], line["measured"]]
        for line in targets(records)
    ]
    return table(["what", "result", "target", "", "measured"], rows)


def shown(line):
    return number(line["value"]) + (line["unit"] if line["value"] is not None else "")


def targets(records):
    """Each target, what was measured, and whether the target is met."""
    found = relay_page.targets(records.get(relay_page.TARGETS_FROM))
    found += streaming_targets(records)
    for part, of_part in (
        ("first-token", first_token_target),
        ("turns", turns_target),
        ("sign-ins", sign_ins_target),
        ("jitter", jitter_target),
        ("classic", classic_target),
    ):
        record = records.get(part)
        found.append(of_part(record["result"] if record else None) | ({"measured": stamp(record)} if record else {}))
    return found


def streaming_targets(records):
    found, ratios, large = [], {}, records.get(f"streaming-{LARGE}")
    for size in (SMALL, LARGE):
        record = records.get(f"streaming-{size}")
        runs = record["result"]["runs"] if record else {}
        ratios[size] = ratio_between(runs, OURS, FLOOR, "cpu_us_per_token")
        axum = ratio_between(runs, OURS, "axum", "cpu_us_per_token")
        at = f"at {size:,}"
        for other, value, limit in (("the floor", ratios[size], 1.25), ("axum", axum, 1.0)):
            what = f"CPU per token, as a ratio to {other}, {at}"
            found.append(target(what, value, limit, unit=" ×", measured=stamp(record)))
    change = ratio(max(ratios.values()), min(ratios.values())) if None not in ratios.values() else None
    what = "ratio to the floor at one size, relative to the other"
    found.append(target(what, change, 1.1, unit=" ×", measured=stamp(large)))
    ours, note = {}, ""
    if large:
        ours = medians(large["result"]["runs"][OURS])
        text_kb = large["result"]["tokens"] * 64 / 1000
        note = f"at the end of answers of up to {text_kb:.1f} kB: {number(ours['streaming_kb_end'], 1)} kB"
    for what, key, limit, says in (
        ("memory per idle, authenticated connection, at 15,000", "idle_kb", 13, ""),
        ("memory per connection while all stream, at 15,000", "streaming_kb_begin", 16, note),
    ):
        found.append(target(what, ours.get(key), limit, unit=" kB", note=says, measured=stamp(large)))
    return found


def first_token_target(runs):
    added, note = None, ""
    if runs:
        ours, floor = (medians(runs[name])["p99_ms"] for name in (OURS, FLOOR))
        added = ours - floor
        note = f"p99 of {number(ours)} ms, minus the floor's {number(floor)} ms"
    return target("added first-token latency, p99, at 1,000", added, 2, unit=" ms", note=note)


def turns_target(runs):
    ours = medians(runs[OURS]) if runs else {}
    note = f"generator on the same cores; {number(ours['cpu_ms'])} ms of the server's CPU each" if runs else ""
    return target("whole turns, stored", ours.get("per_second"), 2000, False, "/s", note)


def sign_ins_target(runs):
    share, note = None, ""
    if runs:
        share = paired_ratio(runs, [{"per_second": run["bare_per_second"]} for run in runs], "per_second")
        note = f"in CPU time: {number(median([run['bare_cpu_ms'] / run['cpu_ms'] for run in runs]))}"
    return target("sign-ins, as a share of a bare argon2 loop", share, 0.9, False, note=note)


def jitter_target(runs):
    added, note = None, ""
    if runs:
        middle = medians(runs)
        added = middle["switchboard_beside"] - middle["switchboard_alone"]
        bare = middle["floor_beside"] - middle["floor_alone"]
        note = f"floor beside a bare argon2 loop: {number(bare)} ms"
    return target("p99 jitter added by sign-ins", added, 1, unit=" ms", note=note)


def classic_target(runs):
    power = scripted_page.classic_growth(runs) if runs else None
    note = "1 is linear, 2 quadratic"
    return target("`chat.v1`: CPU grows as bytes to the power of", power, 1.1, note=note)
