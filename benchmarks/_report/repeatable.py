"""Whole steps are right and repeatable: losses are the CPU's, and eager and captured runs end with the same bytes."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._report.book import Section
from benchmarks._report.networks import batches, gpunn_batch

_LR = 0.05
# The losses that are compared with the CPU's. In float32 they were 2.4e-7 apart by rounding alone; each later step
# makes that larger, and a wrong kernel is off by far more.
_FIRST, _TOLERANCE = 8, 1e-4


def run(section: Section, options: argparse.Namespace) -> None:
    """Train small nets three times each, and once on the CPU; compare parameters, buffers, momenta and losses."""
    from gpunn._device import device

    target = device(options.device)
    small = options.quick or target.name == "emulator"
    for name, build in (("LeNet", _lenet), ("batch norm and dropout", _normalised)):
        if section.expired:
            section.cut(f"{name}: {section.why}")
        else:
            section.attempt(name, functools.partial(_compare, section, name, build, target, small), target.synchronize)


def _lenet(small: bool) -> Any:
    from gpunn.models import LeNet5

    return LeNet5(channels=(2, 4), hidden=8, image=(12, 12)) if small else LeNet5()


def _normalised(small: bool) -> Any:
    """Everything that has a state of its own: running statistics, counters, a random stream."""
    from gpunn import nn

    channels, pixels = (4, 144) if small else (32, 784)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(channels * pixels, 10),
    )


def _compare(section: Section, name: str, build: Callable[[bool], Any], target: Any, small: bool) -> None:
    steps = 9 if small else 40
    first, _ = _train(build, target, small, steps, captured=False)
    _compare_losses(section, name, first["losses"], build, target, small, steps)
    again, _ = _train(build, target, small, steps, captured=False)
    captured, graphs = _train(build, target, small, steps, captured=True)
    if target.loader is not None and graphs != 2:
        section.fail(f"{name}: {graphs} graphs for two batch sizes in {steps} steps")
    for what, other in (("a second eager run", again), ("the captured run", captured)):
        differing = {
            key: _difference(first[key], other[key]) for key in first if _bytes(first[key]) != _bytes(other[key])
        }
        section.row(
            "runs compared with the first eager run",
            model=name,
            run=what,
            steps=steps,
            graphs=graphs if other is captured else None,
            arrays=len(first),
            bytes=sum(array.nbytes for array in first.values()),
            differing=len(differing),
        )
        if differing:
            listed = "; ".join(f"{key}: {text}" for key, text in differing.items())
            section.fail(f"{name}: {what} differs from the first after {steps} steps in {listed}")


def _compare_losses(
    section: Section, name: str, losses: np.ndarray, build: Callable[[bool], Any], target: Any, small: bool, steps: int
) -> None:
    """The first losses against those of the same steps on the CPU."""
    from gpunn._device import device

    home = device("cpu")
    if target is home:
        return
    expected = _train(build, home, small, steps, captured=False)[0]["losses"]
    error = float(np.abs(losses[:_FIRST] / expected[:_FIRST] - 1).max())
    section.row("losses compared with the CPU's", model=name, steps=_FIRST, error=error, first=float(losses[0]))
    if not error <= _TOLERANCE:  # NaN too
        section.fail(f"{name}: the first {_FIRST} losses differ from the CPU's by {error:.2e} (relative)")


def _train(
    build: Callable[[bool], Any], target: Any, small: bool, steps: int, captured: bool
) -> tuple[dict[str, np.ndarray], int]:
    """Everything there is after some steps, by name, and the number of graphs captured."""
    import gpunn
    from gpunn.nn.loss import CrossEntropyLoss
    from gpunn.optim import SGD

    gpunn.manual_seed(3)
    net = build(small).to(target)
    net.train()
    criterion = CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=_LR, momentum=0.9, weight_decay=1e-4)

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(net(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    recorded = gpunn.capture(step) if captured else None
    runner = step if recorded is None else recorded
    size, image = (3, 12) if small else (64, 28)
    whole = batches(size, steps, (1, image, image))
    losses = []
    for number, (images, labels) in enumerate(whole):
        if number % 4 == 3:  # the last batch of an epoch is smaller, and has a graph of its own
            images, labels = images[: size // 2 + 1], labels[: size // 2 + 1]
        if number == steps // 2:
            optimizer.param_groups[0]["lr"] = _LR / 3
        loss = runner(*gpunn_batch((images, labels), target))
        losses.append(loss.detach().numpy().copy())
    state = {key: np.array(value.numpy()) for key, value in net.state_dict().items()}
    for number, buffers in optimizer.state_dict()["state"].items():
        state |= {f"{key} {number}": np.array(value.numpy()) for key, value in buffers.items()}
    return {**state, "losses": np.array(losses)}, 0 if recorded is None else recorded.graphs


def _bytes(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.tobytes()


def _difference(a: np.ndarray, b: np.ndarray) -> str:
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"{a.dtype}{list(a.shape)} against {b.dtype}{list(b.shape)}"
    largest = np.abs(a.astype(float) - b.astype(float)).max()
    return f"{(a != b).sum()} of {a.size} elements, by up to {largest:.2e}"
