"""gpunn plot: where pictures go, what they need, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpunn.cli.main import main
from tests.cli.test_cli import refused

_NET = """
import pathlib
from gpunn import nn
pathlib.Path(__file__).with_suffix(".ran").touch()

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
"""


@pytest.fixture
def needs_matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[plot]'")


@pytest.fixture
def run(tmp_path: Path, capsys) -> Path:
    """A run of a network in a file of one's own, on images of three classes."""
    rng = np.random.Generator(np.random.Philox(8))
    arrays: dict[str, Any] = {}
    for part, n in (("train", 30), ("test", 60)):
        labels = np.arange(n) % 3
        images = rng.integers(0, 150, (n, 6, 6)).astype(np.uint8)
        images[np.arange(n), 2 * labels] += 60
        arrays |= {f"x_{part}": images, f"y_{part}": labels}
    np.savez(tmp_path / "data.npz", **arrays)
    (tmp_path / "net.py").write_text(_NET)
    words = ["train", f"{tmp_path / 'net.py'}:net", "--data", str(tmp_path / "data.npz"), "--epochs", "2"]
    assert main([*words, "--device", "cpu", "--lr", "0.02", "--out", str(tmp_path / "run")]) == 0
    (tmp_path / "net.ran").unlink()
    capsys.readouterr()
    return tmp_path / "run"


def old_run(folder: Path, epochs: int = 3) -> Path:
    """The metrics of a version without gradient norms."""
    folder.mkdir(parents=True)
    lines = [{"epoch": i, "step": i, "train_loss": 1 / i, "lr": 0.1} for i in range(1, epochs + 1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_curves_go_to_the_run_or_to_this_folder_or_to_out(
    needs_matplotlib: None, run: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "run"]) == 0
    assert capsys.readouterr().out == "run/curves.png shows the curves of run.\n"
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "net.ran").exists(), "curves run no network"
    old_run(tmp_path / "old")
    assert main(["plot", "run", str(tmp_path / "old" / "metrics.jsonl")]) == 0
    assert capsys.readouterr().out == "curves.png shows the curves of 2 runs.\n"
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert main(["plot", "old", "--out", "new/folder/a.svg"]) == 0
    assert capsys.readouterr().out == "new/folder/a.svg shows the curves of old.\n"
    assert "<svg" in (tmp_path / "new" / "folder" / "a.svg").read_text()[:1000]
    assert main(["plot", "old/metrics.jsonl"]) == 0
    assert (tmp_path / "old" / "curves.png").exists()


def test_a_torn_line_is_told_and_left_out(needs_matplotlib: None, tmp_path: Path, capsys) -> None:
    path = old_run(tmp_path / "old") / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    assert main(["plot", str(path)]) == 0
    caught = capsys.readouterr()
    assert caught.err == f"gpunn: note: {path}: line 3 is cut off, and left out\n"
    assert caught.out.startswith(f"{tmp_path / 'old' / 'curves.png'} shows")


@pytest.mark.parametrize("kind", ["confusion", "mistakes"])
def test_pictures_of_a_network(needs_matplotlib: None, kind: str, run: Path, capsys) -> None:
    net = str(run.parent / "net.py") + ":net"
    assert main(["plot", str(run), "--kind", kind, "--model", net, "--device", "cpu"]) == 0
    what = "confusion matrix" if kind == "confusion" else "mistakes"
    assert capsys.readouterr().out == f"{run / kind}.png shows the {what} of {run}.\n"
    assert (run / f"{kind}.png").stat().st_size > 10_000
    out = str(run / "train.pdf")
    words = ["plot", str(run), "--kind", kind, "--trust", "--part", "train", "--batch-size", "7", "--out", out]
    assert main([*words, "--device", "cpu"]) == 0
    assert (run / "train.pdf").read_bytes()[:4] == b"%PDF"


