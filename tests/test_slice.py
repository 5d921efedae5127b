"""The slice end to end: LeNet in training, on both devices, to the bit, and without leaving anything behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.cpu import threads
from gpunn.models import LeNet5
from gpunn.primitive import count_bodies


def small_lenet() -> LeNet5:
    """The lecture's shape with fewer channels: a step takes a fifth of a second on the emulator."""
    return LeNet5(channels=(6, 8), hidden=20)


class Training:
    """SGD steps on fixed random batches."""

    def __init__(self, where: str, model: nn.Module) -> None:
        self.net = model.to(where)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
        self.where = where

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        self.optimizer.zero_grad()
        scores = self.net(gpunn.tensor(x, device=self.where))
        loss = nn.functional.cross_entropy(scores, gpunn.tensor(labels, device=self.where))
        loss.backward()
        self.optimizer.step()
        return loss.item()


def batches(count: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.Generator(np.random.Philox(11))
    return [
        (rng.standard_normal((size, 1, 28, 28)).astype(np.float32), rng.integers(0, 10, size)) for _ in range(count)
    ]


def weights(net: nn.Module) -> dict[str, bytes]:
    return {name: t.detach().numpy().tobytes() for name, t in net.state_dict().items()}


def test_kernels_follow_cpu_for_20_steps(kernels: str) -> None:
    """Same seed: identical weights to begin with, losses within 1e-4."""
    runs = []
    for where in ("cpu", kernels):
        gpunn.manual_seed(3)
        runs.append(Training(where, small_lenet()))
    cpu, there = runs
    assert weights(cpu.net) == weights(there.net)
    for number, (x, labels) in enumerate(batches(20, 4)):
        a, b = cpu.step(x, labels), there.step(x, labels)
        # Sums in another order differ by 1e-6 or so, and 20 steps of training spread that a little.
        assert abs(a - b) < 1e-4, f"step {number}: cpu {a}, {kernels} {b}"


def test_loaders_give_the_same_batches_on_both_devices(kernels: str) -> None:
    from gpunn.data import DataLoader, TensorDataset

    data = TensorDataset(np.arange(20, dtype=np.float32)[:, None], np.arange(20))
    seen = []
    for where in ("cpu", kernels):
        gpunn.manual_seed(3)
        loader = DataLoader(data, batch_size=6, shuffle=True, device=where)
        seen.append([labels.tolist() for _ in range(2) for _, labels in loader])
    assert seen[0] == seen[1]


def test_every_step_of_lenet_runs_in_kernels(kernels: str) -> None:
    """No convolution, pooling, linear, loss, norm, dropout or update slips onto a NumPy body."""
    with_everything = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(4 * 13 * 13, 10),
    )  # fmt: skip
    for net in (LeNet5(), with_everything):
        training = Training(kernels, net)
        with count_bodies() as counts:
            training.step(*batches(1, 2)[0])
        assert {body for _, body in counts} == {"kernel"}, counts
        assert counts["conv2d_forward", "kernel"] == counts["conv2d_backward", "kernel"] > 0
        assert counts["sgd_step", "kernel"] == 1


def test_same_seed_same_bits_on_cpu() -> None:
    runs = []
    for _ in range(2):
        gpunn.manual_seed(5)
        training = Training("cpu", small_lenet())
        for batch in batches(4, 16):
            training.step(*batch)
        runs.append(weights(training.net))
    assert runs[0] == runs[1]


def test_same_bits_with_one_and_two_threads() -> None:
    before = threads.get_num_threads()
    runs = []
    try:
        for n in (1, 2):
            threads.set_num_threads(n)
            gpunn.manual_seed(5)
            training = Training("cpu", LeNet5())
            for batch in batches(2, 40):
                training.step(*batch)
            runs.append(weights(training.net))
    finally:
        threads.set_num_threads(before)
    assert runs[0] == runs[1]


def array_bytes() -> int:
    """Memory of all NumPy arrays. (Python's own counts rise for a while: it keeps freed tuples for reuse.)"""
    only_arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([only_arrays]).traces)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Which of several threads first needs working memory of its own, and when, is chance."""
    before = threads.get_num_threads()
    threads.set_num_threads(1)
    yield
    threads.set_num_threads(before)


def test_memory_returns_to_its_level_without_the_garbage_collector(one_thread: None) -> None:
    tracemalloc.start()
    try:
        training = Training("cpu", small_lenet())
        given = batches(1, 32)[0]
        gc.collect()
        gc.disable()
        levels = []
        for _ in range(6):
            training.step(*given)
            levels.append(array_bytes())
        unreachable = gc.collect()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert unreachable == 0, "a step left reference cycles behind"
    # The second step has the first one's gradients to free, and makes nothing that stays.
    assert levels[0] > 100_000, "the arrays are counted"
    assert len(set(levels[1:])) == 1, levels


def test_lenet_learns_digits() -> None:
    """The README's first command, shorter: real handwriting, well above 90 % after three epochs."""
    pytest.importorskip("sklearn", reason="Digits comes with scikit-learn: pip install 'gpunn[demo]'")
    from gpunn.data import DataLoader, Digits

    gpunn.manual_seed(0)
    net = LeNet5()
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    for _ in range(3):
        for x, labels in DataLoader(Digits(train=True), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), labels).backward()
            optimizer.step()
    ((x, labels),) = DataLoader(Digits(train=False), batch_size=1000)
    with gpunn.no_grad():
        accuracy = (net(x).argmax(1).numpy() == labels.numpy()).mean()
    assert accuracy > 0.93
