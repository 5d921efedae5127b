"""Example inputs of the primitives of ``gpunn/ops/pad.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.pad import _MODES, pad_axis, pad_axis_backward, pad_constant
from tests.examples import examples_for


@examples_for(pad_constant)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    return [
        {"x": x, "sides": ((0, 0), (1, 1), (2, 2), (0, 0)), "value": 0.0},
        {"x": x[0, 0], "sides": ((0, 0), (0, 3)), "value": -np.inf},
        {"x": np.zeros((0, 2)), "sides": ((1, 0), (0, 1)), "value": 1.5},
        {"x": np.arange(3), "sides": ((1, 1),), "value": 7},
    ]


@examples_for(pad_axis)
def _frame_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(shape: tuple[int, ...], axis: int, before: int, after: int, *modes: str, dtype: Any = np.float32) -> Any:
        x = rng.standard_normal(shape).astype(dtype)
        return [{"x": x, "axis": axis, "before": before, "after": after, "mode": mode} for mode in modes or _MODES[1:]]

    return [
        *case((2, 5, 4, 8), 1, 2, 3),
        *case((2, 5, 4, 3), 2, 3, 0),
        *case((3, 7), 1, 6, 6, dtype=np.float64),
        *case((3, 7), 1, 7, 7, "circular"),
        *case((1, 1), 1, 4, 3, "replicate"),
        *case((2, 6, 2), 1, -2, 3),
        *case((2, 6, 2), 1, 4, -5),
        *case((2, 6, 2), 1, -2, -3),
        *case((6,), 0, -6, 2, "replicate", "circular"),
        *case((2, 3, 2), 1, -4, 2, "reflect", "replicate"),  # more than there is is cut off what the border copies
        *case((2, 3, 4), 1, 9, -7, "replicate"),
        *case((3, 1), 1, -2, 4, "replicate"),
        *case((2, 300), 1, 0, 20),
        *case((0, 4), 1, 1, 1),
        *case((2, 5), 1, 2, 1, dtype=np.int64),
    ]


@examples_for(pad_axis_backward)
def _frame_backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for e in _frame_examples(rng):
        x = e.pop("x")
        if x.dtype.kind != "f":
            continue
        y = pad_axis.plain(np, x, **e)
        made.append({"dy": rng.standard_normal(y.shape).astype(y.dtype), "length": x.shape[e["axis"]], **e})
    return made
