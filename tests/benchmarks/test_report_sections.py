"""The device report's sections that need a GPU, on stand-ins: kernels on the emulator, PyTorch on the CPU."""

from __future__ import annotations

import signal
import time
import types
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks._report import battery, cases, compiled, kernels, launches, networks, repeatable, steps, sweep, work
from benchmarks._report.book import GIVEN_UP, NO_TIME, Section
from benchmarks._report.health import BrokenContext
from benchmarks._report.networks import Step
from benchmarks._report.sweep_ops import Sizes, ops
from gpunn import _warmup as warmup
from gpunn._device import Device
from gpunn.bench import networks as bench_networks
from gpunn.bench import ops as bench_ops
from gpunn.errors import KernelError

OPTIONS = Namespace(device="cuda", quick=False)


TINY = Step(bench_networks.lenet((2, 3), 8), 2)
TINIER = Step(bench_networks.mlp((6, 5), 4), 3)


# -- single ops -----------------------------------------------------------------------------------


@pytest.mark.emulator
def test_kernels_are_measured_and_compared(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "all_cases", lambda quick: cases.small_cases())
    kernels.run(section, OPTIONS)
    assert section.data["failures"] == []
    rows = section.data["tables"]["times"]
    assert len(rows) == len(cases.small_cases())
    for row in rows:
        assert row["µs"] > 0
        assert row["error"] < 1e-4
        assert row["ratio"] > 0
        assert row["of copy"] > 0
        assert row["met"] == "no target"
    assert [row["of product"] is not None for row in rows] == [case.flop > 0 for case in cases.small_cases()]


@pytest.mark.emulator
def test_a_line_with_targets_says_whether_they_are_met(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "all_cases", lambda quick: bench_ops.max_pooling("stem-pool", 2, 4, 6, 2, 2))
    kernels.run(section, OPTIONS)
    forward, backward = section.data["tables"]["times"]
    for row, line in ((forward, "stem-pool.forward"), (backward, "stem-pool.backward")):
        assert row["target"] == "goal 0.9 of copy bandwidth; goal 1.3 × PyTorch's speed"
        verdicts = [v for v in section.data["verdicts"] if v["line"] == line]
        assert [v["measured"] for v in verdicts] == [row["of copy"], row["ratio"]]
        assert row["met"] == "; ".join(v["verdict"] for v in verdicts)


