"""Inputs by atheris, which keeps those that reach new code and changes them further."""

from __future__ import annotations

import collections
import importlib
import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS


def guided(name: str, count: int, seed: int, done: Callable[[dict[str, Any]], None]) -> int:
    """Give ``count`` inputs to a reader; atheris ends the process at the first that breaks a rule, and shows it.

    Its corpus begins with whole files. Coverage is measured in this library and in what reads for it in Python.

    Parameters
    ----------
    name : str
        Of the reader.
    count, seed : int
    done : callable
        Called with the record after the last input: atheris does not return.
    """
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError as error:
        print(f"--atheris needs atheris ({error}). Install it with pip install atheris.", file=sys.stderr)
        return 2
    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="gpunn-fuzz-"))
    corpus, place = folder / "corpus", folder / "input"
    corpus.mkdir()
    place.mkdir()
    with atheris.instrument_imports(include=["gpunn", "zipfile", "PIL", "json"]):
        from tests.fuzz.trial import attempt

        for number, data in enumerate(target.whole()):  # readers import what they need when they are called
            (corpus / str(number)).write_bytes(data)
            attempt(target, place, data)
    outcomes: collections.Counter[str] = collections.Counter()
    slowest = 0.0

    def one(data: bytes) -> None:
        nonlocal slowest
        if outcomes.total() == count:  # atheris also runs the corpus and an empty input
            return
        outcome = attempt(target, place, data)
        # Reading is several times slower where coverage is counted, so time is noted and no reason to end.
        if outcome.fault is not None and "seconds" not in outcome.fault:
            raise RuntimeError(f"{name}: {outcome.fault}")
        outcomes[outcome.refused or "read"] += 1
        slowest = max(slowest, outcome.seconds)
        if outcomes.total() == count:
            shutil.rmtree(folder)
            done(
                {
                    "reader": name,
                    "count": count,
                    "seed": seed,
                    "by": f"atheris {importlib.metadata.version('atheris')}",
                    "outcomes": dict(sorted(outcomes.items())),
                    "faults": 0,
                    "slowest_ms": round(1000 * slowest, 1),
                }
            )

    atheris.Setup(
        [
            sys.argv[0],
            f"-runs={count + 100}",
            f"-seed={seed + 1}",
            "-max_len=65536",
            f"-artifact_prefix={folder}/",
            str(corpus),
        ],
        one,
    )
    atheris.Fuzz()
    return 0
