"""The standard streams of a program that must neither crash on them nor let a message get lost.

A stream may be closed (``>&-``), full (``/dev/full``), a pipe whose reader has gone, or unable to encode a character.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any


class _Output(io.TextIOWrapper):
    """Standard output, keeping the error with which it failed: an ``OSError`` does not say whose it is."""

    failed: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.failed = error
            raise


def prepare() -> bool:
    """Make the streams of this process safe to use; returns whether standard output can be written to at all.

    A closed one is opened on the null device: else the next file that is opened would take its number, and what is
    meant for the stream would be written into it. Characters that the locale cannot encode are escaped.
    """
    writable = sys.stdout is not None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest number that is free is that of the closed stream.
            number = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))
    old = sys.stdout
    if type(old) is io.TextIOWrapper:
        errors = "backslashreplace" if old.errors == "strict" else old.errors
        how: dict[str, Any] = {"line_buffering": old.line_buffering, "write_through": old.write_through}
        old.flush()
        sys.stdout = _Output(old.buffer, old.encoding, errors, **how)
    return writable


def say(text: str) -> None:
    """A line on standard error; if nobody can read it, the exit status has to do."""
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _give_up(sys.stderr)


def failure() -> OSError | None:
    """Write what waits for standard output; the error if it failed, now or before, and will not be used again."""
    with contextlib.suppress(OSError, ValueError):  # a ValueError: it was closed by code of the user's
        sys.stdout.flush()
    failed: OSError | None = getattr(sys.stdout, "failed", None)
    if failed is not None:
        _give_up(sys.stdout)
    return failed


def _give_up(stream: Any) -> None:
    """Let what a stream still holds go nowhere: Python flushes at exit, and complains of what fails there."""
    with contextlib.suppress(OSError, ValueError):
        number = os.open(os.devnull, os.O_WRONLY)
        os.dup2(number, stream.fileno())
        os.close(number)
