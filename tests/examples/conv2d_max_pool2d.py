"""Example inputs of the primitives of ``gpunn/ops/conv2d_max_pool2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._window import Window
from gpunn.ops.conv2d import conv2d_forward
from gpunn.ops.conv2d_max_pool2d import conv2d_max_pool2d_backward, conv2d_max_pool2d_forward
from gpunn.ops.max_pool2d import max_pool2d_forward
from tests.examples import examples_for


@examples_for(conv2d_max_pool2d_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(
        n: int, c: int, size: tuple[int, int], k: int, r: int, pool: tuple[Any, ...], **how: Any
    ) -> dict[str, Any]:
        dtype = how.pop("dtype", np.float32)
        groups = how.pop("groups", 1)
        geometry = {"stride": (1, 1), "padding": (r // 2, r // 2), "dilation": (1, 1)} | how
        window = Window(*size, r, r, **geometry)
        return {
            "x": rng.standard_normal((n, *size, c)).astype(dtype),
            "weight": rng.standard_normal((k, r, r, c // groups)).astype(dtype),
            "window": window,
            "groups": groups,
            "bias": rng.standard_normal(k).astype(dtype) if k % 2 else None,
            "pool": Window(window.P, window.Q, *pool),
        }

    halves: tuple[Any, ...] = (2, 2, (2, 2), (0, 0), (1, 1))
    made = [
        case(18, 1, (9, 8), 20, 5, halves),  # several tasks
        case(10, 20, (14, 14), 21, 5, halves),  # Winograd along the rows, no larger than it must be
        case(2, 80, (9, 10), 96, 3, halves),  # filters of more than 256 KB
        case(2, 6, (7, 7), 6, 3, (3, 3, (2, 2), (1, 1), (1, 1)), groups=6),  # windows that overlap; depthwise
        case(2, 4, (9, 9), 5, 3, halves, stride=(2, 1), dtype=np.float64),
        case(0, 3, (5, 5), 2, 3, halves),
        case(1, 2, (230, 230), 5, 3, halves),  # an image of more than 1 MB, that is cut into rows
    ]
    made[0]["x"][3, 2, 2] = np.nan
    return [{**e, "flat": number % 2 == 1, "relu": relu} for number, e in enumerate(made) for relu in (True, False)]


@examples_for(conv2d_max_pool2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    every, first, data = (True, True, True), (False, True, True), (True, False, False)
    for number, e in enumerate(_examples(rng)):
        x, pool, flat = e["x"], e["pool"], e["flat"]
        z = conv2d_forward.plain(np, x, e["weight"], e["window"], e["groups"], e["bias"], False)
        y, offset = max_pool2d_forward.plain(np, z, pool, flat, e["relu"])
        dy = rng.standard_normal(y.shape).astype(x.dtype)
        how = {"pool": pool, "flat": flat, "needs": (first, every, every, data)[number % 4]}
        more = {"more": rng.standard_normal(x.shape).astype(x.dtype)} if number % 4 == 1 else {}
        given = {key: e[key] for key in ("weight", "window", "groups")}
        made.append({"dy": dy, "offset": offset, "x": np.nan_to_num(x), **given, **how, **more})
    return made
