"""Cross-entropy of scores against class probabilities as targets (``kernels/cross_entropy_probabilities.cu``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.cpu.elementwise import quiet
from gpunn.gpu.along_axis import row_launch
from gpunn.gpu.elementwise_loss import Two
from gpunn.gpu.launcher import KernelSource, c_type, vector_width
from gpunn.gpu.tickets import tickets
from gpunn.primitive import primitive

SOURCE = KernelSource("cross_entropy_probabilities.cu", REAL=("float", "double"), VEC=(1, 4))
_BLOCK = 256  # threads at most, as in the .cu


@primitive(returns=("loss", "dlogits", "dtarget"))
def cross_entropy_of_probabilities(
    xp: Any, logits: Any, target: Any, weight: Any, smoothing: float, divisor: float | None, needs: Two
) -> tuple[Any, Any, Any]:
    """losses[n] = -sum_c a[n, c] log softmax(logits)[n, c] with a = weight ((1 - smoothing) target + smoothing / C).

    The losses themselves, or with a divisor their sum / divisor; and dlogits = softmax sum(a) - a and
    dtarget = -(1 - smoothing) weight log softmax, also / divisor. None where not needed.
    """
    c = logits.shape[1]
    with quiet():  # infinite scores give NaN, as everywhere
        shifted = logits - logits.max(axis=1, keepdims=True) if logits.size else logits
        e = xp.exp(shifted)
        sums = e.sum(axis=1, keepdims=True)
        log_p = shifted - xp.log(sums)
        a = target * (1 - smoothing) + smoothing / c if smoothing else target
        if weight is not None:
            a = a * weight
        loss, each = -(a * log_p).sum(axis=1), 1.0
        if divisor is not None:
            loss = xp.asarray(loss.sum(dtype=np.float64) / divisor, logits.dtype)
            each = 1 / divisor if divisor else 1.0
        dlogits = dtarget = None
        if needs[0]:
            dlogits = (e * (a.sum(axis=1, keepdims=True) / sums) - a) * each
        if needs[1]:
            dtarget = log_p * ((1 if weight is None else weight) * ((smoothing - 1) * each))
    return loss, dlogits, dtarget


@cross_entropy_of_probabilities.kernel
def _(
    device: Device, logits: Any, target: Any, weight: Any, smoothing: float, divisor: float | None, needs: Two
) -> tuple[Any, Any, Any]:
    (n, c), dtype = logits.shape, logits.dtype
    losses = device.empty((n,), dtype)
    dlogits, dtarget = (device.empty(logits.shape, dtype) if need else None for need in needs)
    loss, drawn = (None, None) if divisor is None else (device.empty((), dtype), tickets(device))
    arrays = (loss, losses, dlogits, dtarget, drawn, logits, target, weight)
    vec = vector_width(c, *arrays)
    blocks, block, held = row_launch(n, c, vec, _BLOCK)
    if divisor is not None:
        blocks = max(1, blocks)  # with no rows: the sum of none
    args = (*arrays, smoothing, n, c, int(held), divisor or 0.0)
    macros: dict[str, Any] = {"REAL": c_type(dtype, "cross_entropy"), "VEC": vec}
    SOURCE.launch(device, "cross_entropy_of_probabilities", (blocks, 1, 1), block, args, **macros)
    return losses if loss is None else loss, dlogits, dtarget
