"""A sweep in one picture: the results over each hyper-parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.plots.style import COLOURS, SMALL, label, new_figure, width_of
from gpunn.sweep.space import Choices, Fixed, Range, Spec
from gpunn.sweep.table import settings_text, shown
from gpunn.sweep.trials import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PANELS = 6  # with more, their numbers would be too small to read
_MOST_NAMES = 8  # of one axis, for the same reason
_WIDTH = 1100  # pixels that the panels beside each other have
_SPREAD = 0.3  # how far results of the same value lie apart, of the distance between two values
_LOGARITHMIC_FROM = 8  # the largest result over the smallest
_AXES = {"lr": "learning rate", "lr_decay": "learning-rate decay", "clip_grad_norm": "largest gradient norm"}
_NAMES = {
    "test_loss": "test loss",
    "test_accuracy_percent": "test accuracy (%)",
    "train_loss": "training loss",
    "train_accuracy_percent": "training accuracy (%)",
}


def draw_sweep(results: Sequence[Result], space: Mapping[str, Spec], monitor: str, minimize: bool) -> Figure:
    """Draw the results, the best first, over up to six hyper-parameters that vary.

    A trial that was pruned stands where its last epoch was; one without a result at the edge where bad results are.
    """
    varying = {name: spec for name, spec in space.items() if not isinstance(spec, Fixed)}
    names = list(varying)[:_MOST_PANELS]
    figure = new_figure()
    columns = len(names) if len(names) < 4 else (len(names) + 1) // 2
    rows = -(-len(names) // columns)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(names) :]:
        axes.remove()
    for number, name in enumerate(names):
        _panel(panels.flat[number], results, name, varying[name], monitor, minimize, columns)
    _vertical(panels[0, 0], results, monitor)
    for axes in panels.flat[: len(names)]:
        axes.set_ylabel(f"{_NAMES[monitor]}, last epoch")
        axes.yaxis.label.set_visible(axes.get_subplotspec().is_first_col())
    _title(figure, results, monitor, len(varying) - len(names))
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(text, handle)
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    return figure


def _title(figure: Figure, results: Sequence[Result], monitor: str, missing: int) -> None:
    best = next((r for r in results if r.value is not None), None)
    count = f"{len(results)} trial{'s' * (len(results) != 1)}"
    found = ": none was trained to its end"
    if best is not None and best.value is not None:
        digits = 2 if monitor.endswith("percent") else 4
        found = f"; the best, {best.value:.{digits}f}: trial {best.place}"
        settings = f", {settings_text(best.settings)}"
        found += settings if len(settings) < 60 else ""
    more = f" ({missing} more hyper-parameters not shown)" if missing else ""
    figure.suptitle(label(f"{count}{found}{more}", 100))


def _panel(
    axes: Axes, results: Sequence[Result], name: str, spec: Spec, monitor: str, minimize: bool, columns: int
) -> None:
    axes.set_xlabel(_AXES.get(name, name.replace("_", " ")))
    values = spec.values if isinstance(spec, Choices) else ()
    if values and not isinstance(values[0], str):
        values = tuple(sorted(values))
    ended = [r for r in results if name in r.settings]
    groups: list[tuple[str, list[Result], dict[str, Any]]] = [
        ("trained to the end", [r for r in ended if r.value is not None], {"color": COLOURS[0], "marker": "o"}),
        (
            "pruned: its last epoch",
            [r for r in ended if r.value is None and monitor in r.figures],
            {"marker": "o", "facecolors": "none", "edgecolors": COLOURS[7], "linewidths": 1.5},
        ),
        (
            "diverged or out of memory",
            [r for r in ended if r.value is None and monitor not in r.figures],
            {"color": COLOURS[1], "marker": "X"},
        ),
    ]
    for text, group, look in groups:
        if not group:
            continue
        x = [_position(r, name, values, len(results)) for r in group]
        if text.startswith("diverged"):
            edge = 0.98 if minimize else 0.02
            axes.scatter(
                x,
                [edge] * len(x),
                s=70,
                label=text,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
                zorder=4,
                **look,
            )
            continue
        axes.scatter(x, [r.figures[monitor] for r in group], s=55, label=text, zorder=3, **look)
    if ended and results[0].value is not None and name in results[0].settings:
        best = results[0]
        axes.scatter(
            [_position(best, name, values, len(results))],
            [best.figures[monitor]],
            s=330,
            marker="*",
            color=COLOURS[4],
            edgecolors="black",
            linewidths=1,
            label=f"the best: trial {best.place}",
            zorder=5,
        )
    _horizontal(axes, spec, values, columns)


def _position(result: Result, name: str, values: Sequence[Any], count: int) -> float:
    """Where a trial stands on the axis: a choice by its number, beside others of the same choice."""
    value = result.settings[name]
    if not values:
        return float(value)
    return values.index(value) + _SPREAD * ((result.place - 1) / max(count - 1, 1) - 0.5)


def _horizontal(axes: Axes, spec: Spec, values: Sequence[Any], columns: int) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    if isinstance(spec, Range):
        margin = 0.05
        if spec.log:
            axes.set_xscale("log")
            few = spec.high / spec.low > 100
            axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0,) if few else (1.0, 2.0, 5.0), numticks=7))
            axes.xaxis.set_minor_formatter(NullFormatter())
            wider = (spec.high / spec.low) ** margin
            axes.set_xlim(spec.low / wider, spec.high * wider)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=spec.whole))
            wider = margin * (spec.high - spec.low)
            axes.set_xlim(spec.low - wider, spec.high + wider)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        return
    every = -(-len(values) // _MOST_NAMES)
    names = [label(shown(value), 14) for value in values[::every]]
    if len(names) * (max(map(width_of, names)) + 15) > _WIDTH / columns:
        names = ["\n" * (number % 2) + name for number, name in enumerate(names)]  # in two rows
    axes.set_xticks(range(0, len(values), every), names)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.grid(False, axis="x")


def _vertical(axes: Axes, results: Sequence[Result], monitor: str) -> None:
    """Logarithmic where results differ by a large factor; it is one axis for all panels."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    found = np.array([r.figures[monitor] for r in results if monitor in r.figures], np.float64)
    if not len(found):
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no result", transform=axes.transAxes, ha="center", va="center", fontsize=SMALL)
        return
    if found.min() > 0 and found.max() > _LOGARITHMIC_FROM * found.min():
        axes.set_yscale("log")
        spread = found.max() / found.min()
        axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0,) if spread > 1000 else (1.0, 2.0, 5.0), numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.1)  # for what stands at the edge
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
