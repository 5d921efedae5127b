"""Example inputs of the primitives of ``gpunn/ops/update.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.update import update
from tests.examples import examples_for


@examples_for(update)
def _update_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(name: str, shape: tuple[int, ...], other: tuple[int, ...] | None, dtype: Any = np.float32) -> Any:
        extra = dtype(1.5) if other is None else (0.5 + rng.random(other)).astype(dtype)
        return {"name": name, "target": rng.standard_normal(shape).astype(dtype), "other": extra}

    made = [case(n, (4, 5), o) for n in ("add", "sub", "mul", "div") for o in ((5,), (4, 1), (4, 5), None)]
    made += [case("mul", (2, 3, 4, 8), o) for o in ((8,), (3, 1, 8), (1, 1, 1))]
    made += [case("add", (0, 3), (3,)), case("sub", (33,), (33,), np.float64)]
    return [*made, {"name": "add", "target": np.arange(6).reshape(2, 3), "other": np.arange(3)}]
