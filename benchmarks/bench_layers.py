"""Single ops, forward and backward; see conftest.py for the options.

``pytest benchmarks/bench_layers.py --benchmark-only``
"""

from __future__ import annotations

from collections.abc import Callable

from gpunn.bench.case import Case

GROUP = "layers"


def test_layers(case: Case, side: str, time_side: Callable[[Case, str], None]) -> None:
    time_side(case, side)
