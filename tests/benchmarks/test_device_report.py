"""The device report without a GPU: what it writes, what it does with failures, and the cases it times."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import types
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import device_report, lenet
from benchmarks._report import cases, kernels, step
from benchmarks._report.book import Section
from gpunn import _device
from gpunn._device import Device, device
from gpunn.bench import graphs, ops
from gpunn.errors import DeviceError

THIS = "tests.benchmarks.test_device_report"


@pytest.fixture
def emulator() -> Device:
    try:
        return device("emulator")
    except DeviceError as error:
        pytest.skip(str(error))


def _make(folder: Path, *extra: str, sections: Any = device_report.SECTIONS) -> tuple[int, dict[str, Any], str]:
    """(exit status, report.json, report.md)"""
    status = device_report.main(["--out", str(folder), "--quick", *extra], sections=sections)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return status, report, (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.emulator
def test_the_emulators_quick_run_is_whole_and_quick(emulator: Device, tmp_path: Path) -> None:
    start = time.monotonic()
    status, report, text = _make(tmp_path, "--device", "emulator")
    assert report["failures"] == []
    assert status == 0
    assert time.monotonic() - start < 60
    assert report["finished"]
    assert list(report["sections"]) == [name for name, _, _ in device_report.SECTIONS]
    reasons = {item["section"]: item["what"] for item in report["cut"]}
    assert "needs a GPU" in reasons["kernels"]
    assert "needs a GPU" in reasons["step"]
    rows = report["sections"]["capture"]["tables"]["runs compared with the first eager run"]
    assert {row["differing"] for row in rows} == {0}
    parity = report["sections"]["parity"]
    assert len(parity["tables"]["primitives"]) + parity["values"]["left out"] > 20  # g++ may have to compile all
    assert text.index("## Failures: 0") < text.index("## environment")


def explode(section: Section, options: Namespace) -> None:
    """A section that gets somewhere and then fails."""
    section.value("reached", "the middle")
    raise ValueError("injected")


def die(section: Section, options: Namespace) -> None:
    """A section whose process dies at its second item; the next process goes on with the third."""
    for item in ("one", "two", "three"):
        if section.start(item):
            if item == "two":
                sys.exit(7)
            section.row("done", item=item)


def pass_by(section: Section, options: Namespace) -> None:
    section.value("ran", True)


def test_a_failing_section_comes_first_and_the_others_still_run(tmp_path: Path) -> None:
    sections = [
        ("before", 1, f"{THIS}:pass_by"),
        ("broken", 1, f"{THIS}:explode"),
        ("after", 1, f"{THIS}:pass_by"),
    ]
    status, report, text = _make(tmp_path, "--device", "cpu", sections=sections)
    assert status == 1
    (failure,) = report["failures"]
    assert failure["section"] == "broken"
    assert "ValueError: injected" in failure["traceback"]
    assert "in explode" in failure["traceback"]
    assert report["sections"]["broken"]["values"] == {"reached": "the middle"}
    assert report["sections"]["after"]["values"] == {"ran": True}
    assert text.index("ValueError: injected") < text.index("## before")


def test_a_process_that_dies_is_reported_and_its_section_goes_on(tmp_path: Path) -> None:
    status, report, _ = _make(tmp_path, "--device", "cpu", sections=[("deadly", 1, f"{THIS}:die")])
    assert status == 1
    assert [failure["what"] for failure in report["failures"]] == ["died with status 7, at two"]
    assert report["sections"]["deadly"]["tables"]["done"] == [{"item": "one"}, {"item": "three"}]


def hang(section: Section, options: Namespace) -> None:
    section.value("ran", True)
    time.sleep(60)


def test_a_section_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_report, "_GRACE", -3.5)
    status, report, _ = _make(tmp_path, "--device", "cpu", "--minutes", "0.01", sections=[("slow", 1, f"{THIS}:hang")])
    assert status == 1
    assert "stopped" in report["failures"][0]["what"]
    assert report["sections"]["slow"]["values"] == {"ran": True}


def test_a_missing_gpu_is_a_failure(tmp_path: Path) -> None:
    from gpunn._device import cuda_is_available

    if cuda_is_available():
        pytest.skip("this machine has a GPU")
    parity = [entry for entry in device_report.SECTIONS if entry[0] == "parity"]
    status, report, _ = _make(tmp_path, "--device", "cuda", sections=parity)
    assert status == 1
    assert "DeviceError" in report["failures"][0]["traceback"]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("number", range(len(cases.small_cases())))
def test_both_sides_of_a_case_compute_the_same(number: int, last: bool) -> None:
    torch = pytest.importorskip("torch")
    case = cases.small_cases()[number]
    arrays = cases.fill(device("cpu"), case, 1)
    theirs = case.theirs(torch, arrays, last)  # first: ours may change the arrays
    assert kernels.difference(case.ours(device("cpu"), arrays)(), theirs()) < 1e-5


def test_the_full_list_of_cases_is_sound() -> None:
    made = cases.all_cases(quick=False)
    assert len({(case.name, case.direction) for case in made}) == len(made)
    assert all(case.traffic > 0 for case in made)


# -- the sections that need a GPU, on stand-ins ---------------------------------------------------


class _Event:
    def __init__(self, enable_timing: bool = True) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, end: _Event) -> float:
        return 1e3 * (end.at - self.at)


class _Stream:
    def synchronize(self) -> None:
        pass

    def wait_stream(self, other: Any) -> None:
        pass


def _cupy() -> types.ModuleType:
    """NumPy with the few names of CuPy that timing asks for."""
    module = types.ModuleType("cupy stand-in")
    module.__dict__.update(np.__dict__)
    module.cuda = types.SimpleNamespace(
        Device=lambda ordinal: contextlib.nullcontext(),
        Event=_Event,
        get_current_stream=_Stream,
        get_elapsed_time=lambda start, end: start.elapsed_time(end),
        runtime=types.SimpleNamespace(getDeviceProperties=lambda ordinal: {"l2CacheSize": 1000}),
    )
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    return module


def _torch() -> Any:
    """PyTorch with a CUDA that runs on the CPU, and graphs that repeat nothing."""
    torch = pytest.importorskip("torch")
    graph = types.SimpleNamespace(replay=lambda: None)
    module = types.ModuleType("torch stand-in")
    module.__dict__.update(torch.__dict__)
    module.cuda = types.SimpleNamespace(
        Stream=_Stream,
        Event=_Event,
        CUDAGraph=lambda: graph,
        graph=lambda graph, stream=None: contextlib.nullcontext(),
        stream=lambda stream: contextlib.nullcontext(),
        current_stream=_Stream,
        synchronize=lambda: None,
    )
    return module


@pytest.fixture
def gpu(emulator: Device, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that looks like a GPU and runs its kernels on the emulator."""
    target = Device("cuda:0", _cupy(), emulator.loader, 0)
    monkeypatch.setattr(_device, "device", lambda name: target if name == "cuda" else device(name))
    torch = _torch()
    for module in (kernels, step):
        monkeypatch.setattr(module, "torch_or_none", lambda: torch)
    return target


