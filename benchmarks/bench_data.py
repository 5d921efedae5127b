"""Loading data, and an epoch with loading and evaluation; see conftest.py for the options.

``pytest benchmarks/bench_data.py --benchmark-only``
"""

from __future__ import annotations

from collections.abc import Callable

from gpunn.bench.case import Case

GROUP = "data"


def test_data(case: Case, side: str, time_side: Callable[[Case, str], None]) -> None:
    time_side(case, side)
