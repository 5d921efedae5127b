"""A confusion matrix: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunn.plots.style import HEIGHT, POINT, SMALL, TEXT, label, new_figure, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = HEIGHT * 100 * 0.70  # about how many pixels the matrix is wide
_MOST_LISTED = 10
MOST_CLASSES = 1000  # a cell is half a pixel then


def draw_confusion(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix, and beside it a list of what is confused most often.

    Parameters
    ----------
    counts : numpy.ndarray
        (K, K) of integers: images of the class of the row that were taken for the class of the column.
    classes : sequence of str, length K
    title : str

    Returns
    -------
    Figure
        The colour of a cell is its share of the row, so that rare classes are seen as well. The counts are written
        where they fit.
    """
    from matplotlib.ticker import FuncFormatter

    figure = new_figure()
    figure.suptitle(label(title, 90))
    axes, side = figure.subplots(1, 2, width_ratios=(1.75, 1))
    rows = counts.sum(1, keepdims=True)
    shares = np.divide(100 * counts, rows, out=np.full(counts.shape, np.nan), where=rows > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    axes.grid(False)
    bar = figure.colorbar(image, ax=axes, pad=0.02, shrink=0.9)
    bar.set_label("share of the true class's images (%)")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    bar.outline.set_visible(False)
    _name_classes(axes, classes)
    _write_counts(axes, counts, shares)
    _list(side, counts, classes)
    return figure


def _name_classes(axes: Axes, classes: Sequence[str]) -> None:
    """Names at rows and columns, as many as can be read."""
    count = len(classes)
    every = max(1, -(-round(count * 1.35 * SMALL * POINT) // round(_SIDE)))
    places = list(range(0, count, every))
    names = [label(classes[place], 14) for place in places]
    axes.set_yticks(places, labels=names)
    # Upright where they would touch each other: a column has as many pixels as there are for those between two names.
    wide = max(map(width_of, names)) + 8 > every * _SIDE / count
    axes.set_xticks(places, labels=names, rotation=90 if wide else 0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    cell = _SIDE / len(counts)
    longest = max(len(str(int(counts.max()))), 1)
    if width_of("0" * longest) + 4 > cell or cell < SMALL * POINT + 4:
        return
    size = SMALL if cell < 60 else TEXT
    for (row, column), number in np.ndenumerate(counts):
        if number:
            colour = "white" if shares[row, column] > 55 else "black"
            axes.text(column, row, str(number), ha="center", va="center", color=colour, fontsize=size)


def _list(axes: Axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    """The figures of the whole, and the most frequent confusions."""
    axes.axis("off")
    total, right = int(counts.sum()), int(np.trace(counts))
    heading = f"{total:,} images, {100 * right / total:.2f} % correct" if total else "no images"
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_LISTED]
    order = order[wrong.flat[order] > 0]
    heading += "\n\nmost frequent confusions:" if len(order) else "\n\nnothing was confused"

    def write(lines: str, points: float, side: str) -> None:
        place = {"xycoords": "axes fraction", "xytext": (points, 0), "textcoords": "offset points"}
        axes.annotate(lines, (0, 1), **place, ha=side, va="top", linespacing=1.6, fontsize=TEXT)

    write(heading, 0, "left")
    if not len(order):
        return
    below = [""] * (1 + heading.count("\n"))  # the columns of the list begin under the heading
    numbers, names = [*below, "images"], [*below, "true → predicted"]
    for place in order:
        row, column = divmod(int(place), len(classes))
        numbers.append(f"{wrong[row, column]:,}")
        names.append(f"{label(classes[row], 14)} → {label(classes[column], 14)}")
    write("\n".join(numbers), 52, "right")
    write("\n".join(names), 64, "left")
