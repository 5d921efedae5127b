"""Stand-ins for what the device report's sections need: a GPU that is the emulator, PyTorch's CUDA that is the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks._report import kernels, launches, networks, steps, sweep, work
from benchmarks._report.book import Section
from gpunn import _device
from gpunn._device import Device, device
from gpunn.bench import graphs
from gpunn.errors import DeviceError


@pytest.fixture
def emulator() -> Device:
    try:
        return device("emulator")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def gpu(emulator: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that looks like a GPU and runs its kernels on the emulator; timing is cut to a minimum."""
    from tests.benchmarks.test_device_report import _cupy

    target = Device("cuda:0", _cupy(), emulator.loader, 0)
    monkeypatch.setattr(_device, "device", lambda name: target if name == "cuda" else device(name))
    monkeypatch.setattr(graphs, "_EAGER_CALLS", 2)
    for module, name, value in (
        (kernels, "_ROUNDS", 3),
        (steps, "_ROUNDS", 1),
        (steps, "_MOST_STEPS", 1),
        (steps, "_CHECKED", 2),
        (launches, "_SAMPLES", 1),
        (launches, "_BYTES", 1),
        (sweep, "_SAMPLES", 1),
        (work, "_COPY", 1000),
        (work, "_SIDE", 8),
    ):
        monkeypatch.setattr(module, name, value)
    return target


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch with a CUDA that is the CPU."""
    from tests.benchmarks.test_device_report import _torch

    module = _torch()
    for user in (kernels, steps, sweep):
        monkeypatch.setattr(user, "torch_or_none", lambda: module)
    make_step, make_batch = networks.torch_step, networks.torch_batch
    monkeypatch.setattr(
        steps, "torch_step", lambda torch, step, home, last, how=None: make_step(torch, step, "cpu", last, how)
    )
    monkeypatch.setattr(steps, "torch_batch", lambda torch, batch, home, last: make_batch(torch, batch, "cpu", last))
    return module


@pytest.fixture
def section(tmp_path: Path) -> Section:
    return Section("section", tmp_path / "part.json", 60)
