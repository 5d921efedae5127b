"""Types of command-line arguments."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from gpunn.errors import nearest, quoted

_MOST = 2**31 - 1  # images, steps, threads: more than this is a slip of the finger, and more than NumPy counts


def whole(minimum: int, most: int | None = _MOST) -> Callable[[str], int]:
    """A whole number of at least ``minimum`` and at most ``most``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}; got {quoted(text, 60)}")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"expected a whole number of at most {most:,}; got {quoted(text, 60)}")
        return value

    return parse


def number(*, positive: bool) -> Callable[[str], float]:
    """A finite number, above 0 or at least 0."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and (value > 0 if positive else value >= 0)):
            what = "above 0" if positive else "of at least 0"
            raise argparse.ArgumentTypeError(f"expected a number {what}; got {quoted(text, 60)}")
        return value

    return parse


def why_no_folder(path: Path) -> str:
    """What is wrong with a path that should be a folder and is none."""
    return "is not a folder" if os.path.lexists(path) else "does not exist"


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """One of the known words."""
    words = list(known)

    def parse(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(
                f"expected one of {', '.join(words)}; got {quoted(text, 60)}{nearest(text[:99], words)}"
            )
        return text

    return parse
