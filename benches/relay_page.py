"""The relay job in docs/BENCHMARKS.md and docs/PERFORMANCE.md. Pure: records in, text out."""

from results import medians, number, paired_ratio, ratio_between, section, stamp, table, target

BARE, OURS, BEFORE = "bare relay", "switchboard", "switchboard before"
TARGETS_FROM = "relay-1000"
# Above this delay of the last token, a server does not keep up.
LATE_MS = 1000
# The same with a smaller share of complete answers.
COMPLETE = 0.99

NOTE = """Each client asks one question; the server relays the answer from the stream of an OpenAI-compatible server: 100 tokens of
10 bytes, one every 100 ms. A turn counts only if its text is exactly the upstream's. *Whole job* is the server's CPU per token from
the first question until everything is stored; *streaming* is its CPU per token while all clients receive tokens and nobody asks; *start
and end* is what a question costs in addition to its tokens. The bare relay is the floor of the same round: two sockets, no checks."""

PRODUCTS_NOTE = """The same job, upstream and generator, on request (`make bench-products`). The products run as they are installed, in
one process, without accounts and without a database. LiteLLM is asked through its OpenAI-compatible endpoint, with its master key;
Chainlit through its Socket.IO protocol, with a handler that streams from the `openai` package. Before they are measured, both answer
one question, at which they load modules."""

METHOD = """- **Relay job** (`benches/relay.py`): each client opens a connection, asks once, and compares the answer with the text that the
  upstream computes from the number of the question. Server, upstream and client are processes of one machine; each server and its
  upstream are restarted for each load. In a round every server is measured once, and rounds alternate the order. CPU time is user and
  system time of the server's process (`/proc/PID/stat`), sampled every 100 ms with the number of tokens received.
  *Whole job*: from the moment before the first question until 1.5 s after the last answer, over all tokens. *Streaming*: from 0.3 s after
  the last question until 0.1 s before the first answer ends. *Start and end*: the CPU time of the whole job minus that of its tokens
  at the cost of *streaming*, per question; one run, two windows. *kB per stream*: resident memory in the middle of the
  streaming window minus that before the first connection, per connection; it includes the connection to the upstream and half an answer
  of 1 kB. Switchboard also asks the model to choose a specialist, as it does by default, which the upstream answers at once; the other
  servers send one request per question. *Bytes per token*: mean length of the WebSocket frames with one token, including their
  headers, of the tokens 100 to 999 of one answer of 1,000, with `session.coalesce_ms = 0`; of server-sent events, the length of the
  event. *Late*: delay of the last token relative to the first and the intended pace, 99th percentile. A server *does not keep up* when
  that exceeds a second, or when more than one answer in a hundred is not complete a minute after the last question.
"""

# The parts of Switchboard's job that a server leaves out.
OMITS = {
    BARE: "verify tokens, store, resume, limit, route, retrieve, time out, check the upstream's answer",
    OURS: "",
    "node relay": "verify tokens, store, resume, limit, route, retrieve",
    "fastapi relay": "verify tokens, store, resume, limit, route, retrieve",
    "litellm": "verify tokens of users (all have one key), store, resume, limit, retrieve",
    "chainlit": "verify tokens (no login is configured), store, limit, route, retrieve",
}


def render(records):
    """The sections of the relay job and of the products."""
    parts = []
    for title, group, note in (
        ("Relay of a model's answers", "relay", NOTE),
        ("Products at the relay job", "products", PRODUCTS_NOTE),
    ):
        tables = [of_clients(record, clients) for clients, record in sizes(records, group)]
        parts += [f"## {title}", note, *tables] if tables else []
    return "\n\n".join(parts)


def sizes(records, group):
    """Size → record of the parts of a group, such as `relay-1000`; the smallest first."""
    found = [(int(part.rsplit("-", 1)[1]), record) for part, record in records.items() if part.startswith(f"{group}-")]
    return sorted(found, key=lambda pair: pair[0])


def of_clients(record, clients):
    runs, wire = record["result"]["runs"], record["result"]["wire"]
    head = ["server", "whole job, µs/token", "× bare relay", "streaming, µs/token", "× bare relay", "start and end, ms"]
    head += ["kB per stream", "bytes/token", "first token p99 ms", "late p99 ms", "rounds", "does not"]
    rows = []
    for name, of_name in runs.items():
        middle = medians(of_name)
        late, is_complete = middle["late_p99_ms"], middle["complete"] > COMPLETE
        is_late = late is None or late > LATE_MS or not is_complete
        # Divided by the few answers that are complete, the CPU time of all would say nothing.
        whole = paired_ratio(of_name, runs[BARE], "whole_us") if is_complete else None
        rows.append(
            [
                name,
                number(middle["whole_us"] if is_complete else None, 1),
                number(whole),
                number(middle["streaming_us"], 1),
                number(paired_ratio(of_name, runs[BARE], "streaming_us")),
                number(middle["question_ms"] if is_complete else None),
                number(middle["streaming_kb"], 1),
                number(wire.get(name), 1),
                number(middle["first_token_p99_ms"], 1),
                number(late, 0) + (" (does not keep up)" if is_late else ""),
                len(of_name),
                OMITS[name],
            ]
        )
    return section(f"### {clients:,} clients", record, table(head, rows))


def targets(record):
    """The targets of the relay job."""
    runs = record["result"]["runs"] if record else {}
    wire = record["result"]["wire"] if record else {}
    middle = medians(runs[OURS]) if OURS in runs else {}
    note = f"median of {min(len(runs[OURS]), len(runs[BARE]))} pairs" if runs else ""

    def of(what, value, limit, unit, note=""):
        return target(what, value, limit, unit=unit, note=note, measured=stamp(record))

    whole, streaming = (ratio_between(runs, OURS, BARE, key) for key in ("whole_us", "streaming_us"))
    return [
        of("relay at 1,000, whole job: CPU per token, as a ratio to the bare relay", whole, 1.6, " ×", note),
        of("relay at 1,000, streaming: CPU per token, as a ratio to the bare relay", streaming, 1.2, " ×", note),
        of("relay: CPU to start and end a question", middle.get("question_ms"), 0.6, " ms"),
        of("relay: bytes per token on the WebSocket", wire.get(OURS), 85, " B"),
        of("relay at 1,000: memory per streaming connection", middle.get("streaming_kb"), 24, " kB"),
    ]
