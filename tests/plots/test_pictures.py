"""Every picture can be read from the back of a room: large letters, nothing outside, no text on other text."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[plot]'")

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from gpunn.errors import UsageError
from gpunn.plots.confusion import draw_confusion
from gpunn.plots.curves import draw_curves
from gpunn.plots.mistakes import caption, draw_mistakes, most_shown, pixels_of
from gpunn.plots.style import check_suffix, drawing, label, run_names, write
from gpunn.train.metrics import FIELDS, Metrics

_LONG = "resnet20-cifar10-lr0.100-weight-decay-0.0005-augment-crop-flip-label-smoothing-0.1-seed-"
_ODD = ["a$\\frac{1}$b", "line\nbreak\x1b[31m", "<b>&", "日本語のクラス"]


def metrics(epochs: int, layers: int = 3, *, tested: bool = True, seed: int = 0, name: str = "conv") -> Metrics:
    """A run as it may be: losses fall, the learning rate does too, gradients differ by layer."""
    rng = np.random.Generator(np.random.Philox(seed))
    t = np.arange(1, epochs + 1) / epochs
    nothing = np.full(epochs, np.nan)
    columns = dict.fromkeys(FIELDS, nothing) | {
        "step": 100.0 * np.arange(1, epochs + 1),
        "train_loss": 2.3 * np.exp(-5 * t + 0.1 * rng.normal(size=epochs)),
        "train_accuracy_percent": 100 - 80 * np.exp(-5 * t),
        "images_per_second": 123_456 + rng.normal(size=epochs),
        "lr": 0.1 * 0.1 ** np.floor(3 * t),
    }
    if tested:
        columns |= {"test_loss": 2.5 * np.exp(-3 * t), "test_accuracy_percent": 98 - 80 * np.exp(-4 * t)}
    norms = {f"{name}{i}": np.exp(0.1 * i - 3 * t + 0.2 * rng.normal(size=epochs)) for i in range(layers)}
    return Metrics(Path("metrics.jsonl"), np.arange(1, epochs + 1), columns, norms, ())


def shown_texts(figure: Figure) -> Iterator[Text]:
    """The texts that are drawn: of ticks only those within their axis."""
    of_ticks: dict[int, Axis] = {}
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for text in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)):
                of_ticks[id(text)] = axis
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if not text.get_visible() or not text.get_text().strip():
            continue
        axis = of_ticks.get(id(text))
        if axis is not None:
            place = text.get_position()[0 if axis.axis_name == "x" else 1]
            low, high = sorted(axis.get_view_interval())
            if not axis.get_visible() or not low <= place <= high:
                continue
            if axis.axes.axison is False:
                continue
        elif text.axes is not None and not text.axes.axison and text in (text.axes.xaxis.label, text.axes.yaxis.label):
            continue
        yield text


def check(figure: Figure) -> list[str]:
    """Draw it, and see that it can be read; returns its texts."""
    FigureCanvasAgg(figure).draw()
    slide = figure.bbox
    assert (slide.width, slide.height) == (1280, 720)
    texts = list(shown_texts(figure))
    boxes = [text.get_window_extent() for text in texts]
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= 12, text
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= slide.width, text
        assert box.y1 <= slide.height, text
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        # Lines of one column are padded with empty ones, so the boxes of a list begin at its top.
        listed = one.get_text().startswith("\n") or other.get_text().startswith("\n")
        assert wide < 1 or high < 1 or listed, f"{one} lies on {other}"
    plain = [a for a in figure.axes if a.axison]
    for axes in plain:
        if axes.get_label() != "<colorbar>":
            assert axes.get_ylabel(), "an axis without a label"
    return [text.get_text() for text in texts]


@pytest.fixture(autouse=True)
def style() -> Iterator[None]:
    with drawing():
        yield


# -- curves -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "layers"), [(1, 0), (1, 8), (2, 1), (12, 4), (12, 9), (300, 0), (300, 100), (20_000, 8)]
)
def test_curves_of_a_run(epochs: int, layers: int) -> None:
    figure = draw_curves([("lenet5", metrics(epochs, layers, name="a.rather.long.name.of.a.layer"))])
    texts = check(figure)
    assert {"lenet5", "training", "test", "accuracy (%)", "learning rate", "mean loss per image", "epoch"} <= set(texts)
    loss = figure.axes[0]
    shown = {line.get_linestyle(): len(line.get_xdata()) for line in loss.get_lines()}
    assert shown == {"--": min(epochs, 4000), "-": min(epochs, 4000)}
    assert len({line.get_color() for line in loss.get_lines()}) == 2
    assert ("L2 norm" in texts) is (layers > 0)
    assert ("training images/s" in texts) is (layers == 0)
    assert len(figure.axes[3].get_lines()) == max(layers, 1)
    ticks = [t for t in texts if t.isdigit()]
    assert ticks, "epochs are whole numbers"


@pytest.mark.parametrize(
    ("count", "name", "epochs"), [(2, "run", 60), (3, _LONG, 12), (8, _LONG, 60), (12, "run", 1), (12, _LONG, 300)]
)
def test_curves_of_several_runs(count: int, name: str, epochs: int) -> None:
    runs = [metrics(epochs + 7 * i * (epochs > 1), 3 * (i % 2), tested=i != 1, seed=i) for i in range(count)]
    names = run_names([f"runs/{name}{i}" for i in range(count)])
    figure = draw_curves(list(zip(names, runs, strict=True)))
    texts = check(figure)
    assert len(set(names)) == count
    assert set(names) <= set(texts)
    looks = {(line.get_color(), line.get_marker()) for line in figure.axes[0].get_lines()}
    assert len(looks) == count, "runs can be told apart by colour and marker"
    with pytest.raises(UsageError, match="at most 12 runs in one picture; got 13"):
        draw_curves([("a", runs[0])] * 13)


def test_curves_without_numbers() -> None:
    run = metrics(5, 2)
    for field in FIELDS:
        run.columns[field] = np.full(5, np.nan)
    for name in run.gradient_norms:
        run.gradient_norms[name] = np.zeros(5)
    texts = check(draw_curves([("odd", run)]))
    assert texts.count("not recorded") == 3


def test_a_point_between_gaps_is_marked() -> None:
    run = metrics(40, 0)
    run.columns["train_loss"][1::2] = np.nan
    line = draw_curves([("odd", run)]).axes[0].get_lines()[0]
    assert line.get_markevery() == 1
    assert line.get_marker() == "o"


def test_axes_are_logarithmic_where_that_shows_more() -> None:
    def scales(run: Metrics) -> list[str]:
        return [axes.get_yscale() for axes in draw_curves([("a", run)]).axes[:4]]

    run = metrics(30, 2)
    assert scales(run) == ["log", "linear", "log", "log"]
    run.gradient_norms.update(conv0=np.linspace(2, 1, 30), conv1=np.linspace(1, 2, 30))
    assert scales(run) == ["log", "linear", "log", "linear"]
    run.columns["lr"] = np.append(np.geomspace(0.1, 1e-4, 29), 0)  # the last is 0, which a logarithm does not have
    run.columns["train_loss"] = run.columns["test_loss"] = np.linspace(2, 1, 30)
    run.gradient_norms["conv0"] = np.geomspace(1, 1e-6, 30)  # here a 0 is a gap
    run.gradient_norms["conv0"][3] = 0
    assert scales(run) == ["linear", "linear", "linear", "log"]


def test_runs_with_the_same_learning_rate_are_all_seen() -> None:
    runs = [(str(i), metrics(9, seed=i)) for i in range(3)]
    widths = [line.get_linewidth() for line in draw_curves(runs).axes[2].get_lines()]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 3


def test_the_norm_of_all_layers() -> None:
    run = metrics(2, 0)
    run.gradient_norms.update(a=np.array([3.0, np.nan]), b=np.array([4.0, np.nan]))
    line = draw_curves([("a", run), ("b", metrics(2, 1))]).axes[3].get_lines()[0]
    np.testing.assert_array_equal(np.asarray(line.get_ydata(), float), [5, np.nan])


# -- confusion matrices -----------------------------------------------------------------------------


def counts(classes: int, images: int, wrong: float = 0.2) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(classes))
    true = rng.integers(0, classes, images)
    said = np.where(rng.random(images) < wrong, rng.integers(0, classes, images), true)
    found = np.zeros((classes, classes), np.int64)
    np.add.at(found, (true, said), 1)
    return found


@pytest.mark.parametrize(
    ("names", "images", "written"),
    [
        (["cat", "dog"], 1000, True),
        ([str(i) for i in range(10)], 10_000, True),
        ([f"extraordinarily long name {i}" for i in range(10)], 10_000, True),
        ([f"extraordinarily long name {i}" for i in range(15)], 30_000, False),
        ([f"c{i}" for i in range(20)], 600, True),
        ([f"class of number {i}" for i in range(100)], 10_000, False),
        ([f"{i}" for i in range(1000)], 10_000, False),
        (_ODD, 500, True),
        (["only one"], 7, True),
    ],
    ids=lambda value: f"{len(value)}" if isinstance(value, list) else str(value),
)
def test_confusion_matrices(names: list[str], images: int, written: bool) -> None:
    found = counts(len(names), images)
    figure = draw_confusion(found, names, "lenet5 (epoch 10), test images of mnist " + _LONG)
    texts = check(figure)
    assert {"true class", "predicted class", "share of the true class's images (%)"} <= set(texts)
    cells = [t.get_text() for t in figure.axes[0].texts]
    assert cells == ([str(n) for n in found.ravel() if n] if written else []), "counts where they fit"
    assert any(f"{100 * np.trace(found) / images:.2f} % correct" in t for t in texts)
    ticks = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert ticks[0] == label(names[0], 14)
    if len(names) <= 20:
        assert ticks == [label(name, 14) for name in names]


def test_a_confusion_matrix_lists_what_is_confused_most() -> None:
    found = np.array([[5, 0, 3], [1, 4, 0], [0, 0, 0]])
    figure = draw_confusion(found, ["a", "b", "c"], "x")
    assert "13 images, 69.23 % correct" in " ".join(check(figure))
    listed = [t.get_text().strip().splitlines() for t in figure.axes[1].texts]
    _, numbers, names = (t.get_window_extent() for t in figure.axes[1].texts)
    assert numbers.x1 + 5 < names.x0
    assert listed[1:] == [["images", "3", "1"], ["true → predicted", "a → c", "b → a"]]
    shares = figure.axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(np.asarray(shares)[:2], np.array([[62.5, 0, 37.5], [20, 80, 0]]))
    assert "nothing was confused" in " ".join(check(draw_confusion(np.eye(2, dtype=int), ["a", "b"], "x")))
    assert "no images" in " ".join(check(draw_confusion(np.zeros((2, 2), int), ["a", "b"], "x")))


# -- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "names", "count"),
    [
        ((1, 28, 28), ["0", "1"], 50),
        ((1, 28, 28), ["0", "1"], 1),
        ((3, 32, 32), ["automobile", "truck"], 50),
        ((3, 32, 32), ["a" * 40, "another extraordinary"], 8),
        ((2, 20, 20), _ODD, 3),
        ((1, 20, 90), ["0", "1"], 50),
        ((3, 90, 20), _ODD[1:], 50),
    ],
)
def test_sheets_of_mistakes(shape: tuple[int, int, int], names: list[str], count: int) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    captions = [caption(names[i % 2], names[1 - i % 2], 1 - i / 100) for i in range(count)]
    fit = min(count, most_shown(captions))
    images = [rng.random(shape) for _ in range(fit)]
    figure = draw_mistakes(images, captions[:fit], f"{fit} of {count} mistakes " + _LONG)
    texts = check(figure)
    assert ["\n".join(lines) for lines in captions[:fit]] == [t for t in texts if t.startswith("is ")]
    drawn = [axes for axes in figure.axes if axes.get_images()]
    assert len(drawn) == fit
    assert min(axes.get_window_extent().width for axes in drawn) > 30
    first = np.asarray(drawn[0].get_images()[0].get_array())
    wanted = images[0].transpose(1, 2, 0) if shape[0] == 3 else images[0].mean(0)
    np.testing.assert_allclose(first, wanted)


def test_pixels_are_those_of_before_the_standardisation() -> None:
    class Data:
        mean, std = [0.5, 0.25], [2.0, 4.0]

        def __init__(self, pixels: np.ndarray) -> None:
            self.pixels = pixels

        def batch(self, numbers: Any) -> tuple[np.ndarray, np.ndarray]:
            mean, std = (np.reshape(v, (2, 1, 1)) for v in (self.mean, self.std))
            return (self.pixels[numbers] - mean) / std, np.zeros(len(numbers))

    pixels = np.random.Generator(np.random.Philox(1)).random((3, 2, 4, 4))
    np.testing.assert_allclose(pixels_of(Data(pixels), np.array([2, 0])), pixels[[2, 0]])
    wide = np.concatenate([pixels[:1] * 500 - 100, np.full((1, 2, 4, 4), 7.0)])  # of no range that is known
    shown = pixels_of(Data(wide), np.array([0, 1]))
    assert (shown[0].min(), shown[0].max()) == pytest.approx((0, 1))
    assert not shown[1].any()


# -- names and files --------------------------------------------------------------------------------


def test_names_of_runs_tell_them_apart(tmp_path: Path) -> None:
    assert run_names(["runs/a"]) == ["a"]
    assert run_names(["runs/a/metrics.jsonl"]) == ["a"]
    assert run_names(["x/seed-1/run", "y/seed-1/run", "x/seed-2/run"]) == [
        "x/seed-1/run",
        "y/seed-1/run",
        "x/seed-2/run",
    ]
    assert run_names(["runs/a", "runs/a"]) == ["a (1)", "a (2)"]
    longs = run_names([f"runs/{_LONG}{i}" for i in range(3)])
    assert len(set(longs)) == 3
    assert max(map(len, longs)) <= 44
    same_ends = run_names([f"{i}{_LONG}x" for i in range(10, 13)], most=10)
    assert len(set(same_ends)) == 3


def test_labels() -> None:
    assert label("short", 10) == "short"
    assert label("a" * 30 + "end", 10) == "aaaaaa…end"[:10] or len(label("a" * 30 + "end", 10)) == 10
    assert label("a" * 30 + "end", 10).endswith("end")
    assert label("a\x1b[1m\u202eb\nc", 20) == "a?[1m?b?c"


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
def test_files_are_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    paths = [tmp_path / "new" / f"{i}.{suffix}" for i in range(2)]
    for path in paths:
        write(draw_curves([("a$b$c", metrics(9))]), path)
    one, two = (path.read_bytes() for path in paths)
    assert one == two
    assert one[:4] == {"png": b"\x89PNG", "svg": b"<?xm", "pdf": b"%PDF"}[suffix.lower()]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in paths)


def test_the_users_style_changes_nothing(tmp_path: Path) -> None:
    import matplotlib

    write(draw_curves([("a", metrics(9))]), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 40, "axes.grid": False, "lines.linewidth": 9, "savefig.bbox": "tight"}):
        before = dict(matplotlib.rcParams)
        with drawing():
            write(draw_curves([("a", metrics(9))]), tmp_path / "b.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_refuses_other_files(tmp_path: Path) -> None:
    for name in ("a.gif", "a", "png"):
        with pytest.raises(UsageError, match=r"ends in \.png, \.svg, \.pdf"):
            check_suffix(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_suffix(tmp_path / "folder.png")
