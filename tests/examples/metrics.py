"""Example inputs of the primitives of ``gpunn/ops/metrics.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.metrics import update_metrics
from tests.examples import examples_for


@examples_for(update_metrics)
def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(rows: int, columns: int, dtype: Any = np.float32, label: Any = np.int64) -> dict[str, Any]:
        logits = rng.integers(-3, 4, (rows, columns)).astype(dtype)  # few values: ties are common
        if rows > 3:
            logits[1, columns // 2 :] = np.nan
        return {
            "totals": np.array([1.5, 2.0, 3.0, 4.0]),
            "loss": np.asarray(rng.random(), dtype),
            "logits": logits,
            "labels": (logits.argmax(axis=1) * rng.integers(0, 2, rows)).astype(label),
        }

    made = [case(1, 1), case(7, 10), case(300, 3), case(6, 70), case(9, 10, np.float64), case(5, 4, label=np.int32)]
    everywhere = rng.permuted(np.tile(np.arange(70, dtype=np.float32), (90, 1)), axis=1)  # the largest in any column
    made.append({**case(90, 70), "logits": everywhere, "labels": everywhere.argmax(axis=1)})
    made.append({**case(5, 4), "finite": True})
    # The mean loss of no rows is NaN, and must not get into the totals.
    return [*made, {**case(0, 4), "loss": np.asarray(np.nan, np.float32)}]
