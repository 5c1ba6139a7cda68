"""The relay job in docs/BENCHMARKS.md and docs/PERFORMANCE.md. Pure: results in, text out."""

from results import median, medians, number, paired_ratio, ratio, table, target

BARE, OURS, BEFORE = "bare relay", "switchboard", "switchboard before"
TARGET_CLIENTS = "1000"
HEADING = "## Relay of a model's answers"
# Above this delay of the last token, a server does not keep up.
LATE_MS = 1000

NOTE = """Each client asks one question; the server relays the answer from the stream of an OpenAI-compatible server: 100 tokens of
10 bytes, one every 100 ms. A turn counts only if its text is exactly the upstream's. *Whole job* is the server's CPU per token from
the first question until everything is stored; *streaming* is its CPU per token while all clients receive tokens and nobody asks; *start
and end* is what a question costs in addition to its tokens. The bare relay is the floor of the same round."""

METHOD = """- **Relay job** (`benches/relay.py`): each client opens a WebSocket, asks once, and compares the answer with the text that the
  upstream computes from the number of the question. Server, upstream and client are processes of one machine; each server and its
  upstream are restarted for each load. In a round every server is measured once, and rounds alternate the order. CPU time is user and
  system time of the server's process (`/proc/PID/stat`), sampled every 100 ms with the number of tokens received.
  *Whole job*: from the moment before the first question until 1.5 s after the last answer, over all tokens. *Streaming*: from 0.3 s after
  the last question until 0.1 s before the first answer ends. *Start and end*: the CPU time of the whole job minus that of its tokens
  at the cost of *streaming*, per question; one run, two windows. *kB per stream*: resident memory in the middle of the
  streaming window minus that before the first connection, per connection; it includes the connection to the upstream and half an answer
  of 1 kB. Switchboard also asks the model to choose a specialist, as it does by default, which the upstream answers at once; the other
  servers send one request per question. *Bytes per token*: length of the WebSocket frames including their headers, of the tokens 100 to 999 of one answer of 1,000.
  *Late*: delay of the last token relative to the first and the intended pace, 99th percentile.
"""

# What a peer leaves out of the job that Switchboard does.
OMITS = {
    BARE: "verify tokens, store, resume, limit, time out, check the upstream's answer",
    OURS: "",
    BEFORE: "",
    "node relay": "verify tokens, store, resume, limit",
    "fastapi relay": "verify tokens, store, resume, limit",
}


def render(relay):
    if not relay:
        return f"{HEADING}\n\nNot measured yet; `python3 benches/run.py relay --write` measures it alone."
    parts = [HEADING, NOTE]
    parts += [of_clients(runs, int(clients), relay["wire"]) for clients, runs in relay["clients"].items()]
    return "\n\n".join(parts)


def of_clients(runs, clients, wire):
    head = ["server", "whole job, µs/token", "× bare relay", "streaming, µs/token", "× bare relay", "start and end, ms"]
    head += ["kB per stream", "bytes/token", "first token p99 ms", "late p99 ms", "rounds", "does not"]
    rows = []
    for name, of_name in runs.items():
        middle = medians(of_name)
        late = middle["late_p99_ms"]
        is_late = late is None or late > LATE_MS
        rows.append(
            [
                name,
                number(middle["whole_us"], 1),
                number(paired_ratio(of_name, runs[BARE], "whole_us")),
                number(middle["streaming_us"], 1),
                number(paired_ratio(of_name, runs[BARE], "streaming_us")),
                number(middle["question_ms"]),
                number(middle["streaming_kb"], 1),
                number(wire.get(name), 1),
                number(middle["first_token_p99_ms"], 1),
                number(late, 0) + (" (does not keep up)" if is_late else ""),
                len(of_name),
                OMITS[name],
            ]
        )
    text = f"### {clients:,} clients\n\n{table(head, rows)}"
    if BEFORE in runs:
        text += f"\n\n{against(runs)}"
    return text


def against(runs):
    """Switchboard beside another binary of it: ratios within the rounds, and their spread."""
    rows = []
    for key, what in (
        ("whole_us", "whole job"),
        ("streaming_us", "streaming"),
        ("question_ms", "start and end"),
        ("streaming_kb", "kB per stream"),
        ("first_token_p99_ms", "first token p99"),
    ):
        pairs = [ratio(new[key], old[key]) for new, old in zip(runs[OURS], runs[BEFORE], strict=False)]
        known = sorted(pair for pair in pairs if pair is not None)
        between = f"{number(known[0])} to {number(known[-1])}" if known else "–"
        rows.append([what, number(median(pairs)), between])
    return table(["switchboard relative to before", "median of pairs", "all pairs"], rows)


def targets(relay):
    """The targets of the relay job; each is listed when it was not measured, too."""
    runs = relay["clients"].get(TARGET_CLIENTS) if relay else None
    whole = streaming = question = memory = wire = None
    note = ""
    if runs:
        pairs = min(len(runs[OURS]), len(runs[BARE]))
        note = f"median of {pairs} pairs"
        whole = paired_ratio(runs[OURS], runs[BARE], "whole_us")
        streaming = paired_ratio(runs[OURS], runs[BARE], "streaming_us")
        question, memory = (medians(runs[OURS])[key] for key in ("question_ms", "streaming_kb"))
        wire = relay["wire"].get(OURS)
    return [
        target(
            "relay at 1,000, whole job: CPU per token, as a ratio to the bare relay", whole, 1.6, unit=" ×", note=note
        ),
        target("relay at 1,000, streaming: CPU per token, as a ratio to the bare relay", streaming, 1.2, unit=" ×"),
        target("relay: CPU to start and end a question", question, 0.6, unit=" ms"),
        target("relay: bytes per token on the WebSocket", wire, 85, unit=" B"),
        target("relay at 1,000: memory per streaming connection", memory, 24, unit=" kB"),
    ]
