"""Example inputs of the primitives of ``gpunn/ops/batch_norm.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.batch_norm import batch_norm_backward, batch_norm_normalise, batch_norm_statistics
from tests.examples import examples_for
from tests.examples.activations import rectified


def _images(rng: np.random.Generator) -> list[np.ndarray]:
    """Physical inputs: images and rows of features; of several chunks, odd, of size one, empty, float64.

    One has more chunks than a block merges; none has two rows, whose dx is nothing but roundings.
    """
    shapes = ((2, 15, 15, 40), (3, 5, 7, 4), (7, 3), (1, 1, 3, 1), (0, 3, 3, 4), (2120, 31), (130, 33))
    made = [(3 * rng.standard_normal(s) + rng.standard_normal(s[-1])).astype(np.float32) for s in shapes]
    return [*made, rng.standard_normal((2, 3, 5, 8)) + 1]


def _numbers(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """One positive number a channel."""
    return np.asarray(rng.uniform(0.5, 1.5, x.shape[-1]), x.dtype)


@examples_for(batch_norm_statistics)
def _statistics_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, x in enumerate(_images(rng)):
        running = {"running_mean": -_numbers(rng, x), "running_var": _numbers(rng, x), "batches": np.array(3 * number)}
        made.append({"x": x, **running, "momentum": 0.1 if number % 2 else None})
    bare = {"running_mean": None, "running_var": None, "batches": None}
    return [*made, {"x": made[1]["x"], **bare, "momentum": 0.1}]


@examples_for(batch_norm_normalise)
def _normalise_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, x in enumerate(_images(rng)):
        example = {"x": x, "mean": -_numbers(rng, x), "var": _numbers(rng, x), "weight": None, "bias": None}
        if number % 3:
            example |= {"weight": _numbers(rng, x), "bias": -_numbers(rng, x)}
        residual = rng.standard_normal(x.shape).astype(x.dtype) if number % 2 else None
        made.append({**example, "residual": residual, "eps": 1e-5, "relu": number % 4 > 1})
    return made


@examples_for(batch_norm_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    wanted = ((True,) * 4, (True, False, False, False), (False, True, True, False), (False, False, False, True))
    made = []
    for number, x in enumerate(_images(rng)):
        for training in (True, False):
            axes = tuple(range(x.ndim - 1))
            mean = x.mean(axis=axes) if training and x.size else -_numbers(rng, x)
            var = x.var(axis=axes) if training and x.size else _numbers(rng, x)
            y = rectified(rng, x.shape, x.dtype) if number % 3 != 1 else None
            needs = wanted[(number + training) % 4]
            weight = _numbers(rng, x) if number % 2 else None
            example = {"dy": rng.standard_normal(x.shape).astype(x.dtype), "x": x, "y": y, "mean": mean, "var": var}
            example |= {"weight": weight, "bias": None, "eps": 1e-3, "training": training}
            made.append({**example, "added": True, "needs": needs})
            if number % 3 == 2:
                example["bias"] = _numbers(rng, x) - x.dtype.type(1)
                example["y"] = batch_norm_normalise.plain(np, x, mean, var, weight, example["bias"], None, 1e-3, True)
                made.append({**example, "added": False, "needs": needs})
    return made
