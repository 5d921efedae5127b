"""Example inputs of the primitives of ``gpunn/ops/max.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.max import extremum_axis, extremum_over, place_along, share_backward
from tests.examples import examples_for


@examples_for(extremum_axis)
def _axis_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.integers(0, 4, (2, 3, 4, 5)).astype(np.float32)
    x[0, 0, 0, 2] = np.nan
    made = [{"x": a, "axis": i, "largest": big} for big in (True, False) for a, i in ((x, 1), (x, 3), (x[0, 0], 0))]
    made += [{"x": np.zeros((0, 3)), "axis": 1, "largest": True}, {"x": np.arange(4), "axis": 0, "largest": True}]
    same = (-np.inf, np.inf, np.nan)
    made += [{"x": np.full((2, 3), fill, np.float32), "axis": 1, "largest": fill < 0} for fill in same]
    made += [{"x": np.arange(n) % 5 == 3, "axis": 0, "largest": True} for n in (1, 9)]
    # Ties across threads, warps and slices: the first must win. NaN early and late.
    along_rows, along_columns = ((3, 33), (70, 33), (70, 9), (2, 1024), (1, 9001)), ((40, 3), (300, 8), (4100, 2))
    for shape, axis in [*((s, 1) for s in along_rows), *((s, 0) for s in along_columns)]:
        many = rng.integers(0, 6, shape).astype(np.float32)
        holes = many.copy()
        holes.reshape(-1)[[shape[1] // 2, -1]] = np.nan
        made += [{"x": a, "axis": axis, "largest": big} for a in (many, holes) for big in (True, False)]
        made += [{"x": many.astype(np.int32), "axis": axis, "largest": False}]
    return made


@examples_for(place_along)
def _place_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    dy, index = rng.standard_normal((2, 1, 4)).astype(np.float32), rng.integers(0, 3, (2, 1, 4))
    made = [{"dy": dy, "index": index, "axis": 1, "length": 3}]
    image, places = rng.standard_normal((2, 3, 1, 5)), rng.integers(0, 4, (2, 3, 1, 5))
    made += [{"dy": image, "index": places, "axis": 2, "length": 4}]
    return [*made, {"dy": np.ones((300, 1)), "index": np.arange(300)[:, None] % 2, "axis": 1, "length": 2}]


@examples_for(extremum_over)
def _over_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.integers(0, 4, (2, 3, 4, 5)).astype(np.float32)
    made: list[dict[str, Any]] = [
        {"x": x, "axes": a, "largest": big} for a in ((0,), (1, 3), (0, 1, 2, 3)) for big in (True, False)
    ]
    large = rng.standard_normal((20, 30, 40)).astype(np.float32)
    made += [{"x": large, "axes": a, "largest": big} for a in ((1,), (0, 2), (0, 1, 2)) for big in (True, False)]
    made += [{"x": np.arange(-3, 3, dtype=np.int32).reshape(2, 3), "axes": (0,), "largest": False}]
    made += [{"x": np.array([[True, False]]), "axes": (0,), "largest": True}]
    made += [{"x": np.zeros((0, 3)), "axes": (1,), "largest": True}]
    return [*made, {"x": np.array([1.0, np.nan]), "axes": (0,), "largest": True}]


@examples_for(share_backward)
def _share_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(x: Any, axes: tuple[int, ...], nan: bool) -> dict[str, Any]:
        y = x.max(axes, keepdims=True)
        return {"dy": rng.standard_normal(y.shape).astype(x.dtype), "x": x, "y": y, "axes": axes, "finds_nan": nan}

    x = rng.integers(0, 4, (2, 3, 4, 5)).astype(np.float32)
    holes = x.copy()
    holes[0, 1, 2, 3] = np.nan
    made = [case(a, axes, n) for a in (x, holes) for axes in ((1, 2), (0, 2), (0, 1, 2, 3)) for n in (True, False)]
    return [*made, case(x[0].astype(np.float64), (0,), True), case(np.zeros((0, 3)), (1,), False)]
