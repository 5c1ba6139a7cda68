"""docs/BENCHMARKS.md, from the results of a run. Pure: what was measured goes in, text comes out."""

from results import aim, growth, median, medians, number, paired_ratio, spread, table

FLOOR, OURS = "floor", "switchboard"
SMALL, LARGE = "1000", "15000"
LOAD_BEFORE = "Load before the run"
# More load of others than this, over a minute, and times on the clock say little.
QUIET = 0.5

HEAD = """# Benchmarks

Switchboard doing its whole job, beside minimal servers that only stream. `make bench` measures and writes this page; do not edit
it. What the numbers mean, and how they came about, is [below](#how-it-was-measured). [Load testing](LOAD_TESTING.md) is about
the generator.
"""

METHOD = """## How it was measured

- One machine runs server and generator (`switchboard load`), over loopback. Every server is measured by the same
  generator, and the servers take turns: floor, axum, …, Switchboard, floor, … Each server starts anew for each load. A
  number is the median of the rounds. **Ratios** are the medians of the ratios within a round: what slows the machine down
  slows down neighbours.
- **CPU per token**: user and system time of the server's process between two samples, divided by the tokens that arrived
  in that time, while every connection streams. In it are the kernel's work for `send`, and waking up: with few streams a
  server wakes for each token, with many it finds several waiting, so that a token costs less at 15,000 than at 1,000.
  Compare within a table.
- **Idle memory**: resident memory 1.5 s after the last connection has authenticated, less that of the process, freshly
  started, before the first, by the number of connections. kB are 1,000 bytes.
- **Streaming memory**: the same when the last connection has begun to stream, and when the first answer is about to end.
  An answer is kept while it streams, so that it can be resumed: its text is in this number, for peers too, whose
  `complete` repeats it.
- **Jitter**: the time between two tokens, less the 100 ms that it should be. *generator*: how much of a core the
  generator used meanwhile; where that is near 100 %, times are the generator's.
- **First token**: from when a question was due to its first token at the generator; a script has no time of its own to
  take off. With Switchboard it includes storing the question, routing and looking up; the floor's is what machine and
  generator add.
- **Settings of Switchboard**: `env = "production"`, `log.level = "info"` as JSON into a file, metrics on, an empty
  database on disk, two workers; `limits.exempt_addresses` has 127.0.0.0/8, and the limits on logins of an account and on
  turns of a user are off, since one address and few users are all there is. Everything else is as it comes.
- **Peers** ([benches/peers](../benches/peers)) accept the upgrade, take any token, and stream a scripted answer in frames
  of the same JSON and the same size. They check no token, keep no log that could be resumed, store, route, look up and
  count nothing. `actix` is Switchboard's design without its job: a session actor for each socket, a turn as a task of
  the runtime that sends to its mailbox, and the same allocator. Those in Rust have two worker threads; FastAPI and Node have
  one process with one, which is also why they are not asked to hold 15,000 streams.
- Every answer of every server was verified by seq and SHA-256.
"""


def render(results):
    parts = [HEAD, machine(results["machine"]), "## Aims\n\n" + aims_table(results)]
    parts += [streaming(results["streaming"][size], int(size), results["tokens"][size]) for size in results["streaming"]]
    parts += [first_token(results["first_token"]), turns(results["turns"])]
    parts += [sign_ins(results["sign_ins"], results["jitter"]), classic(results["classic"])]
    parts += [METHOD, went_wrong(results["faults"])]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def machine(facts):
    text = "## The machine\n\n" + "\n".join(f"- {name}: {value}" for name, value in facts.items())
    if float(facts[LOAD_BEFORE]) > QUIET:
        text += "\n\n**Others were working on this machine: ratios of CPU are rough, and times say next to nothing.**"
    return text


def went_wrong(faults):
    lines = [f"- {fault}" for fault in faults] or ["Nothing: no connection failed, no answer was wrong, no error was reported."]
    return "## What went wrong meanwhile\n\n" + "\n".join(lines)


