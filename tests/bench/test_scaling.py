"""What is computed from the times of several ranks, the model of cards, and how the ranks are started."""

from __future__ import annotations

import importlib.util
import json
import shutil
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpunn._device import device
from gpunn.bench import scaling, scaling_worker
from gpunn.bench.cases import by_id
from gpunn.bench.runner import WrongResult
from gpunn.bench.scaling import Settings, hidden, key, keys, moved, on_paper, record, results, sides
from gpunn.errors import DeviceError, DistributedError, UsageError
from tests.distributed.launch import NEEDS_MPI

SETTINGS = Settings(("mlp-b3.step",), (1, 2), "tiny", "float32", "cpu", 1, 0.001, 3, 3, 0.0)


def found(**ms: float) -> dict[str, Any]:
    """What ranks would have found, in made-up times of three rounds."""
    times = {name: ms.get(name.replace(" ", "_"), 10.0) for name in (key(*side) for side in keys((1, 2)))}
    return {
        "samples": {name: [value - 0.4, value, value + 0.4] for name, value in times.items()},
        "buckets": [4_000_000, 1_000_000],
        "error": 1e-7,
        "captured": False,
        "backend": "mpi",
        "others_share_of_cpu": 0.01,
    }


def test_one_rank_first_and_the_largest_team_last() -> None:
    names = [key(*side) for side in keys((1, 2, 4))]
    assert names[:4] == ["1", "2 strong", "2 strong after", "2 strong alone"]
    assert names[4:7] == ["2 weak", "2 weak after", "2 weak alone"]
    assert [n for n, _, _ in keys((1, 2, 4))] == sorted(n for n, _, _ in keys((1, 2, 4)))
    assert len(set(names)) == len(names) == 13


def test_bytes_of_a_ring() -> None:
    assert moved([4_000_000, 1_000_000], 1) == 0
    assert moved([4_000_000, 1_000_000], 2) == 5_000_000
    assert moved([4_000_000], 4) == 6_000_000


def test_what_overlapping_hides() -> None:
    assert hidden([9.0] * 3, [12.0] * 3, [8.0] * 3) == scaling.Hidden(4.0, 0.75, True)
    assert hidden([13.0] * 3, [12.0] * 3, [8.0] * 3) == scaling.Hidden(4.0, 0.0, True)  # clamped: it costs time
    assert hidden([7.0] * 3, [12.0] * 3, [8.0] * 3) == scaling.Hidden(4.0, 1.0, True)
    # Half of the rounds say that communication costs nothing.
    assert hidden([8.0] * 4, [7.0, 8.0, 9.0, 10.0], [8.0] * 4).share is None
    # It costs something in all of them, but whether overlapping saves anything is not clear.
    unsure = hidden([11.0, 12.0, 13.0, 14.0], [12.5] * 4, [8.0] * 4)
    assert unsure == scaling.Hidden(4.5, 0.0, False)
    # Load on the machine that comes and goes with the rounds is in all three.
    load = [0.0, 100.0, 30.0]
    assert hidden([9 + x for x in load], [12 + x for x in load], [8 + x for x in load]).share == pytest.approx(0.75)


def test_speed_up_and_efficiency() -> None:
    times = sides(found(**{"1": 20.0, "2_strong": 12.5, "2_weak": 25.0}), (1, 2), 100)
    one, strong, weak = times["1"], times["2 strong"], times["2 weak"]
    assert (one["speedup"], one["efficiency"], one["items_per_second"]) == (1, 1, 5000)
    assert strong["speedup"] == pytest.approx(1.6)
    assert strong["efficiency"] == pytest.approx(0.8)
    assert weak["items_per_second"] == pytest.approx(8000)  # two batches of 100
    assert weak["speedup"] == pytest.approx(1.6)
    assert weak["efficiency"] == pytest.approx(0.8)
    assert strong["bytes_moved"] == 5_000_000
    assert "hidden" in strong
    assert "hidden" not in times["2 strong alone"]
    assert "hidden" not in one


def test_the_model() -> None:
    # 4 and 1 MB at 2 * 3/4 of their bytes: 6 and 1.5 ms at 1 GB/s, and a millisecond of latency each.
    paper = on_paper(40.0, [4_000_000, 1_000_000], 4, 1.0, 1e-3)
    assert paper.communication_ms == pytest.approx(9.5)
    assert paper.weak_ms == pytest.approx((40 + 2.5, 40 + 9.5))
    assert paper.strong_ms == pytest.approx((10 + 2.5, 10 + 9.5))
    # What takes longer than computing is not hidden by it.
    assert on_paper(8.0, [4_000_000, 1_000_000], 4, 1.0, 1e-3).strong_ms == pytest.approx((7 + 2.5, 2 + 9.5))
    assert on_paper(40.0, [1_000_000], 2, 1.0, 0.0).weak_ms == pytest.approx((41.0, 41.0))  # one bucket: none is


