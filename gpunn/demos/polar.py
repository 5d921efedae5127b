"""Rings that no line separates: in polar coordinates one does, and a net finds coordinates of its own.

Class 0 is a disk, class 1 a ring around it. A linear model of (x, y) fails. With the features r = √(x² + y²) and
θ = arctan(y / x), which a person chose, a linear model needs r alone. The net 2 → 16 → 2 → 1 learns two features;
its last layer is the linear model. (Lecture topic D2: representations.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._plane import draw_plane, grid, rings
from gpunn.demos._training import fit, mlp, predict
from gpunn.plots.style import new_figure

Result = namedtuple("Result", "y planes percent")  # planes: places, scores of them, points


def run(*, seed=0, device="cpu", points=300, steps=400):
    def train(net, x):
        fit(net.to(device), nn.BCEWithLogitsLoss(), x, y[:, None].astype("float32"), steps=steps, lr=0.05)
        return net

    def look(model, x):
        margin = 0.1 * (x.max(0) - x.min(0))
        places = grid(x.min(0) - margin, x.max(0) + margin)
        planes.append((places, predict(model, places).ravel(), x))
        percent.append(100 * float(((predict(model, x).ravel() > 0) == y).mean()))

    xy, y = rings(np.random.Generator(np.random.Philox(seed)), points)
    polar = np.c_[np.hypot(xy[:, 0], xy[:, 1]), np.arctan2(xy[:, 1], xy[:, 0])]
    planes, percent = [], []
    gpunn.manual_seed(seed)
    for x in (xy, polar):
        look(train(nn.Linear(2, 1), x), x)
    net = train(nn.Sequential(*mlp(2, 16, 2, activation=nn.Tanh), nn.Linear(2, 1)), xy)
    look(net, xy)
    look(net[-1], predict(net[:-1], xy))
    return Result(y, planes, percent)


def lines(r):
    names = ("linear model of (x, y)", "linear model of (r, θ)", "net of (x, y)")
    yield "Points on their side:"
    yield from (f"  {name:22}  {percent:5.1f} %" for name, percent in zip(names, r.percent[:3], strict=True))


def draw(r):
    titles = ("linear model of x, y", "linear model of r, θ", "net of x, y", "its last layer, linear")
    names = (("x", "y"), ("r", "θ (radians)"), ("x", "y"), ("learned feature 1", "learned feature 2"))
    figure = new_figure()
    for i, axes in enumerate(figure.subplots(2, 2).flat):
        draw_plane(axes, *r.planes[i], r.y)
        axes.set(xlabel=names[i][0], ylabel=names[i][1], aspect="auto" if i % 2 else "equal")
        axes.set_title(f"{titles[i]}: {r.percent[i]:.0f} %")
    return figure
