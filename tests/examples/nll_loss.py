"""Example inputs of the primitives of ``gpunn/ops/nll_loss.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.nll_loss import nll_loss_backward, nll_loss_forward
from tests.examples import examples_for


@examples_for(nll_loss_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any, weighted: bool, reduction: str, probabilities: bool) -> dict[str, Any]:
        target = rng.integers(0, c, n)
        target[1::3] = -100
        x = np.log(1 - rng.random((n, c))).astype(dtype)
        x[::4] = 0
        weight = rng.random(c).astype(dtype) if weighted else None
        how = {"ignore_index": -100, "reduction": reduction, "of_probabilities": probabilities}
        return {"x": -x if probabilities else x, "target": target, "weight": weight, **how}

    reductions = ("mean", "sum", "none")
    made = [
        case(n, c, dtype, weighted, reductions[(n + weighted) % 3], n % 2 == 0)
        for n, c, dtype in ((5, 10, np.float32), (8, 1, np.float32), (0, 3, np.float32), (7, 4, np.float64))
        for weighted in (False, True)
    ]
    made += [case(900, 3, np.float32, True, "mean", True), case(900, 4, np.float32, False, "sum", False)]
    made += [case(n, 2, np.float32, True, r, False) for n, r in ((1024, "mean"), (1025, "mean"), (2100, "none"))]
    made += [case(0, 3, np.float32, False, r, True) for r in reductions]  # the mean of nothing is NaN
    short = case(9, 8, np.float32, False, "mean", True)
    return [*made, {**short, "target": short["target"].astype(np.int32)}]


@examples_for(nll_loss_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in _examples(rng):
        x, reduction = example["x"], example.pop("reduction")
        each = reduction == "none"
        dy = np.asarray(rng.standard_normal(len(x) if each else ()), x.dtype)
        made.append({"dy": dy, **example, "factor": None if each else np.asarray(0.25, x.dtype)})
    # Impossible probabilities and heavy losses: gradients as large as numbers get.
    p = np.array([[0, 1], [1, 0], [0.5, 0], [np.nan, 0]], np.float32)
    far = {"x": p, "target": np.zeros(4, np.int64), "weight": None, "ignore_index": -100, "of_probabilities": True}
    return [*made, *({"dy": np.full(4, d, np.float32), **far, "factor": None} for d in (1e6, -1e30, np.inf))]
