"""Example inputs of the primitives of ``gpunn/ops/unary.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.unary import FUNCTIONS, unary_backward, unary_forward
from tests.examples import examples_for


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 0.5, -0.5, 1.5, -1.0, 3.0], np.float32)
    made: list[dict[str, Any]] = []
    for name in FUNCTIONS:
        drawn = (np.asarray(rng.random(s) + 0.1, t) for s, t in (((3, 5), "f4"), ((), "f4"), ((0, 2), "f4"), (7, "f8")))
        made += [{"name": name, "x": x} for x in (special, *drawn)]
    # Angles near multiples of pi / 2 and far out, where the turns that are taken away decide.
    angles = [np.arange(-40, 40) * (np.pi / 4), 10.0 ** np.arange(-5, 38), -3.7 * 2.0 ** np.arange(20, 120)]
    made += [{"name": n, "x": np.concatenate(angles).astype(t)} for n in ("sin", "cos") for t in ("f4", "f8")]
    made += [{"name": n, "x": 1.1 * 10.0 ** np.arange(28, 308)} for n in ("sin", "cos")]
    made += [{"name": "sqrt", "x": rng.random(n).astype(np.float32)} for n in (1023, 1024, 1025)]
    return [*made, {"name": "exp", "x": rng.standard_normal((5, 30001)).astype(np.float32)}]


@examples_for(unary_forward)
def _forward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    whole = [np.array([-3, 0, 1, 2, 100], t) for t in (np.int64, np.int32)]
    whole += [np.array([0, 1, 200], np.uint8)]
    names = ("square", "abs", "sign", "floor", "ceil", "round")
    return [*_examples(rng), *({"name": n, "x": x} for n in names for x in whole)]


@examples_for(unary_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"name": e["name"], "dy": np.asarray(rng.standard_normal(e["x"].shape), e["x"].dtype), "saved": e["x"]}
        for e in _examples(rng)
    ]
