"""Running a table of functions that are composed of ops against PyTorch's of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunn as typed

gpunn: Any = typed

# Some roundings of float64 numbers of order one, in another order than PyTorch's.
TOLERANCE = 1e-12


class Case(NamedTuple):
    """``call(library, *tensors)`` for float64 tensors of these shapes."""

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]


def rows(*cases: tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...]]) -> list[Any]:
    """For ``pytest.mark.parametrize("case", ...)``."""
    return [
        pytest.param(Case(*case), id=f"{case[0]}-{'-'.join('x'.join(map(str, s)) or '()' for s in case[2])}")
        for case in cases
    ]


def matches_torch(case: Case, where: str, change: Callable[[np.ndarray], np.ndarray] = lambda x: x) -> None:
    """Values and gradients, in float64; ``change`` makes the inputs out of numbers of order one."""
    parity = pytest.importorskip("tests.parity")
    rng = np.random.Generator(np.random.Philox(5))
    arrays = {f"x{i}": change(rng.standard_normal(shape)) for i, shape in enumerate(case.shapes)}
    parity.compare(
        lambda **x: case.call(gpunn, *x.values()), lambda **x: case.call(parity.torch, *x.values()),
        arrays, where, TOLERANCE, least_scale=1,
    )  # fmt: skip
