"""Where a perceptron, a logistic neuron and a net of two layers draw their boundaries while they learn.

Two half moons that no line separates. The perceptron's line turns with every missed point and never comes to rest; the
logistic neuron's line, w·x + b = 0, comes to rest where the mean cross-entropy is least; the net's boundary bends, as
its hidden units fold the plane. (Rosenblatt 1958; Rumelhart, Hinton and Williams 1986; lecture topic D5.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._plane import draw_plane, grid, moons
from gpunn.demos._training import fit, mlp, predict
from gpunn.models import Perceptron
from gpunn.plots.style import new_figure

Result = namedtuple("Result", "x y places times maps percent")  # maps and percent: by model, one for each of the times


def run(*, seed=0, device="cpu", points=80, times=(0, 5, 50, 500)):
    x, y = moons(np.random.Generator(np.random.Philox(seed)), points)
    places, maps, percent = grid((-1.6, -1.2), (2.6, 1.7)), {}, {}

    def look(name, scores):
        maps.setdefault(name, []).append(scores(places))
        percent.setdefault(name, []).append(100 * float(((scores(x) > 0) == y).mean()))

    gpunn.manual_seed(seed)
    unit = Perceptron(2).to(device)
    for done in range(max(times) + 1):
        if done in times:
            w, b = unit.weight.detach().numpy()[0], unit.bias.item()
            look("perceptron", lambda p, w=w, b=b: p @ w + b)
        unit.fit(gpunn.tensor(x, device=device), gpunn.tensor(y, device=device), epochs=1)
    for name, sizes in (("logistic neuron", (2, 1)), ("two layers", (2, 16, 1))):
        net = mlp(*sizes, activation=nn.Tanh).to(device)

        def watch(done, name=name, net=net):
            if done in times:
                look(name, lambda p: predict(net, p).ravel())

        fit(net, nn.BCEWithLogitsLoss(), x, y[:, None].astype("float32"), steps=max(times), lr=0.05, before=watch)
    return Result(x, y, places, times, maps, percent)


def lines(r):
    yield f"Points on their side, in percent, after {', '.join(map(str, r.times))} epochs:"
    yield from (f"  {name:16}" + "".join(f"{p:7.1f}" for p in percent) for name, percent in r.percent.items())


def draw(r):
    for row, name in zip(new_figure().subplots(3, len(r.times), sharex=True, sharey=True), r.maps, strict=True):
        for axes, time, says, percent in zip(row, r.times, r.maps[name], r.percent[name], strict=True):
            draw_plane(axes, r.places, says, r.x, r.y)
            axes.set(title=f"{time} epochs: {percent:.0f} %", xlabel="x₁" * (name == "two layers"))
        row[0].set_ylabel(f"{name}\nx₂")
    return axes.figure
