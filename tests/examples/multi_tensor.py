"""Example inputs of the primitives that update many tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def example_arrays(rng: np.random.Generator, sizes: Sequence[int], dtype: Any, *, positive: bool = False) -> list[Any]:
    """Random arrays for the examples of a primitive."""
    made = [rng.standard_normal(n).astype(dtype) for n in sizes]
    return [a * a for a in made] if positive else made


def error_words(failed: bool = False) -> np.ndarray:
    """A device's error buffer for the examples of a primitive."""
    return np.array([int(failed), 0, 0, 0], np.int32)
