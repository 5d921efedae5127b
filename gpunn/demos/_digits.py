"""Digits as small images, first weights, plain SGD, and accuracy: for demonstrations of how networks learn."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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


def on_photographs(
    classes: range, count: int | None, rng: np.random.Generator, *, train: bool = True, turns: int = 1
) -> tuple[Array, Array]:
    """Digits of some classes at random places on random pieces of scikit-learn's two photographs.

    The ink adds a third of the range of brightness, and the digits are moved by up to 4 of their 28 pixels.

    Parameters
    ----------
    classes : range
        Of digits.
    count : int or None
        So many images, each digit about equally often; None takes each once.
    rng : numpy.random.Generator
    train : bool
        From the training part, else from the test part.
    turns : int
        1 to 4 quarter turns: digits turned differently are of different classes.

    Returns
    -------
    images : ndarray, (count, 1, 14, 14) float32
        Every second pixel.
    labels : ndarray, (count,) int64
        From 0: the digit's place in ``classes``, plus len(classes) for each quarter turn.
    """
    from sklearn.datasets import load_sample_images

    data = Digits(train=train)
    chosen = np.isin(data.labels, classes)
    digits = np.concatenate([np.rot90(data.images[chosen], turn, (1, 2)) for turn in range(turns)])
    labels = np.concatenate([data.labels[chosen] - classes[0] + turn * len(classes) for turn in range(turns)])
    n = len(digits) if count is None else count
    some = np.resize(rng.permutation(len(digits)), n)
    moved = sliding_window_view(np.pad(digits[some], ((0, 0), (4, 4), (4, 4))), (28, 28), axis=(1, 2))
    down, right = rng.integers(0, 9, (2, n))
    ink = moved[np.arange(n), down, right][:, ::2, ::2]
    photographs = np.stack([photograph[::3, ::3].mean(2) for photograph in load_sample_images().images])
    pieces = sliding_window_view(photographs, (14, 14), axis=(1, 2))
    behind = pieces[tuple(rng.integers(0, places, n) for places in pieces.shape[:3])]
    return ((behind + ink / 3) / 85 - 1.2)[:, None].astype(np.float32), labels[some]


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
