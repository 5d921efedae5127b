"""Example inputs of the primitives of ``gpunn/ops/locally_connected2d.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._window import Window
from gpunn.ops.locally_connected2d import locally_connected2d_backward, locally_connected2d_forward
from tests.examples import examples_for


def _cases(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, h: int, w: int, k: int, r: int, s: int, dtype: Any = np.float32, **how: Any) -> Any:
        geometry: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)} | how
        window = Window(h, w, r, s, **geometry)
        return {
            "x": rng.standard_normal((n, h, w, c)).astype(dtype),
            "weight": rng.standard_normal((window.P, window.Q, k, c, r, s)).astype(dtype),
            "window": window,
        }

    return [
        case(2, 3, 6, 5, 4, 3, 2),
        case(3, 1, 1, 9, 1, 1, 3, padding=(0, 1)),  # a sequence
        case(4, 2, 7, 8, 3, 3, 3, stride=(2, 3), padding=(1, 0), end_padding=(0, 2)),
        case(2, 5, 8, 7, 2, 2, 3, dilation=(3, 2)),
        case(0, 2, 4, 4, 3, 3, 3),
        case(1, 1, 1, 1, 1, 1, 1),
        case(40, 4, 5, 5, 6, 3, 3, padding=(1, 1)),
        case(8, 1, 6, 6, 8, 3, 3),
        case(9, 7, 4, 4, 11, 2, 2, padding=(1, 1), end_padding=(0, 0)),
        case(2, 3, 5, 6, 2, 3, 3, np.float64, stride=(2, 1)),
    ]


@examples_for(locally_connected2d_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = _cases(rng)
    for number, example in enumerate(made):
        p, q, k = example["weight"].shape[:3]
        bias = rng.standard_normal((k, p, q)).astype(example["x"].dtype)
        example["bias"] = bias if number % 3 else None
    return made


@examples_for(locally_connected2d_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = _cases(rng)
    for number, example in enumerate(made):
        shape = (example["x"].shape[0], *example["weight"].shape[:3])
        example["dy"] = rng.standard_normal(shape).astype(example["x"].dtype)
        example["needs"] = ((True, True, True), (False, True, False), (True, False, True))[number % 3]
    return made