@pytest.mark.emulator
def test_what_there_was_no_time_for_has_a_line_that_says_so(
    gpu: Device, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = Section("kernels", tmp_path / "part.json", 0)
    kernels.run(section, OPTIONS)
    assert {row["note"] for row in section.data["tables"]["times"]} == {NO_TIME}
    assert {v["verdict"] for v in section.data["verdicts"]} == {"not measured"}
    steps.run(section, OPTIONS)
    sweep.run(section, OPTIONS)
    launches.run(section, OPTIONS)
    assert len(section.data["tables"]["steps"]) == len(networks.STEPS)
    assert len(section.data["tables"]["ops"]) == len(list(ops(Sizes())))
    assert section.data["failures"] == []


@pytest.mark.emulator
def test_a_kernel_that_differs_from_pytorch_is_a_failure(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "all_cases", lambda quick: bench_ops.linear("linear", 3, 4, 5))
    monkeypatch.setattr(kernels, "difference", lambda ours, theirs: float("nan"))
    kernels.run(section, OPTIONS)
    assert ["differs from PyTorch" in failure["what"] for failure in section.data["failures"]] == [True, True]


@pytest.mark.emulator
def test_a_line_that_failed_is_there_too(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise KernelError("does not compile")

    monkeypatch.setattr(kernels, "all_cases", lambda quick: bench_ops.max_pooling("stem-pool", 2, 4, 6, 2, 2))
    monkeypatch.setattr(kernels, "GpunnGraph", refuse)
    kernels.run(section, OPTIONS)
    assert len(section.data["failures"]) == 2
    assert [row["note"] for row in section.data["tables"]["times"]] == ["failed", "failed"]
    monkeypatch.setattr(steps, "STEPS", (TINIER,))
    monkeypatch.setattr(steps, "gpunn_step", refuse)
    monkeypatch.setattr(steps, "torch_or_none", lambda: None)
    steps.run(section, OPTIONS)
    (row,) = section.data["tables"]["steps"]
    assert row["note"] == "failed"
    assert {v["verdict"] for v in section.data["verdicts"]} == {"not measured"}


@pytest.mark.emulator
def test_where_pytorch_fails_ours_is_timed_all_the_same(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise RuntimeError("cuDNN is not there")

    monkeypatch.setattr(kernels, "all_cases", lambda quick: bench_ops.linear("linear", 3, 4, 5))
    monkeypatch.setattr(kernels, "TorchGraph", refuse)
    kernels.run(section, OPTIONS)
    assert ["cuDNN is not there" in failure["traceback"] for failure in section.data["failures"]] == [True, True]
    for row in section.data["tables"]["times"]:
        assert row["µs"] > 0
        assert row["note"] == "not compared: RuntimeError"


def test_a_ceiling_that_cannot_be_measured_costs_its_column_alone(
    gpu: Device, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_blas(*arguments: Any, **options: Any) -> Any:
        raise ImportError("libcublas")

    monkeypatch.setattr(work, "torch_or_none", lambda: None)
    monkeypatch.setattr(gpu.xp, "matmul", no_blas)
    found = work.ceilings(section, gpu)
    assert found.gflops is None
    assert found.gbs is not None
    row = work.rates(found, 1e9, 1e6, 10.0)
    assert row["of product"] is None
    assert row["of copy"] == pytest.approx(100.0 / found.gbs)
    assert [failure["what"] for failure in section.data["failures"]] == ["ceiling: gflops"]
    monkeypatch.setattr(work, "_copy_gbs", no_blas)
    assert work.ceilings(section, gpu).gbs == found.gbs  # kept for the sections that follow


# -- steps ----------------------------------------------------------------------------------------


@pytest.mark.emulator
def test_whole_steps_are_measured_and_compared(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "STEPS", (TINY,))
    steps.run(section, OPTIONS)
    # The stand-in's graph replays nothing, so its losses stay where they were.
    assert all("PyTorch CUDA graph" in failure["what"] for failure in section.data["failures"])
    rows = {row["side"]: row for row in section.data["tables"]["steps"]}
    assert {"gpunn eager", "gpunn captured", "PyTorch eager", "PyTorch CUDA graph", "PyTorch compiled"} < set(rows)
    assert rows["gpunn captured"]["÷ gpunn captured"] == 1
    assert rows["gpunn captured"]["met"] == "no target"
    assert rows["gpunn captured"]["GFLOP"] == TINY.network.step_flop(2) / 1e9


@pytest.mark.emulator
def test_a_step_with_other_losses_is_a_failure(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([[1.0, 2.0], [1.0, 2.1]])
    monkeypatch.setattr(steps, "STEPS", (TINIER,))
    monkeypatch.setattr(steps, "torch_or_none", lambda: None)
    monkeypatch.setattr(steps, "_losses", lambda side: next(losses))
    steps.run(section, OPTIONS)
    (failure,) = section.data["failures"]
    assert "losses of gpunn captured differ by 1.00e-01 from gpunn eager" in failure["what"]


@pytest.mark.emulator
def test_a_missing_compiler_is_said_and_no_failure(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(function: Any, **options: Any) -> Any:
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    monkeypatch.setattr(steps, "STEPS", (TINIER,))
    steps.run(section, OPTIONS)
    said = [item["what"] for item in section.data["cut"]]
    assert len(said) == len(steps._COMPILED)
    assert all("RuntimeError: Failed to find C compiler" in what for what in said)
    assert all("PyTorch CUDA graph" in failure["what"] for failure in section.data["failures"])


@pytest.mark.emulator
def test_compiling_is_given_up_when_time_is_up(
    gpu: Device, torch: Any, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []

    def compile_for_ever(function: Any, **options: Any) -> Any:
        time.sleep(60)
        compiled.append(function)

    monkeypatch.setattr(torch, "compile", compile_for_ever)
    monkeypatch.setattr(steps, "_END", 59.5)  # seconds before the section's end, which is in 60
    steps._compare_compiled(section, TINIER, torch, "PyTorch compiled", {}, {})
    assert compiled == []
    assert "OutOfTime" in section.data["cut"][0]["what"]
    with steps._limited(30):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_faster_layout_is_what_a_step_is_compared_with() -> None:
    medians = {"PyTorch eager": 30.0, "PyTorch eager channels-last": 20.0, "PyTorch CUDA graph": 15.0}
    assert steps._ratio(medians, "PyTorch eager", 10.0) == 2.0
    assert steps._ratio(medians, "PyTorch CUDA graph", 10.0) == 1.5
    assert steps._ratio({}, "PyTorch eager", 10.0) is None
    assert steps._ratio(medians, "PyTorch eager", None) is None


# -- compiling ------------------------------------------------------------------------------------


def test_every_specialisation_is_compiled_and_failures_are_told(
    section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def compile_one(name: str, job: warmup.Job) -> float:
        seen.append(job)
        if job.file == "gemm.cu":
            raise RuntimeError("ptxas says no")
        return 0.5

    monkeypatch.setattr(warmup, "_pool", ThreadPoolExecutor)
    monkeypatch.setattr(warmup, "compile_one", compile_one)
    monkeypatch.setattr(compiled, "_LISTED", 3)
    compiled.run(section, OPTIONS)
    assert sorted(map(str, seen)) == sorted(map(str, warmup.every_job()))
    wrong = sum(job.file == "gemm.cu" for job in seen)
    assert wrong > 4
    *listed, more = section.data["failures"]
    assert all("ptxas says no" in failure["traceback"] for failure in listed)
    assert len(listed) == 3
    assert more["what"] == f"{wrong - 3} more that do not compile"
    assert section.data["values"]["ready"] == len(seen) - wrong
    assert section.data["values"]["specialisations"] == len(seen)


def test_compiling_stops_when_time_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = Section("compile", tmp_path / "part.json", 0.0)
    monkeypatch.setattr(warmup, "_pool", _NothingGetsDone)
    compiled.run(section, OPTIONS)
    assert section.data["failures"] == []
    assert NO_TIME in section.data["cut"][0]["what"]


class _NothingGetsDone(ThreadPoolExecutor):
    def submit(self, *arguments: Any, **options: Any) -> Any:
        from concurrent.futures import Future

        return Future()


def test_a_compiling_process_that_dies_is_a_failure(section: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_one(name: str, job: warmup.Job) -> float:
        raise BrokenProcessPool("killed")

    monkeypatch.setattr(warmup, "_pool", ThreadPoolExecutor)
    monkeypatch.setattr(warmup, "compile_one", compile_one)
    compiled.run(section, OPTIONS)
    (failure,) = section.data["failures"]
    assert failure["what"].startswith("a compiling process died, after 0 of ")


# -- the battery ----------------------------------------------------------------------------------


def _primitive(compare: Callable[[int], float], monkeypatch: pytest.MonkeyPatch) -> Any:
    made = types.SimpleNamespace(name="made", kernel_body=None, numpy_body=None)
    monkeypatch.setattr(battery, "primitives", lambda: [("made", made)])
    monkeypatch.setattr(battery, "examples_of", lambda primitive: [{"x": number} for number in range(4)])
    monkeypatch.setattr(battery, "compare", lambda primitive, target, home, example: compare(example["x"]))
    return made


def test_the_battery_goes_on_behind_an_example_that_failed(
    section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(number: int) -> float:
        if number == 1:
            raise AssertionError("differs")
        return number / 10

    _primitive(compare, monkeypatch)
    battery.run(section, Namespace(device="cpu"))
    assert [failure["what"] for failure in section.data["failures"]] == ["made, example 1 (x=1)"]
    (row,) = section.data["tables"]["primitives"]
    assert (row["examples"], row["failed"], row["error / tolerance"]) == (4, 1, 0.3)
    # Another process would do nothing again, and has nothing to say.
    again = Section("section", tmp_path / "part.json", 60)
    battery.run(again, Namespace(device="cpu"))
    assert again.data["tables"]["primitives"] == [row]


def test_a_primitive_that_fails_throughout_is_told_briefly(section: Section, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(battery, "_WHOLE", 1)
    _primitive(lambda number: 1 / 0, monkeypatch)
    battery.run(section, Namespace(device="cpu"))
    first, *others = section.data["failures"]
    assert "ZeroDivisionError" in first["traceback"]
    assert [other["traceback"] for other in others] == ["", "", ""]
    assert others[2]["what"] == "made, example 3 (x=3): ZeroDivisionError: division by zero"


def test_an_example_is_described_in_a_line() -> None:
    arrays = [np.zeros((2, 3), np.float32), np.zeros(0)]
    said = battery.describe({"params": arrays, "x": arrays[1], "lr": 0.5, "axes": (1, 2)})
    assert said == "params=(float32[2, 3], float64[0]), x=float64[0], lr=0.5, axes=(1, 2)"


def test_behind_a_primitive_that_broke_the_context_comes_the_next_primitive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compare(primitive: Any, example: int) -> float:
        if (primitive.name, example) == ("b", 1):
            raise RuntimeError("illegal address")
        return 0.0

    _primitives(compare, monkeypatch)
    monkeypatch.setattr("benchmarks._report.book.broken", lambda device: "gone")
    section = Section("section", tmp_path / "part.json", 60)
    with pytest.raises(BrokenContext):
        battery.run(section, Namespace(device="cpu"))
    again = Section("section", tmp_path / "part.json", 60)
    battery.run(again, Namespace(device="cpu"))
    rows = [(row["primitive"], row["examples"], row["failed"]) for row in again.data["tables"]["primitives"]]
    assert rows == [("a", 4, 0), ("b", 2, 1), ("c", 4, 0)]
    (cut,) = again.data["cut"]
    assert cut["what"] == "2 of 4 examples of b: left out behind the one that broke the GPU's context"


def test_a_primitive_that_ended_its_process_is_left_behind_and_that_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    _primitives(lambda primitive, example: seen.append((primitive.name, example)) or 0.0, monkeypatch)
    killed = Section("section", tmp_path / "part.json", 60)
    for item in ("a", "a, example 0"):
        killed.start(item)
    for _ in range(2):
        again = Section("section", tmp_path / "part.json", 60)
        battery.run(again, Namespace(device="cpu"))
    assert seen == [(name, example) for name in "bc" for example in range(4)]
    assert [cut["what"] for cut in again.data["cut"]] == ["a: left out behind the example at which its process ended"]


def test_a_battery_that_is_given_up_says_what_it_had_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _primitives(lambda primitive, example: 1 / 0, monkeypatch)
    section = Section("section", tmp_path / "part.json", 0, why=GIVEN_UP)
    section.start("a")
    section.row("primitives", primitive="a")
    battery.run(section, Namespace(device="cpu"))
    assert [cut["what"] for cut in section.data["cut"]] == [f"b, c: {GIVEN_UP}"]
    assert section.data["failures"] == []


def _primitives(compare: Callable[[Any, int], float], monkeypatch: pytest.MonkeyPatch) -> None:
    made = [types.SimpleNamespace(name=name, kernel_body=None, numpy_body=None) for name in "abc"]
    monkeypatch.setattr(battery, "primitives", lambda: [(primitive.name, primitive) for primitive in made])
    monkeypatch.setattr(battery, "examples_of", lambda primitive: [{"x": number} for number in range(4)])
    monkeypatch.setattr(battery, "compare", lambda primitive, target, home, example: compare(primitive, example["x"]))


@pytest.mark.emulator
def test_what_the_battery_launches_is_compiled_first_and_once(
    gpu: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    real = battery.primitives()
    monkeypatch.setattr(battery, "primitives", lambda: [pair for pair in real if pair[0].startswith("sgd_step")])
    monkeypatch.setattr(battery, "compile_jobs", lambda section, name, jobs, seconds: asked.append((jobs, seconds)))
    monkeypatch.setattr(battery, "_try_primitive", lambda *arguments: None)
    section = Section("section", tmp_path / "part.json", 100)
    for _ in range(2):
        battery.run(section, OPTIONS)
    ((jobs, seconds),) = asked
    assert {job.file for job in jobs} == {"sgd.cu"}
    assert 50 < seconds <= 60


# -- steps that are right -------------------------------------------------------------------------


def test_losses_that_are_not_the_cpus_are_a_failure(
    emulator: Device, section: Section, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = {"cpu": np.linspace(2, 1, 9), "emulator": np.linspace(2, 1, 9)}
    losses["emulator"][7] *= 1 + 2e-4

    def train(build: Any, target: Device, *arguments: Any, captured: bool) -> Any:
        return {"losses": losses[target.name]}, 2

    monkeypatch.setattr(repeatable, "_train", train)
    repeatable._compare(section, "net", repeatable._lenet, emulator, True)
    (failure,) = section.data["failures"]
    assert failure["what"] == "net: the first 8 losses differ from the CPU's by 2.00e-04 (relative)"
    (row,) = section.data["tables"]["losses compared with the CPU's"]
    assert row["first"] == 2
    losses["emulator"][7] = losses["cpu"][7]
    losses["emulator"][8] = 9  # so far on, roundings may have grown
    repeatable._compare(section, "net", repeatable._lenet, emulator, True)
    assert len(section.data["failures"]) == 1
