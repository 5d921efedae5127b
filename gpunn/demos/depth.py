"""In depth, sigmoids stop learning, because gradients vanish; ReLU and ELU go on. A wider net can train faster.

δ(l) = (Wᵀ δ(l+1)) ∘ f′(z(l)): a factor f′ for each layer. σ′ = σ(1 − σ) ≤ 1/4, so gradients shrink about that much from
layer to layer. f′ of ReLU and ELU is 1 where z > 0; He's first weights make up for the rest. Each depth has its best
learning rate of several. (Glorot, Bengio 2010; He et al. 2015; Clevert et al. 2015; lecture topic D6.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._digits import accuracy, descend, digits, gaussian
from gpunn.demos._training import mlp
from gpunn.plots.style import COLOURS, MARKERS, new_figure

FUNCTIONS = {"sigmoid": (nn.Sigmoid, 1), "ReLU": (nn.ReLU, 2**0.5), "ELU": (nn.ELU, 2**0.5)}
Result = namedtuple("Result", "steps depths right norms widths losses")  # right: % (function, depth); norms: |∂J/∂W|


def run(*, seed=0, device="cpu", depths=(1, 2, 4, 6, 8), widths=(8, 32, 128), rates=(0.01, 0.1, 0.5), steps=200):
    def network(name, depth, width):
        gpunn.manual_seed(seed)
        return gaussian(mlp(196, *depth * [width], 10, activation=FUNCTIONS[name][0]), FUNCTIONS[name][1]).to(device)

    def trained(net, lr):
        return descend(net, x, labels, steps=steps, lr=lr, momentum=0.9, seed=seed), accuracy(net, x, labels)

    x, labels = digits()
    right = [[max(trained(network(f, d, 100), lr)[1] for lr in rates) for d in depths] for f in FUNCTIONS]
    deepest = [network(f, depths[-1], 100) for f in FUNCTIONS]
    for net in deepest:
        nn.CrossEntropyLoss()(net(gpunn.tensor(x, device=device)), gpunn.tensor(labels, device=device)).backward()
    norms = np.array([[np.linalg.norm(layer.weight.grad.numpy()) for layer in net[::2]] for net in deepest])
    losses = np.array([trained(network("ReLU", 2, width), 0.01)[0] for width in widths])
    return Result(steps, depths, np.array(right), norms, widths, losses)


def lines(r):
    yield f"Training accuracy (%), {r.depths} layers; first by last hidden layer's gradient, at depth {r.depths[-1]}:"
    for name, right, norms in zip(FUNCTIONS, r.right, r.norms, strict=True):
        yield f"{name:8}" + "".join(f"{value:7.1f}" for value in right) + f"{norms[0] / norms[-2]:10.1e}"
    yield f"Two layers of {r.widths} ReLUs: the loss is {r.losses[:, -20:].mean(1).round(3).tolist()} at the end."


def draw(r):
    panels = new_figure().subplots(1, 3)
    for i, name in enumerate(FUNCTIONS):
        panels[0].plot(r.depths, r.right[i], MARKERS[i] + "-", color=COLOURS[i], label=name)
        panels[1].semilogy(range(1, 2 + r.depths[-1]), r.norms[i], MARKERS[i] + "-", color=COLOURS[i])
    panels[2].set_prop_cycle(color=COLOURS[3:6], linestyle=["-", "--", ":"])
    panels[2].semilogy(range(10, 1 + r.steps, 10), r.losses.reshape(len(r.losses), -1, 10).mean(2).T)
    panels[0].set(xlabel="hidden layers", ylabel="training accuracy (%)", title=f"After {r.steps} steps")
    panels[1].set(xlabel="layer", ylabel="norm of ∂J/∂W before training", title=f"{r.depths[-1]} hidden layers")
    panels[2].set(xlabel="step", ylabel="training loss, mean of ten steps", title="ReLU, two hidden layers of")
    panels[0].legend()
    panels[2].legend([f"{width} units" for width in r.widths])
    return panels[0].figure
