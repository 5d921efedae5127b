"""One picture of one or several runs: loss, accuracy, learning rate and gradient norms over the epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.errors import UsageError
from gpunn.plots.style import COLOURS, MARKERS, SMALL, label, new_figure, width_of
from gpunn.train.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RUNS = 12
_MOST_POINTS = 4000  # of a line: more than a picture has columns
_MOST_NAMED = 8  # layers with a line and a name each; more are told by a scale of colours
_MARKED = 12  # markers on a line


def draw_curves(runs: Sequence[tuple[str, Metrics]]) -> Figure:
    """Draw the curves of runs, each with its name.

    Raises
    ------
    UsageError
        If there are more than 12 runs.
    """
    if len(runs) > MOST_RUNS:
        raise UsageError(f"gpunn plot: expected at most {MOST_RUNS} runs in one picture; got {len(runs)}.")
    figure = new_figure()
    (loss, accuracy), (rate, last) = figure.subplots(2, 2, sharex=True)
    single = len(runs) == 1
    with_norms = any(metrics.gradient_norms for _, metrics in runs)
    tested = any(metrics.has("test_loss") or metrics.has("test_accuracy_percent") for _, metrics in runs)
    for number, (_, metrics) in enumerate(runs):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number]
        look = {"color": colour, "marker": marker}
        for axes, train, test in (
            (loss, "train_loss", "test_loss"),
            (accuracy, "train_accuracy_percent", "test_accuracy_percent"),
        ):
            _line(axes, metrics, metrics.columns[train], **look, linestyle="--")
            other = {"color": COLOURS[1], "marker": MARKERS[1]} if single else look
            _line(axes, metrics, metrics.columns[test], **other, linestyle="-")
        # Where later runs have the same, they lie on this one, which has to be broader to be seen.
        hidden = sum(_same_rate(metrics, later) for _, later in runs[number + 1 :])
        _line(rate, metrics, metrics.columns["lr"], **look, linewidth=min(2 + 2.5 * hidden, 12))
        if not with_norms:
            _line(last, metrics, metrics.columns["images_per_second"], **look)
        elif not single:
            _line(last, metrics, _total_norm(metrics), **look)
    if single and with_norms:
        _layers(figure, last, runs[0][1])
    _finish(loss, "Loss", "mean loss per image", logarithmic_from=50)
    _finish(accuracy, "Accuracy", "accuracy (%)")
    _finish(rate, "Learning rate, end of epoch", "learning rate", logarithmic_from=50)
    if with_norms:
        title = "Gradient by layer" if single else "Gradient of all layers"
        _finish(last, f"{title}, last step", "L2 norm", logarithmic_from=20, gaps=True)
    else:
        _finish(last, "Speed", "training images/s")
    _epoch_axis(runs, (rate, last))
    figure.align_ylabels()
    _legend(figure, runs, tested)
    return figure


def _line(axes: Axes, metrics: Metrics, values: np.ndarray, **look: Any) -> None:
    if not np.isfinite(values).any():
        return
    thin = -(-len(values) // _MOST_POINTS)
    x, y = metrics.epoch[::thin], values[::thin]
    # A point between gaps is no line, so where there are few points or gaps every one is marked.
    every = max(1, len(x) // _MARKED) if np.isfinite(y).all() else 1
    axes.plot(x, y, markevery=every, markersize=6 if every == 1 and len(x) <= 60 else 5, **look)


def _same_rate(one: Metrics, other: Metrics) -> bool:
    count = min(len(one.epoch), len(other.epoch))
    return bool(np.allclose(one.columns["lr"][:count], other.columns["lr"][:count], rtol=1e-3, equal_nan=True))


def _total_norm(metrics: Metrics) -> np.ndarray:
    """The norm of all layers' gradients together; NaN where no layer has one."""
    if not metrics.gradient_norms:
        return np.full(len(metrics.epoch), np.nan)
    norms = np.stack(list(metrics.gradient_norms.values()))
    total = np.sqrt(np.nansum(np.square(norms), 0))
    return np.where(np.isfinite(norms).any(0), total, np.nan)


