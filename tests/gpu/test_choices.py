"""Every way that a launch may take computes the same; which is taken, and what is kept of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn._device import Device, device
from gpunn._half import half_named
from gpunn._precision import chosen
from gpunn._window import Window
from gpunn.bench.tune import Trial, Trials
from gpunn.errors import OutOfMemoryError
from gpunn.gpu import choices, gemm, tensor
from gpunn.gpu.choices import Entry, Key, Way
from gpunn.gpu.launcher import KernelSource, trace_launches
from gpunn.ops.conv2d import conv2d_backward, conv2d_forward
from gpunn.ops.linear import linear_backward
from gpunn.ops.matmul import gemm as product
from gpunn.ops.matmul import matmul_batched
from tests.devices import KERNELS, call

_KEY: Key = ("gemm_nt", (8, 8, 8, "float32", 4))


class Everything:
    """A tuner that runs every way and takes the last, and notes which there are."""

    def __init__(self) -> None:
        self.ways: dict[str, list[Way]] = {}
        self.results: dict[str, list[Any]] = {}

    def choose(
        self,
        where: Device,
        key: Key,
        source: KernelSource,
        rule: Way,
        others: Sequence[Way],
        run: Callable[[Way], Any],
    ) -> Way:
        self.ways[key[0]] = list(dict.fromkeys((rule, *others)))
        for way in self.ways[key[0]]:
            with trace_launches() as launches:
                run(way)
            outputs = [a for a, p in zip(launches[-1].args, launches[-1].parameters, strict=True) if p.pointer]
            self.results.setdefault(key[0], []).append(np.array(_numbers(outputs[0])))
        return self.ways[key[0]][-1]

    def known(self, key: Key, rule: Way) -> Way:
        return rule


def _numbers(array: Any) -> np.ndarray:
    found: np.ndarray = array.get() if hasattr(array, "get") else array
    if found.dtype == np.uint16:  # 16-bit numbers by their bits
        found = found.view(half_named("test", "bfloat16"))
    return found.astype(np.float64)


def _normal(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


WINDOW = Window(9, 10, 3, 3, (1, 1), (1, 1), (1, 1), False, (1, 1))


def _convolution(c: int, k: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        _normal(7, 9, 10, c, dtype=dtype),
        _normal(k, 3, 3, c, seed=1, dtype=dtype),
        _normal(7, 9, 10, k, dtype=dtype),
    )


def _linear(where: str) -> None:
    x, weight, dy = _normal(600, 68), _normal(72, 68, seed=1), _normal(600, 72, seed=2)
    call(linear_backward, where, dy, None, x, weight, (True, True, True))


def _forward(where: str) -> None:
    x, weight, _ = _convolution(8, 68)
    call(conv2d_forward, where, x, weight, WINDOW, 1, None, True)


def _backward(where: str) -> None:
    x, weight, dy = _convolution(40, 68)
    call(conv2d_backward, where, dy, None, x, weight, WINDOW, 1, (True, True, True))


WORK: dict[str, tuple[Callable[[str], Any], set[str]]] = {
    "nt": (lambda where: call(product, where, _normal(70, 700), _normal(68, 700), "nt", None, False), {"gemm_nt"}),
    "nn": (lambda where: call(product, where, _normal(70, 700), _normal(700, 68), "nn", None, False), {"gemm_nn"}),
    "tn": (lambda where: call(product, where, _normal(700, 70), _normal(700, 68), "tn", None, False), {"gemm_tn"}),
    "batched": (
        lambda where: call(matmul_batched, where, _normal(3, 70, 9), _normal(3, 9, 68), "nn"),
        {"gemm_batched_nn"},
    ),
    "linear": (_linear, {"gemm_backward", "gemm_tn", "gemm_nn"}),
    "forward": (_forward, {"conv2d_forward"}),
    "backward": (_backward, {"conv2d_backward", "conv2d_backward_weight", "conv2d_backward_data"}),
}


@pytest.mark.parametrize("where", KERNELS)
@pytest.mark.parametrize("work", WORK)
def test_every_way_computes_the_same(where: str, work: str) -> None:
    run, kernels = WORK[work]
    tuner = Everything()
    with choices.tuned_by(tuner):
        run(where)
    assert set(tuner.ways) == kernels
    for kernel, ways in tuner.ways.items():
        assert len(ways) > 1
        first, *rest = tuner.results[kernel]
        for way, result in zip(ways[1:], rest, strict=True):
            if way != gemm.APART:  # which ends with another launch, that of x's gradient
                error = np.abs(result - first).max() / np.abs(first).max()
                assert error < 2e-6, (kernel, way, error)


@pytest.mark.parametrize("where", KERNELS)
def test_every_way_of_16_bit_products(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ml_dtypes")
    bfloat16 = half_named("test", "bfloat16")
    tuner = Everything()
    x, weight, dy = _convolution(136, 136, bfloat16)
    with choices.tuned_by(tuner):
        call(product, where, _normal(136, 1040, dtype=bfloat16), _normal(136, 1040, dtype=bfloat16), "nt", None, False)
        call(conv2d_forward, where, x, weight, WINDOW, 1, None, False)
        call(conv2d_backward, where, dy, None, x, weight, WINDOW, 1, (True, True, False))
    assert {"gemm_half_nt", "conv2d_half_forward", "conv2d_half_backward_data"} <= set(tuner.ways)
    assert any(way[2] > 1 for way in tuner.ways["gemm_half_nt"])
    for kernel, (first, *rest) in tuner.results.items():
        for way, result in zip(tuner.ways[kernel][1:], rest, strict=True):
            error = np.abs(result - first).max() / np.abs(first).max()
            assert error < 2.0**-7, (kernel, way, error)  # rounded once, to 8 bits, maybe the other way


@pytest.mark.parametrize("where", KERNELS)
def test_every_way_of_tensor_cores(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor, "LEAST", 0)
    monkeypatch.setattr(chosen, "name", "tf32x3", raising=False)
    monkeypatch.setattr(chosen, "convolutions", "tf32x3", raising=False)
    tuner = Everything()
    x, weight, dy = _convolution(72, 72)
    with choices.tuned_by(tuner):
        call(product, where, _normal(72, 1040), _normal(72, 1040), "nt", None, False)
        call(conv2d_forward, where, x, weight, WINDOW, 1, None, False)
        call(conv2d_backward, where, dy, None, x, weight, WINDOW, 1, (True, True, False))
    forms = {"forward", "backward_data", "backward_weight"}
    assert set(tuner.ways) == {"gemm_tensor_nt", *(f"conv2d_tensor_{form}" for form in forms)}
    for kernel, (first, *rest) in tuner.results.items():
        assert rest, kernel
        for way, result in zip(tuner.ways[kernel][1:], rest, strict=True):
            error = np.abs(result - first).max() / np.abs(first).max()
            assert error < 4e-6, (kernel, way, error)  # each within 2e-6 of what is right


# -- which is taken -------------------------------------------------------------------------------


@pytest.fixture
def emulator() -> Device:
    return device("emulator")


@pytest.fixture
def emulator_table(emulator: Device) -> Any:
    before = choices.table_of(emulator)
    yield lambda table: choices.use(emulator, table)
    choices.use(emulator, before)


def _tile(where: Device) -> tuple[int, int]:
    """Tile and slices by which 128 x 128 x 1024 is computed now."""
    a = where.array(_normal(128, 1024))
    with trace_launches() as launches:
        product(where, a, a, "nt", None, False)
    (launch,) = launches
    return int(launch.macros["TILE"]), launch.grid[2]


@pytest.mark.emulator
def test_what_was_measured_is_taken(emulator: Device, emulator_table: Any) -> None:
    rule = _tile(emulator)
    assert rule == gemm.choose_split(128, 128, 1024)
    other = next(way for way in gemm.ways_of(128, 128, 1024) if way != rule)
    key = "gemm_nt", (128, 128, 1024, "float32", 4)
    emulator_table({key: Entry(other, gemm.SOURCE.digest, 1.0, 2.0)})
    assert _tile(emulator) == other
    emulator_table({key: Entry(other, "of another text", 1.0, 2.0)})
    assert _tile(emulator) == rule
    emulator_table({key: Entry((64, 1000), gemm.SOURCE.digest, 1.0, 2.0)})
    assert _tile(emulator) == rule
    emulator_table({("gemm_nt", (128, 128, 1024, "float32", 2)): Entry(other, gemm.SOURCE.digest, 1.0, 2.0)})
    assert _tile(emulator) == rule


@pytest.mark.emulator
def test_no_plan_is_made_or_followed_while_ways_are_tried(emulator: Device) -> None:
    a = emulator.array(_normal(128, 1024))
    product(emulator, a, a, "nt", None, False)  # makes a plan
    tried = []

    def measure(where: Device, run: Callable[[], Any]) -> float:
        with trace_launches() as launches:
            run()
        tried.append((launches[0].macros["TILE"], launches[0].grid[2]))
        return float(len(tried))

    trials = Trials(measure)
    with choices.tuned_by(trials):
        product(emulator, a, a, "nt", None, False)
        product(emulator, a, a, "nt", None, False)
    assert len(set(tried)) == len(tried) == len(gemm.ways_of(128, 128, 1024))  # each once
    assert [trial.way for trial in trials.found.values()] == [gemm.choose_split(128, 128, 1024)]  # the first: 1 µs


def test_the_fastest_is_taken_where_it_gains_enough() -> None:
    trial = Trial("kernel", (1,), "source", (64, 1), {(64, 1): 100.0, (64, 2): 98.0, (32, 1): 99.0})
    assert trial.way == (64, 1)
    assert trial.gain == 1.0
    trial.us[128, 1] = 80.0
    assert trial.way == (128, 1)
    assert trial.gain == 1.25
    assert trial.entry() == Entry((128, 1), "source", 80.0, 100.0)


@pytest.mark.emulator
def test_a_way_without_memory_is_passed_by(emulator: Device) -> None:
    def measure(where: Device, run: Callable[[], Any]) -> float:
        with trace_launches() as launches:
            run()
        if launches[0].grid[2] > 1:
            raise OutOfMemoryError("none left")
        return 1.0

    def choose(rule: Way) -> Way:
        return Trials(measure).choose(emulator, _KEY, gemm.SOURCE, rule, [(64, 1), (64, 4)], run)

    a = emulator.array(_normal(128, 1024))

    def run(way: Way) -> None:
        c = emulator.empty((128, 128), np.dtype(np.float32))
        key: Key = "gemm_nt", (128, 128, 1024, "float32", 4)
        choices.use(emulator, {key: Entry(way, gemm.SOURCE.digest, 1.0, 2.0)})
        gemm.launch_gemm(emulator, "nt", (128, 128, 1024), (c,), (a, a, None), (0,))

    before = choices.table_of(emulator)
    try:
        assert choose((64, 1)) == (64, 1)
        with pytest.raises(OutOfMemoryError):
            choose((64, 4))
    finally:
        choices.use(emulator, before)


# -- what is kept ---------------------------------------------------------------------------------


class _Card:
    """A stand-in for CuPy on a GPU of a name."""

    class cuda:
        class runtime:
            @staticmethod
            def getDevice() -> int:
                return 0

            @staticmethod
            def getDeviceProperties(number: int) -> dict[str, Any]:
                return {"name": b"NVIDIA H200 (of/a test)"}


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    monkeypatch.setenv("GPUNN_TUNED", str(tmp_path))
    return Device("cuda:0", _Card(), object(), 0)


def test_a_table_is_kept_for_all_cards_of_a_name(card: Device, tmp_path: Path) -> None:
    path = choices.path_of(card)
    assert path == tmp_path / "NVIDIA-H200-of-a-test.json"
    table = {_KEY: Entry((64, 3), "abc", 1.5, 2.0), ("conv2d_forward", (1, 2, "float64")): Entry((32,), "d", 3.0, 3.0)}
    choices.write(path, table)
    assert choices.read(path) == table
    assert choices.table_of(card) == table
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_no_file_is_no_table(card: Device) -> None:
    assert choices.table_of(card) == {}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2, "ways": []}', '{"format": 1, "ways": [{"kernel": "gemm_nt"}]}', "\x00", "[1"],
)
def test_a_broken_file_is_told_and_not_followed(card: Device, text: str) -> None:
    path = choices.path_of(card)
    path.write_text(text)
    with pytest.warns(UserWarning, match=r"is not read .*: kernels are chosen by rule.*gpunn tune --clear"):
        assert choices.table_of(card) == {}
    assert path.read_text() == text


def test_zero_leaves_all_to_the_rules(card: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    choices.write(choices.path_of(card), {_KEY: Entry((64, 3), "abc", 1.5, 2.0)})
    monkeypatch.setenv("GPUNN_TUNED", "0")
    assert choices.table_of(card) == {}


def test_infinite_times_are_kept(tmp_path: Path) -> None:
    choices.write(tmp_path / "a.json", {_KEY: Entry((64, 1), "abc", 1.0, math.inf)})
    assert choices.read(tmp_path / "a.json")[_KEY].rule_us == math.inf
    assert json.loads((tmp_path / "a.json").read_text())["format"] == choices.FORMAT


def test_a_device_that_only_lists_launches_is_not_kept() -> None:
    listing = Device("emulator", np, object())
    assert choices.table_of(listing) == {}
    assert listing not in choices._tables


# -- the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "way"),
    [
        ((128, 128, 64), (32, 1)),  # too short to split
        ((256, 2304, 50176), (64, 8)),  # 144 tiles: 1152 blocks, nine on an SM
        ((64, 576, 802816), (64, 29)),  # 44 for 1 % less
        ((50176, 256, 1024), (128, 1)),  # enough blocks
    ],
)
def test_the_sm_with_the_most_blocks_has_least_to_do(sizes: tuple[int, int, int], way: Way) -> None:
    assert gemm.choose_split(*sizes) == way


def test_slices_have_tickets_and_are_long_enough() -> None:
    for rows, columns, depth, groups in ((9, 9, 10**6, 1), (4000, 4000, 9000, 1), (64, 64, 5000, 300), (1, 1, 1, 1)):
        for tile, slices in gemm.ways_of(rows, columns, depth, groups):
            assert slices == 1 or slices <= depth // 128
            assert slices == 1 or gemm.count_tiles(rows, columns, tile) * groups * 16 <= 4096
