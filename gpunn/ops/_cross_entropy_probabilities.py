"""Cross-entropy of scores against class probabilities as targets (plain body)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops._blocks import quiet
from gpunn.ops._elementwise_loss import Two
from gpunn.primitive import primitive


def _examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    def case(n: int, c: int, dtype: Any, weighted: bool, smoothing: float, divisor: float | None) -> dict[str, Any]:
        target = rng.random((n, c))
        return {
            "logits": (3 * rng.standard_normal((n, c))).astype(dtype),
            "target": (target / target.sum(axis=1, keepdims=True)).astype(dtype),
            "weight": rng.random(c).astype(dtype) if weighted else None,
            "smoothing": smoothing,
            "divisor": divisor,
            "needs": ((True, False), (False, True), (True, True))[n % 3],
        }

    return [
        case(5, 10, np.float32, False, 0.0, None),
        case(4, 10, np.float32, True, 0.1, 4.0),
        case(3, 1, np.float32, False, 0.3, 1.0),
        case(0, 7, np.float32, False, 0.0, 0.0),
        case(7, 3, np.float64, True, 0.2, 7.0),
        case(6, 5, np.float64, True, 0.0, None),
    ]


@primitive(examples=_examples, returns=("loss", "factor", "dlogits", "dtarget"))
def cross_entropy_of_probabilities(
    xp: Any, logits: Any, target: Any, weight: Any, smoothing: float, divisor: float | None, needs: Two
) -> tuple[Any, Any, Any, Any]:
    """losses[n] = -sum_c a[n, c] log softmax(logits)[n, c] with a = weight ((1 - smoothing) target + smoothing / C).

    The losses themselves, or with a divisor their sum over it and d loss / d losses[n]. dlogits = softmax sum(a) - a
    and dtarget = -(1 - smoothing) weight log softmax are those of the single losses; None where not needed.
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
        loss, factor = -(a * log_p).sum(axis=1), None
        if divisor is not None:
            loss = xp.asarray(loss.sum(dtype=np.float64) / divisor, logits.dtype)
            factor = xp.asarray(1 / divisor if divisor else 1.0, logits.dtype)
        dlogits = e * (a.sum(axis=1, keepdims=True) / sums) - a if needs[0] else None
        dtarget = None
        if needs[1]:
            dtarget = log_p * (smoothing - 1 if weight is None else weight * (smoothing - 1))
    return loss, factor, dlogits, dtarget
