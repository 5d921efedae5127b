"""A sheet of misclassified images, those that the network is surest of first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.plots.style import HEIGHT, SMALL, WIDTH, label, new_figure, width_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_ROWS = 3  # more would make the images smaller than their captions are wide
_LINES = 46  # pixels for the two lines below an image
_GAP = 24  # pixels between two captions
_INNER = (WIDTH * 100 - 20, HEIGHT * 100 - 60)  # pixels of the slide without its border and title


def columns_for(captions: Sequence[tuple[str, str]]) -> int:
    """How many images fit next to each other, so that no caption touches the next one."""
    widest = max(width_of(line) for caption in captions for line in caption)
    return max(1, min(10, int(_INNER[0] / (widest + _GAP))))


def caption(true: str, predicted: str, probability: float) -> tuple[str, str]:
    """The two lines below an image."""
    return f"is {label(true, 14)}", f"seen as {label(predicted, 14)} ({100 * probability:.0f} %)"


def most_shown(captions: Sequence[tuple[str, str]]) -> int:
    """How many images a sheet has room for."""
    return _MOST_ROWS * columns_for(captions)


def draw_mistakes(images: Sequence[np.ndarray], captions: Sequence[tuple[str, str]], title: str) -> Figure:
    """Draw images with their captions.

    Parameters
    ----------
    images : sequence of numpy.ndarray
        Each (C, H, W), from 0 to 1: grey or, of three channels, RGB; of other numbers of channels the mean is shown.
    captions : sequence of (str, str)
        Made by :func:`caption`; as many as images, at least one.
    title : str
    """
    figure = new_figure()
    figure.suptitle(label(title, 100))
    rows, columns = _grid(len(images), columns_for(captions))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for axes, image, lines in zip(panels.flat, images, captions, strict=False):
        axes.imshow(_picture(image), interpolation="nearest", **({} if len(image) == 3 else _GREY))
        axes.set_title("\n".join(lines), fontsize=SMALL, y=-0.04, va="top", pad=0, linespacing=1.25)
    return figure


def _grid(count: int, most_columns: int) -> tuple[int, int]:
    """Rows and columns that make the images largest."""
    best, chosen = -1.0, (1, 1)
    for columns in range(1, most_columns + 1):
        rows = -(-count // columns)
        size = min(_INNER[0] / columns - _GAP, _INNER[1] / rows - _LINES)
        if size > best:
            best, chosen = size, (rows, columns)
    return chosen


_GREY: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1}


def _picture(image: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.nan_to_num(image.astype(np.float64)), 0, 1)
    return clipped.transpose(1, 2, 0) if len(clipped) == 3 else clipped.mean(0)


def pixels_of(dataset: Any, numbers: np.ndarray) -> list[np.ndarray]:
    """Images of a dataset from 0 to 1: its standardisation undone, or stretched where they were never bytes."""
    images = dataset.batch(numbers)[0]
    channels = images.shape[1]
    mean, std = (np.broadcast_to(np.asarray(v, np.float64).ravel(), channels) for v in (dataset.mean, dataset.std))
    pixels = images * std[:, None, None] + mean[:, None, None]
    for pixel in pixels:
        low, high = float(pixel.min()), float(pixel.max())
        if low < -0.01 or high > 1.01:
            pixel[...] = (pixel - low) / (high - low if high > low else 1)
    return list(pixels)
