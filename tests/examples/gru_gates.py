"""Example inputs of the primitives of ``gpunn/ops/gru_gates.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.gru_gates import gru_gates_backward, gru_gates_forward
from tests.examples import examples_for


@examples_for(gru_gates_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, width: int, dtype: Any = np.float32) -> dict[str, Any]:
        sums = {name: rng.standard_normal((n, 3 * width)).astype(dtype) for name in ("given", "hidden")}
        return {**sums, "h": rng.standard_normal((n, width)).astype(dtype)}

    made = [case(3, 5), case(1, 1), case(0, 3), case(7, 8), case(2, 4, np.float64), case(5, 3, np.float64)]
    made += [case(130, 5), case(70, 16), case(2, 259)]  # several blocks, of elements and of vectors
    made[0]["given"].flat[::7] = np.inf
    made[3]["hidden"].flat[::9] = -np.inf
    made[3]["h"].flat[::5] = np.nan
    made[6]["given"][:] *= 50  # gates that are shut or open altogether
    return made


@examples_for(gru_gates_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for e in _examples(rng):
        with np.errstate(all="ignore"):
            y, gates = gru_gates_forward.plain(np, **e)
        dy = rng.standard_normal(y.shape).astype(y.dtype)
        made.append({"dy": dy, "gates": gates, "hidden": e["hidden"], "h": e["h"]})
    return made