def _layers(figure: Figure, axes: Axes, metrics: Metrics) -> None:
    """A line for each layer, from dark (the first) to bright (the last)."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    norms = metrics.gradient_norms
    bright = colormaps["viridis"].resampled(256)(np.linspace(0, 0.88, 256))  # its yellow end is too faint on white
    shades = bright[np.linspace(0, 255, len(norms)).astype(int)]
    few = len(norms) <= _MOST_NAMED
    for number, (name, values) in enumerate(norms.items()):
        look = (
            {"marker": MARKERS[number]} if few else {"linewidth": 1.2, "marker": "." if len(values) <= _MARKED else ""}
        )
        _line(axes, metrics, values, color=shades[number], label=label(name, 18), **look)
    if few:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.6)
        return
    from matplotlib.colors import ListedColormap

    scale = ScalarMappable(Normalize(0, len(norms) - 1), ListedColormap(bright))
    bar = figure.colorbar(scale, ax=axes, pad=0.02)
    names = list(norms)
    places = np.unique(np.linspace(0, len(names) - 1, 4).round().astype(int))
    bar.set_ticks([int(p) for p in places], labels=[label(names[p], 16) for p in places])
    bar.outline.set_visible(False)


def _finish(axes: Axes, title: str, unit: str, logarithmic_from: float | None = None, gaps: bool = False) -> None:
    """Title, labels, and a logarithmic axis where values differ by more than that factor.

    A 0 is a gap on such an axis. Without ``gaps`` the axis stays linear then.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_title(title, loc="left")
    axes.set_ylabel(unit)
    lines = [np.asarray(line.get_ydata(), np.float64) for line in axes.get_lines()]
    values = np.concatenate([y[np.isfinite(y)] for y in lines]) if lines else np.zeros(0)
    if not len(values):
        axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", va="center", fontsize=SMALL)
        axes.set_yticks([])
        return
    positive = values[values > 0]
    spread = float(positive.max() / positive.min()) if len(positive) else 1.0
    enough = len(positive) > (0.5 if gaps else 1) * len(values) - 1
    if logarithmic_from is not None and enough and spread > logarithmic_from:
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0,) if spread > 500 else (1.0, 2.0, 5.0), numticks=6))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        if values.min() == values.max() >= 0:  # the same always: not a microscope's view of nothing
            axes.set_ylim(0, 1.25 * values.max() or 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}" if value >= 1e4 else f"{value:.6g}"))


def _epoch_axis(runs: Sequence[tuple[str, Metrics]], below: Sequence[Axes]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    first = min(int(metrics.epoch[0]) for _, metrics in runs)
    last = max(int(metrics.epoch[-1]) for _, metrics in runs)
    margin = max(0.5, 0.02 * (last - first))
    for axes in below:
        axes.set_xlabel("epoch")
        axes.set_xlim(first - margin, last + margin)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def _legend(figure: Figure, runs: Sequence[tuple[str, Metrics]], tested: bool) -> None:
    """Below the panels: the runs by colour and marker, and what dashed and solid lines are."""
    from matplotlib.lines import Line2D

    names = [name for name, _ in runs]
    handles = []
    if len(runs) == 1:
        figure.suptitle(label(names[0], 90))
        looks = [("training", COLOURS[0], MARKERS[0], "--"), ("test", COLOURS[1], MARKERS[1], "-")]
    else:
        for number, name in enumerate(names):
            handles.append(Line2D([], [], color=COLOURS[number % len(COLOURS)], marker=MARKERS[number], label=name))
        looks = [("training", "#404040", "", "--"), ("test", "#404040", "", "-")]
    for text, colour, marker, style in looks if tested else looks[:1]:
        handles.append(Line2D([], [], color=colour, marker=marker, linestyle=style, label=text))
    figure.legend(handles=handles, loc="outside lower center", ncols=_columns([str(h.get_label()) for h in handles]))


def _columns(labels: Sequence[str]) -> int:
    """As many columns of a legend as fit beside each other; entries go down the columns."""
    for columns in range(len(labels), 1, -1):
        # With the line before a label, and the gap to the next column.
        widths = [max(map(width_of, column)) + 80 for column in np.array_split(labels, columns)]
        if sum(widths) < 1250:
            return columns
    return 1
