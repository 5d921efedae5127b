"""What training shows: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import numpy as np

from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.optim import SGD
from gpunn.train import EpochRecord, Trainer
from gpunn.train.progress import Bar, Lines, epoch_line, reporter


def train(log: str) -> None:
    """Two epochs of four steps, with a test after each."""
    model = nn.Linear(2, 3)
    data = TensorDataset(np.ones((16, 2), np.float32), np.arange(16) % 3)
    trainer = Trainer(model, SGD(model.parameters(), lr=0.1), device="cpu", log=log)
    trainer.fit(DataLoader(data, 4), DataLoader(data, 8), epochs=2)


def test_lines_where_there_is_no_terminal(capsys) -> None:
    train("auto")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss ")
    assert "test accuracy" in lines[1]
    assert "images/s" in lines[1]
    assert reporter(None) is None
    assert type(reporter("auto")) is Lines


def test_bar_shows_progress_and_keeps_a_line_per_epoch(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    train("bar")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch") and "test" in line]
    assert len(lines) == 2, "epoch lines are not wrapped"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert type(reporter("auto")) is Bar
    monkeypatch.setenv("TERM", "dumb")
    assert type(reporter("auto")) is Lines


def test_epoch_line() -> None:
    record = EpochRecord(3, 120, 0.25, 91.5, 0.5, 88.25, 12345.6, 2.04, 0.1)
    assert epoch_line(record, 10) == (
        "epoch  3/10  loss 0.2500  accuracy 91.50 %  test loss 0.5000  test accuracy 88.25 %  12,346 images/s  2.0 s"
    )
    alone = EpochRecord(1, 40, 0.25, 91.5, None, None, 100.0, 2.0, 0.1)
    assert epoch_line(alone, 1) == "epoch 1/1  loss 0.2500  accuracy 91.50 %  100 images/s  2.0 s"
