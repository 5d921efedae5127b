"""Whole training steps; see conftest.py for the options.

``pytest benchmarks/bench_steps.py --benchmark-only``
"""

from __future__ import annotations

from collections.abc import Callable

from gpunn.bench.case import Case

GROUP = "steps"


def test_steps(case: Case, side: str, time_side: Callable[[Case, str], None]) -> None:
    time_side(case, side)
