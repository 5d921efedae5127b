"""Every demonstration keeps to the house's form; gpunn demo lists, runs, refuses and writes the page."""

from __future__ import annotations

import builtins
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpunn import demos
from gpunn.cli import pictures
from gpunn.cli.main import main
from gpunn.demos import NAMES, load, source, summary
from gpunn.plots.style import new_figure
from tests.demos.sizes import SIZES

# In the lectures' order.
ORDER = (
    *("perceptron", "xor", "boundaries", "approximation", "polar", "filters", "learned-filters", "convolution-sizes"),
    *("dropout", "batchnorm", "depth", "transfer", "pretraining", "graph", "kernels"),
)


def refused(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error that says what, and status 2."""
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gpunn: error: ")
    assert what in line
    assert len(line) < 500


@pytest.fixture(autouse=True)
def _needs_matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[demo]'")


# -- the form -------------------------------------------------------------------------------------


def test_names_are_in_the_lectures_order_and_complete() -> None:
    assert list(NAMES) == [name for name in ORDER if name in NAMES]
    files = {p.stem for p in Path(demos.__file__).parent.glob("*.py") if not p.stem.startswith("_")}
    assert files == {name.replace("-", "_") for name in NAMES}, "a file that nobody can run, or the other way round"


@pytest.mark.parametrize("name", NAMES)
def test_a_demonstration_is_a_short_program(name: str) -> None:
    text = source(name)
    assert len(text.splitlines()) < 60
    assert summary(name).endswith(".")
    assert len(summary(name)) <= 120, "one sentence on one line of the list"
    assert name in SIZES, "tests/demos/sizes.py: the gallery's test runs it at reduced sizes"


@pytest.mark.parametrize("name", NAMES)
def test_the_matplotlib_of_a_demonstration_is_imported_late(name: str) -> None:
    """So that what is missing is told with the extra that brings it, and the list needs nothing."""
    assert "import matplotlib" not in source(name)
    assert "pyplot" not in source(name)


def test_unknown_names() -> None:
    with pytest.raises(Exception, match=r"expected one of .*; got 'aproximation'; did you mean 'approximation'\?"):
        load("aproximation")


# -- the command ----------------------------------------------------------------------------------


def _draw(result: Any) -> Any:
    figure = new_figure()
    figure.subplots().plot([0, result])
    return figure


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A demonstration that takes no time, in place of all of them; ``run`` can be replaced."""
    lines = ["It is <so> & measured.", "n   error", "4   0.5", f"{'long ' * 40}end."]
    demo = SimpleNamespace(draw=_draw, lines=lambda result: [*lines, f"{result}."])
    demo.run = lambda *, seed, device: seed + 1
    monkeypatch.setattr(pictures, "load", lambda name: demo)
    monkeypatch.chdir(tmp_path)
    return demo


def test_the_list_has_a_sentence_for_each(capsys) -> None:
    assert main(["demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(NAMES)]] == list(NAMES)
    assert all(summary(name) in line for name, line in zip(NAMES, lines, strict=False))
    refused(["demo", "--seed", "1"], "--seed: it is about a demonstration; got none", capsys)


def test_a_picture_goes_to_demos_or_to_out(quick: SimpleNamespace, capsys) -> None:
    assert main(["demo", "approximation"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == summary("approximation")
    assert said[-2:] == ["1.", "The picture is demos/approximation.png."]
    first = Path("demos/approximation.png").read_bytes()
    assert main(["demo", "approximation", "--seed", "5"]) == 0  # over its own
    assert capsys.readouterr().out.splitlines()[-2] == "6."
    assert Path("demos/approximation.png").read_bytes() != first
    assert main(["demo", "approximation", "--out", "new/a.svg"]) == 0
    assert "<svg" in Path("new/a.svg").read_text()[:1000]
    assert main(["demo", "approximation", "--out", "a.pdf"]) == 0
    assert Path("a.pdf").read_bytes()[:4] == b"%PDF"


def test_what_somebody_else_wrote_is_kept_unless_it_is_named(quick: SimpleNamespace, capsys) -> None:
    Path("demos").mkdir()
    mine = Path("demos/approximation.png")
    mine.write_bytes(b"my own")
    refused(["demo", "approximation"], "demos/approximation.png exists, and gpunn demo did not write it", capsys)
    refused(["demo", "all"], "demos/approximation.png exists, and gpunn demo did not write it", capsys)
    assert mine.read_bytes() == b"my own"
    assert main(["demo", "approximation", "--out", str(mine)]) == 0
    Path("demos/index.html").write_text("<p>mine</p>")
    refused(["demo", "all"], "demos/index.html exists, and gpunn demo did not write it", capsys)


def test_places_that_cannot_be_written_are_told_before_the_work(quick: SimpleNamespace, capsys) -> None:
    quick.run = None  # would fail
    Path("folder.png").mkdir()
    Path("file").write_text("")
    name = ["demo", "approximation", "--out"]
    refused([*name, "folder.png"], "--out: expected the name of a file; folder.png is a folder", capsys)
    refused([*name, "a.txt"], "--out: expected a file name that ends in .png, .svg, .pdf; got a.txt", capsys)
    refused([*name, "file/a.png"], "--out: the folder file could not be made: File exists", capsys)
    refused(["demo", "all", "--out", "file"], "--out: gpunn demo all expected a folder; file is a file", capsys)
    refused(["demo", "aproximation"], "did you mean 'approximation'?", capsys)
    refused(["demo", "approximation", "--device", "gpu"], "gpu", capsys)


def test_a_folder_that_may_not_be_written(quick: SimpleNamespace, capsys, monkeypatch) -> None:
    Path("closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the superuser may write everywhere
    refused(["demo", "approximation", "--out", "closed/a.png"], "--out: nothing may be written into closed", capsys)


def test_a_missing_extra_is_named(quick: SimpleNamespace, capsys, monkeypatch) -> None:
    def run(**_: Any) -> None:
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    extra = "(No module named '{}'): pip install 'gpunn[demo]'."
    quick.run = run
    refused(["demo", "approximation"], f"needs scikit-learn {extra.format('sklearn')}", capsys)
    whole = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return whole(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(["demo", "approximation"], f"pictures need matplotlib {extra.format('matplotlib')}", capsys)


def test_ctrl_c_ends_it_in_one_line(quick: SimpleNamespace, capsys) -> None:
    def run(**_: Any) -> None:
        raise KeyboardInterrupt

    quick.run = run
    for words in (["demo", "approximation"], ["demo", "all"]):
        assert main(words) == 130
        assert capsys.readouterr().err == "gpunn: interrupted\n"
