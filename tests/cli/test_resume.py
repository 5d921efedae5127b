"""gpunn train --resume, signals, and folders that cannot be written: what a user of the shell sees."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.main import main
from tests import kills
from tests.cli.test_cli import refused

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals, limits and locks as POSIX has them")

_NET = """
from gpunn import nn
import gpunn, os, signal

class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.head(self.drop(x.flatten(1)))
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """What trains a small network of one's own for 3 epochs of 5 steps."""
    (tmp_path / "net.py").write_text(_NET)
    pixels = np.random.Generator(np.random.Philox(1)).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    labels = np.arange(24) % 3
    np.savez(tmp_path / "data.npz", x_train=pixels[:18], y_train=labels[:18], x_test=pixels[18:], y_test=labels[18:])
    data = ["--data", str(tmp_path / "data.npz"), "--device", "cpu"]
    return ["train", f"{tmp_path / 'net.py'}:Net", *data, "--epochs", "3", "--batch-size", "4"]


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def shell(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gpunn", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


def stopped_by(signum: int, words: list[str], out: Path, preexec: Any = None) -> subprocess.CompletedProcess[str]:
    """Send a signal as soon as there is an epoch to be seen."""
    command = [sys.executable, "-m", "gpunn", *words, "--epochs", "100000", "--out", str(out)]

    def before() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell's background jobs ignore
        if preexec is not None:
            preexec()

    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=before
    ) as process:
        end = time.monotonic() + 100
        while not (out / "metrics.jsonl").exists() and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signum)
        _, said = process.communicate(timeout=60)
    return subprocess.CompletedProcess(command, process.returncode, "", said)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_with_a_checkpoint_and_its_status(signum, words, tmp_path) -> None:
    out = tmp_path / "run"
    done = stopped_by(signum, words, out)
    assert done.returncode == 128 + signum
    (line,) = done.stderr.splitlines()
    step = max(int(path.stem[5:]) for path in (out / "checkpoints").iterdir())
    assert line.startswith("gpunn: interrupted; test accuracy ")
    assert line.endswith(f" gpunn train --resume {out} goes on after step {step}.")
    assert read(out)[-1]["step"] <= step
    assert not (out / ".lock").exists()


def test_what_nohup_ignores_is_ignored(words, tmp_path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "gpunn", *words, "--out", str(out)]
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=ignore) as process:
        assert process.stdout is not None
        process.stdout.readline()  # training begins
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=60) == 0
    assert len(read(out)) == 3


