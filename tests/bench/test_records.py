"""Results as JSON lines: what is written comes back, and what is no record is told by its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gpunn._device import device
from gpunn.bench import memory, records
from gpunn.bench.cases import by_id
from gpunn.bench.machine import Ceilings
from gpunn.bench.runner import Settings, measure
from gpunn.errors import DataError

SETTINGS = Settings(device("cpu"), size="tiny", seconds=1e-3, least=3, most=3)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    ceilings = Ceilings(100.0, 10.0)
    made = [
        records.complete(measure(by_id(name, "tiny"), SETTINGS, ceilings), SETTINGS, ceilings, 2)
        for name in ("linear1024.forward", "conv05.forward")
    ]
    path = tmp_path / "new" / "bench.jsonl"
    records.append(path, made[:1])
    records.append(path, made[1:])
    assert records.read(path) == made
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    first = made[0]
    assert (first["device"], first["dtype"], first["size"], first["threads"]) == ("cpu", "float32", "tiny", 2)
    assert first["ceilings"] == {"gflops": 100.0, "gbs": 10.0}
    assert {"python", "numpy", "gpunn"} <= set(first["versions"])
    assert first["processor"]
    assert first["machine"]


def test_a_file_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert records.read(tmp_path / "none.jsonl") == []


def test_lines_that_are_no_records_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text("\n{}\n")
    with pytest.raises(DataError, match=r"line 2: expected a benchmark record; it has no case, name"):
        records.read(path)
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1"):
        records.read(path)
    path.write_text("{cut off")
    with pytest.raises(DataError, match="line 1: expected a JSON object"):
        records.read(path)


def test_the_latest_record_of_a_case_counts() -> None:
    base = {"case": "a", "device": "cpu", "size": "cpu", "dtype": "float32", "threads": 2}
    older, newer, other = {**base, "n": 1}, {**base, "n": 2}, {**base, "device": "cuda:0", "n": 3}
    assert records.latest([older, other, newer]) == [newer, other]


def test_peak_memory_is_a_fresh_processs_own() -> None:
    ballast = bytearray(200_000_000)  # which a child must not be charged for
    small = memory.peak_memory("linear1024.forward", "gpunn", "tiny", "float32", "cpu", 1)
    large = memory.peak_memory("copy.ceiling", "gpunn", "cpu", "float32", "cpu", 1)  # two arrays of 100 MB
    assert len(ballast) > 0
    assert large["peak_mb"] - small["peak_mb"] > 190
    if sys.platform.startswith("linux"):
        assert small["peak_mb"] < 150


def test_peak_memory_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert memory.main(["linear1024.forward", "gpunn", "tiny", "float32", "cpu", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["peak_mb"] > 1
