"""Measuring: wrong results are refused, sides take turns, and a record holds what it should."""

from __future__ import annotations

import dataclasses
import importlib
import types
from typing import Any

import numpy as np
import pytest

from gpunn._device import Device, device
from gpunn.bench import ops, runner
from gpunn.bench.case import Case
from gpunn.bench.cases import by_id
from gpunn.bench.machine import Ceilings, measure_ceilings, share_of_others
from gpunn.bench.runner import (
    OURS,
    Settings,
    WrongResult,
    check,
    check_against,
    measure,
    measure_all,
    prepare,
    sides_of,
)
from gpunn.bench.sides import CallSide, CupyClock, HostClock, interleave, limited_threads
from gpunn.cpu.threads import get_num_threads, set_num_threads
from gpunn.errors import CaptureError, DeviceError, UsageError
from tests.benchmarks.test_device_report import _cupy, _torch

CPU = device("cpu")
QUICK = Settings(CPU, size="tiny", seconds=1e-3, least=3, most=3)
CEILINGS = Ceilings(100.0, 10.0)


def wrong_by(case: Case, factor: float) -> Case:
    """The case, with one element of gpunn's result off by a factor."""

    def ours(target: Device, arrays: Any) -> Any:
        run = case.ours(target, arrays)

        def off() -> list[Any]:
            results = [np.array(r) for r in run()]
            results[-1].flat[np.abs(results[-1]).argmax()] *= factor
            return results

        return off

    return dataclasses.replace(case, ours=ours)


def test_a_wrong_result_is_refused_whatever_it_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    case = by_id("conv01.dx", "tiny")
    # The reference is made from the case of this name, which is right.
    with pytest.raises(
        WrongResult, match=r"conv01\.dx .*gpunn and the plain bodies in float64 differ by .*Nothing was"
    ):
        measure(wrong_by(case, 1.01), QUICK, CEILINGS)
    measure(wrong_by(case, 1.0), QUICK, CEILINGS)
    pytest.importorskip("torch")
    against = dataclasses.replace(QUICK, against=("torch",))
    with pytest.raises(WrongResult, match="gpunn and torch differ"):
        measure(wrong_by(case, 0.99), against, CEILINGS)
    with pytest.raises(WrongResult, match="differ by inf"):
        measure(wrong_by(case, np.nan), against, CEILINGS)


def test_a_result_that_goes_wrong_later_is_refused() -> None:
    case = by_id("lenet-sgd.update", "tiny")
    runs = {OURS: prepare(case, OURS, QUICK), "other": prepare(case, OURS, QUICK)}
    ours, calls = runs[OURS], []

    def forgets_momentum() -> list[Any]:
        calls.append(1)
        return ours() if len(calls) < 2 else [1.01 * np.asarray(r) for r in ours()]

    with pytest.raises(WrongResult, match="in call 2"):
        check(case, {**runs, OURS: forgets_momentum}, "tiny")


def test_what_nothing_can_be_compared_with_is_marked() -> None:
    case = by_id("mnist.load", "tiny")
    assert measure(case, QUICK, CEILINGS)["error"] is None


def test_a_record_has_all_numbers_of_all_sides() -> None:
    pytest.importorskip("torch")
    case = by_id("conv02.forward", "tiny")
    found = measure(case, dataclasses.replace(QUICK, against=("torch",)), CEILINGS)
    assert (found["case"], found["group"]) == ("conv02.forward", "layers")
    assert (found["flop"], found["bytes"]) == (case.flop, case.traffic)
    assert found["shapes"]["x"] == [2, 13, 13, 8]
    assert found["error"] < 1e-5
    assert list(found["sides"]) == ["gpunn", "torch", "torch channels_last"]
    for numbers in found["sides"].values():
        low, high = numbers["ms_quartiles"]
        assert numbers["ms_least"] <= low <= numbers["ms"] <= high
        assert numbers["samples"] == 3
        assert numbers["gflops"] == pytest.approx(case.flop / numbers["ms"] / 1e6)
        assert numbers["gbs"] == pytest.approx(case.traffic / numbers["ms"] / 1e6)
        assert numbers["items_per_second"] == pytest.approx(2e3 / numbers["ms"])
        assert numbers["ratio"] == numbers["ms"] / found["sides"]["gpunn"]["ms"]


