"""Points of two classes in a plane, and what a model says of every place in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunn.plots.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def grid(low: tuple[float, float], high: tuple[float, float], points: int = 81) -> np.ndarray[Any, Any]:
    """Places that fill the rectangle from ``low`` to ``high``, row by row: (points², 2) float32."""
    sides = [np.linspace(a, b, points, dtype=np.float32) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)


def draw_plane(
    axes: Axes,
    places: np.ndarray[Any, Any],
    says: np.ndarray[Any, Any],
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
) -> None:
    """Colour the places by what the model says, and draw the points over them.

    Parameters
    ----------
    axes : Axes
    places : ndarray, (P², 2)
        From :func:`grid`.
    says : ndarray, (P²,)
        Above 0 for class 1, below for class 0; the boundary is where it is 0.
    x : ndarray, (N, 2)
    y : ndarray, (N,)
        Classes 0 and 1.
    """
    from matplotlib.colors import LinearSegmentedColormap

    side = round(len(places) ** 0.5)
    across, up = places[:side, 0], places[::side, 1]
    sure = np.tanh(np.asarray(says, np.float64) / 2).reshape(side, side)  # 2σ(s) - 1, of a logistic neuron's score
    # Few shades: bands show the slope, and the picture's file stays small.
    colours = LinearSegmentedColormap.from_list("classes", ["#F6B98F", "#FFFFFF", "#8FC3E8"], N=15)
    axes.pcolormesh(across, up, sure, cmap=colours, vmin=-1, vmax=1, shading="nearest", rasterized=True)
    if sure.min() < 0 < sure.max():
        axes.contour(across, up, sure, levels=[0], colors="black", linewidths=2)
    for label, colour, marker in ((0, COLOURS[1], "s"), (1, COLOURS[0], "o")):
        axes.plot(*x[y == label].T, marker, color=colour, markeredgecolor="white", markersize=7, label=f"class {label}")
    axes.grid(False)
    axes.set(xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))


def moons(rng: np.random.Generator, points: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Two half moons that reach into one another: (N, 2) float32, and classes 0 and 1, in random order."""
    turn = rng.uniform(0, np.pi, points // 2)
    upper, lower = np.c_[np.cos(turn), np.sin(turn)], np.c_[1 - np.cos(turn), 0.5 - np.sin(turn)]
    x = np.concatenate([upper, lower]) + rng.normal(0, 0.12, (2 * len(turn), 2))
    order = rng.permutation(len(x))
    return x[order].astype(np.float32), (order >= len(turn)).astype(np.int64)


def rings(rng: np.random.Generator, points: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A disk of radius 1, class 0, and a ring around it from 1.5 to 2, class 1: (N, 2) float32, and classes."""
    y = np.arange(points) % 2
    r = np.where(y == 1, rng.uniform(1.5, 2, points), np.sqrt(rng.uniform(0, 1, points)))
    turn = rng.uniform(-np.pi, np.pi, points)
    return np.c_[r * np.cos(turn), r * np.sin(turn)].astype(np.float32), y
