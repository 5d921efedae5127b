"""Features learned on some characters serve others: retraining only the last layers beats training from scratch.

Source: digits 0 to 4 in four quarter turns (20 characters) on pieces of photographs, as many images as one likes.
Target: digits 5 to 9, few of them. One net keeps the source's convolutions and learns new fully connected layers, one
learns everything, one keeps random convolutions, each in as many steps. At 100 images a class the first leads the
second by 3 to 9 % after 150 steps, by 1 to 4 % after 300. (Yosinski et al. 2014; lecture topic D7.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._digits import accuracy, on_photographs
from gpunn.demos._training import fit, predict
from gpunn.plots.style import new_figure

KINDS = ("source's convolutions, frozen", "everything from scratch", "random convolutions, frozen")
Result = namedtuple("Result", "counts test")  # test: accuracy in % (kind, count)


def network(classes, device):
    a, b, pool = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 5, padding=2), nn.MaxPool2d(2)
    convolutions = nn.Sequential(a, nn.ReLU(), pool, b, nn.ReLU(), pool, nn.Flatten())
    return convolutions.to(device), nn.Sequential(nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, classes)).to(device)


def run(*, seed=0, device="cpu", counts=(5, 10, 25, 50, 100), source=2500, steps=150, test=1440):
    def learn(net, x, labels, steps):
        fit(net, nn.CrossEntropyLoss(), x, labels, steps=steps, lr=0.003, batch_size=64, seed=seed)

    gpunn.manual_seed(seed)
    rng = np.random.Generator(np.random.Philox(seed))
    taught, head = network(20, device)
    learn(nn.Sequential(taught, head), *on_photographs(range(5), 20000, rng, turns=4), source)
    (x, labels), unseen = on_photographs(range(5, 10), None, rng), on_photographs(range(5, 10), test, rng, train=False)
    right = np.empty((len(KINDS), len(counts)))
    for i, j in np.ndindex(right.shape):
        some = np.concatenate([np.flatnonzero(labels == label)[: counts[j]] for label in range(5)])
        fresh, head = network(5, device)
        features = taught if i == 0 else fresh
        whole = nn.Sequential(features, head)
        learn(*((whole, x[some]) if i == 1 else (head, predict(features, x[some]))), labels[some], steps)
        right[i, j] = accuracy(whole, *unseen)
    return Result(counts, right)


def lines(r):
    yield f"Test accuracy (%) with {', '.join(map(str, r.counts))} training images a class:"
    yield from (f"{k:29}" + "".join(f"{v:6.1f}" for v in right) for k, right in zip(KINDS, r.test, strict=True))


def draw(r):
    axes = new_figure().subplots()
    axes.semilogx(r.counts, r.test.T, "o-", label=KINDS)
    axes.set(xlabel="training images a class", ylabel="test accuracy (%)", title="Digits 5 to 9 on photographs")
    axes.set_xticks(r.counts, r.counts)
    return axes.legend().figure