def test_the_share_of_the_ceiling_is_the_harder_ones() -> None:
    assert CEILINGS.share(1e9, 1e6, 20.0) == pytest.approx(0.5)  # 10 ms of products
    assert CEILINGS.share(1e9, 3e8, 40.0) == pytest.approx(0.75)  # 30 ms of memory
    measured = measure_ceilings(CPU, quick=True)
    assert measured.gflops > 0
    assert measured.gbs > 0


def test_sides_of_a_case() -> None:
    everything = dataclasses.replace(QUICK, against=("torch", "dezero", "emulator"))
    layouts = ["torch", "torch channels_last"]
    assert sides_of(by_id("conv01.forward", "tiny"), everything) == ["gpunn", *layouts, "dezero", "emulator"]
    assert sides_of(by_id("conv12.forward", "tiny"), everything) == ["gpunn", *layouts, "emulator"]
    assert sides_of(by_id("linear1024.forward", "tiny"), everything) == ["gpunn", "torch", "dezero", "emulator"]
    assert sides_of(by_id("mlp-b3.step", "tiny"), everything) == ["gpunn", "torch", "dezero", "emulator"]
    gpu = dataclasses.replace(QUICK, device=Device("cuda:0", _cupy(), None, 0), against=("torch",))
    assert sides_of(by_id("mlp-b3.step", "tiny"), gpu) == ["gpunn", "gpunn eager", "torch", "torch graph"]


def test_one_thread_beside_all() -> None:
    seen: list[tuple[str, int]] = []
    case = by_id("mlp-b3.step", "tiny")
    before = get_num_threads()
    set_num_threads(3)
    try:

        def ours(target: Device, arrays: Any) -> Any:
            run, number = case.ours(target, arrays), len(made)
            made.append(run)

            def noted() -> list[Any]:
                seen.append((("all", "one")[number], get_num_threads()))
                return run()

            return noted

        made: list[Any] = []
        against = dataclasses.replace(QUICK, against=("one-thread",))
        assert sides_of(case, against) == ["gpunn", "gpunn one thread"]
        found = measure(dataclasses.replace(case, ours=ours), against, CEILINGS)
        assert set(found["sides"]) == {"gpunn", "gpunn one thread"}
        timed = seen[2 * case.checked :]
        assert set(timed) == {("all", 3), ("one", 1)}
        assert get_num_threads() == 3
    finally:
        set_num_threads(before)
    with pytest.raises(UsageError, match="one-thread is for the CPU; this device is emulator"):
        check_against(("one-thread",), device("emulator"))


def test_the_next_case_is_measured_behind_a_wrong_one() -> None:
    right = by_id("conv01.dx", "tiny")
    results = [found for _, found in measure_all([wrong_by(right, 1.01), right], QUICK, CEILINGS)]
    assert isinstance(results[0], WrongResult)
    assert not isinstance(results[1], WrongResult)


