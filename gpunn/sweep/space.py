"""What a hyper-parameter of a sweep may be: one value, one of several, or anything in a range."""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpunn.errors import UsageError, quoted

SAMPLERS = ("tpe", "random", "grid")
_MOST_POINTS = 10_000  # of a grid: more than anybody trains, and quickly listed
_DIGITS = 4  # of a number drawn from a range: as many as one wants to read and type


@dataclass(frozen=True)
class Fixed:
    """One value, the same in every trial."""

    value: Any

    def __str__(self) -> str:
        return _text(self.value)


@dataclass(frozen=True)
class Choices:
    """One of two or more values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(map(_text, self.values))


@dataclass(frozen=True)
class Range:
    """Any number from ``low`` to ``high``, both included.

    Attributes
    ----------
    low, high : int or float
    log : bool
        Whether equal ratios are equally likely, instead of equal differences.
    whole : bool
        Whether only whole numbers are meant.
    """

    low: float
    high: float
    log: bool
    whole: bool

    def __str__(self) -> str:
        return f"{_text(self.low)}..{_text(self.high)}"

    def settle(self, drawn: float) -> float:
        """A drawn number with four significant digits, within the range: what a trial uses, and what is shown."""
        return drawn if self.whole else min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)


Spec = Fixed | Choices | Range
Space = Mapping[str, Spec]


def _text(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def words(convert: Callable[[str], Any]) -> Callable[[str], Spec]:
    """The type of an option that takes one word or several with commas, each of which ``convert`` checks."""

    def parse(text: str) -> Spec:
        given = [word.strip() for word in text.split(",")]
        if "" in given:
            raise argparse.ArgumentTypeError(f"expected values with a comma between them; got {quoted(text, 60)}")
        values = tuple(convert(word) for word in given)
        if len(set(values)) < len(values):
            raise argparse.ArgumentTypeError(f"expected different values; got one twice in {quoted(text, 60)}")
        return Choices(values) if len(values) > 1 else Fixed(values[0])

    return parse


def numbers(convert: Callable[[str], Any], *, log: bool | None) -> Callable[[str], Spec]:
    """The type of an option that takes a number, several with commas, or a range ``A..B``.

    Parameters
    ----------
    convert : callable
        Checks one number and returns it, an int or a float.
    log : bool or None
        Whether a range of positive numbers is logarithmic; None: if it spans a decade.
    """
    several = words(convert)

    def parse(text: str) -> Spec:
        if ".." not in text:
            return several(text)
        first, _, last = (part.strip() for part in text.partition(".."))
        if not first or not last or "," in text:
            raise argparse.ArgumentTypeError(
                f"expected a range such as 1..10, or values with commas between them; got {quoted(text, 60)}"
            )
        low, high = convert(first), convert(last)
        if low >= high:
            said = f"is one value, which is given as {_text(low)}" if low == high else "runs down"
            raise argparse.ArgumentTypeError(f"expected a range A..B with A below B; {quoted(text, 60)} {said}")
        spread = log if log is not None else low > 0 and high >= 10 * low
        return Range(low, high, spread and low > 0, isinstance(low, int))

    return parse


def grid(space: Space, used: Callable[[str, Mapping[str, Any]], bool]) -> list[dict[str, Any]]:
    """All combinations of the values of a space, without those that differ only in what has no meaning there.

    Parameters
    ----------
    space : mapping of str to Fixed, Choices or Range
    used : callable
        ``used(name, values)``: whether ``name`` has a meaning beside these values of the others.

    Raises
    ------
    UsageError
        If a range is continuous, or there are more than 10,000 combinations.
    """
    lists: dict[str, list[Any]] = {}
    for name, spec in space.items():
        if isinstance(spec, Range):
            if not spec.whole:
                raise UsageError(
                    f"--{name.replace('_', '-')}: --sampler grid needs values such as {_few(spec)}; {spec} is a range."
                )
            lists[name] = list(range(int(spec.low), int(spec.high) + 1)) if spec.high - spec.low < _MOST_POINTS else []
        elif isinstance(spec, Choices):
            lists[name] = list(spec.values)
        if not lists.get(name, [0]) or math.prod(map(len, lists.values())) > _MOST_POINTS:
            raise UsageError(f"--sampler grid: expected at most {_MOST_POINTS:,} combinations. Give fewer values.")
    return list(_distinct(space, lists, used))


def _distinct(
    space: Space, lists: Mapping[str, list[Any]], used: Callable[[str, Mapping[str, Any]], bool]
) -> Iterator[dict[str, Any]]:
    seen = set()
    fixed = {name: spec.value for name, spec in space.items() if isinstance(spec, Fixed)}
    for values in itertools.product(*lists.values()):
        point = dict(zip(lists, values, strict=True))
        point = {name: value for name, value in point.items() if used(name, {**fixed, **point})}
        key = tuple(point.items())
        if key not in seen:
            seen.add(key)
            yield point


def _few(spec: Range) -> str:
    """Three values of a range, as an example: its ends and its middle."""
    middle = math.sqrt(spec.low * spec.high) if spec.log else (spec.low + spec.high) / 2
    return ",".join(_text(value) for value in (spec.low, spec.settle(middle), spec.high))
