"""Running totals of loss and accuracy, kept on the device (``kernels/metrics.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.gpu.launcher import KernelSource, c_type
from gpunn.primitive import primitive

SOURCE = KernelSource("metrics.cu", REAL=("float", "double"), LABEL=("int32", "int64"))
_BLOCK = 512  # as in metrics.cu


@primitive(returns=(), mutates=("totals",))
def update_metrics(xp: Any, totals: Any, loss: Any, logits: Any, labels: Any) -> None:
    """totals += (loss * rows, rows whose first largest logit is the label's, rows).

    totals (3,) float64; loss: one element, the batch's mean; logits (rows, columns); labels (rows,) int64 or
    int32. An empty batch changes nothing; nor does any once a kernel has reported bad data.
    """
    if len(labels):
        # Of several NaN CuPy's argmax takes any; of several True the first.
        largest = (logits == logits.max(axis=1, keepdims=True)) | xp.isnan(logits)
        _count(totals, loss, largest.argmax(axis=1) == labels)


@update_metrics.numpy
def _(totals: np.ndarray, loss: np.ndarray, logits: np.ndarray, labels: np.ndarray) -> None:
    if len(labels):
        _count(totals, loss, logits.argmax(axis=1) == labels)


def _count(totals: Any, loss: Any, right: Any) -> None:
    totals[0] += loss.reshape(()).astype(np.float64) * len(right)
    totals[1] += right.sum()
    totals[2] += len(right)


@update_metrics.kernel
def _(device: Device, totals: Any, loss: Any, logits: Any, labels: Any) -> None:
    rows, columns = logits.shape
    if rows == 0:
        return
    args = (totals, loss, logits, labels, device.error_buffer, rows, columns)
    macros = {"REAL": c_type(logits.dtype, "update_metrics"), "LABEL": labels.dtype.name}
    SOURCE.launch(device, "update_metrics", (1, 1, 1), _BLOCK, args, **macros)
