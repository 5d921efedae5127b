"""Example inputs of the primitives of ``gpunn/ops/compare.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.compare import all_axes, ask_elements, invert
from tests.examples import examples_for


@examples_for(ask_elements)
def _test_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0], np.float32)
    return [{"name": n, "x": x} for n in ("isnan", "isinf", "isfinite") for x in (special, np.arange(3), np.zeros(()))]


@examples_for(invert)
def _not_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": np.array([True, False])}, {"x": np.arange(-2, 3)}, {"x": np.zeros((0, 2), bool)}]


@examples_for(all_axes)
def _all_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.random((2, 3, 4, 2)) > 0.2
    return [
        {"name": name, "x": x, "axes": axes, "keepdims": k}
        for name in ("all", "any")
        for axes in ((0,), (1, 3), (0, 1, 2, 3))
        for k in (True, False)
    ]
