"""Example inputs of the primitives of ``gpunn/ops/cast.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.cast import cast, cast_into
from tests.examples import examples_for


@examples_for(cast)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [
        {"x": rng.standard_normal((3, 4)).astype(np.float32), "dtype": np.float64},
        {"x": np.arange(5), "dtype": np.float32},
    ]
    types = ("?", "u1", "i1", "i2", "i4", "i8", "f4", "f8", "f2")
    made += [{"x": np.array([0, 1, 100]).astype(a), "dtype": np.dtype(b)} for a in types for b in types]
    made += [{"x": np.array([np.nan, -0.0, -1.5, 2.9]), "dtype": np.dtype(b)} for b in ("?", "f4")]
    made += [{"x": np.array([-300, 2**40 + 7, -(2**62) - 1]), "dtype": np.dtype(b)} for b in ("u1", "i4", "f4", "f8")]
    made += [{"x": np.zeros((0, 3), bool), "dtype": np.float32}]
    # In float64 just beside the middle between two numbers of 16 bits, which float32 is too short to tell from it.
    made += [{"x": np.array([1 + 2**-11 + 2**-40, -1 - 2**-11, 2**-25 + 2**-60]), "dtype": np.dtype("f2")}]
    return [*made, *({"x": np.arange(n, dtype=np.int32), "dtype": np.int64} for n in (1023, 1024, 1025))]


@examples_for(cast_into)
def _examples_into(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for shape in ((3, 5), (), (0, 2), (1025,)):
        x = rng.standard_normal(shape).astype(np.float32)
        made.append({"target": np.zeros(shape, np.float64), "x": x})  # 16 bits: tests/test_half.py
    made.append({"target": np.zeros((70, 3), np.float32), "x": rng.standard_normal((70, 3))})
    return made
