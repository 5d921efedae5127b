"""What networks learn from handwritten digits: LeNet's first filters and what they see, and an MLP's hidden units.

The weights begin as small noise. Neighbouring pixels are alike, and so become the weights that read them, as their
correlation r says: filters turn into strokes and edges. A feature map is what one filter, behind its ReLU, finds in an
image. A hidden unit of an MLP has a weight for every pixel. (Lecture topic D4.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.data import Digits
from gpunn.demos._training import fit, mlp, predict
from gpunn.models import LeNet5
from gpunn.plots.style import new_figure

Result = namedtuple("Result", "accuracy before after filters maps units")


def alike(images):
    return np.corrcoef(images[..., 1:].ravel(), images[..., :-1].ravel())[0, 1]


def run(*, seed=0, device="cpu", steps=200, units=20):
    gpunn.manual_seed(seed)
    (x, labels), (test_x, truth) = (part.batch(np.arange(len(part))) for part in (Digits(), Digits(train=False)))
    lenet, flat = LeNet5(), nn.Sequential(nn.Flatten(), *mlp(784, units, 10, activation=nn.Tanh))
    accuracy, before, after = [], [], []
    for model, layer, shape in ((lenet.to(device), lenet.conv1, (5, 5)), (flat.to(device), flat[1], (28, 28))):
        nn.init.normal_(layer.weight, std=0.005)
        nn.init.zeros_(layer.bias)
        before.append(layer.weight.detach().numpy().reshape(-1, *shape).copy())
        fit(model, nn.CrossEntropyLoss(), x, labels, steps=steps, lr=0.001, batch_size=64, seed=seed)
        after.append(layer.weight.detach().numpy().reshape(-1, *shape))
        accuracy.append((predict(model, test_x).argmax(1) == truth).mean())
    maps = predict(nn.Sequential(lenet.conv1, nn.ReLU()), test_x[:1])[0]
    return Result(accuracy, [*map(alike, before)], [*map(alike, after)], after[0], maps, after[1])


def lines(r):
    for name, right, *both in zip(("LeNet", "the MLP"), r.accuracy, r.before, r.after, strict=True):
        yield f"{name}: {right:.1%} right; r of neighbouring weights {both[0]:.2f} before, {both[1]:.2f} after training"


def tiles(images, columns=4):  # each by its own scale
    scaled = images / np.maximum(abs(images).max((1, 2), keepdims=True), 1e-9)
    framed = np.pad(scaled, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return np.block([list(framed[i : i + columns]) for i in range(0, len(framed), columns)])


def draw(r):
    figure = new_figure()
    drawn = {"LeNet: first filters": r.filters, "a digit behind each of them": r.maps, "MLP: weights of units": r.units}
    for axes, (title, images) in zip(figure.subplots(1, 3), drawn.items(), strict=True):
        axes.imshow(tiles(images), cmap="PuOr", vmin=-1, vmax=1)
        axes.set(title=title, xticks=[], yticks=[], frame_on=False)
    return figure
