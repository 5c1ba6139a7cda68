#!/usr/bin/env python3
"""Measures Switchboard beside minimal servers of the same job, in one run on one machine. `make bench` runs it.

All servers are measured by the same generator, `switchboard load`, one at a time and in turns: floor, axum, …, Switchboard,
floor, … Each number is the median of the rounds. CPU is the server's own CPU time, so that other work on the machine
disturbs it little; times on the clock are disturbed by it. Everything stays on this machine (127.0.0.1) and is bounded in time.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import results
from servers import FLOOR, OTHER_PEERS, ROOT, RUST_PEERS, SWITCHBOARD, Server, build, install

INTERVAL_MS = 100
TOKEN_BYTES = 64
FILES = 65_536


@dataclass
class Size:
    """How many connections, how fast they open and ask, and how long each answer is."""

    connections: int
    rate: int
    tokens: int


def load(url, *arguments, token=None, timeout_s=600):
    """One load; its report."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [SWITCHBOARD, "load", "--url", url, "--json", file.name, *map(str, arguments)]
        if token:
            command += ["--token", token]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(f"the generator failed:\n{done.stderr[-2000:]}")
        text = Path(file.name).read_text()
        if not text:
            raise RuntimeError(f"the generator wrote no report:\n{done.stderr[-2000:]}")
        return json.loads(text)


def load_server(name, *arguments, settings=None):
    """A load on a server of its own, which has held nothing before; faults are told at once."""
    with Server(name, settings) as server:
        # A peer takes any token; Switchboard registers accounts.
        report = load(server.url, *arguments, token=None if name == "switchboard" else "any")
    found = results.faults(report)
    if found:
        say(f"  {name}: {', '.join(found)}")
    return report


def say(text):
    print(text, file=sys.stderr, flush=True)


def streaming(names, size, rounds):
    """name → one result per round."""
    runs = {name: [] for name in names}
    for round in range(rounds):
        for name in names:
            report = load_server(
                name,
                *("-c", size.connections, "--rate", size.rate, "--turns", 1, "--tokens", size.tokens),
                *("--interval-ms", INTERVAL_MS, "--token-bytes", TOKEN_BYTES),
            )
            result = results.streaming(report, INTERVAL_MS)
            runs[name].append(result)
            cpu, idle = results.number(result["cpu_us_per_token"]), results.number(result["idle_kb"])
            say(f"  round {round + 1}, {name}, {size.connections:,}: {cpu} µs per token, {idle} kB idle")
    return runs


def streaming_table(runs):
    floor = runs[FLOOR]
    head = ["server", "CPU µs/token", "× floor", "idle kB", "× floor", "streaming kB", "jitter p50 ms", "p99 ms", "generator"]
    rows = []
    for name, of_name in runs.items():
        middle = results.medians(of_name)
        rows.append([
            name,
            results.number(middle["cpu_us_per_token"]),
            results.number(results.paired_ratio(of_name, floor, "cpu_us_per_token")),
            results.number(middle["idle_kb"], 1),
            results.number(results.paired_ratio(of_name, floor, "idle_kb"), 1),
            f"{results.number(middle['streaming_kb_begin'], 1)} … {results.number(middle['streaming_kb_end'], 1)}",
            results.number(middle["jitter_p50_ms"]),
            results.number(middle["jitter_p99_ms"]),
            f"{results.number((middle['generator_cores'] or 0) * 100, 0)} %",
        ])
    return results.table(head, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=["full", "quick", "smoke"])
    parser.add_argument("--servers", help="only these, with commas between")
    parser.add_argument("--connections", type=int, help="only this many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=150)
    arguments = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    build()
    if arguments.mode != "quick":
        install()
    names = [*RUST_PEERS, "switchboard"]
    if arguments.servers:
        names = arguments.servers.split(",")
    size = Size(arguments.connections or 1000, 1000, arguments.tokens)
    runs = streaming(names, size, arguments.rounds)
    print(streaming_table(runs))


if __name__ == "__main__":
    main()
