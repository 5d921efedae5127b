"""What a step costs the host: microseconds of Python, CuPy and driver a launch and a step, beside CuPy's own launch.

What is timed is how fast the host can hand work over: processor time of the calling thread, which waits for nothing
within a sample. It matters where it is more than the GPU needs for the work. The fastest of many samples counts.

L is one launch by CuPy in the same run: of an empty kernel of nine arguments, as many as ours have on average, by
``RawModule.get_function``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpunn
from gpunn import nn, optim
from gpunn._device import Device
from gpunn.data import DataLoader, TensorDataset
from gpunn.gpu.launcher import trace_launches
from gpunn.models import build
from gpunn.train import Trainer

_NETWORKS = (("lenet5", (1, 28, 28)), ("resnet20", (3, 32, 32)))
_BATCH = 128
_SAMPLE = 2e-3  # seconds: much less, and the clock matters; much more, and the scheduler does


@dataclass
class Row:
    """One measurement: microseconds, and how many launches of CuPy's that is."""

    what: str
    microseconds: float
    launches: int
    ratio: float


def best(device: Device, call: Callable[[], Any], seconds: float) -> float:
    """Microseconds of a call, the fastest of many samples."""
    call()
    device.synchronize()
    start = time.thread_time()
    call()
    once = time.thread_time() - start
    repeats = max(1, int(_SAMPLE / max(once, 1e-6)))
    least, end = float("inf"), time.thread_time() + seconds
    while time.thread_time() < end or least == float("inf"):
        device.synchronize()
        start = time.thread_time()
        for _ in range(repeats):
            call()
        least = min(least, (time.thread_time() - start) / repeats)
    return 1e6 * least


def cupy_launch(device: Device, seconds: float) -> float:
    """L: microseconds of a launch by CuPy."""
    xp = device.xp
    with device.active():
        pointers, numbers = "float* a, float* b, float* c, float* x, float* y, float* z", "int n, int m, float s"
        module = xp.RawModule(code=f'extern "C" __global__ void empty({pointers}, {numbers}) {{}}')
        empty = module.get_function("empty")
        x, n, s = xp.zeros(4, np.float32), np.int32(4), np.float32(1)
        args = (x, x, x, x, x, x, n, n, s)
        return best(device, lambda: empty((1,), (32,), args), seconds)


def training_step(name: str, shape: tuple[int, ...], device: Device) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """A step of the network, and a batch for it."""
    gpunn.manual_seed(0)
    model = build(name).to(device)
    loss, optimizer = nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return value

    return step, (gpunn.zeros(_BATCH, *shape, device=device), gpunn.zeros(_BATCH, dtype=np.int64, device=device))


def trainer_step(name: str, shape: tuple[int, ...], device: Device, loaded: bool, steps: int) -> float:
    """Microseconds a step of a Trainer's epoch, with batches on the device or from a DataLoader; the fastest epoch."""
    model = build(name)
    trainer = Trainer(model, optim.SGD(model.parameters(), lr=1e-3, momentum=0.9), device=device, log=None)
    images, labels = np.zeros((_BATCH * 4, *shape), np.float32), np.zeros(_BATCH * 4, np.int64)
    if loaded:
        many = TensorDataset(np.tile(images, (steps // 4, 1, 1, 1)), np.tile(labels, steps // 4))
        batches: Any = DataLoader(many, batch_size=_BATCH, device=device)
    else:
        batch = gpunn.tensor(images[:_BATCH], device=device), gpunn.tensor(labels[:_BATCH], device=device)
        batches = [batch] * steps
    # Reading the totals waits for the device, and where no kernel runs there are none.
    trainer._totals.sums = lambda: [1.0, 0.0, 1.0, 1.0]  # type: ignore[method-assign]
    trainer.fit(batches)
    least = float("inf")
    for _ in range(5):
        device.synchronize()
        start = time.thread_time()
        trainer.fit(batches)
        least = min(least, (time.thread_time() - start) / len(batches))
    return 1e6 * least


def measure(device: Device, seconds: float) -> list[Row]:
    """All rows; the first is L."""
    unit = cupy_launch(device, seconds)
    rows = [Row("CuPy: an empty kernel of 9 arguments (L)", unit, 1, 1.0)]

    def add(what: str, microseconds: float, launches: int) -> None:
        rows.append(Row(what, microseconds, launches, microseconds / unit))

    for name, shape in _NETWORKS:
        step, batch = training_step(name, shape, device)
        step(*batch)
        with trace_launches() as launches:
            step(*batch)
        count = len(launches)
        add(f"{name}: step, eager", best(device, lambda s=step, b=batch: s(*b), seconds), count)  # type: ignore[misc]
        captured = gpunn.capture(step)
        for _ in range(2):
            captured(*batch)
        alone = best(device, lambda s=captured, b=batch: s(*b), seconds)  # type: ignore[misc]
        add(f"{name}: step, captured", alone, 1)
        del step, captured, batch
        gc.collect()
        for loaded, where in ((False, "batches on the device"), (True, "DataLoader")):
            beyond = trainer_step(name, shape, device, loaded, 48) - alone
            add(f"{name}: Trainer beyond that, {where}", beyond, 1)
    return rows


def line(row: Row) -> str:
    """A row as text."""
    each = f"  {row.microseconds / row.launches:6.1f} us a launch ({row.launches})" if row.launches > 1 else ""
    return f"{row.what:45} {row.microseconds:9.1f} us  {row.ratio:7.1f} L{each}"
