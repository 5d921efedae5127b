"""Example inputs of the primitives of ``gpunn/ops/cross_entropy.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.cross_entropy import cross_entropy_backward, cross_entropy_forward
from tests.examples import examples_for


@examples_for(cross_entropy_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any, label: Any, reduction: str, gradient: bool = True, spread: float = 3) -> Any:
        target = rng.integers(0, c, n).astype(label)
        target[1::3] = -100
        logits = (spread * rng.standard_normal((n, c))).astype(dtype)
        given = {"logits": logits, "target": target, "weight": None, "smoothing": 0.0}
        return {**given, "ignore_index": -100, "reduction": reduction, "with_gradient": gradient}

    def weighted(smoothing: float, *how: Any, **more: Any) -> dict[str, Any]:
        made = case(*how, **more)
        return {**made, "weight": rng.random(how[1]).astype(how[2]), "smoothing": smoothing}

    impossible = weighted(0.0, 5, 6, np.float32, np.int64, "mean")  # a class of a row without smoothing
    impossible["logits"][0, (impossible["target"][0] + 1) % 6] = -np.inf
    all_ignored = {**case(5, 6, np.float32, np.int64, "mean"), "target": np.full(5, -100)}
    return [
        case(5, 10, np.float32, np.int64, "none"),
        case(9, 33, np.float32, np.int32, "mean"),
        case(20, 10, np.float32, np.int64, "mean"),
        case(3, 1, np.float32, np.int64, "sum"),
        case(1, 4, np.float32, np.int64, "mean", False),
        *(case(0, 7, np.float32, np.int64, reduction) for reduction in ("none", "sum", "mean")),
        case(3, 1028, np.float32, np.int64, "mean"),  # a block for each row
        case(2, 1031, np.float64, np.int64, "sum"),
        case(2, 12300, np.float32, np.int32, "mean"),  # more than shared memory holds
        case(7, 12, np.float64, np.int32, "mean"),
        case(6, 12, np.float32, np.int64, "none", spread=1e4),
        case(20, 3, np.float32, np.int32, "sum", False),
        case(600, 3, np.float32, np.int64, "mean"),  # more labels to count than a block has threads
        case(8300, 8, np.float32, np.int64, "mean"),  # several rows for a warp, several parts on the CPU
        {**case(4, 6, np.float32, np.int64, "mean"), "target": np.array([0, 5, 2, 2]), "ignore_index": 2},
        impossible,
        all_ignored,
        {**all_ignored, "weight": np.ones(6, np.float32)},
        weighted(0.0, 9, 33, np.float32, np.int64, "mean"),
        weighted(0.1, 5, 10, np.float32, np.int64, "none"),
        weighted(0.1, 6, 12, np.float32, np.int32, "sum", spread=1e4),
        weighted(1.0, 3, 1, np.float32, np.int64, "none", False),
        weighted(0.3, 0, 7, np.float32, np.int64, "mean"),
        weighted(0.2, 3, 1028, np.float32, np.int64, "mean"),
        weighted(0.2, 2, 12300, np.float32, np.int64, "sum"),
        weighted(0.2, 3, 1031, np.float64, np.int64, "mean"),
        weighted(0.1, 2900, 3, np.float32, np.int64, "mean"),  # the factor is not in the gradients
        {**case(7, 8, np.float64, np.int32, "mean"), "smoothing": 0.3},
        {**case(0, 1, np.float32, np.int64, "sum"), "smoothing": 0.3},
    ]


@examples_for(cross_entropy_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[tuple[Any, ...]] = []
    for shape, dtype in (((5, 10), np.float32), ((40, 36), np.float32), ((0, 3), np.float32), ((3, 4), np.float64)):
        dlogits = rng.standard_normal(shape).astype(dtype)
        made.append((dlogits, np.array(0.7, dtype), np.array(0.2, dtype)))
        made.append((dlogits, np.array(-1.5, dtype), None))
        made.append((dlogits, rng.standard_normal(shape[0]).astype(dtype), None))
    return [dict(zip(("dlogits", "dy", "factor"), values, strict=True)) for values in made]
