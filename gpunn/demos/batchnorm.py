"""Batch normalisation allows larger steps, so it learns faster, from more initial weights, and even in deep sigmoids.

x̂ = (x − μ) / √(σ² + ε), y = γx̂ + β: μ and σ² of a unit over the batch, γ and β learned, between Wx + b and activation.
W times a number gives the same x̂, so the size of the first weights matters little, and what a large step makes of it.
The nets have four hidden layers. (Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic D6.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._digits import accuracy, descend, digits, gaussian
from gpunn.plots.style import new_figure

Result = namedtuple("Result", "rates gains losses sigmoid by_rate by_gain")  # [without, with]; losses by step, %


def network(normalised, activation, gain):
    layers = []
    for inputs in (196, 100, 100, 100):
        layers += [nn.Linear(inputs, 100), *[nn.BatchNorm1d(100)] * normalised, activation()]
    return gaussian(nn.Sequential(*layers, nn.Linear(100, 10)), gain)


def run(*, seed=0, device="cpu", rates=(0.01, 0.05, 0.1, 0.2, 0.5, 1, 2), gains=(0.03, 0.1, 0.3, 1, 3, 10), steps=150):
    def trained(normalised, lr=0.1, gain=1, activation=nn.ReLU):
        gpunn.manual_seed(seed)
        net = network(normalised, activation, gain * 2**0.5).to(device)
        return descend(net, x, labels, steps=steps, lr=lr, seed=seed), accuracy(net, x, labels)

    x, labels = digits()
    runs = [[trained(n, lr=rate) for rate in rates] for n in (False, True)]
    best = [min((losses for losses, _ in row), key=lambda some: np.nan_to_num(some, nan=9).mean()) for row in runs]
    sigmoid = [trained(n, activation=nn.Sigmoid)[0] for n in (False, True)]
    by_gain = [[trained(n, gain=gain)[1] for gain in gains] for n in (False, True)]
    return Result(rates, gains, best, sigmoid, [[right for _, right in row] for row in runs], by_gain)


def lines(r):
    told = "Mean training loss without and with batch norm: ReLU {:.3f} and {:.3f}, sigmoids {:.3f} and {:.3f}."
    yield told.format(*np.mean([*r.losses, *r.sigmoid], axis=1))
    yield from (f"ReLU, learning rate {v:5} {a:7.1f} %{b:7.1f} %" for v, a, b in zip(r.rates, *r.by_rate, strict=True))
    yield from (f"ReLU, weights times {v:5} {a:7.1f} %{b:7.1f} %" for v, a, b in zip(r.gains, *r.by_gain, strict=True))


def draw(r):
    panels = new_figure().subplots(2, 2).ravel()
    for i, look in enumerate(({"marker": "o", "label": "without"}, {"marker": "s", "label": "batch normalisation"})):
        for axes, losses in zip(panels, (r.losses[i], r.sigmoid[i]), strict=False):
            axes.semilogy(range(10, 1 + len(losses), 10), losses.reshape(-1, 10).mean(1), **look)
            axes.set(xlabel="step", ylabel="training loss, mean of 10", title="Sigmoids, learning rate 0.1")
        panels[2].semilogx(r.rates, r.by_rate[i], **look)
        panels[3].semilogx(r.gains, r.by_gain[i], **look)
    panels[0].set_title("ReLU, each at its best learning rate")
    panels[2].set(xlabel="learning rate", ylabel="training accuracy (%)", title="ReLU, by learning rate")
    panels[3].set(xlabel="first weights, times He's", ylabel="training accuracy (%)", title="ReLU, by first weights")
    return panels[0].legend().figure
