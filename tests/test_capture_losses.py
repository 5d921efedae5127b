"""A captured training step repeats what it did with every loss, and with softmax along every axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.nn import functional as F

Loss = Callable[[gpunn.Tensor, dict[str, gpunn.Tensor]], gpunn.Tensor]

# Of scores (N, 4), with targets: `like`, as many numbers from 0 to 1; `labels`; and constants: `weights` (4).
LOSSES: dict[str, Loss] = {
    "mse": lambda z, given: F.mse_loss(z, given["like"]),
    "half_mse": lambda z, given: F.mse_loss(z, given["like"], reduction="half_mean"),
    "l1": lambda z, given: F.l1_loss(z, given["like"], reduction="sum"),
    "smooth_l1": lambda z, given: F.smooth_l1_loss(z, given["like"], beta=0.5),
    "huber": lambda z, given: F.huber_loss(z, given["like"], delta=0.3),
    "bce": lambda z, given: F.binary_cross_entropy(gpunn.sigmoid(z), given["like"], given["each"]),
    "bce_with_logits": lambda z, given: F.binary_cross_entropy_with_logits(
        z, given["like"], given["each"], pos_weight=given["each"]
    ),
    "bce_with_logits_of_classes": lambda z, given: F.binary_cross_entropy_with_logits(
        z, given["like"], pos_weight=given["weights"], reduction="none"
    ).mean(),
    "nll": lambda z, given: F.nll_loss(F.log_softmax(z, 1), given["labels"], given["weights"]),
    "nll_of_classes_first": lambda z, given: F.nll_loss(
        F.log_softmax(z.reshape(2, -1, 4), 2).reshape(-1, 4), given["labels"], reduction="sum"
    ),
    "probability": lambda z, given: F.probability_cross_entropy(F.softmax(z, 1), given["labels"]),
    "softmax_of_columns": lambda z, given: F.mse_loss(F.softmax(z, 0), given["like"]),
    "log_softmax_of_columns": lambda z, given: F.mse_loss(F.log_softmax(z, 0), given["like"]),
    "cross_entropy": lambda z, given: F.cross_entropy(z, given["labels"], given["weights"], label_smoothing=0.1),
    "cross_entropy_of_probabilities": lambda z, given: F.cross_entropy(
        z, F.softmax(given["like"], 1), given["weights"], label_smoothing=0.1
    ),
}


def batches(kernels: str, count: int, size: int = 6) -> list[tuple[gpunn.Tensor, dict[str, gpunn.Tensor]]]:
    rng = np.random.Generator(np.random.Philox(4))

    def there(values: Any) -> gpunn.Tensor:
        return gpunn.tensor(values.astype(np.float32) if values.dtype.kind == "f" else values, device=kernels)

    made = []
    for _ in range(count):
        labels = rng.integers(0, 4, size)
        labels[1] = -100
        given = {"like": rng.random((size, 4)), "each": rng.random((size, 4)), "weights": rng.random(4) + 0.1}
        named = {name: there(values) for name, values in {**given, "labels": labels}.items()}
        made.append((there(rng.standard_normal((size, 5))), named))
    return made


@pytest.mark.parametrize("name", LOSSES)
def test_captured_equals_eager_to_the_bit(kernels: str, name: str) -> None:
    found = []
    for captured in (False, True):
        gpunn.manual_seed(1)
        net = nn.Linear(5, 4).to(kernels)
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

        def step(x: gpunn.Tensor, *given: gpunn.Tensor, net: Any = net, optimizer: Any = optimizer) -> gpunn.Tensor:
            optimizer.zero_grad()
            loss = LOSSES[name](net(x), dict(zip(("like", "each", "weights", "labels"), given, strict=True)))
            loss.backward()
            optimizer.step()
            return loss

        call: Any = gpunn.capture(step) if captured else step
        losses = [call(x, *given.values()).item() for x, given in batches(kernels, 5)]
        if captured:
            assert call.graphs == 1
        found.append((losses, [p.detach().numpy().tobytes() for p in net.parameters()]))
    assert len(set(found[0][0])) == 5
    assert found[0] == found[1]