def test_the_figures_are_those_of_eval(needs_matplotlib: None, run: Path, capsys, monkeypatch) -> None:
    from gpunn.plots import confusion, mistakes

    seen: dict[str, Any] = {}
    draw: dict[str, Any] = {"confusion": confusion.draw_confusion, "mistakes": mistakes.draw_mistakes}
    monkeypatch.setattr(confusion, "draw_confusion", lambda *a: seen.update(confusion=a) or draw["confusion"](*a))
    monkeypatch.setattr(mistakes, "draw_mistakes", lambda *a: seen.update(mistakes=a) or draw["mistakes"](*a))
    for kind in draw:
        assert main(["plot", str(run), "--kind", kind, "--trust", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["eval", str(run), "--trust", "--device", "cpu"]) == 0
    counts, classes, title = seen["confusion"]
    assert f"accuracy {100 * np.trace(counts) / 60:.2f} %" in capsys.readouterr().out
    assert counts.sum(1).tolist() == [20, 20, 20]
    assert list(classes) == ["0", "1", "2"]
    assert title == "run (epoch 2), test images of data.npz"
    images, captions, title = seen["mistakes"]
    wrong = int(counts.sum() - np.trace(counts))
    assert f"{len(images)} of {wrong} mistakes among 60" in title.replace("all ", f"{wrong} of ")
    assert len(images) == len(captions) <= wrong
    sure = [int(second.split("(")[1].split(" ")[0]) for _, second in captions]
    assert sure == sorted(sure, reverse=True), "the surest first"
    stored = np.load(run.parent / "data.npz")
    assert any(np.allclose(images[0][0], pixels / 255, atol=1e-6) for pixels in stored["x_test"])
    true = captions[0][0].removeprefix("is ")
    place = next(i for i, pixels in enumerate(stored["x_test"]) if np.allclose(images[0][0], pixels / 255, atol=1e-6))
    assert stored["y_test"][place] == int(true)


def test_nothing_to_draw_where_all_is_right(needs_matplotlib: None, run: Path, tmp_path: Path, capsys) -> None:
    import gpunn
    from gpunn.cli.run import Run
    from gpunn.data import NpzDataset
    from gpunn.plots.predictions import predict

    trained = Run(run, trust=True)
    data = NpzDataset(tmp_path / "data.npz", train=False, mean=trained.statistics[0], std=trained.statistics[1])
    answers = predict(trained.model(), data, 3, gpunn.device("cpu"))
    right = answers.labels == answers.predicted
    assert 3 < right.sum() < 60
    kept = np.load(tmp_path / "data.npz")
    np.savez(tmp_path / "right.npz", x_test=kept["x_test"][right], y_test=kept["y_test"][right])
    words = ["plot", str(run), "--kind", "mistakes", "--trust", "--data", str(tmp_path / "right.npz")]
    assert main([*words, "--device", "cpu"]) == 0
    assert "test images are classified correctly: there is nothing to draw." in capsys.readouterr().out
    assert not (run / "mistakes.png").exists()


def test_refusals(needs_matplotlib: None, run: Path, tmp_path: Path, capsys) -> None:
    folder = str(run)
    assert "none does not exist" in refused(capsys, "plot", str(tmp_path / "none"))
    assert "ends in .png, .svg, .pdf; got a.gif" in refused(capsys, "plot", folder, "--out", "a.gif")
    assert "got 'confused'; did you mean 'confusion'?" in refused(capsys, "plot", folder, "--kind", "confused")
    assert "--kind mistakes: expected one run; got 2" in refused(capsys, "plot", folder, folder, "--kind", "mistakes")
    assert "--trust: it is for --kind confusion" in refused(capsys, "plot", folder, "--trust")
    assert "--data-dir: it is for --kind confusion" in refused(capsys, "plot", folder, "--data-dir", "x")
    assert "at most 12 runs" in refused(capsys, "plot", *[folder] * 13)
    (run / "metrics.jsonl").write_text('{"epoch": "one", "train_loss": 1}\n')
    assert "line 1: epoch: expected a whole number" in refused(capsys, "plot", folder)
    # A run's own file of Python is not run only because the run names it.
    for kind in ("confusion", "mistakes"):
        assert "is not run only because a run names it" in refused(capsys, "plot", folder, "--kind", kind)
        assert not (tmp_path / "net.ran").exists()
    config = json.loads((run / "config.json").read_text())
    config["model"]["classes"], config["data"]["classes"] = 1001, [str(i) for i in range(1001)]
    (run / "config.json").write_text(json.dumps(config))
    assert "expected at most 1,000 classes in a matrix; the run has 1,001" in refused(
        capsys, "plot", folder, "--kind", "confusion", "--trust"
    )
    (tmp_path / "file").touch()
    assert "could not be written" in refused(
        capsys, "plot", str(old_run(tmp_path / "old")), "--out", str(tmp_path / "file" / "a.png")
    )


def test_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\nfrom gpunn.cli.main import main\nsys.exit(main(['plot', 'run']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pictures need matplotlib" in done.stderr
    assert "pip install 'gpunn[plot]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_needs_no_display_and_no_writable_home(needs_matplotlib: None, tmp_path: Path) -> None:
    old_run(tmp_path / "old")
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "MPLBACKEND": "TkAgg", "TMPDIR": str(tmp_path)}
    environment["PYTHONPATH"] = ":".join(sys.path[1:])
    command = [sys.executable, "-m", "gpunn", "plot", str(tmp_path / "old")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "old" / "curves.png").exists()


def test_help_documents_every_field_of_the_metrics(capsys) -> None:
    from gpunn.train import EpochRecord

    with pytest.raises(SystemExit):
        main(["plot", "--help"])
    text = capsys.readouterr().out
    for field in EpochRecord.__dataclass_fields__:
        assert field in text, f"{field} is not documented"
