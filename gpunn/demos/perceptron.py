"""The perceptron's rule: each missed point turns the line, and where a line separates the classes, it stops.

y = 1 if w·x ≥ 0, else 0, with x extended by a 1 for the bias. Point by point, if it is missed: w ← w + x for one of
class 1, w ← w − x for one of class 0, until an epoch has no mistakes. It starts from w = 0. On XOR, which no line
separates, it never stops. (Rosenblatt 1958; Novikoff 1962; lecture topic T1.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn.demos._plane import draw_plane, grid
from gpunn.models import Perceptron
from gpunn.plots.style import new_figure

Result = namedtuple("Result", "x y steps mistakes xor same")  # steps: (the missed point, w after it)


def rule(x, y, w, epochs=100):
    extended, steps, mistakes = np.c_[x, np.ones(len(x))], [], []
    while len(mistakes) < epochs and (not mistakes or mistakes[-1]):
        mistakes.append(0)
        for i, point in enumerate(extended):
            error = y[i] - (w @ point >= 0)
            if error:
                w = w + error * point
                steps.append((i, w))
                mistakes[-1] += 1
    return steps, mistakes


def run(*, seed=0, device="cpu", points=40):
    x = np.random.Generator(np.random.Philox(seed)).uniform(-2, 2, (8 * points, 2))
    x = x[np.abs(x @ [1, 0.6] - 0.3) > 0.1][:points]  # a gap between the classes: the wider, the fewer corrections
    y = (x @ [1, 0.6] > 0.3).astype(int)
    steps, mistakes = rule(x, y, np.zeros(3))
    unit = Perceptron(2).to(device)
    unit.fit(gpunn.tensor(x, device=device), gpunn.tensor(y, device=device))
    same = np.allclose([*unit.weight.tolist()[0], unit.bias.item()], steps[-1][1])  # but for float32
    return Result(x, y, steps, mistakes, rule([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], np.zeros(3))[1], same)


def lines(r):
    yield f"{len(r.x)} points that a line separates: {len(r.steps)} corrections; mistakes by epoch {r.mistakes}."
    yield f"gpunn.models.Perceptron.fit ends with {'the same' if r.same else 'OTHER'} weights."
    yield f"XOR, which no line separates: after {len(r.xor)} epochs still {r.xor[-1]} mistakes in each; it never stops."


def draw(r):
    figure, places = new_figure(), grid((-2.2, -2.2), (2.2, 2.2))
    for place, step in enumerate(sorted({*range(min(7, len(r.steps))), len(r.steps) - 1}), start=1):
        axes, (i, w) = figure.add_subplot(2, 4, place, title=f"correction {step + 1}"), r.steps[step]
        draw_plane(axes, places, places @ w[:2] + w[2], r.x, r.y)
        axes.plot(*r.x[i], "o", markersize=16, fillstyle="none", color="black", markeredgewidth=2)
    figure.suptitle("The line after each correction; ringed: the point it had missed")
    figure.supxlabel("x₁")
    figure.supylabel("x₂")
    return figure
