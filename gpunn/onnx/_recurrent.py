"""Recurrent layers in ONNX: step by step, as the number of steps is fixed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunn.onnx._graph import Graph
from gpunn.onnx._table import Arguments, lowers
from gpunn.ops.gru_gates import gru_gates
from gpunn.ops.lstm_gates import lstm_gates
from gpunn.ops.recurrent import recurrent


def _parts(g: Graph, name: str, count: int, width: int) -> list[str]:
    return list(g.node("Split", [name, g.numbers(*(width,) * count)], count, axis=1))


def _lstm(g: Graph, given: str, hidden: str, c: str, width: int) -> tuple[str, str]:
    i, f, u, o = _parts(g, g.node("Add", [given, hidden]), 4, width)
    i, f, o = (g.node("Sigmoid", [name]) for name in (i, f, o))
    c = g.node("Add", [g.node("Mul", [f, c]), g.node("Mul", [i, g.node("Tanh", [u])])])
    return g.node("Mul", [o, g.node("Tanh", [c])]), c


def _gru(g: Graph, given: str, hidden: str, h: str, width: int) -> str:
    pairs = zip(_parts(g, given, 3, width), _parts(g, hidden, 3, width), strict=True)
    (r, r_), (z, z_), (n, n_) = pairs
    r, z = (g.node("Sigmoid", [g.node("Add", [a, b])]) for a, b in ((r, r_), (z, z_)))
    n = g.node("Tanh", [g.node("Add", [n, g.node("Mul", [r, n_])])])
    return g.node("Add", [n, g.node("Mul", [z, g.node("Sub", [h, n])])])


@lowers(lstm_gates)
def _lstm_gates(g: Graph, a: Arguments) -> Sequence[str]:
    return _lstm(g, a.given.name, a.hidden.name, a.c.name, g.fixed(a.c.shape[1], "the size of the state"))


@lowers(gru_gates)
def _gru_gates(g: Graph, a: Arguments) -> str:
    return _gru(g, a.given.name, a.hidden.name, a.h.name, g.fixed(a.h.shape[1], "the size of the state"))


@lowers(recurrent)
def _recurrent(g: Graph, a: Arguments) -> Sequence[str]:
    steps = range(g.fixed(a.given.shape[0], "the number of steps"))
    width = g.fixed(a.h.shape[1], "the size of the state")
    bias = [] if a.bias is None else [a.bias.name]
    h, c = a.h.name, None if a.c is None else a.c.name
    states = [""] * len(steps)
    for t in steps[::-1] if a.reverse else steps:
        given = g.node("Gather", [a.given.name, g.constant(np.asarray(t))], axis=0)
        hidden = g.node("Gemm", [h, a.weight.name, *bias], transB=1)
        if c is not None:
            h, c = _lstm(g, given, hidden, c, width)
        elif a.kind == "GRU":
            h = _gru(g, given, hidden, h, width)
        else:
            h = g.node("Tanh" if a.kind == "RNN_TANH" else "Relu", [g.node("Add", [given, hidden])])
        states[t] = g.node("Unsqueeze", [h, g.numbers(0)])
    y = states[0] if len(states) == 1 else g.node("Concat", states, axis=0)
    return [y, h] if c is None else [y, h, c]