def test_the_cursor_comes_back_on_a_terminal(words, tmp_path) -> None:
    import pty

    main_end, terminal = pty.openpty()
    command = [sys.executable, "-m", "gpunn", *words, "--epochs", "100000", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        command,
        stdout=terminal,
        stderr=subprocess.DEVNULL,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        os.close(terminal)
        seen = b""
        while b"epoch 2/" not in seen:
            seen += os.read(main_end, 4096)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                more = os.read(main_end, 4096)
            except OSError:  # the terminal's end, as Linux says it
                break
            if not more:
                break
            seen += more
        assert process.wait(timeout=60) == 130
    os.close(main_end)
    hidden, shown = seen.rfind(b"\x1b[?25l"), seen.rfind(b"\x1b[?25h")
    assert 0 <= hidden < shown


def test_resumed_by_the_command_that_the_message_names(words, tmp_path, capsys) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert main([*words, "--out", str(whole)]) == 0
    assert main([*words, "--out", str(out), "--checkpoint-every", "2"]) == 0
    kills_at = sorted((out / "checkpoints").iterdir())
    for path in kills_at[1:]:
        path.unlink()  # as if it had been killed after the first of those that are left
    (out / "model.safetensors").unlink()
    capsys.readouterr()
    line = refused(capsys, "train", "--resume", str(out))
    assert "a file of Python, which is not run only because a run names it" in line
    assert main(["train", "--resume", str(out), "--trust"]) == 0
    said = capsys.readouterr().out
    step = int(kills_at[0].stem[5:])
    assert said.startswith(f"Going on with {out} after step {step} (epoch {step // 5 + 1}): training ")
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert len(read(out)) == 3
    # Once more, with the network named by the user: there is nothing left to do.
    assert main(["train", words[1], "--resume", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"The run in {out} is complete: test accuracy ")
    done = shell(["train", "--resume", str(out), "--trust"])
    assert done.returncode == 0
    assert kills.litter(out) == []


def test_a_run_that_was_killed_between_its_first_weights_and_checkpoint_begins_anew(words, tmp_path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert main([*words, "--out", str(whole)]) == 0
    assert main([*words, "--out", str(out), "--max-steps", "5"]) == 0
    shutil.rmtree(out / "checkpoints")
    config = json.loads((out / "config.json").read_text())
    config["command"] = json.loads((whole / "config.json").read_text())["command"]
    (out / "config.json").write_text(json.dumps(config))
    assert main(["train", "--resume", str(out), "--trust"]) == 0
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert len(read(out)) == 3


def test_a_damaged_checkpoint_is_told_of(words, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    assert main([*words, "--out", str(out), "--keep", "5"]) == 0
    newest = max((out / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-100])
    capsys.readouterr()
    assert main(["train", "--resume", str(out), "--trust"]) == 0
    caught = capsys.readouterr()
    (line,) = caught.err.splitlines()
    assert line.startswith(f"gpunn: warning: {newest}: expected a whole checkpoint; ")
    assert " after step 10 (epoch 3): training" in caught.out


def test_what_a_resumed_run_keeps_cannot_be_given_anew(words, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    assert main([*words, "--out", str(out)]) == 0
    capsys.readouterr()
    for flags in (["--lr", "1"], ["--epochs", "9"], ["--optimizer", "sgd"], ["--out", "x"], ["--data", "digits"]):
        line = refused(capsys, "train", "--resume", str(out), "--trust", *flags)
        assert f"{flags[0]}: a resumed run keeps its own. With --resume expected at most --device" in line
    assert "the run in " in refused(capsys, "train", "lenet5", "--resume", str(out))
    assert "no-run does not exist" in refused(capsys, "train", "--resume", str(tmp_path / "no-run"))
    assert "has no config.json" in refused(capsys, "train", "--resume", str(tmp_path))
    assert "expected a network's name, such as lenet5" in refused(capsys, "train")
    assert "--trust: it is for --resume" in refused(capsys, "train", "lenet5", "--trust")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("command"), "its command is none that gpunn train writes"),
        (lambda c: c.update(command=[1]), "command: expected a text of at most 4096 letters; got 1"),
        (lambda c: c.update(command="train lenet5"), "command: expected a list; got 'train lenet5'"),
        (lambda c: c.update(command=[]), "its command is none that gpunn train writes"),
        (lambda c: c.update(command=["eval", "x"]), "its command is none that gpunn train writes"),
        (
            lambda c: c.update(command=["train", "lenet5", "--resume", "."]),
            "its command is none that gpunn train writes",
        ),
        (lambda c: c.update(command=["train", "lenet5", "--help"]), "its command is none that gpunn train takes"),
        (
            lambda c: c.update(command=["train", "lenet5", "--epochs", "-1"]),
            "its command is none that gpunn train takes",
        ),
    ],
)
def test_a_configuration_with_another_command_is_refused(change, said, words, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    assert main([*words, "--out", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    change(config)
    (out / "config.json").write_text(json.dumps(config))
    capsys.readouterr()
    assert said in refused(capsys, "train", "--resume", str(out), "--trust")


def test_an_earlier_run_is_overwritten_on_request_only(words, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    assert main([*words, "--out", str(out)]) == 0
    capsys.readouterr()
    line = refused(capsys, *words, "--out", str(out))
    assert "holds a run already. Go on with it (gpunn train --resume, Trainer.resume), give another folder" in line
    assert main([*words, "--epochs", "1", "--out", str(out), "--overwrite"]) == 0
    assert len(read(out)) == 1


# -- what the system refuses -----------------------------------------------------------------------


def _as_it_was(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "checkpoints").iterdir()}


def test_a_limit_of_file_size_is_told_and_older_checkpoints_stay(words, tmp_path) -> None:
    """The network's checkpoint has more than 8 kB, its weights less."""
    out = tmp_path / "run"
    assert main([*words, "--epochs", "1", "--out", str(out)]) == 0
    config = json.loads((out / "config.json").read_text())
    config["command"][config["command"].index("--epochs") + 1] = "3"
    (out / "config.json").write_text(json.dumps(config))
    before = _as_it_was(out)
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))  # noqa: E731
    done = shell(["train", "--resume", str(out), "--trust"], preexec_fn=limit)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "step-000000010.safetensors: could not be written: File too large." in line
    assert _as_it_was(out) == before
    assert kills.damage(out) == kills.litter(out) == []
    assert main(["train", "--resume", str(out), "--trust"]) == 0
    assert [line["epoch"] for line in read(out)] == [1, 2, 3]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=100k", "tmpfs", str(path)):
        pytest.skip("nobody but root may mount a small disk here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def _mount(*words: str) -> int:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode


def test_a_full_disk_is_told_and_older_checkpoints_stay(words, disk) -> None:
    out = disk / "run"
    done = shell([*words, "--keep", "50", "--checkpoint-every", "1", "--out", str(out)])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "could not be written: No space left on device." in line
    assert len(_as_it_was(out)) >= 2
    assert kills.damage(out) == kills.litter(out) == []


def test_a_folder_that_became_read_only_is_told(words, disk) -> None:
    out = disk / "run"
    assert main([*words, "--epochs", "1", "--out", str(out)]) == 0
    before = _as_it_was(out)
    assert _mount("-o", "remount,ro", str(disk)) == 0
    done = shell(["train", "--resume", str(out), "--trust"])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "expected a folder that can be written to; the system says: Read-only file system" in line
    assert _as_it_was(out) == before


# -- killed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("device", "every"), [("cpu", 5), pytest.param("emulator", 16, marks=pytest.mark.emulator)])
def test_killed_at_any_operation_on_a_file_it_goes_on_to_the_same_bits(device, every) -> None:
    """A short form of ``python -m tests.kills``."""
    command = [sys.executable, "-m", "tests.kills", "--points", "--every", str(every), "--device", device]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["points"] > 80
    assert outcome["kills"] >= outcome["points"] // every
