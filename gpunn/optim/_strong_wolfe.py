"""The line search of L-BFGS: a length of step at which the strong Wolfe conditions hold.

Nocedal, Wright, "Numerical optimization", algorithms 3.5 and 3.6, with cubic interpolation (3.59): the loss has fallen
by a share of what the slope at the beginning promised, and the slope is much smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

_ENOUGH_FALL = 1e-4  # the share of the promised fall, c1
_ENOUGH_SLOPE = 0.9  # the share of the slope that may be left, c2
_MOST_LOOKS = 25


class Point(NamedTuple):
    """A length of step, and loss, gradient and slope along the direction there."""

    t: float
    loss: float
    gradient: Any
    slope: float


def strong_wolfe(
    look: Callable[[float], Point], t: float, start: Point, largest: float, least_change: float
) -> tuple[Point, int]:
    """The point that was found, and how often the loss was evaluated.

    Parameters
    ----------
    look : callable
        Evaluates a length of step.
    t : float
        The length to try first.
    start : Point
        Where the search begins, with t = 0.
    largest : float
        The largest element of the direction.
    least_change : float
        Stop when no parameter changes more between both ends.
    """
    before, here, looks = start, look(t), 1
    ends: list[Point] = []
    done = False
    # First longer and longer steps, until a good one lies between two of them.
    while looks - 1 < _MOST_LOOKS:
        if _too_high(here, start) or (looks > 2 and here.loss >= before.loss) or here.slope >= 0:
            flat = abs(here.slope) <= -_ENOUGH_SLOPE * start.slope
            fallen = not (_too_high(here, start) or (looks > 2 and here.loss >= before.loss))
            ends, done = ([here], True) if flat and fallen else ([before, here], False)
            break
        if abs(here.slope) <= -_ENOUGH_SLOPE * start.slope:
            ends, done = [here], True
            break
        bounds = here.t + 0.01 * (here.t - before.t), here.t * 10
        before, here = here, look(_cubic(before, here, bounds))
        looks += 1
    if not ends:
        ends = [start, here]
    return _between(look, ends, done, start, largest, least_change, looks)


def _between(
    look: Callable[[float], Point],
    ends: list[Point],
    done: bool,
    start: Point,
    largest: float,
    least_change: float,
    looks: int,
) -> tuple[Point, int]:
    """Smaller and smaller intervals, whose lower end always has fallen enough."""
    slow = False  # whether the last place was next to an end
    low, high = (0, 1) if ends[0].loss <= ends[-1].loss else (1, 0)
    if len(ends) == 1:
        return ends[0], looks
    while not done and looks - 1 < _MOST_LOOKS:
        if abs(ends[1].t - ends[0].t) * largest < least_change:
            break
        first, last = sorted(end.t for end in ends)
        t = _cubic(ends[0], ends[1], (first, last))
        margin = 0.1 * (last - first)
        if min(last - t, t - first) < margin:
            if slow or t >= last or t <= first:
                t = last - margin if abs(t - last) < abs(t - first) else first + margin
                slow = False
            else:
                slow = True
        else:
            slow = False
        here = look(t)
        looks += 1
        if _too_high(here, start) or here.loss >= ends[low].loss:
            ends[high] = here
            low, high = (0, 1) if ends[0].loss <= ends[1].loss else (1, 0)
            continue
        if abs(here.slope) <= -_ENOUGH_SLOPE * start.slope:
            done = True
        elif here.slope * (ends[high].t - ends[low].t) >= 0:
            ends[high] = ends[low]
        ends[low] = here
    return ends[low], looks


def _too_high(here: Point, start: Point) -> bool:
    return here.loss > start.loss + _ENOUGH_FALL * here.t * start.slope


def _cubic(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through two points with their slopes is least, within bounds; their middle if it has no least."""
    low, high = bounds
    if a.t == b.t:
        return (low + high) / 2
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    inside = d1 * d1 - a.slope * b.slope
    if not inside >= 0:  # NaN too
        return (low + high) / 2
    d2 = math.sqrt(inside)
    left, right = (a, b) if a.t <= b.t else (b, a)
    bottom = right.slope - left.slope + 2 * d2
    if bottom == 0:
        return (low + high) / 2
    t = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / bottom)
    return min(max(t, low), high)