def test_sides_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"expected torch, dezero, one-thread or a device .*got 'pytorch'"):
        check_against(("pytorch",), CPU)
    with pytest.raises(UsageError, match="cpu is the device that is measured"):
        check_against(("cpu",), CPU)

    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"torch cannot be imported \(No module named 'torch'\); install it with pip"):
        check_against(("torch",), CPU)
    gpu = Device("cuda:0", _cupy(), None, 0)
    no_gpu = types.SimpleNamespace(__version__="0", cuda=types.SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(importlib, "import_module", lambda name: no_gpu)
    with pytest.raises(UsageError, match="finds no GPU"):
        check_against(("torch",), gpu)
    with pytest.raises(UsageError, match="dezero is compared on the CPU only"):
        check_against(("dezero",), gpu)


def test_sides_take_turns_and_settle_first() -> None:
    heard: list[str] = []

    class Side:
        def __init__(self, name: str) -> None:
            self.name = name
            self.samples: list[float] = []

        def settle(self) -> None:
            heard.append(f"({self.name})")

        def sample(self) -> None:
            heard.append(self.name)

    sides: dict[str, Any] = {"a": Side("a"), "b": Side("b")}
    interleave(sides, seconds=0, least=4)
    assert "".join(heard) == "(a)aaa(b)bbb(a)a(b)b"
    heard.clear()
    interleave({"a": sides["a"]}, seconds=1e6, least=1, most=5)
    assert heard.count("a") == 5


def test_short_calls_are_repeated_within_a_sample() -> None:
    calls: list[int] = []
    side = CallSide(lambda: calls.append(1), HostClock())
    before = len(calls)
    side.sample()
    assert len(calls) - before > 10
    assert side.samples[0] > 0
    side = CallSide(lambda: calls.append(1), HostClock(), warm=False)
    before = len(calls)
    side.settle()
    side.sample()
    assert len(calls) - before == 1, "a call of seconds is neither repeated nor warmed up"


def test_threads_are_as_before_afterwards() -> None:
    torch = pytest.importorskip("torch")
    before, theirs = get_num_threads(), torch.get_num_threads()
    with limited_threads(1, torch):
        assert (get_num_threads(), torch.get_num_threads()) == (1, 1)
    assert (get_num_threads(), torch.get_num_threads()) == (before, theirs)
    set_num_threads(before)


def test_others_share_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert share_of_others((0.0, 10.0, 1.0), (10.0, 32.0, 3.0)) == pytest.approx(0.5)
    assert share_of_others((0.0, 0.0, 0.0), (10.0, 1.0, 2.0)) == 0.0
    assert share_of_others((0.0, 0.0, 0.0), (0.01, 1.0, 0.0)) is None
    assert share_of_others(None, None) is None


# -- a GPU's way, on stand-ins ---------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device that looks like a GPU and runs its kernels on the emulator."""
    try:
        emulator = device("emulator")
    except DeviceError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("gpunn.bench.graphs._EAGER_CALLS", 2)
    return Device("cuda:0", _cupy(), emulator.loader, 0)


@pytest.mark.emulator
def test_ops_are_timed_as_graphs(gpu: Device) -> None:
    found = measure(by_id("linear1024.forward", "tiny"), dataclasses.replace(QUICK, device=gpu), CEILINGS)
    assert found["sides"]["gpunn"]["eager_ms"] > 0
    assert found["sides"]["gpunn"]["samples"] == 3


@pytest.mark.emulator
def test_pytorchs_ops_are_timed_as_graphs_too(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = _torch()
    monkeypatch.setattr(runner, "torch_or_none", lambda: torch)
    settings = dataclasses.replace(QUICK, device=gpu, against=("torch",))
    found = measure(by_id("linear1024.forward", "tiny"), settings, CEILINGS)
    assert found["sides"]["torch"]["eager_ms"] > 0
    found = measure(by_id("mlp-b3.step", "tiny"), settings, CEILINGS)
    assert list(found["sides"]) == ["gpunn", "gpunn eager", "torch", "torch graph"]
    assert found["captured"]
    assert found["error"] < 1e-4


@pytest.mark.emulator
def test_a_step_that_cannot_be_captured_says_so(gpu: Device) -> None:
    case = by_id("mlp-b3.step", "tiny")

    def refuses(target: Device, arrays: Any) -> Any:
        def run() -> list[Any]:
            raise CaptureError("foo has no kernel")

        return run

    found = measure(dataclasses.replace(case, ours=refuses), dataclasses.replace(QUICK, device=gpu), CEILINGS)
    assert list(found["sides"]) == ["gpunn"]
    assert not found["captured"]


def test_clocks_of_gpus_wait_for_the_device(gpu: Device) -> None:
    clock = CupyClock(gpu)
    clock.start()
    assert clock.stop() >= 0


def test_ceilings_of_a_gpu(gpu: Device) -> None:
    assert measure_ceilings(gpu, quick=True).gbs > 0


def test_a_case_of_ones_own_can_be_measured_against_another_device() -> None:
    try:
        device("emulator")
    except DeviceError as error:
        pytest.skip(str(error))
    (case, _) = ops.linear("mine", 2, 3, 4)
    found = measure(case, dataclasses.replace(QUICK, against=("emulator",)), CEILINGS)
    assert list(found["sides"]) == ["gpunn", "emulator"]
