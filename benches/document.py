"""docs/BENCHMARKS.md and the targets in docs/PERFORMANCE.md, from the results of a run. Pure: results in, text out."""

import relay_page
from results import growth, median, medians, number, paired_ratio, spread, table, target

FLOOR, OURS = "floor", "switchboard"
SMALL, LARGE = "1000", "15000"
LOAD_BEFORE = "Load before the run"
# Load average over a minute above which times on the clock are not reliable.
QUIET = 0.5
BUSY = "**The machine was busy with other work: ratios of CPU are rough, and times are not reliable.**"

HEAD = """# Benchmarks

Switchboard doing its whole job, beside minimal servers. First what people run: answers relayed from a model server. Then scripted
answers, which need no upstream; their **floor** is a bare tokio socket loop. `make bench` measures and writes this page; do not
edit it. [How it was measured](#how-it-was-measured) defines each number, [PERFORMANCE.md](PERFORMANCE.md#targets) compares them
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


def render(results):
    parts = [HEAD, summary(results), relay_page.render(results["relay"])]
    parts += [
        streaming(results["streaming"][size], int(size), results["tokens"][size]) for size in results["streaming"]
    ]
    parts += [first_token(results["first_token"]), turns(results["turns"])]
    parts += [sign_ins(results["sign_ins"], results["jitter"]), classic(results["classic"])]
    parts += [faults(results["faults"]), machine(results["machine"]), METHOD]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def with_targets(page, results):
    """The text of docs/PERFORMANCE.md with the table of targets replaced."""
    before, rest = page.split(TARGETS_BEGIN)
    _, after = rest.split(TARGETS_END)
    return f"{before}{TARGETS_BEGIN}\n\n{targets_table(results)}\n\n{TARGETS_END}{after}"


def machine(facts):
    return "## The machine\n\n" + "\n".join(f"- {name}: {value}" for name, value in facts.items())


def faults(found):
    lines = [f"- {fault}" for fault in found] or [
        "None: no connection failed, no answer was wrong, no error was reported."
    ]
    return "## Faults during the run\n\n" + "\n".join(lines)


def summary(results):
    """The results of Switchboard in one table, with a warning when the machine was busy."""
    rows = [[line["what"], measured(line), line["note"]] for line in targets(results)]
    text = "## Results\n\n" + table(["Switchboard", "measured", "note"], rows)
    if float(results["machine"][LOAD_BEFORE]) > QUIET:
        text += f"\n\n{BUSY}"
    return text


def targets(results):
    """Each target, what was measured, and whether the target is met."""
    found, ratios = relay_page.targets(results["relay"]), {}
    for size in (SMALL, LARGE):
        runs = results["streaming"].get(size)
        if not runs:
            continue
        ratios[size] = ours = paired_ratio(runs[OURS], runs[FLOOR], "cpu_us_per_token")
        at = f"at {int(size):,}"
        found.append(target(f"CPU per token, as a ratio to the floor, {at}", ours, 1.25, unit=" ×"))
        if "axum" in runs:
            axum = paired_ratio(runs[OURS], runs["axum"], "cpu_us_per_token")
            found.append(target(f"CPU per token, as a ratio to axum, {at}", axum, 1.0, unit=" ×"))
    if len(ratios) == 2:
        change = divided(max(ratios.values()), min(ratios.values()))
        found.append(target("ratio to the floor at one size, relative to the other", change, 1.1, unit=" ×"))
    if LARGE in results["streaming"]:
        ours = medians(results["streaming"][LARGE][OURS])
        found.append(target("memory per idle, authenticated connection, at 15,000", ours["idle_kb"], 13, unit=" kB"))
        text_kb = results["tokens"][LARGE] * 64 / 1000
        note = f"at the end of answers of up to {text_kb:.1f} kB: {number(ours['streaming_kb_end'], 1)} kB"
        begin = ours["streaming_kb_begin"]
        found.append(target("memory per connection while all stream, at 15,000", begin, 16, unit=" kB", note=note))
    if results.get("first_token"):
        ours, floor = (medians(results["first_token"][name]) for name in (OURS, FLOOR))
        added = ours["p99_ms"] - floor["p99_ms"]
        note = f"p99 of {number(ours['p99_ms'])} ms, minus the floor's {number(floor['p99_ms'])} ms"
        found.append(target("added first-token latency, p99, at 1,000", added, 2, unit=" ms", note=note))
    if results.get("turns"):
        ours = medians(results["turns"][OURS])
        note = f"generator on the same cores; {number(ours['cpu_ms'])} ms of the server's CPU each"
        found.append(target("whole turns, stored", ours["per_second"], 2000, False, "/s", note))
    if results.get("sign_ins"):
        runs = results["sign_ins"]
        share = paired_ratio(runs, [{"per_second": run["bare_per_second"]} for run in runs], "per_second")
        cpu = median([run["bare_cpu_ms"] / run["cpu_ms"] for run in runs])
        found.append(
            target("sign-ins, as a share of a bare argon2 loop", share, 0.9, False, note=f"in CPU time: {number(cpu)}")
        )
    if results.get("jitter"):
        middle = medians(results["jitter"])
        added = middle["switchboard_beside"] - middle["switchboard_alone"]
        bare = middle["floor_beside"] - middle["floor_alone"]
        note = f"floor beside a bare argon2 loop: {number(bare)} ms"
        found.append(target("p99 jitter added by sign-ins", added, 1, unit=" ms", note=note))
    if results.get("classic"):
        note = "1 is linear, 2 quadratic"
        found.append(
            target("`chat.v1`: CPU grows as bytes to the power of", classic_growth(results["classic"]), 1.1, note=note)
        )
    return found


def divided(one, other):
    return one / other if one is not None and other else None


def measured(line):
    return number(line["value"]) + (line["unit"] if line["value"] is not None else "")


def with_relay(page, results):
    """A page with the lines of the relay job replaced: those of the tables of targets, and its section."""
    lines = [line for table_of in (summary(results), targets_table(results)) for line in table_of.splitlines()]
    for line in relay_page.targets(results["relay"]):
        start = f"| {line['what']} |"
        columns = {text.count(" | "): text for text in lines if text.startswith(start)}
        page = "\n".join(columns[old.count(" | ")] if old.startswith(start) else old for old in page.split("\n"))
    if relay_page.HEADING in page:
        before, rest = page.split(relay_page.HEADING)
        after = rest.split("\n## ", 1)[1]
        facts = "; ".join(f"{name}: {value}" for name, value in results["machine"].items())
        page = f"{before}{relay_page.render(results['relay'])}\n\nMeasured apart from the rest: {facts}.\n\n## {after}"
    return page


def targets_table(results):
    is_met = {True: "met", False: "**missed**", None: "not measured"}
    rows = [[line["what"], measured(line), line["target"], is_met[line["is_met"]]] for line in targets(results)]
    return table(["what", "measured", "target", ""], rows)


def streaming(runs, connections, tokens):
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
    apart = spread([run["cpu_us_per_token"] for run in floor])
    note = f"Each answer has {tokens} tokens of 64 bytes, one every 100 ms. Rounds: {len(floor)}; the floor's CPU per token differed by "
    note += f"{number((apart or 1) * 100 - 100, 0)} % between them."
    joined = [name for name, of_name in runs.items() if (medians(of_name)["tokens_per_frame"] or 1) > 1.005]
    if joined:
        note += f" Some tokens shared a frame because the reader was lagging: {', '.join(joined)}."
    return f"## {connections:,} streams\n\n{note}\n\n{table(head, rows)}"


def first_token(runs):
    if not runs:
        return ""
    rows = [[name, number(medians(of)["p50_ms"]), number(medians(of)["p99_ms"])] for name, of in runs.items()]
    note = "1,000 connections, about 200 questions per second."
    return f"## First token\n\n{note}\n\n{table(['server', 'p50 ms', 'p99 ms'], rows)}"


def turns(runs):
    if not runs:
        return ""
    rows = [[name, number(medians(of)["per_second"]), number(medians(of)["cpu_ms"])] for name, of in runs.items()]
    note = "200 connections, each asking its next question when the answer is complete; 20 tokens, no interval. The floor stores nothing."
    return f"## Whole turns\n\n{note}\n\n{table(['server', 'turns/s', 'CPU ms/turn'], rows)}"


def sign_ins(runs, jitter):
    if not runs:
        return ""
    middle = medians(runs)
    rows = [
        ["bare argon2 loop", number(middle["bare_per_second"], 1), number(middle["bare_cpu_ms"], 1)],
        ["sign-ins to Switchboard", number(middle["per_second"], 1), number(middle["cpu_ms"], 1)],
    ]
    text = f"## Sign-ins\n\n{table(['', 'per second', 'CPU ms each'], rows)}"
    if jitter:
        middle = medians(jitter)
        rows = [
            ["Switchboard", number(middle["switchboard_alone"]), number(middle["switchboard_beside"])],
            ["floor beside the argon2 loop", number(middle["floor_alone"]), number(middle["floor_beside"])],
        ]
        text += "\n\nJitter of 500 streams, p99 in ms, alone and with sign-ins at full rate "
        text += f"({number(middle['sign_ins_per_second'], 1)} per second):\n\n"
        text += table(["", "alone", "with sign-ins"], rows)
    return text


def classic(runs):
    if not runs:
        return ""
    rows = []
    for tokens, new_runs in runs["chat.v2"].items():
        new, old = medians(new_runs), medians(runs["chat.v1"][tokens])
        rows.append(
            [
                f"{int(tokens):,}",
                *(number(new["kb"], 0), number(new["cpu_ms"])),
                *(number(old["kb"], 0), number(old["cpu_ms"]), number(divided(old["cpu_ms"] * 1000, old["kb"]))),
                number(divided((old["cpu_ms"] - new["cpu_ms"]) * 1000, old["kb"] - new["kb"])),
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
    return f"## `chat.v1`\n\n{note}\n\n{table(head, rows)}"


def classic_growth(runs):
    points = [(medians(of)["kb"], medians(of)["cpu_ms"]) for of in runs["chat.v1"].values()]
    return growth(points)
