"""TensorBoard's files, read back by its own reader."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.data import DataLoader, TensorDataset
from gpunn.errors import DataError, UsageError
from gpunn.optim import SGD
from gpunn.train import Callback, EpochRecord, TensorBoard, Trainer
from gpunn.train.tensorboard import _figures

_WHY = "TensorBoard's files need its package: pip install 'gpunn[tensorboard]'"


@pytest.fixture
def needs_tensorboard() -> None:
    pytest.importorskip("tensorboard", reason=_WHY)


class Killed(Callback):
    """Raises in an epoch, before it is complete."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_progress(self, trainer, progress):
        if progress.epoch == self.epoch:
            raise SystemExit


def trainer(out: Path | None, *callbacks: Callback, **options: Any) -> tuple[Trainer, DataLoader, DataLoader]:
    gpunn.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))
    rng = np.random.Generator(np.random.Philox(1))
    data = TensorDataset(rng.normal(size=(12, 2)).astype(np.float32), np.arange(12) % 3)
    options = {"device": "cpu", "log": None, "callbacks": callbacks, "out": out, **options}
    return Trainer(model, SGD(model.parameters(), 0.1), **options), DataLoader(data, 4), DataLoader(data, 12)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_every_figure_is_there(needs_tensorboard: None, tmp_path: Path) -> None:
    made, train, test = trainer(tmp_path / "run", TensorBoard())
    made.fit(train, test, epochs=3)
    found = read(tmp_path / "run")
    names = {
        "loss/training": "train_loss",
        "loss/test": "test_loss",
        "accuracy in percent/training": "train_accuracy_percent",
        "accuracy in percent/test": "test_accuracy_percent",
        "learning rate": "lr",
        "training images per second": "images_per_second",
    }
    assert set(found) == {*names, "gradient norm/0", "gradient norm/2"}
    for tag, name in names.items():
        assert [step for step, _ in found[tag]] == [3, 6, 9]
        np.testing.assert_allclose([v for _, v in found[tag]], [getattr(r, name) for r in made.history], rtol=1e-6)
    norms = [r.gradient_norms["2"] for r in made.history]
    np.testing.assert_allclose([v for _, v in found["gradient norm/2"]], norms, rtol=1e-6)


def test_what_was_not_measured_is_left_out(needs_tensorboard: None, tmp_path: Path) -> None:
    made, train, _ = trainer(None, TensorBoard(tmp_path / "events"))
    made.fit(train, epochs=2)
    found = read(tmp_path / "events")
    assert "loss/training" in found
    assert "loss/test" not in found
    assert "accuracy in percent/test" not in found
    odd = EpochRecord(1, 3, float("nan"), 50.0, None, None, float("inf"), 1.0, 0.1, {"a": float("nan"), "b": 2.0})
    assert dict(_figures(odd)) == {"accuracy in percent/training": 50.0, "learning rate": 0.1, "gradient norm/b": 2.0}


def test_a_resumed_run_shows_no_step_twice(needs_tensorboard: None, tmp_path: Path) -> None:
    out = tmp_path / "run"
    made, train, test = trainer(out, TensorBoard(), Killed(4))
    with pytest.raises(SystemExit):
        made.fit(train, test, epochs=5)
    # The last checkpoint is lost: what was shown after the one before it is made again.
    sorted((out / "checkpoints").iterdir())[-1].unlink()
    resumed, train, test = trainer(out, TensorBoard())
    resumed.resume()
    assert resumed.epoch == 2
    resumed.fit(train, test, epochs=3)
    found = read(out)
    assert [step for step, _ in found["loss/training"]] == [3, 6, 9, 12, 15]
    losses = [record.train_loss for record in resumed.history]
    np.testing.assert_allclose([value for _, value in found["loss/training"]], losses, rtol=1e-6)
    assert len([p for p in out.iterdir() if "tfevents" in p.name]) == 2


def test_two_calls_of_fit_and_a_killed_writer(needs_tensorboard: None, tmp_path: Path) -> None:
    made, train, test = trainer(tmp_path / "run", TensorBoard())
    made.fit(train, test, epochs=1)
    made.fit(train, test, epochs=1)
    files = sorted(p for p in (tmp_path / "run").iterdir() if "tfevents" in p.name)
    assert len(files) == 2
    assert [step for step, _ in read(tmp_path / "run")["loss/test"]] == [3, 6]
    files[0].write_bytes(files[0].read_bytes()[:-9])  # torn in the middle of the last record
    assert [step for step, _ in read(tmp_path / "run")["loss/test"]] == [6]


def test_every_event_is_in_the_file_at_once(needs_tensorboard: None, tmp_path: Path) -> None:
    seen = []

    class Look(Callback):
        def on_epoch_end(self, trainer, record):
            seen.append(len(read(tmp_path / "run")["loss/training"]))

    made, train, test = trainer(tmp_path / "run", TensorBoard(), Look())
    made.fit(train, test, epochs=2)
    assert seen == [1, 2]


def test_refusals(needs_tensorboard: None, tmp_path: Path) -> None:
    made, train, _ = trainer(None, TensorBoard())
    with pytest.raises(UsageError, match="expected a folder, here or as the Trainer's out"):
        made.fit(train)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file"):
        TensorBoard(tmp_path / "file")


def test_a_full_disk_is_our_own_error(needs_tensorboard: None, tmp_path: Path) -> None:
    board = TensorBoard(tmp_path / "events")
    made, train, _ = trainer(None, board)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        with pytest.raises(DataError, match=r"tfevents.*: could not be written: File too large"):
            made.fit(train, epochs=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert made.epoch >= 1


def test_says_what_to_install() -> None:
    code = "import sys; sys.modules['tensorboard'] = None\nfrom gpunn.train import TensorBoard\nTensorBoard()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UsageError: TensorBoard needs its package" in done.stderr
    assert "pip install 'gpunn[tensorboard]'" in done.stderr


def test_neither_tensorflow_nor_torch_is_loaded(needs_tensorboard: None, tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom tests.train.test_tensorboard import trainer, TensorBoard\n"
        "made, train, test = trainer(None, TensorBoard(pathlib.Path(sys.argv[1])))\nmade.fit(train, test)\n"
        "print([name for name in ('tensorflow', 'torch', 'grpc') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.stdout.strip() == "[]", done.stderr