def aims(results):
    """What was to be reached, and whether it was."""
    found, ratios = [], {}
    for size in (SMALL, LARGE):
        runs = results["streaming"].get(size)
        if not runs:
            continue
        ratios[size] = ours = paired_ratio(runs[OURS], runs[FLOOR], "cpu_us_per_token")
        at = f"at {int(size):,}"
        found.append(aim(f"CPU per token, as a ratio to the floor, {at}", ours, 1.25, unit=" ×"))
        if "axum" in runs:
            axum = paired_ratio(runs[OURS], runs["axum"], "cpu_us_per_token")
            found.append(aim(f"CPU per token, as a ratio to axum, {at}", axum, 1.0, unit=" ×"))
    if len(ratios) == 2:
        change = divided(max(ratios.values()), min(ratios.values()))
        found.append(aim("that ratio to the floor at one size, against the other", change, 1.1, unit=" ×"))
    if LARGE in results["streaming"]:
        ours = medians(results["streaming"][LARGE][OURS])
        found.append(aim("memory of an idle authenticated connection, at 15,000", ours["idle_kb"], 13, unit=" kB"))
        text_kb = results["tokens"][LARGE] * 64 / 1000
        note = f"at the end, with answers of up to {text_kb:.1f} kB: {number(ours['streaming_kb_end'], 1)} kB"
        begin = ours["streaming_kb_begin"]
        found.append(aim("memory of a connection while all stream, at 15,000", begin, 16, unit=" kB", note=note))
    if results.get("first_token"):
        ours, floor = (medians(results["first_token"][name]) for name in (OURS, FLOOR))
        added = ours["p99_ms"] - floor["p99_ms"]
        note = f"p99 of {number(ours['p99_ms'])} ms, less the floor's {number(floor['p99_ms'])} ms"
        found.append(aim("added first-token latency, p99, at 1,000", added, 2, unit=" ms", note=note))
    if results.get("turns"):
        ours = medians(results["turns"][OURS])
        note = f"with the generator on the same cores; {number(ours['cpu_ms'])} ms of the server's CPU each"
        found.append(aim("whole turns, stored", ours["per_second"], 2000, False, "/s", note))
    if results.get("sign_ins"):
        runs = results["sign_ins"]
        share = paired_ratio(runs, [{"per_second": run["bare_per_second"]} for run in runs], "per_second")
        cpu = median([run["bare_cpu_ms"] / run["cpu_ms"] for run in runs])
        found.append(aim("sign-ins, as a share of a bare argon2 loop", share, 0.9, False, note=f"in CPU time: {number(cpu)}"))
    if results.get("jitter"):
        middle = medians(results["jitter"])
        added = middle["switchboard_beside"] - middle["switchboard_alone"]
        bare = middle["floor_beside"] - middle["floor_alone"]
        note = f"the floor, with the bare argon2 loop beside it: {number(bare)} ms"
        found.append(aim("streaming p99 jitter that sign-ins add", added, 1, unit=" ms", note=note))
    if results.get("classic"):
        note = "1 is linear, 2 quadratic"
        found.append(aim("classic dialect: CPU grows as bytes to the power of", classic_growth(results["classic"]), 1.1, note=note))
    return found


def divided(one, other):
    return one / other if one is not None and other else None


def aims_table(results):
    reached = {True: "reached", False: "**not reached**", None: "not measured"}
    rows = [
        [line["what"], number(line["value"]) + line["unit"], line["aim"], reached[line["reached"]], line["note"]]
        for line in aims(results)
    ]
    return table(["what", "measured", "aim", "", "note"], rows)


