"""Multilayer perceptrons: the lecture's plain one and its "modern" one, with batch norm and PReLU."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunn.errors import UsageError
from gpunn.nn.activation import PReLU, ReLU
from gpunn.nn.batchnorm import BatchNorm1d
from gpunn.nn.containers import Sequential
from gpunn.nn.dropout import Dropout
from gpunn.nn.flatten import Flatten
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.padding import ZeroPad2d


class MLP(Sequential):
    """Flatten, then [linear, (batch norm), activation, (dropout)] for each hidden layer, then linear.

    Parameters
    ----------
    image : (int, int, int)
        Channels, height and width of the images.
    classes : int
        Number of scores.
    hidden : sequence of int
        Units of each hidden layer.
    modern : bool
        Batch norm before each activation, and PReLU instead of ReLU.
    dropout : float
        Proportion zeroed after each hidden layer, in training; 0 adds no layer.
    pad_to : int or None
        Pad the images with zeros to this height and width, centred: the lecture's 28×28 digits
        become 32×32 = 1024 features.

    Attributes
    ----------
    features : int
        Inputs of the first linear layer.

    Shape
    -----
    x : (N, *image) float32 or float64;  y : (N, classes), scores before the softmax

    Raises
    ------
    UsageError
        If the images are larger than ``pad_to``.

    References
    ----------
    Lecture, N2. He, Zhang, Ren, Sun 2015, arXiv:1502.01852 (PReLU); Ioffe, Szegedy 2015, arXiv:1502.03167
    (batch norm); Srivastava et al. 2014, "Dropout" (dropout).

    Examples
    --------
    >>> from gpunn.models import MLP
    >>> sum(p.numel() for p in MLP((1, 28, 28), hidden=(100,), pad_to=32).parameters())
    103510
    """

    def __init__(
        self,
        image: tuple[int, int, int] = (1, 28, 28),
        classes: int = 10,
        hidden: Sequence[int] = (1024, 1024),
        *,
        modern: bool = False,
        dropout: float = 0.0,
        pad_to: int | None = None,
    ) -> None:
        layers: dict[str, Module] = {}
        channels, height, width = image
        if pad_to is not None:
            if height > pad_to or width > pad_to:
                raise UsageError(f"MLP: pad_to: expected at least the images' {height}x{width}; got {pad_to}.")
            top, left = (pad_to - height) // 2, (pad_to - width) // 2
            if (height, width) != (pad_to, pad_to):
                layers["pad"] = ZeroPad2d((left, pad_to - width - left, top, pad_to - height - top))
            height = width = pad_to
        layers["flatten"] = Flatten()
        inputs = features = math.prod((channels, height, width))
        for number, units in enumerate(hidden, 1):
            layers[f"fc{number}"] = Linear(inputs, units)
            if modern:
                layers[f"bn{number}"] = BatchNorm1d(units)
            layers[f"act{number}"] = PReLU() if modern else ReLU()
            if dropout:
                layers[f"drop{number}"] = Dropout(dropout)
            inputs = units
        layers[f"fc{len(hidden) + 1}"] = Linear(inputs, classes)
        super().__init__(layers)
        self.features = features
