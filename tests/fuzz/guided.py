"""Inputs by atheris, which keeps those that reach new code and changes them further."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fuzz.targets import TARGETS


def guided(name: str, count: int, seed: int) -> int:
    """Give ``count`` inputs to a reader; atheris ends the process at the first that breaks a rule, and shows it.

    Its corpus begins with whole files. Coverage is measured in this library and in what reads for it in Python.
    """
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError as error:
        print(f"--atheris needs atheris ({error}). Install it with pip install atheris.", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["gpunn", "zipfile", "PIL", "json"]):
        import gpunn.data
        import gpunn.data.image
        import gpunn.serialize
        from tests.fuzz.trial import attempt
    assert gpunn.data.image
    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="gpunn-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(target.whole()):
        (corpus / str(number)).write_bytes(data)
    place = folder / "input"
    place.mkdir()

    def one(data: bytes) -> None:
        outcome: Any = attempt(target, place, data)
        if outcome.fault is not None:
            raise RuntimeError(f"{name}: {outcome.fault}")

    atheris.Setup([sys.argv[0], f"-runs={count}", f"-seed={seed + 1}", "-max_len=65536", str(corpus)], one)
    atheris.Fuzz()
    return 0
