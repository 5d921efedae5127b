"""The LeNet comparison runs, and refuses to time sides that compute different things."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import compare_lenet

pytest.importorskip("torch")
_ROOT = Path(compare_lenet.__file__).parent.parent


def test_all_sides_agree_and_are_timed() -> None:
    # In a process of its own: it sets the thread counts of both libraries.
    command = [sys.executable, "-m", "benchmarks.compare_lenet", "--batch", "4", "--steps", "2", "--layers"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("torch-channels-last", "peak MB", "conv2d_backward", "everything else"):
        assert expected in done.stdout


def test_sides_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(compare_lenet, "_make", lambda side, *how: lambda: 1.0 if side == "gpunn" else 1.01)
    assert compare_lenet.main(["--no-memory"]) == 1
    assert "nothing was timed" in capsys.readouterr().out


def test_a_recorded_result_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_lenet, "_make", lambda side, *how: lambda: 1.0)
    monkeypatch.setattr(compare_lenet, "RECORD", tmp_path / "results" / "record.jsonl")
    monkeypatch.setattr(compare_lenet, "_share_of_others", lambda before, after: 0.01)
    for _ in range(2):
        assert compare_lenet.main(["--no-memory", "--record", "--steps", "4"]) == 0
    first, second = (json.loads(line) for line in compare_lenet.RECORD.read_text().splitlines())
    assert first["batch"] == second["batch"] == 128
    assert set(first["sides"]) == {"gpunn", "torch", "torch-channels-last"}
    assert set(first["versions"]) == {"python", "numpy", "torch"}


def test_times_of_a_busy_machine_are_not_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare_lenet, "_make", lambda side, *how: lambda: 1.0)
    monkeypatch.setattr(compare_lenet, "RECORD", tmp_path / "record.jsonl")
    monkeypatch.setattr(compare_lenet, "_share_of_others", lambda before, after: 0.3)
    assert compare_lenet.main(["--no-memory", "--record", "--steps", "4"]) == 1
    assert "do not trust the times" in capsys.readouterr().out
    assert not compare_lenet.RECORD.exists()