def test_a_record_says_what_was_measured_and_what_was_not() -> None:
    made = record(by_id("mlp-b3.step", "tiny"), found(**{"1": 20.0}), SETTINGS, device("cpu"), 25.0)
    assert json.loads(json.dumps(made)) == json.loads(json.dumps(made, allow_nan=False))
    assert (made["case"], made["group"], made["ranks"], made["items"]) == ("mlp-b3.step", "scaling", [1, 2], 3)
    assert (made["link_gbs"], made["latency_us"]) == (25.0, pytest.approx(20.0))
    assert [row["ranks"] for row in made["paper"]] == [2, 4, 8, 16]
    assert set(made["sides"]) == {key(*side) for side in keys((1, 2))}


# -- gradients are compared before anything is timed -------------------------------------------------


class _Pair:
    """A group of two ranks that compute the same, whose mean is ``factor`` times one rank's."""

    size, rank = 2, 0

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def channel(self, where: Any) -> _Pair:
        return self

    def all_reduce(self, array: Any, op: str) -> _Pair:
        assert op == "avg"
        array *= self._factor
        return self

    def progress(self) -> None:
        pass

    wait = progress

    def objects(self, what: str, own: Any) -> list[Any]:
        return [own, own]


def test_gradients_that_are_not_the_mean_are_not_timed() -> None:
    case = by_id("mlp-b3.step", "tiny")
    assert scaling_worker._check(case, scaling_worker._Team(_Pair(1.0)), device("cpu"), "weak") < 1e-6
    with pytest.raises(WrongResult, match=r"mlp-b3\.step on 2 ranks: averaged gradients differ by 5\.0e-01"):
        scaling_worker._check(case, scaling_worker._Team(_Pair(0.5)), device("cpu"), "weak")


# -- starting ----------------------------------------------------------------------------------------


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_RANK", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(UsageError, match=r"no mpi.* pip install mpi4py mpich"):
        scaling.mpiexec()
    monkeypatch.setattr(shutil, "which", lambda name, path: "/bin/mpiexec")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="no mpi4py: pip install mpi4py mpich"):
        scaling.mpiexec()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: sys)
    assert scaling.mpiexec() == "/bin/mpiexec"
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "2")
    with pytest.raises(UsageError, match="starts its ranks itself; run it without mpiexec"):
        scaling.mpiexec()


@pytest.fixture
def launcher(tmp_path: Path) -> Callable[[str], str]:
    """Makes a program that stands in for mpiexec, and says and ends as these lines do."""

    def make(body: str) -> str:
        file = tmp_path / "mpiexec"
        file.write_text(f"#!{sys.executable}\n{body}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return str(file)

    return make


def test_a_rank_that_fails_ends_it_with_its_message(launcher: Callable[[str], str]) -> None:
    said = {"failed": "the disk is full", "kind": "", "rank": 1}
    with pytest.raises(DistributedError, match=r"^rank 1: the disk is full$"):
        list(results(SETTINGS, launcher(f"print({json.dumps(said)!r}); raise SystemExit(1)")))
    said["kind"] = "DeviceError"
    with pytest.raises(DeviceError, match="rank 1: the disk is full"):
        list(results(SETTINGS, launcher(f"print({json.dumps(said)!r})")))


def test_a_start_that_fails_is_told_with_its_last_words(launcher: Callable[[str], str]) -> None:
    with pytest.raises(DistributedError, match=r"status 9 before they were done.*: no such host"):
        list(results(SETTINGS, launcher("print('no such host'); raise SystemExit(9)")))
    with pytest.raises(DistributedError, match=r"status 0 before they were done.*: nothing"):
        list(results(SETTINGS, launcher("")))


def test_what_else_the_ranks_say_is_passed_on(launcher: Callable[[str], str], capfd: Any) -> None:
    came = list(results(SETTINGS, launcher("print('a warning'); print('{\"case\": 1}')")))
    assert came == [{"case": 1}]
    assert capfd.readouterr().err == "a warning\n"


@NEEDS_MPI
def test_a_fault_of_the_ranks_says_where() -> None:
    with pytest.raises(DistributedError, match=r"rank 0: StopIteration:  \(cases\.py, line \d+\)"):
        list(results(Settings(("nothing",), (1, 2), "tiny", "float32", "cpu", 1), scaling.mpiexec()))


@NEEDS_MPI
def test_a_device_that_the_ranks_have_not(launcher: Callable[[str], str]) -> None:
    wrong = Settings(("mlp-b3.step",), (1, 2), "tiny", "float32", "nowhere", 1)
    with pytest.raises(DeviceError, match="rank 0: unknown device 'nowhere'"):
        list(results(wrong, scaling.mpiexec()))
