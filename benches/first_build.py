#!/usr/bin/env python3
"""Measures a first release build of the server: `make bench-build`.

Builds into an empty folder and prints CPU time, wall time, the number of packages, the size of the
binary and the most expensive packages. CPU time is what to compare: wall time depends on the number
of cores and on what else the machine does. Crates are downloaded before the clock starts.

`--source` builds another checkout, to compare two revisions on the same machine.
"""

import argparse
import collections
import os
import pathlib
import resource
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Cargo tells every compiler which package it works for; a build script hands that on to the C compiler.
WRAPPER = """#!/bin/bash
TIMEFORMAT="%U %S ${{CARGO_PKG_NAME:-(none)}} {kind}"
exec {{stderr}}>&2
{{ time {program} "$@" 2>&"$stderr"; }} 2>>'{log}'
"""


def write_wrapper(folder, kind, program, log):
    path = folder / kind
    path.write_text(WRAPPER.format(kind=kind, program=program, log=log))
    path.chmod(0o755)
    return str(path)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def cargo_lines(source, *arguments):
    output = subprocess.run(["cargo", *arguments], cwd=source, check=True, capture_output=True, text=True)
    return output.stdout.splitlines()


def build(source, folder):
    """Builds the server into `folder`; returns CPU seconds, wall seconds and CPU seconds by package."""
    log = folder / "units"
    log.touch()
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(folder / "target"),
        "RUSTC_WRAPPER": write_wrapper(folder, "rust", "", log),
        "CC": write_wrapper(folder, "c", "cc", log),
    }
    cpu, wall = cpu_seconds(), time.monotonic()
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=source, env=environment, check=True)
    cpu, wall = cpu_seconds() - cpu, time.monotonic() - wall
    units = collections.Counter()
    for line in log.read_text().splitlines():
        user, system, package, kind = line.split()
        units[package if kind == "rust" else f"{package} (C)"] += float(user) + float(system)
    return cpu, wall, units


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, default=ROOT, help="the checkout to build")
    parser.add_argument("--top", type=int, default=15, help="how many packages to list")
    options = parser.parse_args()

    source = options.source.resolve()
    subprocess.run(["cargo", "fetch", "--locked"], cwd=source, check=True)
    tree = cargo_lines(source, "tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}")
    packages = {" ".join(line.split()[:2]) for line in tree if line.strip()}
    with tempfile.TemporaryDirectory(prefix="first-build-") as folder:
        folder = pathlib.Path(folder)
        cpu, wall, units = build(source, folder)
        size = (folder / "target" / "release" / "switchboard").stat().st_size

    print(f"CPU time     {cpu:7.1f} s")
    print(f"wall time    {wall:7.1f} s on {os.cpu_count()} cores")
    print(f"packages     {len(packages):7}")
    print(f"binary       {size / 1e6:7.1f} MB")
    print(f"\n{'CPU s':>7}  package")
    for package, seconds in units.most_common(options.top):
        print(f"{seconds:7.1f}  {package}")
    print(f"{cpu - sum(units.values()):7.1f}  (Cargo, and build scripts apart from compilers)")


if __name__ == "__main__":
    main()
