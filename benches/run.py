#!/usr/bin/env python3
"""Measures Switchboard beside other servers of the same job, in one run on one machine. `make bench` runs it.

docs/BENCHMARKS.md says what is measured and how. Everything stays on this machine (127.0.0.1), is bounded in time, and ends
what it started.

    run.py full      everything but the two below
    run.py relay     the relay job only
    run.py products  LiteLLM's proxy and Chainlit at the relay job; benches/products.sh installs them first
    run.py compare   this version and another binary, which --against names, in alternating rounds
    run.py quick     1,000 connections and the servers in Rust; prints
    run.py smoke     every measurement with every installed server for a few seconds; fails when something went wrong
    run.py page      measures nothing: writes the pages from benches/results again

With --write, each part that was measured replaces its record in benches/results, and docs/BENCHMARKS.md and the targets in
docs/PERFORMANCE.md are written from all records. Without, the result is printed.
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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import compare
import document
import measure
import relay
import results
from measure import Size, say
from servers import (
    BARE_RELAY,
    BEFORE,
    FLOOR,
    OTHER_PEERS,
    PEERS,
    PRODUCTS,
    RELAY_PEERS,
    ROOT,
    RUST_PEERS,
    SWITCHBOARD,
    build,
    family,
    install,
    is_installed,
)

import store

OURS = "switchboard"
RUST = (*RUST_PEERS, OURS)
ALL = (*RUST_PEERS, *OTHER_PEERS, OURS)
RELAY = (BARE_RELAY, OURS, *RELAY_PEERS)
# The servers that all others are compared with.
ALWAYS = (FLOOR, BARE_RELAY, OURS, BEFORE)
# The peers of the relay job repeat less often than the pairs of Switchboard and the bare relay.
RELAY_JOBS = {100: relay.Job(100, 100, 40), 1000: relay.Job(1000, 100, 333)}
RELAY_PEER_ROUNDS = 2
# So few clients that all products keep up.
FEW = relay.Job(50, 100, 20)
TINY_RELAY = relay.Job(20, 50, 200, interval_ms=20, settle_ms=200)
SIZES = {1000: Size(1000, 1000, 200), 15000: Size(15000, 2500, 250)}
TINY = Size(20, 100, 40)
CPUS = os.cpu_count()


@dataclass
class Part:
    """One measurement: its name, the servers that take part, and a function that measures those of them that are installed."""

    name: str
    servers: tuple
    take: Callable


def main():
    options = parse(sys.argv[1:])
    # Exits normally, so that the servers are ended, too.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # Read before anything is built, because building is a load, too.
    load_before = os.getloadavg()[0]
    parts = parts_of(options)
    if parts:
        build()
    if load_before > results.QUIET and parts:
        say(f"the machine is busy (load {load_before:.1f}): ratios of CPU will do, times will not")
    missing = missing_servers(parts, options.servers)
    measured = {}
    for part in parts:
        measured[part.name] = record(part, missing, load_before)
        if options.write:
            store.save(part.name, measured[part.name])
            write_pages(store.load())
    page = document.render(measured)
    if options.mode == "page":
        write_pages(store.load())
    elif options.mode == "smoke":
        found = [fault for of_part in measured.values() for fault in of_part["faults"]]
        say("something went wrong" if found else "every server does its job")
        sys.exit(1 if found else 0)
    elif not options.write:
        print(page)


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=list(MODES))
    parser.add_argument(
        "--only", help="only these parts, with commas between: relay or relay-1000, streaming, turns, …"
    )
    parser.add_argument("--servers", help="of the peers only these, with commas between; prints")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--pairs", type=int, default=10, help="rounds of the relay job with 1,000 clients, and of compare"
    )
    parser.add_argument("--against", type=Path, help="compare: the other binary of Switchboard")
    parser.add_argument("--write", action="store_true", help="keep what was measured, and write the pages")
    options = parser.parse_args(words)
    options.only = options.only.split(",") if options.only else None
    options.servers = options.servers.split(",") if options.servers else None
    if options.write and (options.servers or options.mode in ("quick", "smoke")):
        parser.error("a table with a part of the servers or of the rounds is printed, not written")
    if (options.mode == "compare") != (options.against is not None):
        parser.error("compare needs --against, and nothing else takes it")
    if options.against is not None:
        options.against = options.against.resolve()
        if not os.access(options.against, os.X_OK):
            parser.error(f"--against: {options.against} is no program")
    return options


def parts_of(options):
    return chosen(MODES[options.mode](options), options.only)


def full(options):
    rounds = options.rounds
    parts = relay_parts(options)
    for connections, size in SIZES.items():
        # One process with one thread cannot send 150,000 tokens a second.
        parts.append(streaming(connections, ALL if connections <= 1000 else RUST, size, rounds))
    parts += [
        Part("first-token", (FLOOR, OURS), lambda names: measure.first_token(names, 1000, rounds)),
        Part("turns", (FLOOR, OURS), lambda names: measure.turns(names, 15, rounds)),
        Part("sign-ins", (OURS,), lambda _: measure.sign_ins(CPUS, 10, rounds)),
        Part("jitter", (FLOOR, OURS), lambda _: measure.jitter_while_signing_in(CPUS, Size(500, 500, 150), rounds)),
        Part("classic", (OURS,), lambda _: measure.classic(rounds)),
    ]
    return parts


def relay_parts(options, servers=RELAY):
    return [
        relay_part("relay-100", servers, RELAY_JOBS[100], RELAY_PEER_ROUNDS),
        relay_part("relay-1000", servers, RELAY_JOBS[1000], options.pairs, RELAY_PEER_ROUNDS),
    ]


def products(options):
    """The measurements of products. One round with 1,000 clients: a product that does not keep up takes 90 s to time out."""
    servers = (BARE_RELAY, OURS, *PRODUCTS)
    return [
        relay_part("products-50", servers, FEW, options.rounds),
        relay_part("products-100", servers, RELAY_JOBS[100], options.rounds),
        relay_part("products-1000", servers, RELAY_JOBS[1000], 1),
    ]


def comparison(options):
    plan = compare.Plan(RELAY_JOBS[1000], options.pairs, connections=1000, seconds=8)
    return [comparison_part(options.against, plan)]


def quick(options):
    options.pairs = min(options.pairs, 3)
    found = {part.name: part for part in full(options)}
    names = ("relay-1000", "streaming-1000", "first-token", "turns")
    parts = [found[name] for name in names if name in found]
    for part in parts:
        part.servers = tuple(name for name in part.servers if family(name) not in OTHER_PEERS)
    return parts


def smoke(options):
    plan = compare.Plan(TINY_RELAY, 1, connections=20, seconds=2)
    parts = [
        relay_part("relay-20", RELAY, TINY_RELAY, 1),
        streaming(20, ALL, TINY, 1),
        # Compares the binary with itself.
        comparison_part(SWITCHBOARD, plan),
        Part("first-token", (FLOOR, OURS), lambda names: measure.first_token(names, 20, 1)),
        Part("turns", (FLOOR, OURS), lambda names: measure.turns(names, 2, 1)),
        Part("sign-ins", (OURS,), lambda _: measure.sign_ins(CPUS, 2, 1)),
        Part("jitter", (FLOOR, OURS), lambda _: measure.jitter_while_signing_in(CPUS, TINY, 1)),
        Part("classic", (OURS,), lambda _: measure.classic(1, (250, 500))),
    ]
    there = tuple(name for name in PRODUCTS if is_installed(name))
    if there:
        parts.append(relay_part("products-20", (BARE_RELAY, OURS, *there), TINY_RELAY, 1))
    return parts


MODES = {
    "full": full,
    "relay": relay_parts,
    "products": products,
    "compare": comparison,
    "quick": quick,
    "smoke": smoke,
    "page": lambda _: [],
}


def relay_part(name, servers, job, rounds, peer_rounds=None):
    return Part(name, servers, lambda names: relay.part(names, job, rounds, peer_rounds))


def streaming(connections, servers, size, rounds):
    def take(names):
        return {"tokens": size.tokens, "runs": measure.streaming(names, size, rounds)}

    return Part(f"streaming-{connections}", servers, take)


def comparison_part(against, plan):
    return Part("comparison", (BARE_RELAY, FLOOR, OURS, BEFORE), lambda _: compare.measure_both(against, plan))


def chosen(parts, only):
    """The parts that `only` names, by their own name or by their group, which is the name without the number."""
    if only is None:
        return parts
    unknown = [name for name in only if name not in {known for part in parts for known in (part.name, group(part))}]
    if unknown:
        sys.exit(f"unknown part {', '.join(unknown)}; there are {', '.join(part.name for part in parts)}")
    return [part for part in parts if part.name in only or group(part) in only]


def group(part):
    return re.sub(r"-\d+$", "", part.name)


def missing_servers(parts, wanted):
    """Family of servers → the reason why it does not take part; empty for those that are not wanted."""
    families = {family(name) for part in parts for name in part.servers if name not in ALWAYS}
    unwanted = {name: "" for name in families if wanted is not None and name not in wanted}
    return unwanted | install(families - unwanted.keys())


def record(part, missing, load_before):
    """Takes a measurement; returns its result with the date, the commit and the machine."""
    say(f"{part.name}:")
    measure.take_faults()
    for name, why in missing.items():
        if why and any(family(server) == name for server in part.servers):
            measure.note(name, [f"not measured: {why}"])
    names = tuple(name for name in part.servers if name in ALWAYS or family(name) not in missing)
    taken = {
        "date": datetime.date.today().isoformat(),
        "switchboard": commit(),
        "load_before": f"{load_before:.2f}",
        "machine": machine(),
        "result": part.take(names),
    }
    return store.as_stored(taken | {"faults": measure.take_faults()})


def write_pages(records):
    (ROOT / "docs" / "BENCHMARKS.md").write_text(document.render(records))
    performance = ROOT / "docs" / "PERFORMANCE.md"
    performance.write_text(document.with_targets(performance.read_text(), records))


def commit():
    """The commit that was measured, marked when files differ from it that are not written here."""
    written = [f":!{path}" for path in ("benches/results", "docs/BENCHMARKS.md", "docs/PERFORMANCE.md")]
    changed = output("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return output("git", "-C", ROOT, "rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def machine():
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory_kib = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    lock = (PEERS / "Cargo.lock").read_text()
    crates = [
        f"{name} {locked(lock, name)}"
        for name in ("tokio", "actix-web", "axum", "tungstenite", "fastwebsockets", "hyper")
    ]
    ws = json.loads((PEERS / "package-lock.json").read_text())["packages"]["node_modules/ws"]["version"]
    return {
        "Processor": f"{cpu[1].strip() if cpu else platform.machine()}, {os.cpu_count()} cores",
        "Memory": f"{memory_kib * 1024 / 1e9:.0f} GB",
        "System": f"{platform.system()} {platform.release()}",
        "Rust": f"{output('rustc', '--version')}; {', '.join(crates)}",
        "Python": f"{platform.python_version()}; {pinned('fastapi', 'fastapi', 'httpx', 'uvicorn', 'uvloop', 'websockets')}",
        "Node": f"{output('node', '--version')}; ws {ws}",
        "Products": f"{pinned('litellm', 'litellm')}, {pinned('chainlit', 'chainlit', 'openai')}",
    }


def pinned(of, *packages):
    """The versions of packages of a peer in Python."""
    lines = (PEERS / f"{of}.txt").read_text().splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line)
    return ", ".join(f"{name} {versions[name]}" for name in packages)


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
