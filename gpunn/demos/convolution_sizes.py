"""How large a convolution's output is, which pixels no window ever reads, and how far a stack of layers sees.

Of n pixels, windows of k a stride s apart make ⌊(n − k + p + s) / s⌋ outputs, with p zeros around in all. How many read
a pixel is the gradient of the outputs' sum where every weight is 1: at 0 the pixel is never used. The gradient of one
output is its receptive field: each layer adds to it k − 1 times the strides of the layers before. (Lecture topic L10.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.plots.style import COLOURS, GRID, new_figure

Case = namedtuple("Case", "name n outputs reads unused field")  # reads: the gradient; unused, field: summarize's


def case(name, n, device, one_output, *layers):
    model = nn.Sequential(*layers).to(device)
    last = nn.summarize(model, (1, n, n)).layers[-1]
    for weight in model.parameters():
        nn.init.ones_(weight)
    x = gpunn.zeros(1, 1, n, n, device=device, requires_grad=True)
    y = model(x)[0, 0]
    (y[len(y) // 2, len(y) // 2] if one_output else y.sum()).backward()
    return Case(name, n, last.output_shape[1], x.grad.numpy()[0, 0], last.notes, last.receptive_field[0])


def run(*, seed=0, device="cpu", n=7, wide=15):
    def conv(**options):
        return nn.Conv2d(1, 1, 3, bias=False, **options)

    options = [{"stride": 1}, {"stride": 2}, {"stride": 3}, {"padding": 1}]
    sizes = [case(", ".join(f"{k} {v}" for k, v in o.items()), n, device, False, conv(**o)) for o in options]
    stacks = {"two 3×3": [conv(), conv()], "three 3×3": [conv(), conv(), conv()]}
    stacks |= {"3×3, pool 2, 3×3": [conv(), nn.AvgPool2d(2), conv()], "3×3 stride 2, 3×3": [conv(stride=2), conv()]}
    return sizes, [case(name, wide, device, True, *layers) for name, layers in stacks.items()]


def lines(r):
    for c in r[0]:
        yield "; ".join((f"{c.n}×{c.n}, 3×3, {c.name}: {c.outputs}×{c.outputs}", *c.unused))
    yield from (f"{c.name}: an output sees {c.field}×{c.field}" for c in r[1])


def draw(r):
    figure = new_figure()
    for number, c in enumerate((*r[0], *r[1]), 1):
        axes = figure.add_subplot(2, 4, number, xticks=[], yticks=[], aspect="equal", ylim=(c.n, 0))
        axes.pcolormesh(c.reads, cmap="Blues", vmin=0, vmax=1.7 * c.reads.max(), edgecolor=GRID, linewidth=1)
        axes.set_title(f"{c.name}: {c.outputs}×{c.outputs}" if number <= 4 else f"{c.name}\nsees {c.field}×{c.field}")
        axes.set_ylabel({1: "windows that read a pixel", 5: "what one output sees"}.get(number))
        for i, j in np.ndindex(c.n, c.n) if number <= 4 else ():
            unused = {"color": COLOURS[1], "weight": "bold"} if c.reads[i, j] == 0 else {}
            axes.text(j + 0.5, i + 0.5, f"{c.reads[i, j]:.0f}", ha="center", va="center", **unused)
    return figure
