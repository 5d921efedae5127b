"""The loop that demonstrations train small networks with, where the loop is not what they are about."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import gpunn
from gpunn import nn, optim
from gpunn._tensor import Tensor


def mlp(*sizes: int, activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers from ``sizes[0]`` inputs to ``sizes[-1]`` outputs, with the activation between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def fit(
    model: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    x: np.ndarray[Any, Any],
    y: np.ndarray[Any, Any],
    *,
    steps: int,
    lr: float,
    batch_size: int | None = None,
    seed: int = 0,
    before: Callable[[int], None] | None = None,
) -> list[float]:
    """Train with Adam, whose learning rate falls to 0 along half a cosine; the loss of each step.

    Parameters
    ----------
    model : Module
        Trained on the device that its parameters are on.
    criterion : callable
        From outputs and targets to the loss.
    x, y : ndarray, (N, …)
        Inputs and targets; y may be labels.
    steps : int
    lr : float
        The learning rate of the first step.
    batch_size : int, optional
        Points a step, drawn with replacement; all of them if None.
    seed : int
        Of the batches.
    before : callable, optional
        Called with the number of steps done, before each step and after the last: 0, …, ``steps``.

    Returns
    -------
    list of float
    """
    home = next(iter(model.parameters())).device
    rng = np.random.Generator(np.random.Philox(seed))
    optimizer = optim.Adam(model.parameters(), lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    all_x, all_y = gpunn.tensor(x, device=home), gpunn.tensor(y, device=home)
    losses: list[Tensor] = []
    model.train()
    for done in range(steps):
        if before is not None:
            before(done)
        if batch_size is not None:
            drawn = rng.integers(0, len(x), batch_size)
            all_x, all_y = gpunn.tensor(x[drawn], device=home), gpunn.tensor(y[drawn], device=home)
        optimizer.zero_grad()
        loss = criterion(model(all_x), all_y)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    if before is not None:
        before(steps)
    return [loss.item() for loss in losses]


def predict(model: nn.Module, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The model's outputs in evaluation mode, as an array on the host; its mode is the same afterwards.

    Parameters
    ----------
    model : Module
    x : ndarray, (N, …)

    Returns
    -------
    ndarray
    """
    home = next(iter(model.parameters())).device
    mode = model.training
    model.eval()
    with gpunn.no_grad():
        outputs = model(gpunn.tensor(x, device=home)).numpy()
    model.train(mode)
    return outputs
