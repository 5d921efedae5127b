"""Example inputs of the primitives of ``gpunn/ops/avg_pool2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._window import Window
from gpunn.ops.avg_pool2d import avg_pool2d_backward, avg_pool2d_forward
from tests.examples import examples_for


@examples_for(avg_pool2d_forward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, h: int, w: int, c: int, *how: Any, pad: bool = True, by: int = 0, dtype: Any = np.float32) -> Any:
        x = (rng.standard_normal((n, h, w, c)) + 1).astype(dtype)
        r, s, stride, padding = how[:4]
        window = Window(h, w, r, s, stride, padding, (1, 1), len(how) > 4)
        return {"x": x, "window": window, "count_include_pad": pad, "divisor": by}

    return [
        case(2, 6, 6, 4, 2, 2, (2, 2), (0, 0)),
        case(1, 7, 5, 3, 3, 3, (2, 2), (1, 1)),
        case(1, 7, 5, 3, 3, 2, (2, 1), (1, 1), pad=False),
        case(2, 7, 8, 8, 3, 1, (1, 1), (0, 0)),
        case(2, 5, 5, 1, 1, 1, (1, 1), (0, 0)),
        case(1, 6, 7, 5, 2, 3, (3, 2), (1, 0), True),
        case(1, 6, 7, 5, 2, 3, (3, 2), (1, 0), True, by=-5),
        case(1, 6, 6, 5, 3, 3, (2, 2), (1, 1), True),  # the last windows reach beyond the padding
        case(0, 4, 4, 2, 2, 2, (2, 2), (0, 0)),
        case(300, 40, 1, 1, 4, 1, (4, 1), (0, 0)),
        # Windows that a block shares: a tile of channels less one, whole, and more; hanging over the edge.
        case(1, 9, 8, 31, 7, 5, (2, 3), (3, 2)),
        case(1, 6, 6, 128, 6, 6, (6, 6), (0, 0)),
        case(2, 12, 11, 132, 6, 6, (5, 4), (2, 1), True, pad=False),
        case(3, 300, 1, 1, 270, 1, (13, 1), (0, 0)),
        case(0, 6, 6, 4, 6, 6, (6, 6), (0, 0)),
        case(1, 9, 7, 12, 9, 7, (9, 7), (0, 0), dtype=np.float64),
        case(1, 1, 1, 1, 1, 1, (1, 1), (0, 0), dtype=np.float64),
        case(2, 5, 5, 4, 2, 2, (2, 2), (0, 0), dtype=np.float64),
    ]


@examples_for(avg_pool2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for example in _examples(rng):
        x, window = example.pop("x"), example["window"]
        dy = rng.standard_normal((len(x), window.P, window.Q, x.shape[3])).astype(x.dtype)
        made.append({"dy": dy, **example})
    return made
