"""Example inputs of the primitives of ``gpunn/ops/sync_batch_norm.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.sync_batch_norm import sync_batch_norm_backward, sync_batch_norm_combine, sync_batch_norm_pack
from tests.examples import examples_for
from tests.examples.activations import rectified

_Dtype = type[np.float32] | type[np.float64]
# Channels, each rank's rows: of one rank; with none on the first, the last, all of them; one row in all; many ranks.
_RANKS: tuple[tuple[int, tuple[int, ...], _Dtype], ...] = (
    (40, (7, 7), np.float32),
    (129, (0, 5, 8), np.float32),
    (300, (6, 1, 0), np.float32),
    (5, (0, 0), np.float32),
    (3, (0, 1), np.float32),
    (31, tuple(range(17)), np.float32),
    (1, (4,), np.float32),
    (8, (900, 3, 80, 80), np.float64),
)


def parts_of(rng: np.random.Generator, channels: int, rows: tuple[int, ...], dtype: _Dtype) -> np.ndarray:
    """A rank's means, variances and rows in each row; 0 where it has no rows, variance 0 where it has one."""
    each = np.array(rows)[:, None]
    means = 3 * rng.standard_normal((len(rows), channels)) * (each > 0)
    variances = rng.uniform(0.5, 1.5, (len(rows), channels)) * (each > 1)
    return np.concatenate([means, variances, each], axis=1).astype(dtype)


@examples_for(sync_batch_norm_pack)
def _pack_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {"mean": rng.standard_normal(c).astype(dtype), "var": rng.uniform(0.5, 1.5, c).astype(dtype), "rows": sum(rows)}
        for c, rows, dtype in _RANKS
    ]


@examples_for(sync_batch_norm_combine)
def _combine_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for number, (channels, rows, dtype) in enumerate(_RANKS):
        mean, var = (np.asarray(rng.uniform(0.5, 1.5, channels), dtype) for _ in range(2))
        running = {"running_mean": np.negative(mean), "running_var": var, "batches": np.array(3 * number)}
        parts = parts_of(rng, channels, rows, dtype)
        made.append({"parts": parts, **running, "momentum": 0.1 if number % 2 else None})
    two = parts_of(rng, 4, (1, 1), np.float32)
    mean, var = np.zeros(4, np.float32), np.ones(4, np.float32)
    made += [
        {"parts": two, "running_mean": mean, "running_var": var, "batches": np.array(2), "momentum": momentum}
        for momentum in (0.0, 0.5)
    ]
    bare = {"running_mean": None, "running_var": None, "batches": None}
    return [*made, {"parts": made[1]["parts"], **bare, "momentum": 0.1}, {**made[0], "batches": None, "momentum": 0.3}]


@examples_for(sync_batch_norm_backward)
def _backward_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of one rank among those of others; none, odd, of several chunks."""
    wanted = ((True, True), (True, False), (False, True))
    made = []
    shapes = ((2, 15, 15, 40), (3, 5, 7, 4), (7, 3), (1, 1, 3, 1), (0, 3, 3, 4), (2120, 31), (130, 33))
    for number, shape in enumerate((*shapes, (2, 3, 5, 8))):
        dtype = np.float32 if number < len(shapes) else np.float64
        c, rows = shape[-1], int(np.prod(shape[:-1]))
        dy, x = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        mean, var, weight = (rng.uniform(0.5, 1.5, c).astype(dtype) for _ in range(3))
        example: dict[str, Any] = {"dy": dy, "x": x + (9 if number % 3 == 2 else 0), "mean": mean, "var": var}
        example["y"] = rectified(rng, shape, x.dtype) if number % 3 != 1 else None
        example |= {"weight": weight if number % 2 else None, "eps": 1e-3, "needs": wanted[number % 3]}
        sums = ((rows + 3) * rng.uniform(0.5, 1.5, (2, c))).astype(dtype)
        made.append({**example, "sums": sums, "count": np.array([2 * rows + 5], dtype)})
    return made
