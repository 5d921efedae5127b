"""Example inputs of the primitives of ``gpunn/ops/scaled_dot_product_attention.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.scaled_dot_product_attention import attention_backward, attention_forward
from tests.examples import examples_for


def _inputs(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(
        items: int, L: int, S: int, E: int, V: int, masks: int = 0, causal: bool = False, dtype: Any = np.float32
    ) -> dict[str, Any]:
        mask = rng.normal(size=(masks, L, S)).astype(dtype) if masks else None
        if mask is not None:
            mask[:, :, 1:][rng.random((masks, L, S - 1)) < 0.3] = -np.inf
            mask[0, L // 2] = -np.inf  # a query that sees no key
        made = {
            name: rng.normal(size=(items, n, e)).astype(dtype) for name, n, e in (("q", L, E), ("k", S, E), ("v", S, V))
        }
        return {**made, "mask": mask, "scale": E**-0.5, "causal": causal}

    return [
        case(1, 1, 1, 1, 1),
        case(2, 5, 7, 4, 3),
        case(3, 33, 40, 32, 17, masks=1),
        case(2, 40, 70, 64, 64, masks=2),
        case(2, 70, 33, 40, 9, causal=True),
        case(1, 33, 70, 8, 33, causal=True),
        case(1, 20, 35, 128, 65),
        case(2, 9, 11, 100, 128, causal=True),
        case(2, 33, 17, 64, 20, dtype=np.float64),
        case(1, 17, 20, 128, 128, masks=1, dtype=np.float64),
        # More than two tiles each way, of 64 and of 32 rows; features that are no multiple of a step's.
        case(1, 130, 200, 20, 36),
        case(1, 200, 150, 24, 8, causal=True),
        case(1, 70, 100, 12, 5, causal=True, dtype=np.float64),
    ]


@examples_for(attention_forward)
def _forward(rng: np.random.Generator) -> list[dict[str, Any]]:
    return _inputs(rng)


@examples_for(attention_backward)
def _backward(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, inputs in enumerate(_inputs(rng)):
        y, lse = attention_forward.plain(np, **inputs)
        dy = rng.normal(size=y.shape).astype(y.dtype)
        needs = ((True, True, True), (True, False, False), (False, True, False), (False, False, True))[number % 4]
        made.append({"dy": dy, **inputs, "y": y, "lse": lse, "needs": (True, True, True) if number < 4 else needs})
    return made
