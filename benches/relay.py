"""The relay job: N clients, each answer relayed from the stream of an OpenAI-compatible server.

One round measures every server once, each restarted, with an upstream of its own; rounds alternate the order. The ratios are
those within a round.
"""

import json
import subprocess
from dataclasses import dataclass, replace

import results
from measure import in_turn, note, say
from servers import BARE_RELAY, BEFORE, BUILT, PRODUCTS, SWITCHBOARD, Server, end_with_parent, family

INTERVAL_MS = 100
OURS = "switchboard"
CONNECT_RATE = 1000
# From the last question to the last answer. A server that needs longer does not keep up.
TIMEOUT_S = 60
WIRE_TOKENS, WIRE_INTERVAL_MS = 1000, 2
PROTOCOLS = {"litellm": "openai", "chainlit": "chainlit"}


@dataclass
class Job:
    clients: int
    # Tokens of 10 bytes, and questions asked per second: all have asked before the first answer ends.
    tokens: int
    ask_rate: int
    interval_ms: int = INTERVAL_MS
    settle_ms: int = 1500


def part(names, job, rounds, peer_rounds=None):
    return {"runs": measure(names, job, rounds, peer_rounds), "wire": wire(names)}


def measure(names, job, rounds, peer_rounds=None, against=None):
    """name → one result per round; peers take part in the first rounds only."""
    runs = {name: [] for name in names}
    for round in range(1, rounds + 1):
        is_with_peers = peer_rounds is None or round <= peer_rounds
        of_round = [name for name in names if is_with_peers or name in (BARE_RELAY, OURS, BEFORE)]
        for name in in_turn(of_round, round):
            result = results.relay(load(name, job, against), job.tokens)
            runs[name].append(result)
            whole, alone = (results.number(result[key]) for key in ("whole_us", "streaming_us"))
            question, memory = results.number(result["question_ms"]), results.number(result["streaming_kb"], 1)
            text = f"{whole} µs per token, {alone} streaming alone, {question} ms per question, {memory} kB"
            say(f"  relay of {job.clients:,}, round {round}, {name}: {text}")
    return runs


def wire(names, against=None):
    """name → bytes per token on the WebSocket, with frame headers, of the frames with one token."""
    job = Job(1, WIRE_TOKENS, 1, WIRE_INTERVAL_MS, settle_ms=100)
    found = {}
    for name in names:
        counted = load(name, job, against)["wire"]
        found[name] = results.ratio(counted["bytes"], counted["tokens"])
        say(f"  bytes per token on the wire, {name}: {results.number(found[name])}")
    return found


def load(name, job, against=None):
    """One job on a server of its own; the client's report."""
    upstream = Server("relay_upstream", (job.tokens, job.interval_ms))
    with upstream, server(name, f"127.0.0.1:{upstream.port}", against) as relay:
        if name in PRODUCTS:
            # They load modules at the first question, which takes them up to a second.
            ask(relay, replace(job, clients=1))
        report = ask(relay, job)
    note(name, results.relay_faults(report))
    return report


def ask(relay, job):
    plan = {
        "address": f"127.0.0.1:{relay.port}",
        "token": relay.token,
        "pid": relay.process.pid,
        "protocol": PROTOCOLS.get(relay.name, "websocket"),
        "connections": job.clients,
        "connect_rate": CONNECT_RATE,
        "ask_rate": job.ask_rate,
        "tokens": job.tokens,
        "interval_ms": job.interval_ms,
        "timeout_s": TIMEOUT_S,
        "settle_ms": job.settle_ms,
    }
    command = [BUILT / "release" / "relay_client", json.dumps(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, preexec_fn=end_with_parent)
    if done.returncode != 0:
        raise RuntimeError(f"the client of {relay.name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def server(name, upstream, against):
    """A server that relays from the upstream."""
    if name in (OURS, BEFORE):
        section = {"KIND": "openai", "BASE_URL": f"http://{upstream}/v1", "MODEL": "bench", "MAX_ANSWER_TOKENS": "0"}
        settings = {f"SWITCHBOARD__PROVIDER__{key}": value for key, value in section.items()}
        settings["SWITCHBOARD__SESSION__COALESCE_MS"] = "0"
        return Server(name, settings=settings, binary=SWITCHBOARD if name == OURS else against)
    if family(name) in ("fastapi", *PRODUCTS):
        return Server(name, settings={"UPSTREAM": upstream, "UPSTREAM_URL": f"http://{upstream}/v1"})
    return Server(name, (upstream,))
