"""One hidden layer of sigmoids fits a continuous function as closely as you like, if it is wide enough.

F(x) = Σᵢ αᵢ σ(wᵢᵀx + bᵢ) + c, i = 1 … N. For every ε > 0 some N, w, b, α, c give |F − f| < ε on all of [0, 1]ᵈ. Adam
looks for w and b from several starts; F is linear in α and c, so least squares finds the best. Two hidden layers of
12 units have as many parameters as one of 64: 193. (Cybenko 1989; Hornik 1991; lecture topic D1.)
"""

from collections import namedtuple

import numpy as np

import gpunn
from gpunn import nn
from gpunn.demos._training import fit, mlp, predict
from gpunn.plots.style import COLOURS, new_figure

Result = namedtuple("Result", "n wide deep x f F square")  # wide: max |F − f|, (len(n), starts); square: F − f in 2-D


def run(*, seed=0, device="cpu", n=(4, 8, 16, 32, 64), starts=3, steps=300):
    def fitted(x, f, steepness, start, *widths):
        gpunn.manual_seed(seed + start)
        model = mlp(x.shape[1], *widths, 1, activation=nn.Sigmoid)
        with gpunn.no_grad():  # σ(w(x − place)): steps, whose places are spread over [0, 1]ᵈ
            w = model[0].weight.mul_(steepness)
            model[0].bias.copy_(-(w * gpunn.rand(*w.shape)).sum(1))
        fit(model.to(device), nn.MSELoss(), x[::2], f[::2], steps=steps, lr=0.03)
        units = np.c_[predict(model[:-1], x), np.ones(len(x))]
        return units @ np.linalg.lstsq(units[::2], f[::2], rcond=1e-6)[0]  # the points between were never seen

    x = np.linspace(0, 1, 257, dtype="float32")[:, None]
    f = 0.6 * np.sin(4 * np.pi * x) + 0.4 * np.sin(20 * x**2) + 0.4 * np.abs(x - 0.6)
    F = np.array([[fitted(x, f, 30, start, N) for start in range(starts)] for N in n])
    deep = np.array([fitted(x, f, 30, start, 12, 12) for start in range(starts)])
    p = np.stack(np.meshgrid(x[::8], x[::8]), -1).reshape(-1, 2)
    f2 = np.sin(2 * np.pi * p[:, :1]) * np.cos(np.pi * p[:, 1:])
    square = (fitted(p, f2, 10, 0, n[-1]) - f2).reshape(33, 33)
    return Result(n, np.abs(F - f).max(axis=(2, 3)), np.abs(deep - f).max(axis=(1, 2)), x, f, F[:, 0], square)


def lines(r):
    yield f"Largest error |F − f| on [0, 1], best and worst of {len(r.deep)} starts:"
    rows = zip((*(f"N = {N}" for N in r.n), "two layers of 12"), (*r.wide, r.deep), strict=True)
    yield from (f"  {what:17} {error.min():.4f}  {error.max():.4f}" for what, error in rows)
    yield f"On [0, 1]² with N = {r.n[-1]}: {np.abs(r.square).max():.3f}."


def draw(r):
    curve, error, square = new_figure().subplot_mosaic("AAB;AAC").values()
    curve.plot(r.x, r.f, "k", linewidth=6, alpha=0.25, label="f")
    curve.plot(r.x, np.c_[r.F[0], r.F[-1]], label=[f"F, N = {N}" for N in (r.n[0], r.n[-1])])
    curve.set(xlabel="x", ylabel="f(x), F(x)", title="A sum of N sigmoids")
    curve.legend()
    error.semilogy(r.n, r.wide, "o-", color=COLOURS[0], alpha=0.6)
    error.semilogy(len(r.deep) * [64], r.deep, "s", color=COLOURS[1])
    error.set(xlabel="N", ylabel="max |F − f|, each start", title="● one layer   ■ two of 12")
    curve.figure.colorbar(square.pcolormesh(r.x[::8, 0], r.x[::8, 0], r.square, cmap="PuOr"), label="F − f")
    square.set(xlabel="x₁", ylabel="x₂", title=f"On [0, 1]², N = {r.n[-1]}")
    return curve.figure
