"""Example inputs of the primitives of ``gpunn/ops/where.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.where import choose
from tests.examples import examples_for


@examples_for(choose)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    condition = rng.random((2, 3)) > 0.5
    a, b = rng.standard_normal((2, 3)).astype(np.float32), rng.standard_normal(3).astype(np.float32)
    a[0, 0] = b[1] = np.nan
    number = np.float32(2)
    cases = [(condition, a, b), (condition, number, a), (condition[0], a, number), (condition, number, number)]
    made = [{"condition": c, "a": p, "b": q, "shape": (2, 3)} for c, p, q in cases]
    empty = {"condition": condition[:0], "a": a[:0], "b": np.float32(0), "shape": (0, 3)}
    images, pixels = rng.standard_normal((2, 3, 5, 8)), rng.random((1, 3, 5, 1)) > 0.5
    made += [{"condition": pixels, "a": images, "b": images[:, :1].copy(), "shape": images.shape}]
    made += [{"condition": images > 0, "a": images.astype(np.float32), "b": np.float32(-1), "shape": images.shape}]
    made += [{"condition": images > 0, "a": pixels, "b": np.bool_(True), "shape": images.shape}]
    deep = rng.random((2, 1, 2, 1, 2, 1, 2, 3)) > 0.5
    other = np.arange(96).reshape(1, 2, 1, 2, 2, 2, 2, 3)
    made += [{"condition": deep, "a": other, "b": np.int64(-1), "shape": (2, 2, 2, 2, 2, 2, 2, 3)}]
    # As many axes as a launch takes; and more elements than a block has threads.
    most, rest = rng.random((2, 1, 2, 1, 2, 1)) > 0.5, np.arange(8).reshape(1, 2, 1, 2, 1, 2)
    made += [{"condition": most, "a": np.int64(-1), "b": rest, "shape": (2,) * 6}]
    long = rng.standard_normal((40, 33)).astype(np.float32)
    made += [{"condition": long > 0, "a": long, "b": long[0].copy(), "shape": long.shape}]
    return [*made, empty, {"condition": np.array(True), "a": np.array(1), "b": np.array(2), "shape": ()}]
