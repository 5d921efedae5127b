"""Step size, batch size and the search for them (T7): a sweep from one command, its results in a table."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest

from gpunn.cli.main import main

pytest.importorskip("sklearn", reason="Digits come with scikit-learn: pip install 'gpunn[demo]'")
pytest.importorskip("optuna", reason="sweeps need Optuna: pip install 'gpunn[sweep]'")

_SHORT = ["--epochs", "1", "--max-steps", "12", "--device", "cpu"]


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _table(printed: str) -> list[list[str]]:
    """The words of the printed table's rows, without its heading."""
    lines = re.split("─ *\n", printed)[1].split("\n")
    return [line.split() for line in lines[: lines.index(next(s for s in lines if not s.strip()))]]


def test_T7_a_grid_of_step_and_batch_sizes_on_digits(tmp_path: Path, capsys: Any) -> None:
    grid = ["--sampler", "grid", "--lr", "0.0001,0.1", "--batch-size", "16,64"]
    assert main(["sweep", "mlp", *grid, *_SHORT, "--out", str(tmp_path / "s")]) == 0
    rows = _rows(tmp_path / "s")
    assert {(row["lr"], row["batch_size"]) for row in rows} == {
        ("0.0001", "16"),
        ("0.0001", "64"),
        ("0.1", "16"),
        ("0.1", "64"),
    }
    losses = [float(row["test_loss"]) for row in rows]
    assert losses == sorted(losses)  # the best first
    # In 12 steps, a rate of 0.0001 changes nothing: the loss is that of guessing, ln 10 = 2.30, within a tenth.
    assert [row["lr"] for row in rows] == ["0.1", "0.1", "0.0001", "0.0001"]
    assert losses[0] < 1.5
    assert losses[2:] == pytest.approx([2.3, 2.3], abs=0.23)
    table = _table(capsys.readouterr().out)
    assert [words[0] for words in table] == [row["trial"] for row in rows]
    assert [words[1] for words in table] == [f"{loss:.4f}" for loss in losses]


def test_T7_a_random_draw_on_digits(tmp_path: Path, capsys: Any) -> None:
    drawn = ["--sampler", "random", "--trials", "4", "--lr", "1e-3..1e-1", "--batch-size", "16,32,64"]
    assert main(["sweep", "mlp", *drawn, *_SHORT, "--out", str(tmp_path / "s")]) == 0
    rows = _rows(tmp_path / "s")
    assert sorted(row["trial"] for row in rows) == ["1", "2", "3", "4"]
    assert all(1e-3 <= float(row["lr"]) <= 1e-1 and row["batch_size"] in ("16", "32", "64") for row in rows)
    assert len({row["lr"] for row in rows}) == 4
    assert len(_table(capsys.readouterr().out)) == 4
