"""The measurements: which load is put on which server, and what is kept of it."""

import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import results
from servers import BEFORE, BUILT, FLOOR, SWITCHBOARD, Server

# A token every 100 ms, of 64 bytes: the table in docs/BENCHMARKS.md says so.
INTERVAL_MS = 100
TOKEN_BYTES = 64
LOAD_TIMEOUT_S = 600
# Enough to keep every hash thread busy, and the queue before them short.
SIGN_IN_CLIENTS = 6
CLASSIC_TOKENS = (250, 500, 1000, 2000)
PASSWORD = "quiet-otter-paints-thursday"

# Faults since they were last taken, in the order in which they occurred.
faults = []


@dataclass
class Size:
    connections: int
    # Connections opened, then first questions asked, per second.
    rate: int
    # Tokens of each answer.
    tokens: int


def say(text):
    print(text, file=sys.stderr, flush=True)


def load(server, *arguments):
    """Puts a load on a running server; the generator's report."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [SWITCHBOARD, "load", "--url", server.url, "--token", server.token, "--json", file.name, *arguments]
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LOAD_TIMEOUT_S,
            check=False,
        )
        text = Path(file.name).read_text()
        if not text:
            raise RuntimeError(f"no report of {server.name}:\n{done.stderr[-2000:]}")
    report = json.loads(text)
    note(server.name, results.faults(report))
    return report


def note(name, found):
    for fault in found:
        say(f"  {name}: {fault}")
        faults.append(f"{name}: {fault}")


def take_faults():
    taken = faults.copy()
    faults.clear()
    return taken


def in_turn(names, round):
    """Forwards and backwards by turns: what changes over time, such as a machine that warms up, evens out."""
    return names if round % 2 == 1 else tuple(reversed(names))


def server(name, against=None):
    return Server(name, binary=against if name == BEFORE else SWITCHBOARD)


def streaming(names, size, rounds):
    """Every connection streams one answer. name → one result per round."""
    runs = {name: [] for name in names}
    for round in range(1, rounds + 1):
        for name in names:
            # A server of its own each time: one that held a load before reuses what that left behind.
            with Server(name) as server:
                report = load(
                    server,
                    *("--connections", size.connections, "--rate", size.rate, "--turns", 1, "--tokens", size.tokens),
                    *("--interval-ms", INTERVAL_MS, "--token-bytes", TOKEN_BYTES),
                )
            result = results.streaming(report, INTERVAL_MS)
            runs[name].append(result)
            cpu, idle = results.number(result["cpu_us_per_token"]), results.number(result["idle_kb"])
            say(f"  {size.connections:,} streams, round {round}, {name}: {cpu} µs per token, {idle} kB idle")
    return runs


def first_token(names, connections, rounds, against=None):
    """From when a question was due to its first token, on a server with little else to do."""
    runs = {name: [] for name in names}
    for round in range(1, rounds + 1):
        for name in in_turn(names, round):
            with server(name, against) as running:
                report = load(
                    running,
                    *("--connections", connections, "--rate", 200, "--turns", 3, "--think-ms", 5000),
                    *("--tokens", 5, "--interval-ms", 20),
                )
            latency = results.latencies(report)["first token"]
            runs[name].append({"p50_ms": latency["p50"], "p99_ms": latency["p99"]})
            say(f"  first token, round {round}, {name}: p50 {latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms")
    return runs


def turns(names, seconds, rounds, against=None):
    """Whole turns, one after the other on each connection; so many that none of them asks more often than it may."""
    runs = {name: [] for name in names}
    for round in range(1, rounds + 1):
        for name in in_turn(names, round):
            with server(name, against) as running:
                report = load(
                    running,
                    *("--connections", 200, "--rate", 1000, "--duration", seconds, "--tokens", 20, "--interval-ms", 0),
                )
            per_second = report["turns"]["per_second"]
            cpu_ms = report["server"]["cpu_s"] * 1000 / max(1, report["turns"]["complete"])
            runs[name].append({"per_second": per_second, "cpu_ms": cpu_ms})
            say(f"  turns, round {round}, {name}: {per_second:,.0f}/s, {cpu_ms:.2f} ms of CPU each")
    return runs


class SignIns:
    """Signs in to one account again and again: `with SignIns(server) as sign_ins: …`."""

    def __init__(self, server):
        self.server = server
        self.body = json.dumps({"email": f"{uuid.uuid4()}@example.org", "password": PASSWORD, "name": "Load"})
        self.count = 0
        self.lock = threading.Lock()
        self.is_over = threading.Event()

    def __enter__(self):
        self.post(self.connect(), "register", 201)
        self.threads = [threading.Thread(target=self.repeat) for _ in range(SIGN_IN_CLIENTS)]
        self.started, self.cpu_before = time.monotonic(), self.server.cpu_s()
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        self.seconds = time.monotonic() - self.started
        self.cpu_s = self.server.cpu_s() - self.cpu_before
        if self.count == 0:
            note("sign-ins", ["nobody could sign in"])

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)

    def repeat(self):
        connection = self.connect()
        while not self.is_over.is_set():
            try:
                self.post(connection, "login", 200)
            except (OSError, http.client.HTTPException, RuntimeError) as error:
                note("sign-ins", [str(error)])
                return
            with self.lock:
                self.count += 1

    def post(self, connection, what, expected):
        connection.request("POST", f"/api/v1/auth/{what}", self.body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != expected:
            raise RuntimeError(f"{what} was answered {answer.status}: {text[:200]}")


def argon2_loop(threads, seconds):
    command = [BUILT / "release" / "argon2_loop", str(threads), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return json.loads(done.stdout)


def sign_ins(threads, seconds, rounds):
    """Sign-ins per second, beside a loop that does nothing but argon2."""
    runs = []
    for round in range(1, rounds + 1):
        bare = argon2_loop(threads, seconds)
        with Server("switchboard") as server, SignIns(server) as signing:
            time.sleep(seconds)
        run = {
            "bare_per_second": bare["checks"] / bare["seconds"],
            "bare_cpu_ms": bare["cpu_s"] * 1000 / max(1, bare["checks"]),
            "per_second": signing.count / signing.seconds,
            "cpu_ms": signing.cpu_s * 1000 / max(1, signing.count),
        }
        runs.append(run)
        say(f"  sign-ins, round {round}: {run['per_second']:.1f}/s; argon2 alone {run['bare_per_second']:.1f}/s")
    return runs


def jitter_while_signing_in(threads, size, rounds):
    """Jitter of streams alone and with sign-ins; and that of the floor, with the bare argon2 loop beside it."""
    stream = (
        *("--connections", size.connections, "--rate", size.rate, "--turns", 1, "--tokens", size.tokens),
        *("--interval-ms", INTERVAL_MS, "--token-bytes", TOKEN_BYTES),
    )
    seconds = int(size.tokens * INTERVAL_MS / 1000 + 3 * size.connections / size.rate) + 3
    runs = []
    for round in range(1, rounds + 1):
        run = {}
        for name in ("switchboard", FLOOR):
            with Server(name) as server:
                run[f"{name}_alone"] = jitter(load(server, *stream))
            with Server(name) as server:
                if name == FLOOR:
                    beside = threading.Thread(target=argon2_loop, args=(threads, seconds))
                    beside.start()
                    run[f"{name}_beside"] = jitter(load(server, *stream))
                    beside.join()
                else:
                    with SignIns(server) as signing:
                        run[f"{name}_beside"] = jitter(load(server, *stream))
                    run["sign_ins_per_second"] = signing.count / signing.seconds
        runs.append(run)
        shown = {key: round_ms(value) for key, value in run.items()}
        say(f"  jitter p99, round {round}: {shown}")
    return runs


def round_ms(value):
    return round(value, 2)


def jitter(report):
    return results.streaming(report, INTERVAL_MS)["jitter_p99_ms"]


def classic(rounds, lengths=CLASSIC_TOKENS):
    """Answers of several lengths in both dialects: dialect → tokens → one result per round."""
    runs = {dialect: {tokens: [] for tokens in lengths} for dialect in ("chat.v2", "chat.v1")}
    for _ in range(rounds):
        for tokens in lengths:
            for dialect in runs:
                with Server("switchboard") as server:
                    report = load(
                        server,
                        *("--connections", 40, "--rate", 1000, "--turns", 2, "--dialect", dialect),
                        *("--tokens", tokens, "--interval-ms", 2),
                    )
                answers = max(1, report["turns"]["complete"])
                result = {
                    "cpu_ms": report["server"]["cpu_s"] * 1000 / answers,
                    "kb": report["tokens"]["bytes"] / 1000 / answers,
                    "tokens_per_frame": report["tokens"]["received"] / max(1, report["tokens"]["frames"]),
                }
                runs[dialect][tokens].append(result)
                say(f"  {tokens:,} tokens in {dialect}: {result['cpu_ms']:.1f} ms of CPU, {result['kb']:,.0f} kB")
    return runs
