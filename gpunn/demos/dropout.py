"""Dropout: nets that have all their training images right test worse than nets that could not memorise them as easily.

In training each hidden unit is 0 with probability p, else divided by 1 − p: a = m ∘ ReLU(Wx + b) / (1 − p). Dropout
stands behind the hidden layers, not behind the topmost one. 256 units are a lecture's 1,024, scaled down. Digits alone
are too easy to overfit, so each pixel has noise of one standard deviation, always the same in a training image. With
and without, a net begins with the same weights and takes as many steps.
(Srivastava et al. 2014, "Dropout", figure 10 and section 6; lecture topic D6.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._digits import accuracy, descend, digits, gaussian
from gpunn.plots.style import COLOURS, MARKERS, new_figure

Result = namedtuple("Result", "sizes depths train test")  # train, test: accuracy in % (without or with, depth, size)


def network(depth, p, width=256):
    layers = []
    for number in range(depth):
        layers += [nn.Linear(width if number else 196, width), nn.ReLU(), nn.Dropout(p)]
    return gaussian(nn.Sequential(*layers, nn.Linear(width, 10)))


def run(*, seed=0, device="cpu", sizes=(50, 100, 200, 400, 1437), depths=(2, 3, 4), steps=400):
    rng = np.random.Generator(np.random.Philox(seed))
    (x, labels), (test_x, test_labels) = digits(), digits(train=False)
    test_x, test_labels = np.tile(test_x, (3, 1)), np.tile(test_labels, 3)  # with noise they are three different ones
    x, test_x = ((a + rng.standard_normal(a.shape)).astype("float32") for a in (x, test_x))
    train, test = np.empty((2, 2, len(depths), len(sizes)))
    for i, j, k in np.ndindex(train.shape):
        gpunn.manual_seed(seed)
        net, some = network(depths[j], 0.3 * i).to(device), slice(sizes[k])
        descend(net, x[some], labels[some], steps=steps, lr=0.02, momentum=0.9, seed=seed)
        train[i, j, k], test[i, j, k] = accuracy(net, x[some], labels[some]), accuracy(net, test_x, test_labels)
    return Result(sizes, depths, train, test)


def lines(r):
    yield f"Without dropout, at least {r.train[0].min():.1f} % of the training images are right. Test accuracy:"
    yield "layers  images  without  p = 0.3  difference"
    for (j, k), plain in np.ndenumerate(r.test[0]):
        dropped = r.test[1, j, k]
        yield f"{r.depths[j]:6}  {r.sizes[k]:6}  {plain:5.1f} %  {dropped:5.1f} %  {dropped - plain:+8.1f}"


def draw(r):
    panels = new_figure().subplots(1, len(r.depths), sharey=True, squeeze=False)[0]
    for (i, j), axes in np.ndenumerate([panels, panels]):
        name, look = ("without dropout", "dropout, p = 0.3")[i], {"color": COLOURS[i], "marker": MARKERS[i]}
        axes.semilogx(r.sizes, r.train[i, j], "--", **look, label=f"{name}, training")
        axes.semilogx(r.sizes, r.test[i, j], **look, label=f"{name}, test")
        axes.set(xlabel="training images", ylabel="" if j else "accuracy (%)", title=f"{r.depths[j]} hidden layers")
    panels[0].legend()
    return axes.figure