@pytest.mark.emulator
def test_kernel_times_are_measured_and_compared(gpu: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "all_cases", lambda quick: cases.small_cases())
    monkeypatch.setattr(kernels, "_ROUNDS", 3)
    monkeypatch.setattr(graphs, "_EAGER_CALLS", 2)
    section = Section("kernels", tmp_path / "part.json", 60)
    kernels.run(section, Namespace(device="cuda", quick=True))
    assert section.data["failures"] == []
    rows = section.data["tables"]["times"]
    assert len(rows) == len(cases.small_cases())
    for row in rows:
        assert row["µs"] > 0
        assert row["error"] < 1e-4
        assert row["ratio"] > 0


@pytest.mark.emulator
def test_whole_steps_are_measured_and_compared(gpu: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_step, make_batch = lenet.torch_step, lenet.torch_batch
    monkeypatch.setattr(lenet, "torch_step", lambda weights, home, last, fused: make_step(weights, "cpu", last))
    monkeypatch.setattr(lenet, "torch_batch", lambda batch, home, last: make_batch(batch, "cpu", last))
    for name, value in (("_ROUNDS", 1), ("_STEPS", 1), ("_CHECKED", 2), ("_SIZES", (1,))):
        monkeypatch.setattr(step, name, value)  # a step takes the emulator a second
    section = Section("step", tmp_path / "part.json", 60)
    step.run(section, Namespace(device="cuda", quick=False))
    assert section.data["failures"] == []
    sides = {row["side"] for row in section.data["tables"]["steps"]}
    assert {"gpunn eager", "gpunn captured", "PyTorch eager", "PyTorch CUDA graph"} < sides


@pytest.mark.emulator
def test_a_kernel_that_differs_from_pytorch_is_a_failure(
    gpu: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "all_cases", lambda quick: ops.linear("linear", 3, 4, 5))
    monkeypatch.setattr(kernels, "difference", lambda ours, theirs: float("nan"))
    section = Section("kernels", tmp_path / "part.json", 60)
    kernels.run(section, Namespace(device="cuda", quick=True))
    assert ["differs from PyTorch" in failure["what"] for failure in section.data["failures"]] == [True, True]
