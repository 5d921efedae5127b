"""Digits as small images, first weights, plain SGD, and accuracy: for demonstrations of how networks learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

import gpunn
from gpunn import nn, optim
from gpunn.data import Digits
from gpunn.demos._training import predict
from gpunn.nn import functional as F

Array = np.ndarray[Any, Any]


def digits(*, train: bool = True, flat: bool = True) -> tuple[Array, Array]:
    """Digits at half the size, which loses nothing of scans that had 8×8 pixels.

    Returns
    -------
    images : ndarray, (N, 196) float32, or (N, 1, 14, 14) if not ``flat``
        Standardised. N is 1,437 for training and 360 for testing.
    labels : ndarray, (N,) int64
    """
    data = Digits(train=train)
    images, labels = data.batch(np.arange(len(data)))
    images = np.ascontiguousarray(images[:, :, ::2, ::2])
    return images.reshape(len(images), -1) if flat else images, labels


def descend(
    model: nn.Module,
    x: Array,
    y: Array,
    *,
    steps: int,
    lr: float,
    momentum: float = 0.0,
    batch_size: int = 64,
    seed: int = 0,
    criterion: Any = F.cross_entropy,
) -> Array:
    """SGD at one learning rate, in shuffled epochs; what needs no gradient stays as it is.

    It ends where the loss is not finite: rates that are too high are a part of some experiments.

    Parameters
    ----------
    model : Module
        Trained on the device that its parameters are on.
    x, y : ndarray, (N, …)
        Inputs, and labels or targets.
    steps : int
    lr, momentum : float
    batch_size : int
        N if that is less.
    seed : int
        Of the order.
    criterion : callable
        From outputs and targets to the loss.

    Returns
    -------
    ndarray, (steps,)
        The loss of each step; NaN from the first on that is not finite.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    home = parameters[0].device
    optimizer = optim.SGD(parameters, lr=lr, momentum=momentum)
    rng = np.random.Generator(np.random.Philox(seed))
    batch_size = min(batch_size, len(x))
    losses = np.full(steps, np.nan)
    order: Array = np.empty(0, int)
    model.train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of numbers that overflow before the end
        for step in range(steps):
            if len(order) < batch_size:
                order = rng.permutation(len(x))
            batch, order = order[:batch_size], order[batch_size:]
            optimizer.zero_grad()
            loss = criterion(model(gpunn.tensor(x[batch], device=home)), gpunn.tensor(y[batch], device=home))
            if not np.isfinite(loss.item()):
                break
            losses[step] = loss.item()
            loss.backward()
            optimizer.step()
    return losses


def gaussian(model: nn.Module, gain: float = 2**0.5) -> nn.Module:
    """The model, with weights of variance gain² / inputs (He's for ReLU, with 1 Glorot's) and no bias to begin with."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, gain / layer.in_features**0.5)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model


def accuracy(model: nn.Module, x: Array, labels: Array) -> float:
    """How many of the inputs the model, in evaluation mode, has right, in percent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a model whose training overflowed
        return 100 * float((predict(model, x).argmax(1) == labels).mean())
