"""Pictures of models' graphs: ops from the top down, their parameters beside them, shapes on the edges."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpunn.errors import UsageError
from gpunn.nn.graph import Edge, Graph, shape_text
from gpunn.plots.layers import GAP, PORT, Layout, Place, arrange
from gpunn.plots.style import (
    COLOURS,
    DPI,
    HEIGHT,
    SMALL,
    TITLE,
    WIDTH,
    check_suffix,
    drawing,
    label,
    need_matplotlib,
    width_of,
    write,
    write_file,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches: a line of text, the title with the space below it, around the text of a box, around the picture.
_LINE, _TITLE, _PAD, _MARGIN = 0.21, 0.45, 0.1, 0.35
_BETWEEN = 0.2  # graphs
_MOST_LETTERS = 40
_MOST_INCHES = 650  # matplotlib draws at most 2^16 pixels each way
_FILL = {"op": "#DCEAF5", "parameter": "#FBEBCF", "input": "#DDF0E8", "output": "#DDF0E8"}
_SIDE = {"op": COLOURS[0], "parameter": COLOURS[4], "input": COLOURS[2], "output": COLOURS[2]}


def draw_graphs(graphs: Mapping[str, Graph]) -> Figure:
    """Draw graphs side by side; inside ``style.drawing()``.

    Parameters
    ----------
    graphs : mapping
        Title = graph.

    Returns
    -------
    Figure
        As large as the graphs need, but at least a slide: letters have 12 points whatever the size.

    Raises
    ------
    UsageError
        If the picture would be larger than matplotlib can draw.
    """
    from matplotlib.figure import Figure

    drawings = [_Drawing(title, graph) for title, graph in graphs.items()]
    width = sum(one.width for one in drawings) + _BETWEEN * (len(drawings) - 1) + 2 * _MARGIN
    height = max(one.height for one in drawings) + 2 * _MARGIN
    if max(width, height) > _MOST_INCHES:
        raise UsageError(
            f"the graph takes {width:,.0f} x {height:,.0f} inches, too much for a picture: write it as .dot."
        )
    figure = Figure(figsize=(max(width, WIDTH), max(height, HEIGHT)), dpi=DPI)
    spare = (figure.get_figwidth() - width) / (len(drawings) + 1)  # where a slide is wider
    left = spare + _MARGIN
    for one in drawings:
        axes = figure.add_axes((0, 0, 1, 1), xlim=(-left, figure.get_figwidth() - left))
        axes.set_ylim(figure.get_figheight() - _MARGIN, -_MARGIN)  # inches, downwards
        axes.axis("off")
        one.draw(axes)
        left += one.width + spare + _BETWEEN
    return figure


def write_graph(graph: Graph, path: str | os.PathLike[str], title: str = "") -> None:
    """Draw a graph into a file, or write it as Graphviz's text.

    Parameters
    ----------
    graph : Graph
        As :func:`gpunn.nn.graph_of` finds it.
    path : str or path
        Ends in .svg, .png, .pdf (which need matplotlib: the extra ``plot``) or .dot. An older file is replaced.
    title : str
        Stands above it.

    Raises
    ------
    UsageError
        If the name ends in something else, matplotlib is missing, or the picture would be too large.
    DataError
        If the file cannot be written.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> from gpunn.plots.graph import write_graph
    >>> graph = nn.graph_of(nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), gpunn.zeros(8, 3))
    >>> write_graph(graph, "logistic.svg")  # doctest: +SKIP
    """
    path = Path(path)
    if check_suffix(path, "write_graph", (".dot",)) == "dot":
        write_file(path, graph.dot().encode())
        return
    need_matplotlib()
    with drawing():
        write(draw_graphs({title: graph}), path)


def _inches(text: str, size: float = SMALL) -> float:
    return width_of(text, size) / DPI


class _Drawing:
    """One graph: what its boxes say, and where they are."""

    def __init__(self, title: str, graph: Graph) -> None:
        self._title = label(title, 2 * _MOST_LETTERS)
        self._graph = graph
        uses = Counter(edge.source for edge in graph.edges)
        # A parameter that one op uses stands beside that op; others have a place of their own among the ops.
        self._beside: dict[int, list[Edge]] = {}
        for edge in graph.edges:
            if graph.vertices[edge.source].kind == "parameter" and uses[edge.source] == 1:
                self._beside.setdefault(edge.target, []).append(edge)
        besides = {edge.source for edges in self._beside.values() for edge in edges}
        self._shown = [number for number in range(len(graph.vertices)) if number not in besides]
        between = [edge for edge in graph.edges if edge.source not in besides]
        self._flow: dict[tuple[int, int], str] = {}
        for edge in between:
            pair = edge.source, edge.target
            self._flow[pair] = (
                f"{self._flow[pair]}, {shape_text(edge.shape)}" if pair in self._flow else shape_text(edge.shape)
            )
        self._layout = self._arrange()
        self._top = _TITLE if title else 0.0
        self.width = max(self._layout.width, _inches(self._title, TITLE))
        self.height = self._layout.height + self._top

    def _arrange(self) -> Layout:
        numbers = {vertex: place for place, vertex in enumerate(self._shown)}
        widest = max(map(_inches, self._flow.values()), default=0.0)
        sizes = []
        for number in self._shown:
            texts = [text for pair, text in self._flow.items() if number in pair]
            side = max([self._box_width(number) / 2, *(_inches(text) + 0.15 for text in texts)])
            beside = self._beside_width(number)
            left = self._box_width(number) / 2 + beside if beside else side
            sizes.append((max(left, side), side, self._cell_height(number)))
        edges = [(numbers[source], numbers[target]) for source, target in self._flow]
        return arrange(sizes, edges, widest + 0.1, slide=HEIGHT - 2 * _MARGIN - _TITLE)

    def _lines(self, number: int) -> list[str]:
        vertex = self._graph.vertices[number]
        return [label(text, _MOST_LETTERS) for text in (vertex.name, vertex.layer) if text]

    def _box_width(self, number: int) -> float:
        name, *layer = map(_inches, self._lines(number))
        return (
            max([1.13 * name if self._graph.vertices[number].kind == "op" else name, *layer]) + 2 * _PAD
        )  # 1.13: bold

    def _box_height(self, number: int) -> float:
        return len(self._lines(number)) * _LINE + 2 * _PAD * 0.7

    def _cell_height(self, number: int) -> float:
        return max(self._box_height(number), len(self._beside.get(number, ())) * (_LINE + 1.6 * _PAD))

    def _own_name(self, edge: Edge) -> str:
        """A parameter's name, without the name of the layer that it stands beside."""
        layer = self._graph.vertices[edge.target].layer
        return label(self._graph.vertices[edge.source].name.removeprefix(f"{layer}." if layer else ""), _MOST_LETTERS)

    def _beside_width(self, number: int) -> float:
        edges = self._beside.get(number, ())
        if not edges:
            return 0.0
        return (
            max(_inches(self._own_name(e)) for e in edges)
            + 2 * _PAD
            + max(_inches(shape_text(e.shape)) for e in edges)
            + 0.4
        )

    # -- drawing ------------------------------------------------------------------------------

    def draw(self, axes: Axes) -> None:
        axes.text(0, 0.1, self._title, fontsize=TITLE, va="center")
        numbers = {vertex: place for place, vertex in enumerate(self._shown)}
        for (source, target), text in self._flow.items():
            self._edge(axes, self._layout.paths[numbers[source], numbers[target]], text)
        for layer in self._layout.layers:
            for place in layer:
                if place.box is not None:
                    self._cell(axes, place, self._shown[place.box])

    def _cell(self, axes: Axes, place: Place, number: int) -> None:
        vertex, x, y = self._graph.vertices[number], place.x, place.y + self._top
        width = self._box_width(number)
        _box(axes, vertex.kind, x - width / 2, y, width, self._box_height(number), self._lines(number))
        edges = self._beside.get(number, ())
        if not edges:
            return
        names = max(_inches(self._own_name(edge)) for edge in edges) + 2 * _PAD
        left = x - width / 2 - self._beside_width(number)
        step = _LINE + 1.6 * _PAD
        for row, edge in enumerate(edges):
            at = y + (row - (len(edges) - 1) / 2) * step
            _box(axes, "parameter", left, at, names, _LINE + _PAD, [self._own_name(edge)])
            # Arrows end on the box's side, also where the parameters take more height than it.
            inside = self._box_height(number) / 2 - 0.06
            end = y + min(max(at - y, -inside), inside)
            _arrow(axes, [(left + names, at), (x - width / 2 - 0.2, at), (x - width / 2, end)])
            axes.text(left + names + 0.08, at - 0.02, shape_text(edge.shape), fontsize=SMALL, va="bottom")

    def _edge(self, axes: Axes, path: list[Place], text: str) -> None:
        source, target = path[0], path[-1]
        aside = self._port(source, source.below, path[1]) if path[1].column == source.column else 0.0
        start = source.x + aside, source.y + self._half(source)
        end = target.x + self._port(target, target.above, path[-2]), target.y - self._half(target)
        points = [start]
        for before, place in itertools.pairwise(path):
            if place.column > before.column:  # below this column, up beside the next, and over that
                below, over = self._layout.height - GAP / 6, place.y - place.height / 2 - 0.8 * GAP
                gutter = self._layout.gutters[place.column]
                points += [(points[-1][0], below), (gutter, below), (gutter, over), (place.x, over)]
            if place is not target:  # straight through the layer
                points += [(place.x, place.y - place.height / 2), (place.x, place.y + place.height / 2)]
        points.append(end)
        _arrow(axes, [(x, y + self._top) for x, y in points])
        x, y, align = _text_place(path, start, end)
        # Where other lines pass, the text goes over them.
        behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
        axes.text(x, y + self._top, text, fontsize=SMALL, va="center", ha=align, bbox=behind)

    def _port(self, place: Place, neighbours: list[Place], other: Place) -> float:
        """How far from the middle of a box the edge to ``other`` begins: edges lie beside each other in their order."""
        assert place.box is not None
        order = sorted(neighbours, key=lambda one: (one.column, one.x))
        number = next(i for i, one in enumerate(order) if one is other)
        apart = min(PORT, (self._box_width(self._shown[place.box]) - 0.16) / len(order))
        return (number - (len(order) - 1) / 2) * apart

    def _half(self, place: Place) -> float:
        assert place.box is not None
        return self._box_height(self._shown[place.box]) / 2


