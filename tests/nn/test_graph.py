"""The graph of a model: COVERAGE G2's four nets edge by edge, blocks that branch and join, deep nets, odd models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.demos import graph as demo
from gpunn.errors import UsageError
from gpunn.models import ResNetCifar
from gpunn.nn.graph import Graph, Vertex, graph_of


def edges(graph: Graph) -> list[tuple[str, tuple[int, ...], str]]:
    name = [vertex.name for vertex in graph.vertices]
    return [(name[e.source], e.shape, name[e.target]) for e in graph.edges]


LINEAR = [("x", (8, 3), "linear"), ("layer.weight", (1, 3), "linear"), ("layer.bias", (1,), "linear")]


def test_G2_linear_regression() -> None:
    graph = demo.run().graphs["linear regression"]
    loss = [("linear", (8, 1), "mse_loss"), ("truth", (8, 1), "mse_loss"), ("mse_loss", (), "output")]
    assert edges(graph) == LINEAR + loss
    kinds = {vertex.name: vertex.kind for vertex in graph.vertices}
    assert kinds == {
        "x": "input", "truth": "input", "layer.weight": "parameter", "layer.bias": "parameter", "linear": "op",
        "mse_loss": "op", "output": "output",
    }  # fmt: skip


def test_G2_logistic_regression() -> None:
    loss = "binary_cross_entropy"
    assert edges(demo.run().graphs["logistic regression"]) == [
        *LINEAR, ("linear", (8, 1), "sigmoid"), ("sigmoid", (8, 1), loss), ("truth", (8, 1), loss),
        (loss, (), "output"),
    ]  # fmt: skip


def test_G2_regression_of_four_classes() -> None:
    assert edges(demo.run().graphs["4-class regression"]) == [
        ("x", (8, 3), "linear"), ("layer.weight", (4, 3), "linear"), ("layer.bias", (4,), "linear"),
        ("linear", (8, 4), "softmax"), ("softmax", (8, 4), "log"), ("log", (8, 4), "nll_loss"),
        ("nll_loss", (), "output"),
    ]  # fmt: skip


def test_G2_a_net_that_branches() -> None:
    """The derivative at x is the sum over three ways: its three edges."""
    graph = demo.run(batch=2).graphs["a branching net"]
    assert [e for e in edges(graph) if e[0] == "x"] == [("x", (2, 3), op) for op in ("linear", "mul", "add")]
    assert [e for e in edges(graph) if e[2] in ("mul", "add")] == [
        ("x", (2, 3), "mul"), ("sigmoid", (2, 3), "mul"), ("x", (2, 3), "add"), ("mul", (2, 3), "add"),
    ]  # fmt: skip
    assert demo.lines(demo.Result({"net": graph}))[0].startswith("net: x 2×3 → linear, layer.weight 3×3 → linear")


def test_G2_a_residual_network_branches_and_joins() -> None:
    model = ResNetCifar(20)
    model.train()
    weights = {name: p.numpy().copy() for name, p in model.state_dict().items()}
    graph = graph_of(model, gpunn.randn(2, 3, 32, 32))
    parameters = {vertex.name for vertex in graph.vertices if vertex.kind == "parameter"}
    assert parameters == {name for name, _ in model.named_parameters()}
    shapes = {graph.vertices[e.source].name: e.shape for e in graph.edges}
    assert all(shapes[name] == p.shape for name, p in model.named_parameters())
    # Each of the nine blocks is left by the identity too, and both ways meet in its second batch norm.
    number = {vertex.layer: i for i, vertex in enumerate(graph.vertices) if vertex.name == "batch_norm"}
    ways = [e.source for e in graph.edges if e.target == number["layer1.0.bn2"]]
    assert number["bn1"] in ways
    assert sum(graph.vertices[i].kind == "op" for i in ways) == 2
    joins = [layer for layer, i in number.items()
             if sum(graph.vertices[e.source].kind == "op" for e in graph.edges if e.target == i) == 2]  # fmt: skip
    assert joins == [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3) for block in (0, 1, 2)]
    # Looking has changed nothing.
    assert model.training
    assert all(np.array_equal(p.numpy(), weights[name]) for name, p in model.state_dict().items())
    assert all(p.grad is None and not module._forward_hooks for module in model.modules() for p in module.parameters())


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


def test_G2_dot_text_is_escaped() -> None:
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
