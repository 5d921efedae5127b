"""Stopping anywhere and going on: the same bits as a run that nobody disturbed, on every device."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.data.transforms import RandomHorizontalFlip
from gpunn.errors import DataError, UsageError
from gpunn.optim import SGD, Adadelta, Adam, Adamax, NAdam, RAdam, lr_scheduler
from gpunn.serialize import read_metadata
from gpunn.train import Callback, RunFolder, Trainer
from gpunn.train.checkpoint import read_checkpoint, write_checkpoint
from gpunn.train.run_folder import _unlock
from tests.devices import EVERYWHERE

EPOCHS, STEPS = 3, 4  # steps an epoch


class Counting(Callback):
    """Has a state of its own, and draws from the generators of Python and NumPy."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_progress(self, trainer, progress):
        self.seen.append(progress.loss + random.random() + np.random.rand())

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state_dict):
        self.seen = list(state_dict["seen"])


class Stop(Callback):
    """Sends this process a signal after so many steps, which come to be counted in all epochs."""

    def __init__(self, after: int, signum: int = signal.SIGINT) -> None:
        self.after, self.signum = after, signum

    def on_progress(self, trainer, progress):
        if trainer.step == self.after:
            os.kill(os.getpid(), self.signum)


ADAPTIVE: dict[str, Any] = {"adam": Adam, "adadelta": Adadelta, "adamax": Adamax, "nadam": NAdam, "radam": RAdam}


def images(n: int, seed: int) -> TensorDataset:
    rng = np.random.Generator(np.random.Philox(seed))
    return TensorDataset(rng.normal(0, 1, (n, 2, 4, 4)).astype(np.float32), np.arange(n) % 3)


def made(out: Path, where: str = "cpu", *callbacks: Callback, kind: str = "adam", **options: Any) -> tuple[Any, ...]:
    """A trainer with everything that has a state, its loaders and its counting callback."""
    gpunn.manual_seed(5)
    random.seed(1)
    np.random.seed(2)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.4), nn.Linear(64, 3)
    )
    optimizer: Any
    schedule: Any
    if kind in ADAPTIVE:
        optimizer = ADAPTIVE[kind](model.parameters(), lr=0.01)
        momentum = kind != "adadelta"
        schedule = lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=EPOCHS * STEPS, cycle_momentum=momentum)
        every = "step"
    else:
        optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
        schedule, every = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0), "epoch"
    train = DataLoader(images(15, 1), 4, shuffle=True, transform=RandomHorizontalFlip(), device=where)
    test = DataLoader(images(6, 2), 4, shuffle=True, device=where)
    counting = Counting()
    trainer = Trainer(
        model,
        optimizer,
        device=where,
        scheduler=schedule,
        scheduler_every=every,
        out=out,
        log=None,
        callbacks=[counting, *callbacks],
        **options,
    )
    trainer._read_every = 1
    return trainer, train, test, counting


def run(out: Path, where: str = "cpu", *callbacks: Callback, **options: Any) -> Any:
    """Train from the beginning."""
    trainer, train, test, counting = made(out, where, *callbacks, **options)
    trainer.fit(train, test, EPOCHS)
    return trainer, counting


def go_on(out: Path, where: str = "cpu", *callbacks: Callback, **options: Any) -> Any:
    """Go on in an object that knows nothing but the folder."""
    trainer, train, test, counting = made(out, where, *callbacks, **options)
    assert trainer.resume() == []
    if trainer.epoch < EPOCHS:
        trainer.fit(train, test, EPOCHS - trainer.epoch)
    return trainer, counting


def outcome(folder: Path, counting: Counting) -> dict[str, Any]:
    """What must be the same: weights by their bytes, metrics but for times, and a callback's state."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["images_per_second"]
    return {"weights": (folder / "model.safetensors").read_bytes(), "metrics": lines, "seen": counting.seen}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Any:
    """What an undisturbed run gives, by device and kind."""
    known: dict[tuple[str, str], Any] = {}

    def get(where: str, kind: str) -> Any:
        if (where, kind) not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            known[where, kind] = outcome(folder, run(folder, where, kind=kind)[1])
        return known[where, kind]

    return get


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("after", [1, 3, 4, 6, 11])
def test_stopped_after_any_step_it_goes_on_to_the_same_bits(where, after, tmp_path, undisturbed) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, where, Stop(after))
    checkpoints = RunFolder(tmp_path).steps()
    assert checkpoints[-1] == after
    trainer, counting = go_on(tmp_path, where)
    assert trainer.step == EPOCHS * STEPS
    assert outcome(tmp_path, counting) == undisturbed(where, "adam")


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("kind", [kind for kind in ADAPTIVE if kind != "adam"])
def test_other_rules_go_on_with_their_counts(where, kind, tmp_path, undisturbed) -> None:
    """The schedule changes a beta in every step, so NAdam's product cannot be told from the number of steps."""
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, where, Stop(6), kind=kind)
    trainer, counting = go_on(tmp_path, where, kind=kind)
    assert trainer.step == EPOCHS * STEPS
    assert outcome(tmp_path, counting) == undisturbed(where, kind)


