"""The graph of a model: what is in it, whatever the model does. COVERAGE G2's nets are in tests/demos/test_graph.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.demos import graph as demo
from gpunn.errors import ShapeError, UsageError
from gpunn.models import ResNetCifar
from gpunn.nn.graph import Graph, Vertex, graph_of


def edges(graph: Graph) -> list[tuple[str, tuple[int, ...], str]]:
    name = [vertex.name for vertex in graph.vertices]
    return [(name[e.source], e.shape, name[e.target]) for e in graph.edges]


def test_edges_lead_to_larger_numbers() -> None:
    for graph in (*demo.run().graphs.values(), graph_of(ResNetCifar(20), gpunn.randn(1, 3, 32, 32))):
        assert all(edge.source < edge.target for edge in graph.edges)


def test_what_sequential_fuses_is_drawn_apart() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    graph = graph_of(model, gpunn.zeros(1, 1, 8, 8))
    assert [v.name for v in graph.vertices if v.kind == "op"] == ["conv2d", "relu", "max_pool2d"]
    assert [v.layer for v in graph.vertices if v.kind == "op"] == ["0", "1", "2"]
    assert edges(graph)[3:] == [
        ("conv2d", (1, 2, 6, 6), "relu"), ("relu", (1, 2, 6, 6), "max_pool2d"), ("max_pool2d", (1, 2, 3, 3), "output"),
    ]  # fmt: skip


class Parts(nn.Module):
    """Several inputs and outputs, a split, an input used twice by one op and one that is changed in place."""

    def forward(self, first: Any, *others: Any) -> Any:
        first.mul_(2.0)
        a, b = first.split(2, 1)
        return {"sum": a + b + others[0], "square": others[1] * others[1]}


def test_several_inputs_and_outputs_and_parts_of_an_op() -> None:
    given = gpunn.ones(5, 4)
    graph = graph_of(Parts(), given, np.ones((5, 2), np.float32), gpunn.ones(3))
    assert given.numpy().tolist() == np.ones((5, 4)).tolist()
    found = edges(graph)
    assert ("first", (5, 4), "mul") in found
    assert found.count(("split", (5, 2), "add")) == 2
    assert ("others[0]", (5, 2), "add") in found
    assert found.count(("others[1]", (3,), "mul")) == 2
    assert [edge for edge in found if edge[2].startswith("output")] == [
        ("add", (5, 2), "output 0"), ("mul", (3,), "output 1"),
    ]  # fmt: skip


def test_other_arguments_reach_forward_as_they_are() -> None:
    class Flagged(nn.Module):
        def forward(self, x: Any, double: bool, names: Any) -> Any:
            return {names[0]: x * 2 if double is True else x}

    assert edges(graph_of(Flagged(), gpunn.ones(3), True, ("y",))) == [("x", (3,), "mul"), ("mul", (3,), "output")]
    with pytest.raises(ShapeError, match="Linear: expected 3 input features"):
        graph_of(nn.Linear(3, 2), gpunn.ones(2, 4))
    with pytest.raises(UsageError, match="expected a Tensor; got a tuple of int"):
        graph_of(nn.Linear(3, 2), (2, 3))


class Double(gpunn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x + x, x * 3

    @staticmethod
    def backward(ctx: Any, a: Any, b: Any) -> Any:
        return a


class Own(nn.Module):
    def forward(self, x: Any) -> Any:
        return Double.apply(x)[1]


def test_functions_of_ones_own_have_their_name_and_shape() -> None:
    assert edges(graph_of(Own(), gpunn.ones(2, 3, 4, 5))) == [
        ("x", (2, 3, 4, 5), "Double"), ("Double", (2, 3, 4, 5), "output"),
    ]  # fmt: skip


def test_frozen_and_shared_parameters_are_drawn_and_stay_frozen() -> None:
    layer = nn.Linear(3, 3, bias=False)
    layer.weight.requires_grad = False
    graph = graph_of(nn.Sequential(layer, nn.Sequential(layer)), gpunn.ones(2, 3))
    assert not layer.weight.requires_grad
    assert [v.name for v in graph.vertices if v.kind == "parameter"] == ["0.weight"]
    assert edges(graph).count(("0.weight", (3, 3), "linear")) == 2


def test_whole_numbers_are_no_part_of_it() -> None:
    graph = graph_of(nn.Embedding(10, 4), gpunn.zeros(2, 3, dtype="int64"))
    assert edges(graph) == [("weight", (10, 4), "embedding"), ("embedding", (2, 3, 4), "output")]

    class Index(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.argmax(1)

    with pytest.raises(UsageError, match=r"graph_of: expected a model whose output depends .* got 1 tensor\(s\)"):
        graph_of(Index(), gpunn.ones(2, 3))


def test_dot_text_is_escaped() -> None:
    vertices = (Vertex("input", 'say "x"\n<b>'), Vertex("op", "C:\\new", "layer\x07"), Vertex("output", "output"))
    graph = Graph(vertices, ())
    lines = graph.dot().splitlines()
    assert lines[2] == r'  v0 [label="say \"x\" <b>", shape=ellipse];'
    assert lines[3] == r'  v1 [label="C:\\new\nlayer ", shape=box, style=rounded];'
    assert len(lines) == 6
    dot = demo.run().graphs["linear regression"].dot()
    assert '  v2 -> v4 [label="1×3"];' in dot
    assert dot.startswith("digraph model {\n")
    assert dot.endswith("}\n")