def streaming(runs, connections, tokens):
    floor = runs[FLOOR]
    head = ["server", "CPU µs/token", "× floor", "kB idle", "× floor", "kB streaming", "jitter p50 ms", "p99 ms"]
    head += ["× floor", "generator"]
    rows = []
    for name, of_name in runs.items():
        middle = medians(of_name)
        rows.append([
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
        ])
    apart = spread([run["cpu_us_per_token"] for run in floor])
    note = f"Each answer has {tokens} tokens of 64 bytes, one every 100 ms. Rounds: {len(floor)}; the floor's CPU per token differed by "
    note += f"{number((apart or 1) * 100 - 100, 0)} % between them."
    joined = [name for name, of_name in runs.items() if (medians(of_name)["tokens_per_frame"] or 1) > 1.005]
    if joined:
        note += f" Tokens that shared a frame, since the reader was behind: {', '.join(joined)}."
    return f"## {connections:,} streams\n\n{note}\n\n{table(head, rows)}"


def first_token(runs):
    if not runs:
        return ""
    rows = [[name, number(medians(of)["p50_ms"]), number(medians(of)["p99_ms"])] for name, of in runs.items()]
    note = "1,000 connections, about 200 questions a second."
    return f"## First token\n\n{note}\n\n{table(['server', 'p50 ms', 'p99 ms'], rows)}"


def turns(runs):
    if not runs:
        return ""
    rows = [[name, number(medians(of)["per_second"]), number(medians(of)["cpu_ms"])] for name, of in runs.items()]
    note = "200 connections, each asking the next question when the answer is there; 20 tokens, no interval. The floor stores nothing."
    return f"## Whole turns\n\n{note}\n\n{table(['server', 'turns/s', 'CPU ms/turn'], rows)}"


def sign_ins(runs, jitter):
    if not runs:
        return ""
    middle = medians(runs)
    rows = [
        ["a loop of argon2 alone", number(middle["bare_per_second"], 1), number(middle["bare_cpu_ms"], 1)],
        ["sign-ins at Switchboard", number(middle["per_second"], 1), number(middle["cpu_ms"], 1)],
    ]
    text = f"## Sign-ins\n\n{table(['', 'per second', 'CPU ms each'], rows)}"
    if jitter:
        middle = medians(jitter)
        rows = [
            ["Switchboard", number(middle["switchboard_alone"]), number(middle["switchboard_beside"])],
            ["the floor, with the argon2 loop beside it", number(middle["floor_alone"]), number(middle["floor_beside"])],
        ]
        text += "\n\nJitter of 500 streams, p99 in ms, alone and while as many people sign in as can "
        text += f"({number(middle['sign_ins_per_second'], 1)} a second):\n\n"
        text += table(["", "alone", "with sign-ins"], rows)
    return text


def classic(runs):
    if not runs:
        return ""
    rows = []
    for tokens, new_runs in runs["chat.v2"].items():
        new, old = medians(new_runs), medians(runs["chat.v1"][tokens])
        rows.append([
            f"{int(tokens):,}",
            *(number(new["kb"], 0), number(new["cpu_ms"])),
            *(number(old["kb"], 0), number(old["cpu_ms"]), number(divided(old["cpu_ms"] * 1000, old["kb"]))),
            number(divided((old["cpu_ms"] - new["cpu_ms"]) * 1000, old["kb"] - new["kb"])),
            number(old["tokens_per_frame"]),
        ])
    head = ["tokens", "chat.v2 kB", "CPU ms", "chat.v1 kB", "CPU ms", "ns/byte", "ns/byte more than v2", "tokens/frame"]
    note = "One answer, of 6 bytes a token. `chat.v1` repeats all that was said so far in each frame, so that its bytes grow with the "
    note += f"square of the length. Its CPU grows as its bytes to the power of {number(classic_growth(runs))}."
    return f"## The classic dialect\n\n{note}\n\n{table(head, rows)}"


def classic_growth(runs):
    points = [(medians(of)["kb"], medians(of)["cpu_ms"]) for of in runs["chat.v1"].values()]
    return growth(points)
