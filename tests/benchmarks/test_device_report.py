"""The device report without a GPU: what it writes, what it does with failures, and the cases it times."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time
import types
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import device_report
from benchmarks._report import cases
from benchmarks._report.book import GIVEN_UP, Section
from gpunn._device import Device, device
from gpunn.bench.case import difference

THIS = "tests.benchmarks.test_device_report"


def _make(folder: Path, *extra: str, sections: Any = device_report.SECTIONS) -> tuple[int, dict[str, Any], str]:
    """(exit status, report.json, report.md)"""
    status = device_report.main(["--out", str(folder), "--quick", *extra], sections=sections)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return status, report, (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.tools
@pytest.mark.emulator
def test_the_emulators_quick_run_is_whole(emulator: Device, tmp_path: Path) -> None:
    # Time enough on a busy machine too: what there is takes 20 s.
    status, report, text = _make(tmp_path, "--device", "emulator", "--minutes", "5")
    assert report["failures"] == []
    assert status == 0
    assert report["finished"]
    assert list(report["sections"]) == [name for name, _, _ in device_report.SECTIONS]
    reasons = {item["section"]: item["what"] for item in report["cut"]}
    for name in device_report._NEED_A_GPU:
        assert "needs a GPU" in reasons[name]
    rows = report["sections"]["capture"]["tables"]["runs compared with the first eager run"]
    assert {row["differing"] for row in rows} == {0}
    battery = report["sections"]["battery"]
    assert len(battery["tables"]["primitives"]) + battery["values"]["left out"] > 20  # g++ may have to compile all
    assert text.index("## Failures: 0") < text.index("## Targets") < text.index("## environment")


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


def fail_often(section: Section, options: Namespace) -> None:
    for number in range(45):
        section.fail(f"item {number}")


def test_the_terminal_shows_the_first_failures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, report, _ = _make(tmp_path, "--device", "cpu", sections=[("bad", 1, f"{THIS}:fail_often")])
    assert len(report["failures"]) == 45
    *_, last, more = capsys.readouterr().out.splitlines()
    assert last == "FAILED: bad: item 39"
    assert more == "and 5 more failures, all in the report"


def test_a_process_that_dies_is_reported_and_its_section_goes_on(tmp_path: Path) -> None:
    status, report, _ = _make(tmp_path, "--device", "cpu", sections=[("deadly", 1, f"{THIS}:die")])
    assert status == 1
    assert [failure["what"] for failure in report["failures"]] == ["died with status 7, at two"]
    assert report["sections"]["deadly"]["tables"]["done"] == [{"item": "one"}, {"item": "three"}]


def die_at_once(section: Section, options: Namespace) -> None:
    """A process that gets nowhere, however often it is started."""
    os._exit(3)


def test_a_process_that_gets_nowhere_is_not_started_again(tmp_path: Path) -> None:
    sections = [("deadly", 1, f"{THIS}:die_at_once")]
    status, report, _ = _make(tmp_path, "--device", "cpu", "--minutes", "0.5", sections=sections)
    assert status == 1
    assert [failure["what"] for failure in report["failures"]] == ["died with status 3, at the beginning"]


class _CudaError(RuntimeError):
    """As CuPy's: it does not say whether there is an end to it."""


def _stand_in_gpu(errors: list[str]) -> None:
    """A CuPy in this process whose card gives these errors, one a call, and then answers again."""

    def synchronize() -> None:
        if errors:
            raise _CudaError(errors.pop(0))

    runtime = types.SimpleNamespace(deviceSynchronize=synchronize)
    cuda = types.SimpleNamespace(Device=lambda ordinal: contextlib.nullcontext(), runtime=runtime)
    module: Any = types.ModuleType("cupy stand-in")
    module.cuda = cuda
    sys.modules["cupy"] = module


def break_the_context(section: Section, options: Namespace) -> None:
    """Item "two" reads an illegal address, after which nothing works any more in its process."""
    errors: list[str] = []
    _stand_in_gpu(errors)

    def work(item: str) -> None:
        if item == "two":
            errors.extend(["cudaErrorIllegalAddress"] * 1000)
        if errors:
            raise _CudaError(errors[0])
        section.row("done", item=item, process=os.getpid())

    for item in ("one", "two", "three", "four"):
        section.attempt(item, functools.partial(work, item))