def _text_place(path: list[Place], start: tuple[float, float], end: tuple[float, float]) -> tuple[float, float, str]:
    """Where an edge says its shape: x, y and on which side of x, so that edges which meet at a box do not cross it."""
    source, target = path[0], path[-1]
    if len(path) > 2:
        return path[1].x + 0.07, path[1].y, "left"
    if target.column > source.column:
        return end[0] + 0.07, end[1] - 0.4 * GAP, "left"
    leaves, enters = len(source.below) > 1, len(target.above) > 1
    share = 0.5 if leaves == enters else 0.75 if leaves else 0.25
    x, y = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
    lean = end[0] - start[0]
    away = 0.07 + min(0.1 * abs(lean) / (end[1] - start[1]), 0.3)  # from the line, over the height of the text
    if enters == leaves:
        left = False
    elif abs(lean) > 0.3:
        left = (lean > 0) == enters  # where the line does not come from, or go to
    else:
        left = any(one.x > (source if enters else target).x for one in (target.above if enters else source.below))
    return (x - away, y, "right") if left else (x + away, y, "left")


def _box(axes: Axes, kind: str, left: float, y: float, width: float, height: float, lines: list[str]) -> None:
    from matplotlib.patches import FancyBboxPatch

    radius = 0.08 if kind == "op" else 0.02 if kind == "parameter" else 0.18
    shape = f"round,pad=0,rounding_size={min(radius, height / 2)}"
    colours = {"facecolor": _FILL[kind], "edgecolor": _SIDE[kind]}
    axes.add_patch(FancyBboxPatch((left, y - height / 2), width, height, boxstyle=shape, linewidth=1.4, **colours))
    for row, text in enumerate(lines):
        at = y + (row - (len(lines) - 1) / 2) * _LINE
        weight: Any = "bold" if row == 0 and kind == "op" else "normal"
        axes.text(left + width / 2, at, text, fontsize=SMALL, ha="center", va="center_baseline", weight=weight)


def _arrow(axes: Axes, points: list[tuple[float, float]]) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    axes.add_patch(
        FancyArrowPatch(path=Path(points), arrowstyle="-|>,head_width=3,head_length=6", color="#4D4D4D", linewidth=1.4,
                        shrinkA=0, shrinkB=0, zorder=0.5, joinstyle="round"),
    )  # fmt: skip
