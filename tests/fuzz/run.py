"""The command: many inputs of one reader, and a record of what became of them."""

from __future__ import annotations

import argparse
import collections
import json
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.trial import attempt, resident_peak

ROOT = Path(__file__).parents[2]
# Files that are overwritten a hundred thousand times, where there are files in memory.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
RECORDS = ROOT / "benchmarks" / "results" / "fuzz.jsonl"


def generator(seed: int, number: int) -> Random:
    """Of one input: so that it can be made again without those before it."""
    return Random(f"{seed}/{number}")


def run(name: str, count: int, seed: int, keep: Path | None = None, trace: bool = True) -> dict[str, Any]:
    """Make and read ``count`` inputs; the record.

    Parameters
    ----------
    name : str
        Of the reader.
    count, seed : int
    keep : Path, optional
        Where inputs that break a rule are written.
    trace : bool
        Watch allocations input by input (half the speed).
    """
    target = TARGETS[name]
    files = target.whole()
    refused: collections.Counter[str] = collections.Counter()
    faults: list[dict[str, Any]] = []
    slowest = traced = longest = 0.0
    with tempfile.TemporaryDirectory(dir=_MEMORY) as temporary:
        folder = Path(temporary)
        for number, data in enumerate(files):
            outcome = attempt(target, folder, data)  # the first reads also load what all need
            if outcome.refused is not None and name != "image-folder":
                raise SystemExit(f"{name}: whole file {number} is refused: {outcome.message}")
        if trace:
            tracemalloc.start()
        resident, begun = resident_peak(), time.time()
        for number in range(count):
            data = target.make(generator(seed, number), files)
            outcome = attempt(target, folder, data)
            refused[outcome.refused or "read"] += 1
            slowest = max(slowest, outcome.seconds)
            traced = max(traced, outcome.traced)
            longest = max(longest, len(outcome.message))
            if outcome.fault is not None:
                faults.append({"number": number, "fault": outcome.fault})
                print(f"{name} {seed}/{number}: {outcome.fault}", file=sys.stderr, flush=True)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    (keep / f"{name}-{seed}-{number}").write_bytes(data)
        tracemalloc.stop()
        _empty(target, folder)
    return {
        "reader": name,
        "count": count,
        "seed": seed,
        "by": "tests.fuzz",
        "outcomes": dict(sorted(refused.items())),
        "faults": len(faults),
        "first_faults": faults[:5],
        "slowest_ms": round(1000 * slowest, 1),
        "most_traced_bytes": int(traced) if trace else None,
        "resident_growth_bytes": resident_peak() - resident,
        "longest_message": int(longest),
        "seconds": round(time.time() - begun, 1),
    }


def _empty(target: Target, folder: Path) -> None:
    """So that removing the folder meets no link or name that it cannot handle."""
    if target is TARGETS["image-folder"]:
        target.place(folder, b"[]")


def about() -> dict[str, Any]:
    """What the numbers depend on."""
    from gpunn import __version__

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    versions = {"python": platform.python_version(), "numpy": np.__version__, "gpunn": __version__}
    try:
        import PIL

        versions["pillow"] = PIL.__version__
    except ImportError:
        pass
    return {"commit": commit.stdout.strip(), "versions": versions}


def keep_record(record: dict[str, Any], out: Path | None) -> None:
    """Print a record with what it depends on, and append it to a file if one is given."""
    text = json.dumps({**record, **about()})
    print(text, flush=True)
    if out is not None:
        with out.open("a") as file:
            file.write(text + "\n")


def main() -> int:
    """Returns the exit status: 1 if an input broke a rule."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=sys.modules["tests.fuzz"].__doc__)
    parser.add_argument("--reader", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--count", type=int, default=1000, help="inputs of each reader (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--number", type=int, metavar="N", help="print the N-th input's outcome, and nothing else")
    parser.add_argument("--no-trace", action="store_true", help="do not watch allocations, twice as fast")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write inputs that break a rule to this folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"append the records (such as {RECORDS.name}) to FILE")
    parser.add_argument("--atheris", action="store_true", help="let atheris make the inputs (pip install atheris)")
    args = parser.parse_args()
    names = list(TARGETS) if args.reader == "all" else [args.reader]
    if args.atheris:
        from tests.fuzz.guided import guided

        return guided(names[0], args.count, args.seed, lambda record: keep_record(record, args.out))
    if args.number is not None:
        data = TARGETS[names[0]].make(generator(args.seed, args.number), TARGETS[names[0]].whole())
        with tempfile.TemporaryDirectory() as folder:
            print(data[:2000], attempt(TARGETS[names[0]], Path(folder), data), sep="\n")
            _empty(TARGETS[names[0]], Path(folder))
        return 0
    failed = 0
    for name in names:
        record = run(name, args.count, args.seed, args.keep, not args.no_trace)
        keep_record(record, args.out)
        failed += record["faults"]
    return 1 if failed else 0
