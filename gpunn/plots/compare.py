"""Throughput over batch size for several devices and networks, and where another device starts to pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpunn.bench.compare import Point, pays_from
from gpunn.plots.style import COLOURS, MARKERS, TEXT, label, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("-", "--", ":", "-.")
_WORDS = {"train": "training steps", "inference": "inference"}


def draw_comparison(points: Sequence[Point], devices: Mapping[str, str], note: str = "") -> Figure:
    """One panel for training and inference each: a colour a device, a marker and kind of line a network.

    Parameters
    ----------
    points : sequence of Point
    devices : mapping of str to str
        The devices, the first one that the others are compared with, and what each is.
    note : str
        Below the title: what is to be known of these times.
    """
    modes = list(dict.fromkeys(point.mode for point in points))
    networks = list(dict.fromkeys(point.network for point in points))
    figure = new_figure()
    panels = figure.subplots(1, len(modes), squeeze=False, sharey=True)[0]
    handles: list[Any] = []
    for number, (axes, mode) in enumerate(zip(panels, modes, strict=True)):
        of_mode = [point for point in points if point.mode == mode]
        for place, network in enumerate(networks):
            _lines(axes, [p for p in of_mode if p.network == network], list(devices), place)
        _finish(axes, of_mode, _WORDS[mode])
        axes.yaxis.label.set_visible(number == 0)
    figure.suptitle(label(f"Images a second by batch size{f': {note}' if note else ''}", 100))
    handles += _legend(networks, devices)
    handles += _crossings(points, modes, networks, list(devices))
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _lines(axes: Axes, points: Sequence[Point], devices: Sequence[str], place: int) -> None:
    """A network's line for each device, crosses where a batch has no time, a star where the device starts to pay."""
    for number, device in enumerate(devices):
        colour = COLOURS[number % len(COLOURS)]
        timed = [(p.batch, found) for p in points if (found := p.throughput(device)) is not None]
        if timed:
            x, y = zip(*timed, strict=True)
            axes.plot(x, y, color=colour, marker=MARKERS[place % len(MARKERS)], linestyle=_LINES[place % len(_LINES)])
        lost = [p.batch for p in points if device in p.missing]
        if lost:
            # Devices and networks beside each other, not on one another.
            height = 0.03 + 0.035 * (place * len(devices) + number)
            axes.plot(lost, [height] * len(lost), "x", color=colour, markersize=9, transform=axes.get_xaxis_transform())
        where = pays_from(points, device, devices[0]) if number else None
        if where is not None:
            axes.plot([where], [_height(points, device, where)], "*", color="black", markersize=15, zorder=5)


def _height(points: Sequence[Point], device: str, batch: float) -> float:
    """The throughput at a batch size, on the straight line between two measured ones on logarithmic axes."""
    import numpy as np

    timed = [(p.batch, found) for p in points if (found := p.throughput(device)) is not None]
    x, y = (np.log(values) for values in zip(*timed, strict=True))
    return float(np.exp(np.interp(np.log(batch), x, y)))


def _finish(axes: Axes, points: Sequence[Point], title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set_title(title, loc="left")
    axes.set_xlabel("images in a batch")
    axes.set_ylabel("images/s")
    axes.set_xscale("log", base=2)
    batches = sorted({point.batch for point in points})
    every = -(-len(batches) // 8)
    axes.set_xticks(batches[::every], [f"{batch:,}" for batch in batches[::every]])
    axes.xaxis.set_minor_locator(NullLocator())
    found = [rate for point in points for device in point.sides if (rate := point.throughput(device)) is not None]
    axes.margins(0.08, 0.12)
    if not found:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no times", transform=axes.transAxes, ha="center", va="center", fontsize=TEXT)
        return
    axes.set_yscale("log")
    wide = max(found) > 300 * min(found)
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1.0,) if wide else (1.0, 2.0, 5.0), numticks=9))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _legend(networks: Sequence[str], devices: Mapping[str, str]) -> list[Any]:
    from matplotlib.lines import Line2D

    found = [
        Line2D([], [], color=COLOURS[number % len(COLOURS)], linewidth=5, label=label(f"{device}: {what}", 60))
        for number, (device, what) in enumerate(devices.items())
    ]
    return found + [
        Line2D(
            [],
            [],
            color="#404040",
            marker=MARKERS[place % len(MARKERS)],
            linestyle=_LINES[place % len(_LINES)],
            label=label(network, 60),
        )
        for place, network in enumerate(networks)
    ]


def _crossings(
    points: Sequence[Point], modes: Sequence[str], networks: Sequence[str], devices: Sequence[str]
) -> list[Any]:
    """What the stars and crosses are, where there are any."""
    from matplotlib.lines import Line2D

    found = []
    lines = [[p for p in points if p.mode == mode and p.network == name] for mode in modes for name in networks]
    if any(pays_from(line, device, devices[0]) is not None for line in lines for device in devices[1:]):
        text = f"from here on faster than {devices[0]}"
        found.append(Line2D([], [], color="black", marker="*", markersize=15, linestyle="", label=text))
    if any(point.missing for point in points):
        found.append(Line2D([], [], color="#404040", marker="x", markersize=9, linestyle="", label="does not fit"))
    return found