@pytest.mark.parametrize("after", range(1, EPOCHS * STEPS + 1))
def test_a_schedule_by_epochs_goes_on_too(after, tmp_path, undisturbed) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "cpu", Stop(after), kind="sgd")
    assert outcome(tmp_path, go_on(tmp_path, kind="sgd")[1]) == undisturbed("cpu", "sgd")


def test_stopped_again_and_again(tmp_path, undisturbed) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "cpu", Stop(1))
    for after in range(2, EPOCHS * STEPS):
        with pytest.raises(KeyboardInterrupt):
            go_on(tmp_path, "cpu", Stop(after))
    assert outcome(tmp_path, go_on(tmp_path)[1]) == undisturbed("cpu", "adam")


def test_the_same_trainer_goes_on_after_ctrl_c(tmp_path, undisturbed) -> None:
    trainer, train, test, counting = made(tmp_path, "cpu", Stop(6))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, test, EPOCHS)
    trainer.fit(train, test, EPOCHS - trainer.epoch)
    assert outcome(tmp_path, counting) == undisturbed("cpu", "adam")


@pytest.mark.parametrize("fault", [RuntimeError("a fault"), KeyboardInterrupt()])
def test_from_the_last_checkpoint_after_an_error(fault, tmp_path, undisturbed) -> None:
    class Fail(Callback):
        def on_progress(self, trainer, progress):
            if trainer.step == 7:
                raise fault

    with pytest.raises(type(fault)):
        run(tmp_path, "cpu", Fail(), checkpoint_every=3)
    assert RunFolder(tmp_path).steps() == [4, 6]
    assert outcome(tmp_path, go_on(tmp_path)[1]) == undisturbed("cpu", "adam")


def test_ctrl_c_in_the_test_ends_it_and_the_test_is_made_again(tmp_path, undisturbed) -> None:
    class Slow(nn.Module):
        """The loss; sends a signal in the first batch of the second test."""

        def __init__(self, model: list[nn.Module]) -> None:
            super().__init__()
            self.model, self.tests = model, 0

        def forward(self, scores, labels):
            if self.model and not self.model[0].training:
                self.tests += 1
                if self.tests == 3:
                    os.kill(os.getpid(), signal.SIGINT)
            return nn.functional.cross_entropy(scores, labels)

    trainer, train, test, _ = made(tmp_path)
    trainer.loss = trainer._forward.loss = Slow([trainer.model])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(train, test, EPOCHS)
    assert trainer.loss.tests == 3, "the rest of the test was not skipped"
    assert (trainer.epoch, trainer.step) == (1, 8)
    assert read_metadata(tmp_path / "model.safetensors")["epoch"] == "1"
    assert outcome(tmp_path, go_on(tmp_path)[1]) == undisturbed("cpu", "adam")


def test_a_second_ctrl_c_ends_at_once_and_handlers_come_back(tmp_path) -> None:
    class Twice(Callback):
        def on_progress(self, trainer, progress):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("not at once")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "cpu", Twice())
    assert signal.getsignal(signal.SIGINT) is before
    assert RunFolder(tmp_path).steps() == []


