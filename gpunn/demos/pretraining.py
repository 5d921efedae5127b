"""Auto-encoders, one layer after the other, let deep sigmoids learn; today's first weights do it without.

Without labels, each layer learns to reproduce its inputs (standardised, so that W keeps their differences), as one half
of x ↦ Wᵀ(σ(Wx + b) − ½); its outputs are the next one's inputs. Then SGD trains all. From random weights it does not.
(Hinton, Salakhutdinov 2006; Bengio et al. 2007; He et al. 2015; Ioffe, Szegedy 2015; lecture topic D8.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._digits import accuracy, descend, digits, gaussian
from gpunn.demos._training import fit, predict
from gpunn.plots.style import new_figure

KINDS = ("sigmoid, random weights", "sigmoid, pretrained", "ReLU, He's weights", "ReLU, He's weights, batch norm")
Result = namedtuple("Result", "depth steps before losses test")  # losses: (kind, step); test: accuracy in %


def pretrain(layers, x, **options):
    for layer in layers:
        target = (x - x.mean(0)) / (x.std(0) + np.float32(1e-3))
        fit(layer, lambda y, t, w=layer[0].weight: ((y - 0.5) @ w - t).square().mean(), x, target, lr=0.01, **options)
        x = predict(layer, x)


def run(*, seed=0, device="cpu", depth=5, before=300, steps=300):
    (x, labels), test = digits(), digits(train=False)
    losses, right = [], []
    for i in range(len(KINDS)):
        gpunn.manual_seed(seed)
        layers = []
        for inputs in (196, *[100] * (depth - 1)):
            norm = [nn.BatchNorm1d(100)] if i == 3 else []
            layers.append(nn.Sequential(nn.Linear(inputs, 100), *norm, nn.ReLU() if i > 1 else nn.Sigmoid()))
        net = gaussian(nn.Sequential(*layers, nn.Linear(100, 10)), 2**0.5 if i > 1 else 1).to(device)
        if i == 1:
            pretrain(layers, x, steps=before, batch_size=64, seed=seed)
        losses.append(descend(net, x, labels, steps=steps, lr=0.05, momentum=0.9, seed=seed))
        right.append(accuracy(net, *test))
    return Result(depth, steps, before, np.array(losses), right)


def lines(r):
    yield f"Training loss at the end, and test accuracy, after {r.steps} steps with labels:"
    for kind, losses, right in zip(KINDS, r.losses, r.test, strict=True):
        yield f"{kind:30} {losses[-10:].mean():6.3f} {right:6.1f} %"
    yield f"Pretraining took {r.depth} × {r.before} steps before; the others took none."


def draw(r):
    axes = new_figure().subplots()
    for kind, losses, marker in zip(KINDS, r.losses, "osD^", strict=True):
        axes.semilogy(range(10, 1 + r.steps, 10), losses.reshape(-1, 10).mean(1), label=kind, marker=marker)
    axes.set(xlabel="step", ylabel="training loss, mean of ten steps", title=f"{r.depth} hidden layers")
    axes.legend()
    return axes.figure
