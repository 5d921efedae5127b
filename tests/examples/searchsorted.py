"""Example inputs of ``gpunn/ops/searchsorted.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.searchsorted import places_among
from tests.examples import examples_for


@examples_for(places_among)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for rows, length, each in ((1, 7, 5), (3, 5, 300), (2, 1, 4), (2, 0, 3), (2, 3, 0)):
        line = np.sort(np.round(rng.standard_normal((rows, length)), 1), axis=1)
        values = np.round(rng.standard_normal((rows, each)), 1)
        made += [{"rows": line, "values": values, "right": right} for right in (False, True)]
    odd = np.array([[-np.inf, -0.0, 0.0, 1.0, np.inf, np.nan]], np.float32)
    made += [{"rows": odd, "values": odd[:, ::-1].copy(), "right": right} for right in (False, True)]
    numbers = np.sort(rng.integers(-3, 3, (2, 9)), axis=1)
    made += [{"rows": numbers.astype(t), "values": numbers.astype(t), "right": True} for t in ("i8", "i4")]
    return [*made, {"rows": np.array([[False, True]]), "values": np.array([[True, False]]), "right": False}]
