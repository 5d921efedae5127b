"""Filters made by hand: edges, sharpening and two blurs are convolutions with nine numbers each.

y[i, j] = Σᵣₛ K[r, s] x[i + r − 1, j + s − 1], for each of the three colours by itself: a convolution with three groups.
The numbers of an edge filter add up to 0, so a flat area becomes black; those of the others to 1, so it stays as it is.
A blur is a mean of neighbours and lessens their differences; sharpening adds what a blur takes away. (Lecture, D3.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn.nn import functional as F
from gpunn.plots.style import new_figure

FILTERS = {
    "edges, diagonal": np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1]]),
    "edges, 4 neighbours": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "edges, 8 neighbours": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "box blur": np.ones((3, 3)) / 9,
    "Gaussian blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,
}
Result = namedtuple("Result", "seen step")  # by filter: the image, and the mean difference of its neighbours


def convolve(image, K, device="cpu"):
    x = gpunn.tensor(image.transpose(2, 0, 1)[None], device=device)  # (1, 3, H, W)
    weight = gpunn.tensor(np.broadcast_to(K, (3, 1, 3, 3)).astype("float32"), device=device)
    return F.conv2d(x, weight, groups=3).numpy()[0].transpose(1, 2, 0)


def run(*, seed=0, device="cpu", height=150, width=200):
    import PIL  # noqa: F401  which scikit-learn reads the image with
    from sklearn.datasets import load_sample_image

    image = load_sample_image("flower.jpg")[165 : 165 + height, 195 : 195 + width].astype("float32") / 255
    seen = {"the image": image} | {name: convolve(image, K, device) for name, K in FILTERS.items()}
    return Result(seen, {name: np.abs(np.diff(y, axis=1)).mean() for name, y in seen.items()})


def lines(r):
    yield "Mean difference of neighbouring pixels (the brightest is 1), and what the filter's numbers add up to:"
    yield from (f"  {name:20} {r.step[name]:.4f}  {np.sum(FILTERS.get(name, 1)):3.0f}" for name in r.step)


def draw(r):
    figure = new_figure()
    for place, (name, y) in enumerate(r.seen.items(), 1):
        axes = figure.add_subplot(2, 4, place, title=name, xticks=[], yticks=[], frame_on=False)
        axes.imshow(np.clip(abs(y) if name.startswith("edges") else y, 0, 1), interpolation="nearest")
        if name in FILTERS:
            shared = {"box blur": 9, "Gaussian blur": 16}.get(name, 1)
            rows = [" ".join(f"{number:3.0f}" for number in row) for row in FILTERS[name] * shared]
            text = "{:15}\n{:11}{:4}\n{:15}".format(*rows[:2], f" /{shared}" if shared > 1 else "", rows[2])
            axes.set_xlabel(text, family="DejaVu Sans Mono")
    return figure
