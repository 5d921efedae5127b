"""The lecture LeNet's whole training step: eager and captured, beside PyTorch's eager step and CUDA graph."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks import lenet
from benchmarks._report.book import Section
from gpunn.bench.graphs import torch_or_none

_SIZES = (128, 32, 512)
_ROUNDS, _STEPS, _CHECKED = 15, 40, 5
# A few updates in float32, sums in other orders.
_LOSS_TOLERANCE = 1e-3


def run(section: Section, options: argparse.Namespace) -> None:
    """Batches of 128 and, if there is time, 32 and 512."""
    from gpunn._device import device

    target = device(options.device)
    if target.ordinal is None or target.loader is None:
        section.cut(f"needs a GPU: on '{target}' see gpunn bench --cases steps")
        return
    torch = torch_or_none()
    section.value("PyTorch", "not there, or without a GPU: not compared" if torch is None else torch.__version__)
    for size in _SIZES[:1] if options.quick else _SIZES:
        if section.expired:
            section.cut(f"no time for batches of {size}")
        elif section.start(f"batches of {size}"):
            try:
                _compare(section, size, target, torch)
            except Exception as error:
                section.fail(f"batches of {size}", error)


def _compare(section: Section, size: int, target: Any, torch: Any) -> None:
    import gpunn

    weights, data = lenet.initial_weights(), lenet.batches(size, 8)
    sides: dict[str, tuple[Callable[..., Any], list[Any], Callable[[], Any]]] = {}
    for name in ("gpunn eager", "gpunn captured"):
        _, step = lenet.gpunn_step(weights, target)
        runner = gpunn.capture(step) if name == "gpunn captured" else step
        sides[name] = runner, [lenet.gpunn_batch(b, target) for b in data], target.synchronize
    if torch is not None:
        for name, last in (("PyTorch eager", False), ("PyTorch channels-last", True)):
            _, step = lenet.torch_step(weights, "cuda", last, fused=True)
            sides[name] = step, [lenet.torch_batch(b, "cuda", last) for b in data], torch.cuda.synchronize
        for name, last in (("PyTorch CUDA graph", False), ("PyTorch CUDA graph channels-last", True)):
            step, ready = _torch_graph(torch, weights, data, last)
            sides[name] = step, ready, torch.cuda.synchronize
    losses = {
        name: [float(step(*ready[i]).item()) for i in range(_CHECKED)] for name, (step, ready, _) in sides.items()
    }
    for name, values in losses.items():
        worst = max(abs(a - b) for a, b in zip(values, losses["gpunn eager"], strict=True))
        # The graph's warm-up steps are real ones, so its losses belong to later weights.
        if "CUDA graph" not in name and not worst <= _LOSS_TOLERANCE:
            section.fail(f"batch {size}: losses of {name} differ by {worst:.2e} from gpunn eager: {values}")
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(_ROUNDS):
        for name, (step, ready, wait) in sides.items():
            times[name].append(_block(step, ready, wait))
        if section.remaining < -5:
            break
    captured = statistics.median(times["gpunn captured"])
    for name, samples in times.items():
        median = statistics.median(samples)
        section.row(
            "steps",
            batch=size,
            side=name,
            **{"µs": median, "least µs": min(samples), "images/s": 1e6 * size / median},
            **{"GFLOP/s": lenet.step_flop(size) / median / 1e3, "÷ gpunn captured": median / captured},
        )


def _block(step: Callable[..., Any], ready: list[Any], wait: Callable[[], Any]) -> float:
    """Microseconds a step, the copy of the batch included, over some steps in a row."""
    step(*ready[0])
    wait()
    start = time.perf_counter()
    for number in range(_STEPS):
        step(*ready[number % len(ready)])
    wait()
    return 1e6 * (time.perf_counter() - start) / _STEPS


def _torch_graph(
    torch: Any, weights: Any, data: list[lenet.Batch], channels_last: bool
) -> tuple[Callable[..., Any], list[Any]]:
    """PyTorch's whole step as one graph, with the batch copied in, as gpunn's does."""
    _, step = lenet.torch_step(weights, "cuda", channels_last, fused=True)
    ready = [lenet.torch_batch(b, "cuda", channels_last) for b in data]
    images, labels = (t.clone() for t in ready[0])
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(images, labels)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(images, labels)

    def replay(x: Any, t: Any) -> Any:
        images.copy_(x)
        labels.copy_(t)
        graph.replay()
        return loss

    return replay, ready
