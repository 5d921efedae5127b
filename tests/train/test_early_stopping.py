"""Early stopping: when it stops, what counts as an improvement, and that a resumed run goes on counting."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import UsageError
from gpunn.optim import SGD
from gpunn.train import Callback, EarlyStopping, EpochRecord, Trainer

_RECORD = EpochRecord(1, 1, 1.0, 50.0, 1.0, 50.0, 1.0, 1.0, 0.1)


class Stop:
    """In place of a trainer."""

    reason: str | None = None

    def stop(self, reason: str) -> None:
        self.reason = reason


def epochs_until_stop(stopping: EarlyStopping, values: list[float | None]) -> tuple[int | None, str | None]:
    """After which of the epochs with these figures it stops, and what it says."""
    trainer: Any = Stop()
    for epoch, value in enumerate(values, 1):
        changed: dict[str, Any] = {"epoch": epoch, stopping.monitor: value}
        stopping.on_epoch_end(trainer, replace(_RECORD, **changed))
        if trainer.reason is not None:
            return epoch, trainer.reason
    return None, None


@pytest.mark.parametrize(
    ("options", "values", "stops"),
    [
        ({"patience": 2}, [5, 4, 3, 3, 3], 5),
        ({"patience": 2}, [5, 4, 4.5, 3, 3.5, 3.2, 9], 6),
        ({"patience": 1}, [5, 4, 4], 3),
        ({"patience": 3}, [5, 4, 4, 4], None),
        ({"patience": 2, "min_delta": 0.5}, [5, 4.6, 4.5, 4.4], 3),
        ({"patience": 2, "min_delta": 0.5}, [5, 4.4, 3.8, 3.2], None),
        ({"patience": 2}, [5, float("nan"), float("nan"), 1], 3),
        ({"patience": 2, "monitor": "test_accuracy_percent"}, [50, 60, 60, 55], 4),
        ({"patience": 2, "monitor": "test_accuracy_percent"}, [50, 60, 59, 61, 60], None),
        ({"patience": 2, "monitor": "train_loss"}, [5, 6, 7], 3),
        ({"patience": 2, "monitor": "train_accuracy_percent"}, [5, 6, 7], None),
        ({"patience": 2, "monitor": "test_loss", "mode": "max"}, [5, 6, 7, 6, 6], 5),
        ({"patience": 2}, [0.0, 1.0, 0.0], 3),
    ],
)
def test_when_it_stops(options: dict[str, Any], values: list[float | None], stops: int | None) -> None:
    assert epochs_until_stop(EarlyStopping(**options), values)[0] == stops


def test_says_why() -> None:
    _, reason = epochs_until_stop(EarlyStopping(patience=2), [5, 0.123456, 4, 4])
    assert reason == "test_loss has not improved for 2 epochs: it was best after epoch 2, 0.1235"
    _, reason = epochs_until_stop(EarlyStopping("train_accuracy_percent", patience=1), [98.5, 98.5])
    assert reason == "train_accuracy_percent has not improved for 1 epoch: it was best after epoch 1, 98.5"


def trainer(out: Path | None, *callbacks: Callback, lr: float = 1e-9) -> tuple[Trainer, DataLoader, DataLoader]:
    """With such a learning rate nothing improves much."""
    gpunn.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 3))
    rng = np.random.Generator(np.random.Philox(1))
    data = TensorDataset(rng.normal(size=(12, 2)).astype(np.float32), np.arange(12) % 3)
    made = Trainer(model, SGD(model.parameters(), lr), device="cpu", log=None, callbacks=callbacks, out=out)
    return made, DataLoader(data, 4, shuffle=True), DataLoader(data, 12)


def test_a_trainer_stops_and_keeps_its_epochs(tmp_path: Path) -> None:
    stopping = EarlyStopping(patience=2, min_delta=0.01)
    made, train, test = trainer(tmp_path / "run", stopping)
    history = made.fit(train, test, epochs=50)
    assert len(history) == 3
    assert made.stop_reason == "test_loss has not improved for 2 epochs: it was best after epoch 1, " + (
        f"{history[0].test_loss:.4g}"
    )
    assert (stopping.best, stopping.best_epoch, stopping.waited) == (history[0].test_loss, 1, 2)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    made.fit(train, test, epochs=50)  # asked again, it goes on, and stops at the next epoch without improvement
    assert len(made.history) == 4


class Killed(Callback):
    """Ends the process, as far as a test can, in an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_progress(self, trainer, progress):
        if progress.epoch == self.epoch:
            raise SystemExit


def test_a_resumed_run_goes_on_counting(tmp_path: Path) -> None:
    made, train, test = trainer(tmp_path / "run", EarlyStopping(patience=4, min_delta=0.01), Killed(4))
    with pytest.raises(SystemExit):
        made.fit(train, test, epochs=50)
    again = EarlyStopping(patience=4, min_delta=0.01)
    resumed, train, test = trainer(tmp_path / "run", again)
    assert resumed.resume() == []
    assert (again.waited, again.best_epoch, resumed.epoch) == (2, 1, 3)
    resumed.fit(train, test, epochs=50)
    assert resumed.epoch == 5, "two epochs after the three that were done, as without the interruption"


def test_state_is_json_and_checked() -> None:
    stopping = EarlyStopping(patience=3)
    fresh = EarlyStopping(patience=3)
    fresh.load_state_dict(json.loads(json.dumps(stopping.state_dict())))
    epochs_until_stop(stopping, [3, 4])
    fresh.load_state_dict(json.loads(json.dumps(stopping.state_dict())))
    assert (fresh.best, fresh.best_epoch, fresh.waited) == (3, 1, 1)
    assert epochs_until_stop(fresh, [9, 9])[0] == 2
    for broken in (
        {},
        {"best": "3", "best_epoch": 1, "waited": 1},
        {"best": 3.0, "best_epoch": None, "waited": 1},
        {"best": 3.0, "best_epoch": 1, "waited": -1},
        {"best": True, "best_epoch": 1, "waited": 1},
        {"best": 3.0, "best_epoch": 1.5, "waited": 1},
    ):
        with pytest.raises(UsageError, match="expected what state_dict gave"):
            fresh.load_state_dict(broken)
    assert fresh.best == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "loss"}, "monitor: expected one of test_loss, .*; got 'loss'"),
        ({"patience": 0}, "patience: expected a whole number of at least 1; got 0"),
        ({"patience": True}, "patience: expected a whole number of at least 1; got True"),
        ({"patience": 1.5}, "patience"),
        ({"min_delta": -1}, "min_delta: expected a number of at least 0; got -1"),
        ({"min_delta": float("nan")}, "min_delta"),
        ({"mode": "auto"}, "mode: expected 'min', 'max' or None; got 'auto'"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EarlyStopping(**options)


def test_needs_what_it_watches() -> None:
    made, train, _ = trainer(None, EarlyStopping())
    with pytest.raises(UsageError, match="epoch 1 has no test_loss, as nothing is tested"):
        made.fit(train, epochs=2)
    made, train, _ = trainer(None, EarlyStopping("train_loss", patience=1, min_delta=0.1))
    assert len(made.fit(train, epochs=9)) == 2
