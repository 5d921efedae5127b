"""The cases whose answers by PyTorch are kept in ``answers.npz``: each op's inputs, and both sides' calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """One op on fixed inputs. ``call(F, **inputs)`` works with either library's functional module."""

    name: str
    inputs: dict[str, np.ndarray]
    call: Callable[..., Any]


def _normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape).astype(np.float32)


def cases() -> list[Case]:
    """Drawn from fixed seeds, so only the answers need keeping."""
    labels = np.array([2, 0, 4, 4, 1])
    return [
        Case(
            "conv2d",
            {"x": _normal(1, 2, 4, 9, 8), "weight": _normal(2, 6, 2, 3, 2), "bias": _normal(3, 6)},
            lambda F, x, weight, bias: F.conv2d(x, weight, bias, (2, 1), (1, 2), (1, 2), 2),
        ),
        Case(
            "conv2d_lenet",
            {"x": _normal(4, 2, 20, 7, 7), "weight": _normal(5, 10, 20, 5, 5)},
            lambda F, x, weight: F.conv2d(x, weight, padding=2),
        ),
        Case("max_pool2d", {"x": _normal(6, 2, 5, 7, 8)}, lambda F, x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
        Case(
            "linear",
            {"x": _normal(7, 5, 37), "weight": _normal(8, 11, 37), "bias": _normal(9, 11)},
            lambda F, x, weight, bias: F.linear(x, weight, bias),
        ),
        Case("relu", {"x": _normal(10, 3, 4, 5, 2)}, lambda F, x: F.relu(x)),
        Case(
            "batch_norm",
            {"x": _normal(11, 3, 5, 4, 2), "weight": _normal(12, 5), "bias": _normal(13, 5)},
            lambda F, x, weight, bias: F.batch_norm(x, None, None, weight, bias, training=True),
        ),
        Case(
            "cross_entropy",
            {"logits": 3 * _normal(14, 5, 6), "labels": labels},
            lambda F, logits, labels: F.cross_entropy(logits, labels),
        ),
    ]


def incoming(shape: tuple[int, ...]) -> np.ndarray:
    """The gradient that enters each op."""
    return _normal(99, *shape)
