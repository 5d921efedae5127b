"""gpunn sweep: what it keeps, how it goes on, and what ends a trial but not the sweep."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.main import main
from tests.cli.test_cli import ROOT

pytest.importorskip("optuna", reason="sweeps need Optuna: pip install 'gpunn[sweep]'")

_NET = """
import os
import sys
import time

from gpunn import nn

BUILT = 0

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        global BUILT
        BUILT += 1
        if BUILT == int(os.environ.get("STOP_AT", "0")):
            print("waiting", flush=True)
            time.sleep(600)
        if BUILT == int(os.environ.get("FAIL_AT", "0")):
            raise OSError(5, "Input/output error", "disk")
        if BUILT == int(os.environ.get("FULL_AT", "0")):
            raise MemoryError("no room")
        self.fc = nn.Linear(16, 4)

    def forward(self, x):
        return self.fc(x.flatten(1))
"""


@pytest.fixture(autouse=True)
def _place(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's folder with a network and images of four classes that are easy to tell apart."""
    Path("net.py").write_text(_NET)
    rng = np.random.Generator(np.random.Philox(0))
    x, y = rng.normal(size=(120, 1, 4, 4)).astype(np.float32), np.arange(120) % 4
    x[np.arange(120), 0, y, y] += 2
    np.savez("d.npz", x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])
    for name in ("STOP_AT", "FAIL_AT", "FULL_AT", "GPUNN_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    # Nothing here loses its power: the disk need not be waited for.
    monkeypatch.setattr(os, "fsync", lambda file: None)
    # Each picture takes as long as all trials of a sweep here.
    monkeypatch.setattr("gpunn.cli.sweep_trials._picture", lambda *args: "")


_SPACE = "--lr 1e-3..1e0 --batch-size 8,16"


def _words(rest: str, space: str = _SPACE) -> list[str]:
    return f"sweep net.py:Net --data d.npz --device cpu --epochs 2 {space} {rest}".split()


def _rows(folder: str = "s") -> list[dict[str, str]]:
    with Path(folder, "trials.csv").open(newline="") as file:
        return [{**row, "machine": ""} for row in csv.DictReader(file)]


def _trials(folder: str = "s") -> list[tuple[str, Any]]:
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/study.sqlite3")
    study = optuna.load_study(study_name="sweep", storage=storage)
    found = [(t.state.name, t.user_attrs.get("place")) for t in study.get_trials()]
    storage.remove_session()
    storage.engine.dispose()
    return found


def test_a_sweep_goes_on_after_a_kill_as_if_it_had_not_happened(capfd: Any) -> None:
    assert main(_words("--trials 4 --out whole")) == 0
    words = _words("--trials 4 --out s")
    # On the third trial the network waits for the kill.
    with subprocess.Popen(
        [sys.executable, "-m", "gpunn", *words],
        env={**os.environ, "STOP_AT": "3", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line == "waiting\n" for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert _trials() == [("COMPLETE", 1), ("COMPLETE", 2), ("RUNNING", 3)]
    capfd.readouterr()
    assert main(words) == 0
    said = capfd.readouterr().out
    begin = "Going on with s: 2 of 4 trials are finished; 1 that did not end is trained again.\n"
    assert said.startswith(f"{begin}trial 3/4  ")
    assert _trials()[2:4] == [("FAIL", 3), ("COMPLETE", 3)]
    assert _rows() == _rows("whole")  # same draws, same bits
    assert len(_rows()) == 4


def test_a_sweep_that_is_done_shows_its_results_and_takes_more_trials(capsys: Any) -> None:
    assert main(_words("--trials 2 --out s")) == 0
    first = capsys.readouterr().out
    assert main(_words("--trials 2 --out s")) == 0
    again = capsys.readouterr().out
    assert again.startswith("Going on with s: 2 of 2 trials are finished.\n")
    assert again.split("\n", 1)[1].strip() in first
    assert main(_words("--trials 3 --out s")) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("trial ")] == ["3/3"]


def test_ctrl_c_ends_a_sweep_which_goes_on(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from gpunn.train import Trainer

    fit, calls = Trainer.fit, []

    def interrupted(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return fit(self, *args, **options)

    monkeypatch.setattr(Trainer, "fit", interrupted)
    assert main(_words("--trials 3 --out s")) == 130
    assert "gpunn: interrupted; 1 of 3 trials are finished. The same command goes on." in capsys.readouterr().err
    assert main(_words("--trials 3 --out s")) == 0
    assert _trials() == [("COMPLETE", 1), ("FAIL", 2), ("COMPLETE", 2), ("COMPLETE", 3)]


def test_a_failure_ends_the_sweep_which_goes_on(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL_AT", "2")
    assert main(_words("--trials 3 --out s")) == 1
    assert "net.py, line" in capsys.readouterr().err
    monkeypatch.delenv("FAIL_AT")
    assert main(_words("--trials 3 --out s")) == 0
    assert sorted(row["trial"] for row in _rows()) == ["1", "2", "3"]


def test_memory_that_does_not_suffice_is_a_result(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FULL_AT", "2")
    assert main(_words("--trials 3 --out s")) == 0
    last = _rows()[-1]
    assert (last["trial"], last["outcome"], last["test_loss"]) == ("2", "out of memory: no room", "")
    assert "trial 2/3" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_is_a_result(capsys: Any) -> None:
    assert main(_words("--sampler grid --out s", "--lr 1e38,0.1")) == 0
    out = capsys.readouterr().out
    good, bad = _rows()
    assert good["lr"] == "0.1"
    assert good["outcome"] == ""
    assert bad["outcome"].startswith("diverged: ")
    assert "trial 1/2  lr 1e+38  diverged  " in out


def test_where_every_trial_diverges_there_is_no_best(capsys: Any) -> None:
    assert main(_words("--sampler grid --out s", "--lr 1e38,2e38")) == 0
    assert "No trial was trained to its end" in capsys.readouterr().out


def test_bad_trials_are_pruned() -> None:
    # Rates fall: trials are worse and worse, so after four that are compared with each other all are ended early.
    rates = "--lr 0.3,0.2,0.1,0.05,1e-6,1e-7 --seed 1 --epochs 4"
    assert main(_words("--sampler grid --prune --out s", rates)) == 0
    rows = {row["lr"]: row for row in _rows()}
    for lr in ("1e-06", "1e-07"):
        assert rows[lr]["outcome"] == "pruned after epoch 2"
        assert rows[lr]["epoch"] == "2"
    assert [rows[lr]["epoch"] for lr in ("0.3", "0.2", "0.1", "0.05")] == ["4"] * 4


def test_in_its_last_epoch_no_trial_is_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna

    asked = []

    def prune(self: Any, study: Any, trial: Any) -> bool:
        asked.append(trial.last_step)
        return bool(trial.last_step == 3)

    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", prune)
    assert main(_words("--sampler grid --prune --epochs 3 --max-steps 15 --out s", "--batch-size 16,20")) == 0
    assert 3 in asked
    assert [(row["outcome"], row["epoch"]) for row in _rows()] == [("", "3")] * 2


@pytest.mark.parametrize("more", ["", "--autocast float16 --precision tf32"])
def test_the_best_run_is_one_like_any_other_and_its_command_trains_it_again(more: str, capsys: Any) -> None:
    assert main(_words(f"--trials 3 --out s --optimizer sgd,adam --momentum 0.5..0.9 {more}")) == 0
    *_, place, command = capsys.readouterr().out.splitlines()
    folder = place.removeprefix("Its run is ").removesuffix(". To train it again:")
    assert ("--autocast float16" in command) == ("--precision tf32" in command) == bool(more)
    assert json.loads(Path(folder, "config.json").read_text())["autocast"] == ("float16" if more else None)
    best = _rows()[0]
    assert folder == f"s/trial-{int(best['trial']):03d}"
    assert main(["eval", folder, "--model", "net.py:Net"]) == 0
    assert f"{float(best['test_accuracy_percent']):.2f} %" in capsys.readouterr().out
    assert main([*shlex.split(command)[1:], "--out", "again"]) == 0
    one, other = (Path(run, "model.safetensors").read_bytes() for run in (folder, "again"))
    assert one == other
    # Checkpoints are large, and nothing goes on from those of the others.
    assert {run for run in ("001", "002", "003") if Path("s", f"trial-{run}", "checkpoints").exists()} == {folder[-3:]}


def test_what_has_no_meaning_in_a_trial_is_left_out_of_it() -> None:
    space = "--lr 0.1 --optimizer sgd,adam --momentum 0.5,0.9"
    assert main(_words("--sampler grid --out s", space)) == 0
    rows = {(row["optimizer"], row["momentum"]) for row in _rows()}
    assert rows == {("sgd", "0.5"), ("sgd", "0.9"), ("adam", "")}
    config = json.loads(Path("s", "trial-003", "config.json").read_text())
    assert "--momentum" not in config["command"]


def test_seeds_decide_what_is_drawn() -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert main(_words(f"--trials 2 --sampler random --sampler-seed {seed} --max-steps 1 --out {folder}")) == 0
    assert _rows("a") == _rows("b")
    assert {row["lr"] for row in _rows("a")}.isdisjoint(row["lr"] for row in _rows("c"))


def test_two_folders_share_a_database() -> None:
    shared = "--storage sqlite:///shared.db --name study --trials {} --out {}"
    assert main(_words(shared.format(2, "a"))) == 0
    assert main(_words(shared.format(4, "b"))) == 0
    assert {p.name for p in Path("a").glob("trial-*")} == {"trial-001", "trial-002"}
    assert {p.name for p in Path("b").glob("trial-*")} == {"trial-003", "trial-004"}
    assert len(_rows("b")) == 4
    assert not Path("b", "study.sqlite3").exists()


def test_a_picture_where_matplotlib_is(capsys: Any, monkeypatch: pytest.MonkeyPatch, own_folder: Path) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.undo()
    monkeypatch.chdir(own_folder)
    assert main(_words("--trials 2 --max-steps 1 --out s")) == 0
    assert "and s/sweep.png shows it." in capsys.readouterr().out
    assert Path("s", "sweep.png").read_bytes().startswith(b"\x89PNG")
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(_words("--trials 2 --max-steps 1 --out s")) == 0
    assert "for a picture, pip install 'gpunn[plot]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("--lr 1e-3..1 --batch-size 8,32", "--batch-size: it has 8,16; got 8,32"),
        ("--lr 1e-3..1", "--batch-size: it has 8,16; got none"),
        ("--lr 1e-3..1 --batch-size 8,16 --seed 1", "--seed: it has none; got 1"),
        ("--lr 1e-3..1 --batch-size 8,16 --sampler random", "--sampler: it has tpe; got random"),
    ],
)
def test_a_sweep_goes_on_only_as_it_began(rest: str, said: str, capsys: Any) -> None:
    assert main(_words("--trials 1 --max-steps 1 --out s")) == 0
    before = Path("s", "study.sqlite3").read_bytes()
    capsys.readouterr()
    assert main(_words(f"--trials 2 --max-steps 1 --out s {rest}", "")) == 2
    assert said in capsys.readouterr().err
    assert Path("s", "study.sqlite3").read_bytes() == before


def test_two_processes_do_not_share_a_folder(capsys: Any) -> None:
    from gpunn.train.run_folder import RunFolder

    with RunFolder("s").locked():
        assert main(_words("--trials 1 --out s")) == 2
    assert "s: another training run is writing here" in capsys.readouterr().err


def test_a_folder_of_a_run_is_not_taken(capsys: Any) -> None:
    run = "train net.py:Net --data d.npz --device cpu --epochs 1 --max-steps 1 --out run"
    assert main(run.split()) == 0
    assert main(_words("--out run")) == 2
    assert "--out: run holds a run of gpunn train. Give another folder." in capsys.readouterr().err


def test_another_programs_study_is_not_taken(capsys: Any) -> None:
    import optuna

    storage = optuna.storages.RDBStorage("sqlite:///other.db")
    study = optuna.create_study(study_name="mine", storage=storage)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    storage.remove_session()
    storage.engine.dispose()
    assert main(_words("--storage sqlite:///other.db --name mine --out s")) == 2
    assert "--name mine: this study was not made by gpunn sweep. Give another name." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("--out d.npz", "d.npz"),
        ("--storage sqlite:////no/a.db --name a --out s", "--storage sqlite:////no/a.db: unable to open database file"),
    ],
)
def test_places_that_cannot_be_used(rest: str, said: str, capsys: Any) -> None:
    assert main(_words(rest)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_no_password_is_printed_or_written(capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import optuna
    from sqlalchemy.exc import OperationalError

    def unreachable(*args: Any, **options: Any) -> None:
        raise OperationalError("", {}, Exception("no route to host for me:s3cret"))

    monkeypatch.setattr(optuna.storages, "RDBStorage", unreachable)
    monkeypatch.setenv("GPUNN_TRACEBACK", "1")
    assert main(_words("--storage postgresql://me:s3cret@host/db --name a --out s")) == 2
    out, err = capfd.readouterr()
    assert "--storage postgresql://me:***@host/db: no route to host for me:***. Check address" in err
    assert "s3cret" not in out + err
    assert not [p for p in Path("s").rglob("*") if p.is_file() and b"s3cret" in p.read_bytes()]
