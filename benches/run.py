#!/usr/bin/env python3
"""Measures Switchboard beside minimal servers of the same job, in one run on one machine. `make bench` runs it.

docs/BENCHMARKS.md, which this writes, says what is measured and how. Everything stays on this machine (127.0.0.1), is bounded
in time, and ends what it started.

    run.py full     everything; writes docs/BENCHMARKS.md and the targets in docs/PERFORMANCE.md
    run.py quick    1,000 connections and the servers in Rust; prints
    run.py relay    the relay job only; prints, and with --write updates both pages; `--against BINARY` measures another binary
                    of Switchboard in the same rounds
    run.py smoke    every server and every measurement for a few seconds; fails when something went wrong

What was measured is in target/peers/results.json, too.
"""

import argparse
import datetime
import json
import os
import platform
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import document
import measure
import relay
from measure import Size, say
from servers import BARE_RELAY, BEFORE, BUILT, FLOOR, OTHER_PEERS, PEERS, RELAY_PEERS, ROOT, RUST_PEERS, build, install

OURS = "switchboard"
RUST = (*RUST_PEERS, OURS)
ALL = (*RUST_PEERS, *OTHER_PEERS, OURS)
# The peers of the relay job repeat less often than the pairs of Switchboard and the bare relay.
RELAY_JOBS = {100: relay.Job(100, 100, 40), 1000: relay.Job(1000, 100, 333)}
RELAY_PEER_ROUNDS = 2
SIZES = {1000: Size(1000, 1000, 200), 15000: Size(15000, 2500, 250)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["full", "quick", "relay", "smoke"])
    parser.add_argument(
        "--servers", help="of the streaming tables only these, with commas between; the floor is always there"
    )
    parser.add_argument("--connections", type=int, choices=list(SIZES), help="streaming with this many only")
    parser.add_argument(
        "--only", help="of the measurements only these: relay,streaming,first_token,turns,sign_ins,jitter,classic"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=10, help="rounds of the relay job with 1,000 clients")
    parser.add_argument("--clients", type=int, choices=list(RELAY_JOBS), help="the relay job with this many only")
    parser.add_argument("--against", type=Path, help="another binary of Switchboard for the relay job")
    parser.add_argument("--write", action="store_true", help="relay: update docs/BENCHMARKS.md and docs/PERFORMANCE.md")
    arguments = parser.parse_args()

    # Whoever ends this ends the servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    build()
    missing = install() if arguments.mode != "quick" else {}
    for name, why in missing.items():
        measure.note(name, [f"not measured: {why}"])
    load_before = os.getloadavg()[0]
    if load_before > document.QUIET:
        say(f"the machine is busy (load {load_before:.1f}): ratios of CPU will do, times will not")

    wanted = arguments.only.split(",") if arguments.only else None
    servers = arguments.servers.split(",") if arguments.servers else [name for name in ALL if name not in missing]
    arguments.relays = relays(arguments, missing)
    modes = {"quick": quick, "full": full, "relay": relay_only, "smoke": smoke}
    results = modes[arguments.mode](arguments, wanted, servers)
    results["machine"] = machine(load_before)
    results["faults"] = measure.faults
    # Keys are text, as they will be when it is read again.
    text = json.dumps(results, indent=1)
    (BUILT / "results.json").write_text(text)
    results = json.loads(text)
    page = document.render(results)
    if arguments.mode == "smoke":
        say("every server does its job" if not measure.faults else "something went wrong")
        sys.exit(1 if measure.faults else 0)
    print(page)
    if arguments.mode == "relay" and arguments.write:
        for name in ("BENCHMARKS.md", "PERFORMANCE.md"):
            path = ROOT / "docs" / name
            path.write_text(document.with_relay(path.read_text(), results))
    if arguments.mode == "full":
        if arguments.only or arguments.servers or arguments.connections or arguments.clients:
            say("only a part was measured: docs/BENCHMARKS.md is left unchanged")
        else:
            (ROOT / "docs" / "BENCHMARKS.md").write_text(page)
            performance = ROOT / "docs" / "PERFORMANCE.md"
            performance.write_text(document.with_targets(performance.read_text(), results))


