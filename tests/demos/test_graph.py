"""COVERAGE G2: the graphs of the lecture's nets edge by edge, and a deep one whose blocks branch and join."""

from __future__ import annotations

import numpy as np

import gpunn
from gpunn.demos import graph as demo
from gpunn.models import ResNetCifar
from gpunn.nn.graph import Graph, graph_of


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
