"""Running totals of loss and accuracy, kept on the device (``kernels/metrics.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.launcher import KernelSource, c_type
from gpunn.primitive import primitive

SOURCE = KernelSource("metrics.cu", REAL=("float", "double"), LABEL=("int32", "int64"))
_BLOCK = 512  # as in metrics.cu


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(rows: int, columns: int, dtype: Any = np.float32, label: Any = np.int64) -> dict[str, Any]:
        logits = rng.integers(-3, 4, (rows, columns)).astype(dtype)  # few values: ties are common
        if rows > 3:
            logits[1, columns // 2 :] = np.nan
        return {
            "totals": np.array([1.5, 2.0, 3.0]),
            "loss": np.asarray(rng.random(), dtype),
            "logits": logits,
            "labels": (logits.argmax(axis=1) * rng.integers(0, 2, rows)).astype(label),
        }

    made = [case(1, 1), case(7, 10), case(300, 3), case(6, 70), case(9, 10, np.float64), case(5, 4, label=np.int32)]
    everywhere = rng.permuted(np.tile(np.arange(70, dtype=np.float32), (90, 1)), axis=1)  # the largest in any column
    made.append({**case(90, 70), "logits": everywhere, "labels": everywhere.argmax(axis=1)})
    # The mean loss of no rows is NaN, and must not get into the totals.
    return [*made, {**case(0, 4), "loss": np.asarray(np.nan, np.float32)}]


@primitive(examples=_examples, returns=(), mutates=("totals",))
def update_metrics(xp: Any, totals: Any, loss: Any, logits: Any, labels: Any) -> None:
    """totals += (loss * rows, rows whose first largest logit is the label's, rows).

    totals (3,) float64; loss: one element, the batch's mean; logits (rows, columns); labels (rows,) int64 or
    int32. An empty batch changes nothing; nor does any once a kernel has reported bad data.
    """
    rows = len(labels)
    if rows == 0:
        return
    totals[0] += loss.reshape(()).astype(np.float64) * rows
    totals[1] += (logits.argmax(axis=1) == labels).sum()
    totals[2] += rows


@update_metrics.kernel
def _(device: Device, totals: Any, loss: Any, logits: Any, labels: Any) -> None:
    rows, columns = logits.shape
    if rows == 0:
        return
    args = (totals, loss, logits, labels, device.error_buffer, rows, columns)
    macros = {"REAL": c_type(logits.dtype, "update_metrics"), "LABEL": labels.dtype.name}
    SOURCE.launch(device, "update_metrics", (1, 1, 1), _BLOCK, args, **macros)
