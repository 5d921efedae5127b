"""Example inputs of the primitives of ``gpunn/_shared/classes.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._shared.classes import elements_in_logical_order
from tests.examples import examples_for


@examples_for(elements_in_logical_order)
def _order_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    shapes = ((2, 3, 4, 5), (1, 1, 1, 1), (0, 2, 3, 4), (3, 1, 6, 2))
    return [{"x": rng.integers(-9, 9, shape).astype(label)} for shape in shapes for label in (np.int32, np.int64)]