def test_behind_a_broken_context_another_process_goes_on(tmp_path: Path) -> None:
    sections = [("broken", 1, f"{THIS}:break_the_context"), ("after", 1, f"{THIS}:pass_by")]
    status, report, _ = _make(tmp_path, "--device", "cuda", "--minutes", "1", sections=sections)
    assert status == 1
    first, second = report["failures"]  # the error itself, and what it did
    assert first["what"] == "two"
    assert "cudaErrorIllegalAddress" in first["traceback"]
    assert second["what"].startswith("two: it broke the GPU's context (_CudaError: cudaErrorIllegalAddress)")
    rows = report["sections"]["broken"]["tables"]["done"]
    assert [row["item"] for row in rows] == ["one", "three", "four"]
    assert rows[0]["process"] != rows[1]["process"] == rows[2]["process"]
    assert report["sections"]["after"]["values"] == {"ran": True}


def fail_for_a_moment(section: Section, options: Namespace) -> None:
    """Item "two" fails, and CUDA hands its error on once more before it forgets it."""
    errors: list[str] = []
    _stand_in_gpu(errors)

    def work(item: str) -> None:
        section.row("done", item=item, process=os.getpid())
        if item == "two":
            errors.append("cudaErrorInvalidConfiguration")
            raise _CudaError(errors[0])

    for item in ("one", "two", "three"):
        section.attempt(item, functools.partial(work, item))


def test_an_error_that_passes_costs_one_item_and_no_process(tmp_path: Path) -> None:
    sections = [("troubled", 1, f"{THIS}:fail_for_a_moment")]
    status, report, _ = _make(tmp_path, "--device", "cuda", "--minutes", "1", sections=sections)
    assert status == 1
    assert [failure["what"] for failure in report["failures"]] == ["two"]
    rows = report["sections"]["troubled"]["tables"]["done"]
    assert [row["item"] for row in rows] == ["one", "two", "three"]
    assert len({row["process"] for row in rows}) == 1


def break_every_context(section: Section, options: Namespace) -> None:
    """Each item breaks its context, for as long as there is time."""
    errors: list[str] = []
    _stand_in_gpu(errors)

    def work() -> None:
        errors.extend(["cudaErrorIllegalAddress"] * 1000)
        raise _CudaError(errors[0])

    left = []
    for item in map(str, range(20)):
        if not section.expired:
            section.attempt(item, work)
        elif section.start(item):
            left.append(item)
    section.cut(f"{', '.join(left)}: {section.why}")


def test_a_section_that_keeps_breaking_is_given_up_and_the_next_one_runs(tmp_path: Path) -> None:
    sections = [("broken", 1, f"{THIS}:break_every_context"), ("after", 1, f"{THIS}:pass_by")]
    status, report, _ = _make(tmp_path, "--device", "cuda", "--minutes", "2", sections=sections)
    assert status == 1
    said = [failure["what"] for failure in report["failures"]]
    assert said[::2] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "given up after 6 processes that ended badly; see what is left out",
    ]
    (cut,) = report["cut"]
    assert cut["what"] == f"{', '.join(map(str, range(6, 20)))}: {GIVEN_UP}"
    assert report["sections"]["after"]["values"] == {"ran": True}


def break_between_items(section: Section, options: Namespace) -> None:
    """The context breaks where nobody was looking: the section as a whole ends with an error."""
    _stand_in_gpu([] if section.start("one") is False else ["cudaErrorLaunchFailure"] * 1000)
    if sys.modules["cupy"].cuda.runtime.deviceSynchronize() is None:
        section.value("second process", "ran")


def test_a_context_broken_outside_any_item_is_noticed_too(tmp_path: Path) -> None:
    sections = [("broken", 1, f"{THIS}:break_between_items")]
    status, report, _ = _make(tmp_path, "--device", "cuda", "--minutes", "1", sections=sections)
    assert status == 1
    assert [failure["what"] for failure in report["failures"]] == ["the section stopped here"]
    assert report["sections"]["broken"]["values"] == {"second process": "ran"}


def hang(section: Section, options: Namespace) -> None:
    section.value("ran", True)
    time.sleep(60)


@pytest.mark.tools
def test_a_section_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_report, "_GRACE", 1.0)
    status, report, _ = _make(tmp_path, "--device", "cpu", "--minutes", "0.15", sections=[("slow", 1, f"{THIS}:hang")])
    assert status == 1
    assert "stopped 1 s after its time was up" in report["failures"][0]["what"]
    assert report["sections"]["slow"]["values"] == {"ran": True}


def hang_at_two(section: Section, options: Namespace) -> None:
    """As a kernel that never ends does."""
    for item in ("one", "two", "three"):
        if section.start(item):
            if item == "two":
                time.sleep(60)
            section.row("done", item=item)


