"""One input, and what is asked of every one."""

from __future__ import annotations

import importlib
import os
import sys
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunn.errors import GpunnError
from tests.fuzz.targets import Target

# Windows has none.
_RESOURCE: Any = importlib.import_module("resource") if os.name == "posix" else None
MOST_SECONDS = 1.0
MOST_BYTES = 16_000_000
MOST_CHARACTERS = 499


@dataclass
class Outcome:
    """What became of an input.

    Attributes
    ----------
    refused : str or None
        The class of the error, None where it was read.
    fault : str or None
        What is wrong about that.
    seconds : float
        Of processor time.
    traced : int
        Bytes that Python and NumPy allocated at once at most; 0 if that was not watched.
    message : str
        The error's.
    """

    refused: str | None
    fault: str | None
    seconds: float
    traced: int
    message: str


def resident_peak() -> int:
    """Bytes of memory that this process had at once at most: also of what C libraries allocate."""
    if _RESOURCE is None:
        return 0
    return int(_RESOURCE.getrusage(_RESOURCE.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def attempt(target: Target, folder: Path, data: bytes) -> Outcome:
    """Read an input, watched."""
    target.place(folder, data)
    watched = tracemalloc.is_tracing()
    before = 0
    if watched:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
    resident = resident_peak()
    refused, fault, message = None, None, ""
    start = time.process_time()
    try:
        target.read(folder)
    except GpunnError as error:
        refused, message = type(error).__name__, str(error)
    except BaseException as error:  # Rust's panics too, which are no Exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        refused, message = type(error).__name__, str(error)
        fault = f"a foreign exception: {refused}: {message[:300]}"
    seconds = time.process_time() - start
    traced = tracemalloc.get_traced_memory()[1] - before if watched else 0
    grown = resident_peak() - resident
    most = 10 * len(data) + MOST_BYTES
    if fault is None and seconds > MOST_SECONDS:
        fault = f"{seconds:.2f} seconds of processor time"
    if fault is None and max(traced, grown) > most:
        fault = f"{traced} bytes traced and {grown} resident for {len(data)}; allowed are {most}"
    # Lines are state_dict's, which lists keys; the command line makes them one.
    if fault is None and (len(message) > MOST_CHARACTERS or not message.replace("\n", " ").isprintable()):
        fault = f"a message of {len(message)} characters: {message[:300]!r}"
    return Outcome(refused, fault, seconds, traced, message)
