"""Running totals of loss and accuracy, kept on the device (``kernels/metrics.cu``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.errors import NotFiniteError
from gpunn.gpu.launcher import KernelSource, c_type
from gpunn.primitive import primitive

SOURCE = KernelSource("metrics.cu", REAL=("float", "double"), LABEL=("int32", "int64"))
_BLOCK = 512  # as in metrics.cu


_PLACE = "the training loss"  # what a loss that is not finite is reported as


@primitive(returns=(), mutates=("totals",))
def update_metrics(xp: Any, totals: Any, loss: Any, logits: Any, labels: Any, finite: bool = False) -> None:
    """totals += (loss * rows, rows whose first largest logit is the label's, rows, 1).

    totals (4,) float64; loss: one element, the batch's mean; logits (rows, columns); labels (rows,) int64 or
    int32. An empty batch changes nothing; nor does any once a kernel has reported bad data.

    With ``finite`` the loss has to be finite: otherwise NotFiniteError is raised, on the spot where no kernels run, and
    elsewhere by ``Device.check``. Until then no optimiser on the device changes anything.
    """
    if len(labels):
        # Of several NaN CuPy's argmax takes any; of several True the first.
        largest = (logits == logits.max(axis=1, keepdims=True)) | xp.isnan(logits)
        _count(totals, loss, largest.argmax(axis=1) == labels, finite)


@update_metrics.numpy
def _(totals: np.ndarray, loss: np.ndarray, logits: np.ndarray, labels: np.ndarray, finite: bool = False) -> None:
    if len(labels):
        _count(totals, loss, logits.argmax(axis=1) == labels, finite)


def _count(totals: Any, loss: Any, right: Any, finite: bool) -> None:
    if finite and not math.isfinite(value := float(loss.reshape(()))):
        raise NotFiniteError(_PLACE, value, int(totals[3]))
    totals[0] += loss.reshape(()).astype(np.float64) * len(right)
    totals[1] += right.sum()
    totals[2] += len(right)
    totals[3] += 1


@update_metrics.kernel
def _(device: Device, totals: Any, loss: Any, logits: Any, labels: Any, finite: bool = False) -> None:
    rows, columns = logits.shape
    if rows == 0:
        return
    place = device.place_id(_PLACE) if finite else -1
    args = (totals, loss, logits, labels, device.error_buffer, rows, columns, place)
    macros = {"REAL": c_type(logits.dtype, "update_metrics"), "LABEL": labels.dtype.name}
    SOURCE.launch(device, "update_metrics", (1, 1, 1), _BLOCK, args, **macros)
