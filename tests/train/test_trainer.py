"""Trainer: what it learns, reports, writes and leaves behind when it is stopped."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn._device import device
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import DeviceError, LabelError, TrainingError, UsageError
from gpunn.optim import SGD, lr_scheduler
from gpunn.train import Callback, Trainer, evaluate
from tests.devices import EVERYWHERE

FIELDS = [
    "epoch",
    "step",
    "train_loss",
    "train_accuracy_percent",
    "test_loss",
    "test_accuracy_percent",
    "images_per_second",
    "seconds",
    "lr",
    "gradient_norms",
    "skipped",
]


def blobs(n: int = 60, seed: int = 1) -> TensorDataset:
    """Three classes of points around three corners, far enough apart to be learned in a few epochs."""
    rng = np.random.Generator(np.random.Philox(seed))
    labels = np.arange(n) % 3
    points = rng.normal(0, 0.3, (n, 2)) + np.array([[1, 1], [-1, 1], [0, -1]])[labels]
    return TensorDataset(points.astype(np.float32), labels)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))


def made(model: nn.Module | None = None, lr: float = 0.1, schedule=None, **options) -> Trainer:
    model = network() if model is None else model
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9)
    options = {"device": "cpu", "log": None, "scheduler": schedule and schedule(optimizer), **options}
    return Trainer(model, optimizer, **options)


def loaders(batch_size: int = 16, n: int = 60) -> tuple[DataLoader, DataLoader]:
    return DataLoader(blobs(n), batch_size, shuffle=True), DataLoader(blobs(45, seed=2), 20)


class Spy(Callback):
    """Notes every call, and raises ``fault`` when epoch ``at`` has made ``steps`` steps."""

    def __init__(self, fault: BaseException | None = None, at: int = 0, steps: int = 1) -> None:
        self.fault, self.at, self.steps = fault, at, steps
        self.calls: list[str] = []
        self.progress: list = []

    def on_fit_begin(self, trainer, epochs, steps):
        self.calls.append(f"begin {epochs} {steps}")

    def on_progress(self, trainer, progress):
        self.progress.append(progress)
        if self.fault is not None and (progress.epoch, progress.step) == (self.at, self.steps):
            raise self.fault

    def on_epoch_end(self, trainer, record):
        self.calls.append(f"epoch {record.epoch}")

    def on_fit_end(self, trainer):
        self.calls.append("end")


# -- learning ------------------------------------------------------------------------------------


def test_learns_and_records_every_epoch() -> None:
    spy = Spy()
    trainer = made(callbacks=[spy])
    history = trainer.fit(*loaders(), epochs=8)
    assert history is trainer.history
    assert [r.epoch for r in history] == list(range(1, 9))
    assert [r.step for r in history] == [4 * e for e in range(1, 9)]
    assert history[-1].test_accuracy_percent == 100
    assert history[-1].train_loss < 0.2 < history[0].train_loss
    assert history[-1].lr == 0.1
    assert all(r.images_per_second > 0 and r.seconds > 0 for r in history)
    assert spy.calls == ["begin 8 4", *(f"epoch {e}" for e in range(1, 9)), "end"]
    assert [(p.epoch, p.epochs, p.step, p.steps) for p in spy.progress[:5]] == [
        (1, 8, 1, 4),
        (1, 8, 2, 4),
        (1, 8, 3, 4),
        (1, 8, 4, 4),
        (2, 8, 1, 4),
    ]
    assert spy.progress[3].loss == history[0].train_loss


def test_a_schedule_steps_after_every_epoch() -> None:
    trainer = made(lr=0.1, schedule=lambda o: lr_scheduler.ExponentialLR(o, 0.5))
    trainer.fit(*loaders(), epochs=3)
    assert [r.lr for r in trainer.history] == [0.1, 0.05, 0.025]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_schedule_steps_after_every_step(where) -> None:
    rates = []

    class Watch(Callback):
        def on_progress(self, trainer, progress):
            rates.append(trainer.optimizer.param_groups[0]["lr"])

    trainer = made(
        lr=0.1,
        schedule=lambda o: lr_scheduler.LambdaLR(o, lambda step: 1 / (1 + step)),
        scheduler_every="step",
        callbacks=[Watch()],
        device=where,
    )
    trainer._read_every = 1  # also on a GPU, where a look at the totals waits for the device
    trainer.fit(*loaders(), epochs=2)
    assert rates == pytest.approx([0.1 / (1 + step) for step in range(1, 9)])


def test_plateau_watches_the_test_loss_or_the_training_loss() -> None:
    for test in (True, False):
        trainer = made(lr=1e-12, schedule=lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.1, patience=0))
        train_loader, test_loader = loaders()
        trainer.fit(train_loader, test_loader if test else None, epochs=3)
        assert [r.lr for r in trainer.history] == pytest.approx([1e-12, 1e-12, 1e-12])
        assert trainer.scheduler.best == pytest.approx(
            min(r.test_loss if test else r.train_loss for r in trainer.history), rel=1e-4
        )


def test_refuses_a_schedule_that_does_not_fit() -> None:
    model = network()
    other = SGD(network().parameters(), lr=0.1)
    with pytest.raises(UsageError, match="holds another optimiser"):
        made(model, schedule=lambda _: lr_scheduler.StepLR(other, 1))
    with pytest.raises(UsageError, match="expected 'epoch' or 'step'; got 'batch'"):
        made(model, scheduler_every="batch")
    with pytest.raises(UsageError, match="watches whole epochs"):
        made(model, schedule=lr_scheduler.ReduceLROnPlateau, scheduler_every="step")


def test_evaluate_is_the_trainers_test() -> None:
    trainer = made()
    test_loader = loaders()[1]
    assert evaluate(trainer.model, test_loader) == trainer.evaluate(test_loader)
    assert trainer.model.training
    with pytest.raises(UsageError, match="the model has no parameters"):
        evaluate(nn.ReLU(), test_loader)


def test_a_second_fit_goes_on() -> None:
    trainer = made()
    trainer.fit(*loaders(), epochs=1)
    trainer.fit(*loaders(), epochs=2)
    assert [(r.epoch, r.step) for r in trainer.history] == [(1, 4), (2, 8), (3, 12)]


def test_equals_a_loop_written_out() -> None:
    gpunn.manual_seed(4)
    trainer = made()
    trainer.fit(loaders()[0], epochs=3)
    gpunn.manual_seed(4)
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader, criterion = loaders()[0], nn.CrossEntropyLoss()
    for _ in range(3):
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
    assert trainer.history[-1].train_loss == pytest.approx(total / 60, rel=1e-6)
    for a, b in zip(trainer.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_evaluate_is_the_mean_over_images_and_restores_the_modes() -> None:
    class Half(nn.Module):
        """Wrong by a factor in training mode, and partly frozen."""

        def __init__(self):
            super().__init__()
            self.body, self.frozen = network(), nn.Dropout(0.5)
            self.frozen.eval()

        def forward(self, x):
            return self.body(x) * (100.0 if self.training else 1.0)

    model = Half()
    trainer = made(model)
    found = trainer.evaluate(loaders()[1])
    x, y = blobs(45, seed=2).arrays
    scores = model.body(gpunn.tensor(x))
    assert found.images == 45
    assert found.loss == pytest.approx(nn.CrossEntropyLoss()(scores, gpunn.tensor(y)).item(), rel=1e-5)
    assert found.accuracy_percent == pytest.approx(100 * (scores.detach().numpy().argmax(1) == y).mean())
    assert model.training
    assert not model.frozen.training
    trainer.fit(*loaders(), epochs=1)
    assert not model.frozen.training, "fit thaws what was frozen"
    model.eval()
    trainer.fit(*loaders(), epochs=1)
    assert model.training


def test_max_steps_ends_within_an_epoch_and_keeps_it(tmp_path) -> None:
    trainer = made(out=tmp_path)
    trainer.fit(*loaders(), epochs=5, max_steps=6)
    assert [(r.epoch, r.step) for r in trainer.history] == [(1, 4), (2, 6)]
    assert trainer.history[-1].test_loss is not None
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    trainer.fit(*loaders(), max_steps=4)
    assert trainer.step == 10
    assert len(trainer.history) == 3


def test_totals_are_read_every_few_steps_only() -> None:
    spy = Spy()
    trainer = made(callbacks=[spy])
    trainer._read_every = 3  # as on a GPU, where a look waits for the device
    trainer.fit(loaders(8)[0], epochs=1)
    assert [p.step for p in spy.progress] == [3, 6, 8]
    assert trainer.history[0].test_loss is None


def test_other_losses_and_a_list_of_batches() -> None:
    calls = []

    def loss(scores, labels):
        calls.append(scores.shape)
        return nn.functional.cross_entropy(scores, labels) * 2.0

    batches = [(x, y.to("int32")) for x, y in loaders()[0]]
    trainer = made(loss=loss)
    trainer.fit(batches, epochs=1)
    assert calls == [(16, 3)] * 3 + [(12, 3)]


# -- files -----------------------------------------------------------------------------------------


def test_files_hold_the_run(tmp_path) -> None:
    folder = tmp_path / "deep" / "run"
    gpunn.manual_seed(9)
    trainer = made(out=folder, config={"note": Path("mine"), "scale": np.float32(0.5), "data": {"name": "blobs"}})
    trainer.fit(*loaders(), epochs=3)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [FIELDS] * 3
    assert lines == [r.as_dict() for r in trainer.history]
    twin = network()
    twin.load_state_dict(gpunn.load_file(folder / "model.safetensors"))
    for a, b in zip(twin.parameters(), trainer.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    config = json.loads((folder / "config.json").read_text())
    assert config["versions"] == {
        "gpunn": gpunn.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    assert config["machine"]["device"] == "cpu"
    assert config["seed"] == 9
    assert config["model"] == {"class": "Sequential", "parameters": 99}
    assert config["optimizer"]["class"] == "SGD"
    assert config["optimizer"]["groups"][0]["lr"] == 0.1
    assert config["optimizer"]["groups"][0]["momentum"] == 0.9
    assert config["data"] == {
        "class": "TensorDataset",
        "items": 60,
        "batch_size": 16,
        "shuffle": True,
        "drop_last": False,
        "name": "blobs",
    }
    assert (config["epochs"], config["max_steps"], config["note"]) == (3, None, "mine")
    assert config["scale"] == 0.5
    assert sorted(p.name for p in folder.iterdir()) == [
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
    ]


def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="expected a folder to write to"):
        made(out=tmp_path / "file")
    with pytest.raises(UsageError, match="is a file"):
        made(out=tmp_path / "file" / "below")


def test_an_earlier_run_is_not_lost(tmp_path) -> None:
    made(out=tmp_path).fit(*loaders(), epochs=2)

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = files()
    with pytest.raises(UsageError, match="holds a run already"):
        made(out=tmp_path).fit(*loaders(), epochs=3)
    assert files() == before
    made(out=tmp_path, lr=0.2, overwrite=True).fit(*loaders(), epochs=1)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["lr"] for line in lines] == [0.2]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000004.safetensors"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("from a callback")])
def test_what_is_complete_is_kept_when_training_stops(tmp_path, fault) -> None:
    spy, watch = Spy(), Spy(fault, at=3, steps=2)
    trainer = made(out=tmp_path, callbacks=[spy, watch])
    with pytest.raises(type(fault)):
        trainer.fit(*loaders(), epochs=9)
    assert [r.epoch for r in trainer.history] == [1, 2]
    assert spy.calls[-1] == "end"
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    from gpunn.serialize import read_metadata

    assert read_metadata(tmp_path / "model.safetensors") == {"epoch": "2", "step": "8"}


# -- errors ----------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_training_and_names_the_step(tmp_path) -> None:
    trainer = made(lr=1e30, out=tmp_path)
    with pytest.raises(TrainingError) as caught:
        trainer.fit(*loaders(), epochs=3)
    message = str(caught.value)
    assert message.startswith(("the training loss became nan at step 2", "the training loss became inf at step 2"))
    assert "Lower the learning rate (now 1e+30)" in message
    assert trainer.history == []
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    assert message.endswith(" There is no checkpoint yet.")


def test_a_loss_that_is_not_finite_names_the_layer_whose_parameters_are_not() -> None:
    model = network()
    with gpunn.no_grad():
        model[2].bias.fill_(float("nan"))
    for layer in model[:2]:
        layer.requires_grad_(False)  # else the first step would spread it over all layers
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"; 2 \(Linear\) is the first layer whose"):
        made(model).fit(loaders(8)[0])


def test_a_test_loss_that_is_not_finite_ends_training() -> None:
    bad = TensorDataset(np.full((4, 2), np.nan, np.float32), np.zeros(4, np.int64))
    with pytest.raises(TrainingError, match="the test loss after epoch 1 is nan"):
        made().fit(loaders()[0], DataLoader(bad, 4))


def test_a_label_out_of_range_names_the_loss_and_the_label() -> None:
    bad = TensorDataset(np.zeros((4, 2), np.float32), np.array([0, 1, 7, 2]))
    with pytest.raises(LabelError, match=r"CrossEntropyLoss.*7"):
        made().fit(DataLoader(bad, 4))


def test_misuse_is_told() -> None:
    model = network()
    with pytest.raises(UsageError, match="the optimiser holds none of the model's parameters"):
        Trainer(model, SGD(network().parameters(), lr=0.1), device="cpu")
    with pytest.raises(DeviceError, match="unknown device 'gpu'"):
        made(device="gpu")
    with pytest.raises(UsageError, match="log: expected 'auto', 'bar', 'lines' or None; got 'loud'"):
        made(log="loud")
    trainer = made(model)
    for options in ({"epochs": 0}, {"epochs": 1.5}, {"max_steps": 0}, {"max_steps": True}):
        with pytest.raises(UsageError, match="expected a whole number of at least 1"):
            trainer.fit(*loaders(), **options)
    with pytest.raises(UsageError, match="generator has no length"):
        trainer.fit(batch for batch in loaders()[0])
    with pytest.raises(UsageError, match=r"pairs of tensors \(images, labels\); got tuple of 1"):
        trainer.fit(DataLoader(TensorDataset(np.zeros((4, 2), np.float32)), 2))
    with pytest.raises(UsageError, match=r"pairs of tensors.*got list of 2"):
        trainer.fit([[np.zeros((1, 2)), np.zeros(1)]])
    with pytest.raises(UsageError, match="gave 0 batches; its length says 0"):
        trainer.fit([])
    with pytest.raises(UsageError, match="the loader gave no images"):
        trainer.evaluate([])


# -- devices -----------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_weights_and_batches_on_cpu_and_with_kernels(kernels: str) -> None:
    def start(where: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        gpunn.manual_seed(21)
        model = network()
        loader = DataLoader(blobs(), 16, shuffle=True, device=where)
        trainer = made(model, device=where)
        assert {p.device for p in trainer.model.parameters()} == {device(where)}
        weights = [p.detach().numpy().copy() for p in model.parameters()]
        return weights, [t.numpy().copy() for _ in range(2) for batch in loader for t in batch]

    for ours, theirs in zip(start("cpu"), start(kernels), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("capture", [True, False])
def test_trains_with_kernels_as_on_the_cpu(kernels: str, capture) -> None:
    def train(where: str) -> Trainer:
        gpunn.manual_seed(2)
        trainer = made(device=where, capture=capture)
        trainer.fit(*loaders(), epochs=3)
        return trainer

    ours, theirs = train(kernels), train("cpu")
    for mine, other in zip(ours.history, theirs.history, strict=True):
        # Twelve steps from equal weights: sums in another order, hardly amplified.
        assert mine.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert mine.test_loss == pytest.approx(other.test_loss, rel=1e-4)
        assert mine.test_accuracy_percent == other.test_accuracy_percent
    if capture:
        # One graph for the batches of 16 and one for the last 12; in the test for 20 and for 5.
        steps: tuple[Any, ...] = (ours._train_step.steps.of_pairs, ours._evaluator._step.of_pairs)
        assert [step.graphs for step in steps] == [2, 2]