@pytest.mark.tools
def test_behind_a_kernel_that_hangs_another_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_report, "_STALL", 4.0)
    sections = [("stuck", 1, f"{THIS}:hang_at_two")]
    status, report, _ = _make(tmp_path, "--device", "cuda", "--minutes", "1", sections=sections)
    assert status == 1
    (failure,) = report["failures"]
    assert "without getting any further" in failure["what"]
    assert failure["what"].endswith("at two")
    assert report["sections"]["stuck"]["tables"]["done"] == [{"item": "one"}, {"item": "three"}]


def test_without_time_a_section_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    sections = [("first", 1, f"{THIS}:pass_by"), ("second", 1, f"{THIS}:pass_by")]
    status, report, _ = _make(tmp_path, "--device", "cuda", "--minutes", "0.1", sections=sections)
    assert status == 0
    what = "all of it left out for want of time"
    assert report["cut"] == [{"section": name, "what": what} for name in ("first", "second")]


def test_one_section_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sections = [("first", 1, f"{THIS}:pass_by"), ("second", 1, f"{THIS}:pass_by")]
    _, report, _ = _make(tmp_path, "--device", "cpu", "--only", "second", sections=sections)
    assert list(report["sections"]) == ["second"]
    with pytest.raises(SystemExit):
        _make(tmp_path, "--only", "third", sections=sections)
    assert "expected one of first, second; got third" in capsys.readouterr().err


def test_time_that_is_left_over_goes_to_those_that_follow() -> None:
    shares = [share for _, share, _ in device_report.SECTIONS]
    assert sum(shares) == pytest.approx(1)
    assert device_report.allot(360, shares) == pytest.approx(360 * shares[0])
    # Nobody has used any: the second gets its share of what the first left.
    assert device_report.allot(360, shares[1:]) == pytest.approx(360 * shares[1] / (1 - shares[0]))
    # The last keeps back what a section may run over its time.
    assert device_report.allot(100, shares[-1:]) == 100 - device_report._GRACE
    assert device_report.allot(5, shares[-1:]) == 0
    assert device_report.allot(-20, shares) == 0


def test_if_every_section_takes_all_it_may_the_whole_is_in_time() -> None:
    left = 60 * device_report._MINUTES
    for number in range(len(device_report.SECTIONS)):
        seconds = device_report.allot(left, [share for _, share, _ in device_report.SECTIONS[number:]])
        if seconds >= device_report._LEAST:
            left -= seconds + device_report._GRACE
    assert left >= 0


def test_a_missing_gpu_is_a_failure(tmp_path: Path) -> None:
    from gpunn._device import cuda_is_available

    if cuda_is_available():
        pytest.skip("this machine has a GPU")
    battery = [entry for entry in device_report.SECTIONS if entry[0] == "battery"]
    status, report, _ = _make(tmp_path, "--device", "cuda", sections=battery)
    assert status == 1
    assert "DeviceError" in report["failures"][0]["traceback"]


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("number", range(len(cases.small_cases())))
def test_both_sides_of_a_case_compute_the_same(number: int, last: bool) -> None:
    torch = pytest.importorskip("torch")
    case = cases.small_cases()[number]
    arrays = cases.fill(device("cpu"), case, 1)
    theirs = case.theirs(torch, arrays, last)  # first: ours may change the arrays
    assert difference(case.ours(device("cpu"), arrays)(), theirs()) < 1e-5


# -- stand-ins for what a GPU brings ------------------------------------------------------------


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
    ptr = 0

    def synchronize(self) -> None:
        pass

    def wait_stream(self, other: Any) -> None:
        pass


def _cupy() -> types.ModuleType:
    """NumPy with the few names of CuPy that timing asks for."""
    module: Any = types.ModuleType("cupy stand-in")
    module.__dict__.update(np.__dict__)
    module.cuda = types.SimpleNamespace(
        Device=lambda ordinal: contextlib.nullcontext(),
        Event=_Event,
        get_current_stream=_Stream,
        get_elapsed_time=lambda start, end: start.elapsed_time(end),
        runtime=types.SimpleNamespace(getDevice=lambda: 0, getDeviceProperties=lambda ordinal: {"l2CacheSize": 1000}),
    )
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_all_blocks=lambda: None)
    return module


def _torch() -> Any:
    """PyTorch with a CUDA that runs on the CPU, and graphs that repeat nothing."""
    torch = pytest.importorskip("torch")
    graph = types.SimpleNamespace(replay=lambda: None)
    module: Any = types.ModuleType("torch stand-in")
    module.__dict__.update(torch.__dict__)
    module.compile = lambda function, **options: function
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
