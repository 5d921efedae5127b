"""Example inputs of the primitives of ``gpunn/ops/maxout.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.maxout import maxout_backward, maxout_forward
from tests.examples import examples_for


@examples_for(maxout_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(*shape: int, dtype: Any = np.float32) -> dict[str, Any]:
        return {"x": rng.integers(-3, 4, shape).astype(dtype)}  # few values: ties are common

    made = [case(5, 2, 1), case(33, 3, 1), case(4, 2, 8), case(3, 4, 5), case(2, 1, 3), case(0, 2, 4), case(8, 4, 1)]
    made += [case(6, 2, 4, dtype=np.float64), case(2, 256, 1)]
    made += [case(70, 3, 5), case(150, 2, 8)]  # several blocks, of elements and of vectors
    made += [{"x": np.eye(256, dtype=np.float32)[:, :, None].copy()}]  # each piece of the most wins once
    made[1]["x"].flat[::7] = np.nan
    made[2]["x"].flat[::5] = -np.inf
    made[3]["x"].flat[::3] = np.nan
    return made


@examples_for(maxout_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for e in _examples(rng):
        y, winner = maxout_forward.plain(np, e["x"])
        made.append({"dy": rng.standard_normal(y.shape).astype(y.dtype), "winner": winner, "k": e["x"].shape[1]})
    return made
