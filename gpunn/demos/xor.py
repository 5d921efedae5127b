"""No single neuron computes XOR, nor do linear layers however many; two layers with a non-linearity do.

A neuron decides by a line, w·x + b > t, whatever its activation; a line leaves one of XOR's corners on the wrong side.
Linear layers make one: W₂(W₁x + b₁) + b₂ = (W₂W₁)x + (W₂b₁ + b₂). (Minsky and Papert 1969; lecture topic T2.)
"""

from collections import namedtuple
from functools import partial

import numpy as np

import gpunn
from gpunn import models, nn
from gpunn.demos._plane import draw_plane, grid
from gpunn.demos._training import fit, mlp, predict
from gpunn.plots.style import new_figure

Result = namedtuple("Result", "right maps places gap")  # the first two by model
X, Y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32"), np.array([0, 1, 1, 0])


def run(*, seed=0, device="cpu", steps=200):
    gpunn.manual_seed(seed)
    places, right, maps = grid((-0.5, -0.5), (1.5, 1.5)), {}, {}

    def look(name, net, done=0):  # keeps how it decides, at its best threshold, if that is better than before
        s = predict(net, X).ravel()
        t = max([min(s) - 1, *sorted(s)[:-1]], key=lambda t: ((s > t) == Y).sum())
        if (hits := int(((s > t) == Y).sum())) > right.get(name, 0) or hits == 4:
            right[name], maps[name] = hits, predict(net, places).ravel() - (t + min(s[s > t])) / 2

    unit = models.Perceptron(2).to(device)  # its step has no gradient, but it has the rule
    for i in 5 * [[0], [1], [2], [3]]:
        unit.fit(gpunn.tensor(X[i], device=device), gpunn.tensor(Y[i], device=device), epochs=1)
        look("perceptron", unit)
    neurons = {"logistic neuron": nn.Sigmoid(), "ReLU neuron": nn.ReLU(), "tanh neuron": nn.Tanh()}
    nets = {name: nn.Sequential(nn.Linear(2, 1), activation) for name, activation in neurons.items()}
    nets["three linear layers"] = linear = mlp(2, 8, 8, 1, activation=nn.Identity)
    nets["two layers with tanh"] = mlp(2, 4, 1, activation=nn.Tanh)
    for name, net in nets.items():
        watch = partial(look, name, net.to(device))
        fit(net, nn.MSELoss(), X, np.float32(Y)[:, None], steps=steps, lr=0.05, before=watch)
    first, _, second, _, third = linear
    x = gpunn.tensor(X, device=device)
    gap = linear(x) - (x @ (third.weight @ second.weight @ first.weight).T + third(second(first.bias)))
    return Result(right, maps, places, gap.abs().max().item())


def lines(r):
    yield "Corners of the square that are on their side, at best, while it learned:"
    yield from (f"  {name:22}{right} of 4" for name, right in r.right.items())
    yield f"Three linear layers equal one: the outputs differ by {r.gap:.1g}, which is rounding."


def draw(r):
    for axes, (name, says) in zip(new_figure().subplots(2, 3).flat, r.maps.items(), strict=True):
        draw_plane(axes, r.places, 8 * says / np.abs(says).max(), X, Y)
        axes.set(title=f"{name}: {r.right[name]} of 4", xlabel="x₁", ylabel="x₂")
    return axes.figure
