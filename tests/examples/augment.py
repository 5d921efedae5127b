"""Example inputs of the primitives of ``gpunn/ops/augment.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.augment import erase, jitter, resample
from tests.examples import examples_for


@examples_for(resample)
def _resample_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, h: int, w: int, c: int, p: int, q: int, dtype: Any = np.float32) -> dict[str, Any]:
        return {
            "x": rng.standard_normal((n, h, w, c)).astype(dtype),
            "rows": rng.integers(-2, h + 2, (n, p)),
            "columns": rng.integers(-2, w + 2, (n, q)),
            "fill": 0.5,
        }

    return [
        case(3, 5, 7, 2, 4, 9),
        case(1, 1, 1, 1, 1, 1),
        case(0, 4, 4, 3, 4, 4),
        case(2, 6, 5, 3, 6, 5, np.float64),
        case(2, 6, 5, 8, 3, 4),
    ]


@examples_for(erase)
def _erase_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, h: int, w: int, c: int, size: int) -> dict[str, Any]:
        x = rng.standard_normal((n, h, w, c)).astype(np.float32)
        top, left = (rng.integers(-1, length, n) for length in (h, w))
        return {"x": x, "top": top, "left": left, "height": size, "width": size + 1, "fill": -1.0}

    return [case(3, 5, 6, 2, 3), case(2, 1, 1, 1, 1), case(0, 3, 3, 1, 2), case(3, 9, 8, 4, 3)]


@examples_for(jitter)
def _jitter_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any = np.float32, h: int = 4, w: int = 5) -> dict[str, Any]:
        factors = [rng.uniform(0.5, 1.5, n).astype(dtype) for _ in range(3)]
        names = ("brightness", "contrast", "saturation")
        statistics = {"mean": rng.random(c).astype(dtype), "std": rng.uniform(0.2, 0.4, c).astype(dtype)}
        images = rng.standard_normal((n, h, w, c)).astype(dtype)
        return {"x": images, **dict(zip(names, factors, strict=True)), **statistics}

    return [case(3, 3), case(2, 1), case(0, 3), case(1, 3, np.float64), case(2, 3, h=45, w=46)]
