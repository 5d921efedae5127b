"""``gpunn bench --ranks``: the table, what is kept, what is refused, and a run of two ranks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpunn._device import device
from gpunn.bench import machine, records, scaling
from gpunn.bench.cases import by_id
from gpunn.cli.bench_ranks import table
from gpunn.cli.main import main
from tests.bench.test_scaling import SETTINGS, found
from tests.cli.test_cli import refused
from tests.distributed.launch import NEEDS_MPI

QUICK = ["bench", "--device", "cpu", "--size", "tiny", "--cases", "mlp*", "--ranks", "2"]


def test_the_table() -> None:
    ms = {"1": 20.0, "2_strong": 12.5, "2_strong_after": 14.0, "2_strong_alone": 12.0, "2_weak": 25.0}
    made = record_of(**ms, **{"2_weak_after": 24.0, "2_weak_alone": 24.0})
    assert table(made) == [
        "mlp-b3.step  (MLP 16-6-5-10, batch 3; error 1e-07; gradients 5.00 MB in 2 buckets (4.00 + 1.00); mpi)",
        "  ranks               batch            ms        images/s  speed-up  efficiency   MB sent   alone ms"
        "   after ms        hidden",
        "  1                       3     20.000 ±  1%         150      1.00        100%",
        "  2 strong            3 / 2     12.500 ±  2%         240      1.60         80%      5.00     12.000     14.000"
        "           75%",
        "  2 weak              3 × 2     25.000 ±  1%         240      1.60         80%      5.00     24.000     24.000"
        "  in the noise",
        "  on paper   2: strong 10.04 to 10.14 ms, speed-up 1.97 to 1.99; weak 20.04 to 20.14 ms, efficiency 99.3 to "
        "99.8 %",
        "  on paper   4: strong 5.05 to 5.19 ms, speed-up 3.85 to 3.96; weak 20.05 to 20.19 ms, efficiency 99.1 to "
        "99.8 %",
        "  on paper   8: strong 2.56 to 2.71 ms, speed-up 7.37 to 7.83; weak 20.05 to 20.21 ms, efficiency 98.9 to "
        "99.7 %",
        "  on paper  16: strong 1.31 to 1.48 ms, speed-up 13.54 to 15.30; weak 20.06 to 20.23 ms, efficiency 98.9 to "
        "99.7 %",
    ]


def record_of(**ms: float) -> dict[str, Any]:
    return scaling.record(by_id("mlp-b3.step", "tiny"), found(**ms), SETTINGS, device("cpu"))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the ranks find, without any."""
    what = found(**{"1": 20.0})

    def results(settings: Any, launcher: str) -> Iterator[dict[str, Any]]:
        yield from [what] * len(settings.cases)

    monkeypatch.setattr(scaling, "results", results)
    monkeypatch.setattr(scaling, "mpiexec", lambda: "mpiexec")
    return what


def test_results_are_kept(made_up: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "scaling.jsonl"
    assert main([*QUICK, "--out", str(out), "--link", "25", "--threads", "3"]) == 0
    text = capsys.readouterr().out
    assert "cpu, float32, 3 threads a rank on " in text
    assert "1 and 2 ranks in turns" in text
    assert "25 GB/s from each to the next, 20 µs a bucket. That is a model: none of it was measured." in text
    assert f"1 of 1 results appended to {out}" in text
    (kept,) = records.read(out)
    assert (kept["link_gbs"], kept["threads"], kept["sides"]["1"]["ms"]) == (25.0, 3, 20.0)


def test_those_of_a_busy_machine_are_not(made_up: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    made_up["others_share_of_cpu"] = 2 * machine.DISTURBED
    out = tmp_path / "scaling.jsonl"
    assert main([*QUICK, "--out", str(out)]) == 1
    assert "other processes took 10% of the machine: do not trust this" in capsys.readouterr().out
    assert not out.exists()


def test_more_ranks_than_cores_are_told(made_up: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("gpunn.cli.bench_ranks._cores", lambda: 1)
    assert main(QUICK) == 0
    assert "From 2 ranks on there are more threads than cores" in capsys.readouterr().out
    monkeypatch.setattr("gpunn.cli.bench_ranks._cores", lambda: 8)
    assert main(QUICK) == 0
    text = capsys.readouterr().out
    assert "4 threads a rank on 8 cores" in text
    assert "more threads than cores" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ranks", "1"], "--ranks: expected up to 8 numbers of processes from 1 to 256 with commas"),
        (["--ranks", "0,2"], "one of them above 1, such as 1,2,4; got '0,2'"),
        (["--ranks", "2,x"], "got '2,x'"),
        (["--ranks", "2", "--against", "torch"], "--against: it is for benchmarks without --ranks"),
        (["--ranks", "2", "--memory"], "--memory: it is for benchmarks without --ranks"),
        (["--ranks", "2", "--compare", "cpu,emulator"], "--ranks: it is for benchmarks without --compare"),
        (["--ranks", "2", "--networks", "lenet5"], "--networks: it is for --compare DEVICES"),
        (["--ranks", "2", "--quick", "--out", "x.jsonl"], "the results of --quick are not worth keeping"),
        (["--ranks", "2", "--out", "."], "expected a file; . is a folder"),
        (["--link", "50"], "--link: it is for --ranks LIST"),
        (["--ranks", "2", "--link", "0"], "argument --link: expected a number above 0"),
        (["--ranks", "2", "--cases", "conv06"], "--ranks is for training steps; none is called 'conv06'"),
        (["--ranks", "4", "--size", "tiny"], "the batch of lenet-b2.step has 2 images, too few for 4 ranks"),
    ],
)
def test_wrong_use(words: list[str], message: str, capsys: Any, made_up: dict[str, Any]) -> None:
    device_ = [] if "--compare" in words else ["--device", "cpu"]
    assert message in refused(capsys, "bench", *device_, *words)


@pytest.mark.parametrize(
    ("where", "captured"), [("cpu", False), pytest.param("emulator", True, marks=pytest.mark.emulator)]
)
@NEEDS_MPI
def test_two_ranks(where: str, captured: bool, capsys: Any) -> None:
    words = [where if word == "cpu" else word for word in QUICK]
    assert main([*words, "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{where}, float32, ")
    place = next(i for i, line in enumerate(lines) if line.startswith("mlp-b3.step"))
    assert ("; captured; " in lines[place]) is captured
    assert "in 1 bucket; mpi)" in lines[place]
    assert [line.split()[0] for line in lines[place + 2 : place + 5]] == ["1", "2", "2"]
    assert [line.split(":")[0] for line in lines[place + 5 : place + 9]] == [f"  on paper {n:3}" for n in (2, 4, 8, 16)]
