"""Example inputs of the losses between two arrays of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

# -- examples -------------------------------------------------------------------------------------


def pair_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Inputs and targets with every reduction: images, vectors, a number, nothing, several blocks, float64."""
    shapes: tuple[tuple[int, ...], ...] = ((3, 5), (2, 3, 3, 4), (1,), (), (0, 4), (8193,), (70_001,))
    made: list[dict[str, Any]] = []
    for number, shape in enumerate(shapes):
        a, b = (np.asarray(rng.standard_normal(shape), np.float32) for _ in range(2))
        made += [{"x": a, "target": b, "divisor": d} for d in (None, 1.0, float(a.size))[: 2 + number % 2]]
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 0.5, 1.0], np.float32)
    made += [{"x": special, "target": np.zeros(6, np.float32), "divisor": None}]
    doubles = [rng.standard_normal(17) for _ in range(2)]
    return [*made, *({"x": doubles[0], "target": doubles[1], "divisor": d} for d in (None, 17.0))]


def with_gradient(rng: np.random.Generator, examples: list[dict[str, Any]], name: str = "x") -> list[dict[str, Any]]:
    """The same for the backward pass: the gradient that comes in, and which ones are wanted."""
    made = []
    for number, example in enumerate(examples):
        x = example[name]
        dy = np.asarray(rng.standard_normal(x.shape if example["divisor"] is None else ()), x.dtype)
        needs = ((True, True), (True, False), (False, True))[number % 3]
        made.append({"dy": dy, **example, "needs": needs})
    return made
