"""Example inputs of the primitives of ``gpunn/ops/lstm_gates.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.lstm_gates import lstm_gates_backward, lstm_gates_forward
from tests.examples import examples_for


@examples_for(lstm_gates_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, width: int, dtype: Any = np.float32) -> dict[str, Any]:
        sums = {name: rng.standard_normal((n, 4 * width)).astype(dtype) for name in ("given", "hidden")}
        return {**sums, "c": rng.standard_normal((n, width)).astype(dtype)}

    made = [case(3, 5), case(1, 1), case(0, 3), case(7, 8), case(2, 4, np.float64), case(5, 3, np.float64)]
    made += [case(130, 5), case(70, 16), case(2, 259)]  # several blocks, of elements and of vectors
    made[0]["given"].flat[::7] = np.inf
    made[3]["hidden"].flat[::9] = -np.inf
    made[3]["c"].flat[::5] = np.nan
    made[6]["given"][:] *= 50  # gates that are shut or open altogether
    return made


@examples_for(lstm_gates_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number, e in enumerate(_examples(rng)):
        with np.errstate(all="ignore"):
            _, c_next, gates = lstm_gates_forward.plain(np, **e)
        dh, dc = (rng.standard_normal(c_next.shape).astype(c_next.dtype) for _ in range(2))
        given = {"dh": None if number % 3 == 1 else dh, "dc_next": None if number % 3 == 2 else dc}
        made.append({**given, "gates": gates, "c": e["c"], "c_next": c_next})
    return made
