"""Two models trained in two threads at once give what they give one after the other, bit for bit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.optim import SGD, Adam
from gpunn.train import Trainer
from tests.devices import EVERYWHERE


def images(n: int) -> TensorDataset:
    draw = np.random.Generator(np.random.Philox(5))
    return TensorDataset(draw.normal(0, 1, (n, 1, 8, 8)).astype(np.float32), np.arange(n) % 3)


def convolutional(seed: int) -> nn.Sequential:
    """With all that keeps something between steps: running statistics, masks, scratch memory."""
    gpunn.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(24, 3),
    )


def perceptron(seed: int) -> nn.Sequential:
    gpunn.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.PReLU(), nn.Dropout(0.5), nn.Linear(16, 8), nn.LayerNorm(8), nn.Linear(8, 3)
    )


class Work:
    """One model, its data and its training."""

    def __init__(self, model: nn.Module, optimizer: Any, where: str, *, capture: bool, workers: int = 0) -> None:
        self.model = model
        self.trainer = Trainer(model, optimizer, device=where, log=None, capture=capture)
        self.batches = DataLoader(
            images(40), 8, shuffle=True, device=where, num_workers=workers, generator=gpunn.Generator(9)
        )

    def run(self) -> None:
        self.trainer.fit(self.batches, self.batches, epochs=3)

    def result(self) -> list[Any]:
        weights = [value.numpy().copy() for _, value in sorted(self.model.state_dict().items())]
        return [weights, [(record.train_loss, record.test_loss) for record in self.trainer.history]]


def pair(where: str, other: str, capture: bool) -> list[Work]:
    one, two = convolutional(1), convolutional(2)
    if other == "perceptron":
        two = perceptron(2)
    return [
        Work(one, SGD(one.parameters(), lr=0.1, momentum=0.9), where, capture=capture),
        Work(two, Adam(two.parameters(), lr=0.01), where, capture=capture, workers=2),
    ]


def at_once(works: list[Callable[[], None]]) -> None:
    """Call them in threads that begin together; raise what any of them raised."""
    begin, failures = threading.Barrier(len(works)), []

    def call(work: Callable[[], None]) -> None:
        begin.wait()
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("other", ["same", "perceptron"])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_two_threads_train_as_one_after_the_other(where: str, other: str, capture: bool) -> None:
    alone = pair(where, other, capture)
    for work in alone:
        work.run()
    together = pair(where, other, capture)
    at_once([work.run for work in together])
    for a, b in zip(alone, together, strict=True):
        (weights, losses), (weights_b, losses_b) = a.result(), b.result()
        assert losses == losses_b
        for u, v in zip(weights, weights_b, strict=True):
            np.testing.assert_array_equal(u, v)


@pytest.mark.emulator
def test_cpu_and_emulator_at_once() -> None:
    """Both use the same scratch memory, the same generators' code and, for what has no kernel, the same bodies."""

    def both() -> list[Work]:
        return [pair("cpu", "same", True)[0], pair("emulator", "same", True)[0]]

    alone, together = both(), both()
    for work in alone:
        work.run()
    at_once([work.run for work in together])
    for a, b in zip(alone, together, strict=True):
        for u, v in zip(a.result()[0], b.result()[0], strict=True):
            np.testing.assert_array_equal(u, v)