def test_a_program_with_its_own_handler_keeps_it(tmp_path) -> None:
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(1))
    try:
        trainer, _ = run(tmp_path, "cpu", Stop(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [1]
    assert trainer.step == EPOCHS * STEPS


def test_loaders_without_batches_and_generators_of_numpy(tmp_path) -> None:
    class Plain:
        """A loader that knows nothing of gpunn's: shuffles by a generator of NumPy's, deep inside."""

        def __init__(self) -> None:
            self.inner: dict[str, Any] = {"rng": np.random.default_rng(3), "legacy": [np.random.RandomState(4)]}
            self.data = images(12, 1).arrays

        def __len__(self) -> int:
            return 4

        def __iter__(self):
            order = self.inner["rng"].permutation(12)
            noise = self.inner["legacy"][0].rand()
            for at in np.split(order, 4):
                yield gpunn.tensor(self.data[0][at] + np.float32(noise)), gpunn.tensor(self.data[1][at])

    def end(folder: Path, *callbacks: Callback) -> Any:
        trainer, _, _, counting = made(folder, "cpu", *callbacks)
        trainer.resume()
        with contextlib.suppress(KeyboardInterrupt):
            trainer.fit(Plain(), None, EPOCHS - trainer.epoch)
        return outcome(folder, counting) if trainer.epoch == EPOCHS else None

    whole = end(tmp_path / "whole")
    for after in (3, 4, 6):
        assert end(tmp_path / str(after), Stop(after)) is None
        assert end(tmp_path / str(after)) == whole


# -- what is in the folder -------------------------------------------------------------------------


def stopped(folder: Path, after: int = 10, **options: Any) -> RunFolder:
    with pytest.raises(KeyboardInterrupt):
        run(folder, "cpu", Stop(after), **options)
    return RunFolder(folder)


def test_the_last_two_and_the_best_are_kept(tmp_path) -> None:
    class Falling(Callback):
        """Makes each epoch's network worse than the last one's."""

        def on_epoch_end(self, trainer, record):
            with gpunn.no_grad():
                trainer.model[5].weight.fill_(0.0)

    trainer, train, test, _ = made(tmp_path, "cpu", Falling(), kind="sgd")
    trainer.fit(train, test, 6)
    best = max(trainer.history, key=lambda r: r.test_accuracy_percent).step
    assert best < 20, "this says nothing"
    assert RunFolder(tmp_path).steps() == [best, 20, 24]


@pytest.mark.parametrize("how", ["cut", "flip", "empty", "swap", "folder"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(how, tmp_path, undisturbed) -> None:
    folder = stopped(tmp_path)
    newest = folder.checkpoint(10)
    content = newest.read_bytes()
    if how == "cut":
        newest.write_bytes(content[:-1])
    elif how == "flip":
        newest.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif how == "empty":
        newest.write_bytes(b"")
    elif how == "swap":  # two characters of the state, whose JSON remains as valid as it was
        newest.write_bytes(content.replace(b'epoch\\": 2', b'epoch\\": 1', 1))
        assert newest.read_bytes() != content
    else:
        newest.unlink()
        newest.mkdir()
    trainer, train, test, counting = made(tmp_path)
    (complaint,) = trainer.resume()
    assert complaint.startswith(f"{newest}: expected a ")
    assert trainer.step == 8
    if how == "folder":
        newest.rmdir()
    trainer.fit(train, test, EPOCHS - trainer.epoch)
    assert outcome(tmp_path, counting) == undisturbed("cpu", "adam")


def test_a_checkpoint_holds_configuration_and_version(tmp_path) -> None:
    state = read_checkpoint(stopped(tmp_path).checkpoint(10)).state
    assert state["gpunn"] == gpunn.__version__
    assert state["config"] == (tmp_path / "config.json").read_text()


def test_no_checkpoint_that_can_be_read_is_an_error(tmp_path) -> None:
    folder = stopped(tmp_path)
    for step in folder.steps():
        folder.checkpoint(step).write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of its 3 checkpoints can be read"):
        made(tmp_path)[0].resume()


def test_metrics_and_weights_are_cut_back_to_the_checkpoint(tmp_path, undisturbed) -> None:
    stopped(tmp_path, 6)
    shown = (tmp_path / "metrics.jsonl").read_text()
    assert len(shown.splitlines()) == 1
    later = tmp_path / "later"
    run(later)
    (tmp_path / "metrics.jsonl").write_text((later / "metrics.jsonl").read_text() + '{"epoch": 4, "st')
    (tmp_path / "model.safetensors").write_bytes((later / "model.safetensors").read_bytes())
    trainer, train, test, counting = made(tmp_path)
    trainer.resume()
    assert (tmp_path / "metrics.jsonl").read_text() == shown
    assert read_metadata(tmp_path / "model.safetensors") == {"epoch": "1", "step": "6"}
    trainer.fit(train, test, EPOCHS - trainer.epoch)
    assert outcome(tmp_path, counting) == undisturbed("cpu", "adam")


def test_what_a_killed_process_left_is_removed(tmp_path) -> None:
    folder = stopped(tmp_path)
    litter = [
        tmp_path / ".model.safetensors.0123abcd.tmp",
        folder.checkpoints / ".step-000000012.safetensors.89abcdef.tmp",
        tmp_path / ".gpunn-write-test-x1y2",
        tmp_path / ".lock",
    ]
    for path in litter:
        path.write_bytes(b"half")
    (tmp_path / "notes.tmp").write_text("the user's own")
    go_on(tmp_path)
    assert not any(path.exists() for path in litter)
    assert (tmp_path / "notes.tmp").exists()


def test_stopped_before_the_first_checkpoint_it_begins_anew(tmp_path, undisturbed) -> None:
    class Fail(Callback):
        def on_progress(self, trainer, progress):
            raise RuntimeError("at once")

    with pytest.raises(RuntimeError):
        run(tmp_path, "cpu", Fail())
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]
    assert outcome(tmp_path, go_on(tmp_path)[1]) == undisturbed("cpu", "adam")


# -- one run at a time -----------------------------------------------------------------------------


def test_two_trainers_cannot_write_to_one_folder(tmp_path) -> None:
    class Second(Callback):
        said = ""

        def on_progress(self, trainer, progress):
            other, train, test, _ = made(tmp_path)
            with pytest.raises(UsageError) as caught:
                other.resume()
            Second.said = str(caught.value)
            with pytest.raises(UsageError, match="another training run is writing here"):
                other.fit(train, test)

    run(tmp_path, "cpu", Second())
    assert f"another training run is writing here (process {os.getpid()} on " in Second.said
    assert not (tmp_path / ".lock").exists()


def test_between_resume_and_fit_the_folder_is_locked(tmp_path) -> None:
    stopped(tmp_path)
    trainer, train, test, _ = made(tmp_path)
    trainer.resume()
    other = made(tmp_path)[0]
    with pytest.raises(UsageError, match="another training run is writing here"):
        other.resume()
    trainer.fit(train, test, 1)
    assert made(tmp_path)[0].resume() == []


def test_a_lock_is_given_back_by_a_trainer_that_is_dropped_and_by_no_forked_child(tmp_path) -> None:
    stopped(tmp_path)
    trainer = made(tmp_path)[0]
    trainer.resume()
    _unlock(tmp_path / ".lock", FileIO(tmp_path / ".lock"), os.getpid() + 1)  # as in a child
    assert (tmp_path / ".lock").exists()
    del trainer
    gc.collect()
    assert not (tmp_path / ".lock").exists()
    assert made(tmp_path)[0].resume() == []


# -- refusals --------------------------------------------------------------------------------------


def test_what_was_built_otherwise_is_refused(tmp_path) -> None:
    stopped(tmp_path)
    with pytest.raises(UsageError, match="written with the optimiser Adam; got SGD"):
        made(tmp_path, kind="sgd")[0].resume()
    model = nn.Linear(3, 3)
    with pytest.raises(UsageError, match="written with a learning-rate schedule; got none"):
        Trainer(model, Adam(model.parameters()), out=tmp_path, log=None, device="cpu").resume()
    with pytest.raises(UsageError, match="expected a trainer with a folder"):
        Trainer(model, Adam(model.parameters()), log=None, device="cpu").resume()
    trainer = go_on(tmp_path)[0]
    with pytest.raises(UsageError, match="has begun already"):
        trainer.resume()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.pop("history"),
        lambda s: s.update(epoch="one"),
        lambda s: s.update(step=None),
        lambda s: s.update(data=[]),
        lambda s: s["history"][0].pop("lr"),
        lambda s: s["history"][0].update(surprise=1),
        lambda s: s["optimizer"].update(groups=7),
        lambda s: s["generators"].update(python=[3, "x", None]),
        lambda s: s["generators"].update(numpy=["MT19937"]),
        lambda s: s["generators"]["default"].pop("seed"),
        lambda s: s.update(callbacks=3),
    ],
)
def test_a_state_that_is_none_is_refused(spoil, tmp_path) -> None:
    folder = stopped(tmp_path)
    found = read_checkpoint(folder.checkpoint(10))
    spoil(found.state)
    for step in folder.steps():
        folder.checkpoint(step).unlink()
    write_checkpoint(folder.checkpoint(10), found.arrays, found.state)
    with pytest.raises(DataError, match="not a checkpoint of a Trainer"):
        made(tmp_path)[0].resume()
