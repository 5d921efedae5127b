"""Running totals of loss and accuracy, kept on the device (``kernels/metrics.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.device import Device
from gpunn.launcher import KernelSource, c_type
from gpunn.primitive import primitive

SOURCE = KernelSource("metrics.cu", REAL=("float", "double"))
_BLOCK = 256


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(rows: int, columns: int, dtype: Any = np.float32) -> dict[str, Any]:
        logits = rng.integers(-3, 4, (rows, columns)).astype(dtype)  # few values: ties are common
        if rows > 3:
            logits[1, columns // 2 :] = np.nan
        return {
            "totals": np.array([1.5, 2.0, 3.0]),
            "loss": np.asarray(rng.random(), dtype),
            "logits": logits,
            "labels": logits.argmax(axis=1) * rng.integers(0, 2, rows),
        }

    return [case(1, 1), case(7, 10), case(300, 3), case(256, 5), case(0, 4), case(9, 10, np.float64)]


@primitive(examples=_examples, returns=(), mutates=("totals",))
def update_metrics(xp: Any, totals: Any, loss: Any, logits: Any, labels: Any) -> None:
    """totals += (loss * rows, rows whose first largest logit is the label's, rows).

    totals (3,) float64; loss: one element, the batch's mean; logits (rows, columns); labels (rows,) int64.
    """
    rows = len(labels)
    totals[0] += loss.reshape(()).astype(np.float64) * rows
    totals[1] += (logits.argmax(axis=1) == labels).sum() if rows else 0
    totals[2] += rows


@update_metrics.kernel
def _(device: Device, totals: Any, loss: Any, logits: Any, labels: Any) -> None:
    rows, columns = logits.shape
    args = (totals, loss, logits, labels, rows, columns)
    SOURCE.launch(device, "update_metrics", (1, 1, 1), _BLOCK, args, REAL=c_type(logits.dtype, "update_metrics"))
