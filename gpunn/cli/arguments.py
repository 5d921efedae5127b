"""Types of command-line arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable

from gpunn.errors import nearest


def whole(minimum: int) -> Callable[[str], int]:
    """A whole number of at least ``minimum``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {minimum}; got {text!r}")
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
            raise argparse.ArgumentTypeError(f"expected a number {what}; got {text!r}")
        return value

    return parse


def one_of(known: Iterable[str]) -> Callable[[str], str]:
    """One of the known words."""
    words = list(known)

    def parse(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(words)}; got {text!r}{nearest(text, words)}")
        return text

    return parse


def image_shape(text: str) -> tuple[int, int, int]:
    """``C,H,W``."""
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"expected channels,height,width such as 1,28,28; got {text!r}")
    c, h, w = (int(p) for p in parts)
    return c, h, w
