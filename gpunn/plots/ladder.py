"""The picture of ``gpunn demo kernels``: for each kernel of a ladder what it moves and how often, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunn.plots.style import COLOURS, SMALL, TEXT, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpunn.bench.ladder import Step


def draw_ladder(ladders: Mapping[str, Sequence[Step]]) -> Figure:
    """A row for each ladder, a bar for each of its kernels with its number beside it; inside ``style.drawing()``."""
    figure = new_figure()
    panels = {
        "sectors of 32 bytes moved": ("sectors",),
        "loads and stores of warps": ("global_instructions", "shared_instructions"),
        "bank conflicts": ("conflicts",),
    }
    if all(step.ms is not None for steps in ladders.values() for step in steps):
        panels["milliseconds on the GPU"] = ("ms",)
    grid = figure.subplots(len(ladders), len(panels), squeeze=False, height_ratios=[len(s) for s in ladders.values()])
    for row, (name, steps) in zip(grid, ladders.items(), strict=True):
        for axes, (title, fields) in zip(row, panels.items(), strict=True):
            start = np.zeros(len(steps))
            for colour, field in zip(COLOURS, fields, strict=False):
                label = field.removesuffix("_instructions") + " memory"
                lengths = np.array([getattr(step, field) for step in steps])
                axes.barh(np.arange(len(steps)), lengths, left=start, height=0.7, color=colour, label=label)
                start = start + lengths
            for place, total in enumerate(start):
                text = f" {total:.3g}" if fields == ("ms",) else f" {total:,.0f}"
                axes.annotate(text, (total, place), va="center", fontsize=SMALL)
            names = [step.idea for step in steps] if axes is row[0] else []
            axes.set(yticks=np.arange(len(steps)) if names else [], yticklabels=names, ylim=(len(steps) - 0.5, -0.5))
            # Room for the numbers, which say more than ticks would.
            axes.set(xticks=[], xlim=(0, 1.6 * max(start.max(), 1e-9)))
            axes.tick_params(length=0)
            axes.grid(False)
            axes.spines["bottom"].set_visible(False)
            if row[0] is grid[0, 0]:
                axes.set_title(title, loc="left", fontsize=TEXT)
            elif len(fields) > 1:
                axes.legend(loc="lower right", borderaxespad=0)
        row[0].set_ylabel(name)
    figure.align_ylabels(grid[:, 0])
    return figure