def full(arguments, wanted, servers):
    rounds, threads = arguments.rounds, os.cpu_count()
    sizes = [arguments.connections] if arguments.connections else list(SIZES)
    results = nothing()

    def is_wanted(what):
        return not wanted or what in wanted

    if is_wanted("relay"):
        results["relay"] = relay_job(arguments)
    if is_wanted("streaming"):
        for size in sizes:
            # One process with one thread cannot send 150,000 tokens a second.
            names = named(ALL if size <= 1000 else RUST, servers)
            results["streaming"][size] = measure.streaming(names, SIZES[size], rounds)
            results["tokens"][size] = SIZES[size].tokens
    if is_wanted("first_token"):
        results["first_token"] = measure.first_token((FLOOR, OURS), 1000, rounds)
    if is_wanted("turns"):
        results["turns"] = measure.turns((FLOOR, OURS), 15, rounds)
    if is_wanted("sign_ins"):
        results["sign_ins"] = measure.sign_ins(threads, 10, rounds)
    if is_wanted("jitter"):
        results["jitter"] = measure.jitter_while_signing_in(threads, Size(500, 500, 150), rounds)
    if is_wanted("classic"):
        results["classic"] = measure.classic(rounds)
    return results


def relay_job(arguments):
    jobs = [arguments.clients] if arguments.clients else list(RELAY_JOBS)
    found = {"clients": {}}
    for clients in jobs:
        rounds = arguments.pairs if clients >= 1000 else RELAY_PEER_ROUNDS
        job = RELAY_JOBS[clients]
        found["clients"][clients] = relay.measure(arguments.relays, job, rounds, RELAY_PEER_ROUNDS, arguments.against)
    found["wire"] = relay.wire(arguments.relays, arguments.against)
    return found


def relays(arguments, missing):
    """The servers of the relay job."""
    wanted = arguments.servers.split(",") if arguments.servers else None
    peers = [
        name for name in RELAY_PEERS if name.split()[0] not in missing and (wanted is None or name.split()[0] in wanted)
    ]
    return [BARE_RELAY, OURS, *([BEFORE] if arguments.against else []), *peers]


def relay_only(arguments, _wanted, servers):
    return full(arguments, ["relay"], servers)


def quick(arguments, wanted, servers):
    arguments.connections = arguments.clients = 1000
    arguments.pairs = min(arguments.pairs, 3)
    arguments.relays = relays(arguments, dict.fromkeys(OTHER_PEERS))
    wanted = wanted or ["relay", "streaming", "first_token", "turns"]
    return full(arguments, wanted, [name for name in RUST if name in servers])


def smoke(arguments, _wanted, servers):
    tiny, results = Size(20, 100, 40), nothing()
    job = relay.Job(20, 50, 200, interval_ms=20, settle_ms=200)
    results["relay"] = {"clients": {20: relay.measure(arguments.relays, job, 1, 1, arguments.against)}}
    results["relay"]["wire"] = relay.wire(arguments.relays, arguments.against)
    results["streaming"][20] = measure.streaming(named(ALL, servers), tiny, 1)
    results["tokens"][20] = tiny.tokens
    results["first_token"] = measure.first_token((FLOOR, OURS), 20, 1)
    results["turns"] = measure.turns((FLOOR, OURS), 2, 1)
    results["sign_ins"] = measure.sign_ins(os.cpu_count(), 2, 1)
    results["jitter"] = measure.jitter_while_signing_in(os.cpu_count(), tiny, 1)
    return results


def nothing():
    return {
        "relay": {},
        "streaming": {},
        "tokens": {},
        "first_token": {},
        "turns": {},
        "sign_ins": [],
        "jitter": [],
        "classic": {},
    }


def named(known, wanted):
    """Those of the known that are wanted; what all are held against, and Switchboard, are always there."""
    return [name for name in known if not wanted or name in wanted or name in (FLOOR, OURS)]


def machine(load_before):
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory_kib = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    lock = (PEERS / "Cargo.lock").read_text()
    crates = [
        f"{name} {locked(lock, name)}"
        for name in ("tokio", "actix-web", "axum", "tungstenite", "fastwebsockets", "hyper")
    ]
    pinned = dict(line.split("==") for line in (PEERS / "requirements.txt").read_text().split())
    others = [f"{name} {pinned[name]}" for name in ("fastapi", "httpx", "uvicorn", "uvloop", "websockets")]
    ws = json.loads((PEERS / "package-lock.json").read_text())["packages"]["node_modules/ws"]["version"]
    return {
        "Date": datetime.date.today().isoformat(),
        "Processor": f"{cpu[1].strip() if cpu else platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{memory_kib * 1024 / 1e9:.0f} GB",
        "System": f"{platform.system()} {platform.release()}",
        document.LOAD_BEFORE: f"{load_before:.2f}",
        "Rust": f"{output('rustc', '--version')}; {', '.join(crates)}",
        "Python": f"{platform.python_version()}; {', '.join(others)}",
        "Node": f"{output('node', '--version')}; ws {ws}",
        "Switchboard": output("git", "-C", ROOT, "describe", "--always", "--dirty"),
    }


def locked(lock, name):
    """The version of a crate, of the newest when there are several."""
    return re.findall(rf'name = "{name}"\nversion = "(.+)"', lock)[-1]


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "not known"


if __name__ == "__main__":
    main()
