"""Pictures of graphs: nothing overlaps, everything is said, arrows go down, deep nets go on in columns."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import gpunn
from gpunn import nn
from gpunn.demos import graph as demo
from gpunn.errors import DataError, UsageError
from gpunn.models import ResNetCifar
from gpunn.nn.graph import Edge, Graph, Vertex, graph_of
from gpunn.plots.graph import draw_graphs, write_graph
from gpunn.plots.layers import BESIDE, arrange
from gpunn.plots.style import drawing

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install 'gpunn[plot]'")


Rectangle = tuple[float, float, float, float]


def _drawn(graphs: dict[str, Graph]) -> tuple[Any, list[Rectangle], list[tuple[Any, Rectangle]]]:
    """The figure, its boxes in pixels, and its texts with theirs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.patches import FancyBboxPatch

    with drawing():
        figure = draw_graphs(graphs)
        FigureCanvasAgg(figure)  # without one of its own each text makes a picture to measure itself in
        boxes = [_pixels(patch) for axes in figure.axes for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
        texts = [text for axes in figure.axes for text in axes.texts]
        return figure, boxes, [(text, _pixels(text)) for text in texts]


def _pixels(artist: Any) -> Rectangle:
    extent = artist.get_window_extent()
    return extent.x0, extent.y0, extent.x1, extent.y1


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 1


@pytest.mark.parametrize("deep", [False, True], ids=["the lecture's nets", "ResNet-20"])
def test_G2_every_name_and_shape_is_there_and_nothing_overlaps(deep: bool) -> None:
    graphs = {"ResNet-20": graph_of(ResNetCifar(20), gpunn.zeros(1, 3, 32, 32))} if deep else demo.run().graphs
    figure, boxes, texts = _drawn(graphs)
    said = [text.get_text() for text, _ in texts]
    for graph in graphs.values():
        ops = [vertex.name for vertex in graph.vertices if vertex.kind == "op"]
        assert all(said.count(name) >= ops.count(name) for name in ops)
    edges = sum(len(graph.edges) for graph in graphs.values())
    assert sum("×" in text or text.isdigit() or text == "scalar" for text in said) == edges
    assert len(boxes) == sum(len(graph.vertices) for graph in graphs.values())
    assert all(text.get_fontsize() >= 12 for text, _ in texts)
    assert not [pair for pair in itertools.combinations(boxes, 2) if _overlap(*pair)]
    places = [place for _, place in texts]
    assert not [pair for pair in itertools.combinations(places, 2) if _overlap(*pair)]
    # A text is inside of a box, or outside of all.
    for text, place in texts:
        touched = [box for box in boxes if _overlap(box, place)]
        assert len(touched) <= 1, text.get_text()
        assert all(box[0] < place[0] and place[2] < box[2] for box in touched), text.get_text()
    width, height = figure.get_size_inches() * figure.dpi
    assert all(min(box) > 0 and box[2] < width and box[3] < height for box in (*boxes, *places))
    assert width < 4 * height < 16 * width  # no ribbon, however deep the net


def test_every_layer_is_below_what_it_depends_on() -> None:
    edges = [(0, 2), (1, 4), (2, 3), (3, 4), (0, 4), (4, 5)]
    layout = arrange([(0.5, 0.5, 0.4)] * 6, edges, 0.8, 99)
    at = {place.box: place for layer in layout.layers for place in layer if place.box is not None}
    assert all(at[source].y < at[target].y for source, target in edges)
    assert at[1].y == at[3].y  # what nothing leads to stands right above its first user
    assert [len(path) for path in layout.paths.values()] == [2, 2, 2, 2, 4, 2]
    for layer in layout.layers:
        for before, after in itertools.pairwise(layer):
            assert after.x - after.left >= before.x + before.right + BESIDE - 1e-9
    assert min(place.x - place.left for layer in layout.layers for place in layer) >= -1e-9


def test_edges_do_not_cross_without_need() -> None:
    layout = arrange([(0.5, 0.5, 0.4)] * 6, [(0, 5), (1, 4), (2, 3)], 0.8, 99)
    upper, lower = ([place.box for place in layer] for layer in layout.layers)
    assert [5 - box for box in lower] == upper


def test_a_chain_is_a_straight_line() -> None:
    layout = arrange([(0.2 + i % 3, 0.5, 0.4) for i in range(9)], [(i, i + 1) for i in range(8)], 0.8, 99)
    assert len({round(place.x, 2) for layer in layout.layers for place in layer}) == 1


@pytest.mark.parametrize(("name", "begins"), [
    ("net.svg", b"<?xml"), ("net.PNG", b"\x89PNG"), ("a/net.pdf", b"%PDF"), ("net.dot", b"digraph model {"),
])  # fmt: skip
def test_a_graph_becomes_a_file(name: str, begins: bytes, tmp_path: Path) -> None:
    graph = graph_of(nn.Sequential(nn.Linear(3, 2), nn.Sigmoid()), gpunn.zeros(4, 3))
    write_graph(graph, tmp_path / name, "$x_1$ <net>")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_names_are_text_whatever_is_in_them() -> None:
    vertices = (Vertex("input", "$\\frac{1}$"), Vertex("op", "<script>", "\x07" + "long" * 40), Vertex("output", "end"))
    graph = Graph(vertices, (Edge(0, 1, (2,)), Edge(1, 2, (2,))))
    _, boxes, texts = _drawn({"": graph})
    said = [text.get_text() for text, _ in texts]
    assert "$\\frac{1}$" in said
    assert "<script>" in said
    assert max(map(len, said)) == 40
    assert "?" in next(text for text in said if "…" in text)
    assert len(boxes) == 3


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    graph = graph_of(nn.Linear(3, 2), gpunn.zeros(4, 3))
    with pytest.raises(UsageError, match=r"expected a file name that ends in \.png, \.svg, \.pdf, \.dot"):
        write_graph(graph, tmp_path / "net.gif")
    (tmp_path / "folder.dot").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        write_graph(graph, tmp_path / "folder.dot")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="could not be written"):
        write_graph(graph, tmp_path / "file" / "net.dot")
    wide = Graph(
        (Vertex("input", "x"), *(Vertex("op", "o" * 40),) * 200), tuple(Edge(0, i, (2,)) for i in range(1, 201))
    )
    with drawing(), pytest.raises(UsageError, match=r"too much for a picture: write it as \.dot"):
        draw_graphs({"wide": wide})
