"""Where the boxes of a graph go: in layers, from the top down. Geometry alone, in inches; nothing is drawn here.

The usual steps (Sugiyama, Tagawa, Toda 1981): each box is one layer below the last of those it depends on; an edge that
passes layers gets a place in each; the places of a layer are sorted by the mean place of their neighbours, which leaves
few crossings; then each is put as near to its neighbours as the space between boxes allows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

# Between layers, where edges say their shapes; between places of a layer; between edges that meet at a box.
GAP, BESIDE, PORT = 0.62, 0.3, 0.16
_SWEEPS = 12


@dataclass
class Place:
    """A box, or the point where an edge passes a layer.

    Attributes
    ----------
    left, right, height : float
        What it takes to the left and right of its middle line, and in height.
    box : int or None
        The box's number; None where an edge passes.
    x, y : float
        Its middle. y grows downwards.
    column : int
        Layers may go on in another column.
    above, below : list of Place
        Its neighbours in the layers before and behind.
    """

    left: float
    right: float
    height: float
    box: int | None = None
    x: float = 0.0
    y: float = 0.0
    column: int = 0
    above: list[Place] = field(default_factory=list)
    below: list[Place] = field(default_factory=list)


@dataclass
class Layout:
    """Places by layer, each edge's places from its source to its target, and the x in front of each column."""

    layers: list[list[Place]]
    paths: dict[tuple[int, int], list[Place]]
    gutters: list[float]
    width: float
    height: float


def arrange(
    sizes: Sequence[tuple[float, float, float]], edges: Sequence[tuple[int, int]], passing: float, slide: float
) -> Layout:
    """Place boxes that are numbered so that every edge leads to a larger number.

    Parameters
    ----------
    sizes : sequence of (left, right, height)
        Of each box.
    edges : sequence of (int, int)
        No edge twice.
    passing : float
        The width that an edge's text takes where it passes a layer, to the right of the edge.
    slide : float
        What is higher than that goes on in more columns, each of which begins below a layer of one box.
    """
    ranks = _ranks(len(sizes), edges)
    layers: list[list[Place]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    boxes = [Place(*size, box=number) for number, size in enumerate(sizes)]
    for box, rank in zip(boxes, ranks, strict=True):
        layers[rank].append(box)
    paths = {}
    for source, target in edges:
        path = [boxes[source]]
        for rank in range(ranks[source] + 1, ranks[target]):
            path.append(Place(PORT, passing, 0.0))
            layers[rank].append(path[-1])
        path.append(boxes[target])
        for upper, lower in itertools.pairwise(path):
            upper.below.append(lower)
            lower.above.append(upper)
        paths[source, target] = path
    _sort(layers)
    _set_x(layers)
    tall = sum(max(place.height for place in layer) + GAP for layer in layers)
    wide = max((place.x + place.right for layer in layers for place in layer), default=0.0)
    # About twice as wide as it is high.
    gutters, width, height = _set_y(layers, max(slide, math.sqrt(tall * (wide + 2 * BESIDE) / 2)))
    return Layout(layers, paths, gutters, width, height)


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The layer of each box; what nothing leads to goes right above the first that it leads to."""
    ranks, entered = [0] * count, [False] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
        entered[target] = True
    for number in range(count):
        targets = [ranks[target] for source, target in edges if source == number]
        if not entered[number] and targets:
            ranks[number] = min(targets) - 1
    return ranks


def _sort(layers: list[list[Place]]) -> None:
    """Order the places within each layer by the mean of their neighbours', down and up in turn."""
    order = {id(place): number for layer in layers for number, place in enumerate(layer)}
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):

            def key(place: Place, down: bool = sweep % 2 == 0) -> float:
                near = place.above if down else place.below
                return sum(order[id(other)] for other in near) / len(near) if near else float(order[id(place)])

            layer.sort(key=key)
            order.update((id(place), number) for number, place in enumerate(layer))


def _set_x(layers: list[list[Place]]) -> None:
    for layer in layers:
        x = 0.0
        for place in layer:
            place.x = x + place.left
            x = place.x + place.right + BESIDE
    for sweep in range(max(_SWEEPS, min(300, 200_000 // sum(map(len, layers))))):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted, weights = [], []
            for place in layer:
                # Points of one edge pull hardest, so that it runs straight where it passes layers.
                near = [(other.x, 8.0 if place.box is None and other.box is None else 1.0)
                        for other in (place.above + place.below)]  # fmt: skip
                total = sum(weight for _, weight in near)
                wanted.append(sum(x * weight for x, weight in near) / total if near else place.x)
                weights.append(max(total, 1.0))
            _spread(layer, wanted, weights)
    left = min((place.x - place.left for layer in layers for place in layer), default=0.0)
    for layer in layers:
        for place in layer:
            place.x -= left


def _spread(layer: list[Place], wanted: list[float], weights: list[float]) -> None:
    """The places nearest to where they want to be, in squares, of those that keep order and distances.

    Less the distances this is a regression onto numbers that never fall: neighbours that do are pooled into their mean.
    """
    offsets = [0.0]
    for before, place in itertools.pairwise(layer):
        offsets.append(offsets[-1] + before.right + BESIDE + place.left)
    pools: list[list[float]] = []  # mean, weight, number of places
    for x, offset, weight in zip(wanted, offsets, weights, strict=True):
        pools.append([x - offset, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            mean, weight, number = pools.pop()
            last = pools[-1]
            last[0] = (last[0] * last[1] + mean * weight) / (last[1] + weight)
            last[1] += weight
            last[2] += number
    means = [mean for mean, _, number in pools for _ in range(int(number))]
    for place, mean, offset in zip(layer, means, offsets, strict=True):
        place.x = mean + offset


def _set_y(layers: list[list[Place]], most: float) -> tuple[list[float], float, float]:
    """Put layers below each other, in columns of about ``most`` inches; the gutters, the width and height of it all."""
    columns: list[list[list[Place]]] = [[]]
    y = 0.0
    for before, layer in zip([[], *layers], layers, strict=False):
        height = max(place.height for place in layer)
        # All edges from the layer before come from one box then, and share the way to the next column.
        if y > most and len(before) == 1 and len(before[0].below) == sum(len(place.above) for place in layer):
            columns.append([])
            y = 0.0
        columns[-1].append(layer)
        for place in layer:
            place.y, place.column = y + height / 2, len(columns) - 1
            if place.box is None:
                place.height = height
        y += height + GAP
    gutters, x, over = [], 0.0, GAP if len(columns) > 1 else 0.0  # edges go over the next column, and below this one
    for column in columns:
        places = [place for layer in column for place in layer]
        left = min((place.x - place.left for place in places), default=0.0)
        right = max((place.x + place.right for place in places), default=0.0)
        gutters.append(x - BESIDE)
        for place in places:
            place.x += x - left
            place.y += over
        x += right - left + 2 * BESIDE
    bottom = max((place.y + place.height / 2 for layer in layers for place in layer), default=0.0)
    return gutters, x - 2 * BESIDE, bottom + over / 2
