"""Example inputs of the primitives of ``gpunn/ops/pow.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.pow import power_backward
from tests.examples import examples_for


@examples_for(power_backward)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(base: Any, exponent: Any) -> dict[str, Any]:
        y = base**exponent
        return {"dy": np.ones_like(y), "base": base, "exponent": exponent, "y": y, "needs": (True, True)}

    base = (0.1 + rng.random((3, 4))).astype(np.float32)
    edges = np.array([0.0, 0.0, 2.0, -2.0, 0.0], np.float32), np.array([0.0, 2.0, 0.0, 2.0, 1.0], np.float32)
    made = [case(base, base[0].copy()), case(base, np.float32(1.5)), case(np.float32(2), base), case(*edges)]
    made += [{**case(base, base[:, :1].copy()), "needs": needs} for needs in ((True, False), (False, True))]
    odd = 0.1 + rng.random((5, 7))
    return [*made, case(odd, odd[:, :1].copy()), case(odd[:0], odd[:1].copy())]
