"""The latest results: a file for each part in benches/results, with the date, the commit and the machine of its run.

A run replaces the parts that it measured; the pages are written from all of them.
"""

import json

from servers import ROOT

FOLDER = ROOT / "benches" / "results"


def load(folder=FOLDER):
    """Part → record."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def save(part, record, folder=FOLDER):
    folder.mkdir(parents=True, exist_ok=True)
    # By a rename: a run that is interrupted leaves the earlier record.
    unfinished = folder / f"{part}.unfinished"
    unfinished.write_text(json.dumps(record, indent=1) + "\n")
    unfinished.rename(folder / f"{part}.json")


def as_stored(record):
    """The record as it is read again: keys of objects are text."""
    return json.loads(json.dumps(record))
