"""The networks of the lectures, and the registry that the command line chooses from."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from gpunn.errors import UsageError
from gpunn.models.lenet import LeNet5, convolutional_layers
from gpunn.nn.module import Module

__all__ = ["MODELS", "LeNet5", "ModelEntry", "build", "convolutional_layers", "find"]


@dataclass(frozen=True)
class ModelEntry:
    """A network that can be chosen by name.

    Attributes
    ----------
    build : callable
        ``build(input_shape, classes)``, with the shape (C, H, W) of one image, gives the module.
    input_shape : tuple of int
        The customary (C, H, W).
    description : str
        One line.
    """

    build: Callable[[tuple[int, int, int], int], Module]
    input_shape: tuple[int, int, int]
    description: str


def _lenet5(input_shape: tuple[int, int, int], classes: int) -> LeNet5:
    return LeNet5(input_shape[0], classes, image=input_shape[1:])


MODELS: dict[str, ModelEntry] = {
    "lenet5": ModelEntry(_lenet5, (1, 28, 28), "the lecture's LeNet: 20 and 50 filters of 5x5, 500 hidden units"),
}


def find(name: str) -> ModelEntry:
    """The entry of this name.

    Raises
    ------
    UsageError
        If there is none; the message suggests the nearest name.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name.lower().replace("-", ""), MODELS, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else "."
        raise UsageError(f"unknown model {name!r}: expected one of {', '.join(MODELS)}{hint}")
    return MODELS[name]


def build(name: str, input_shape: tuple[int, int, int] | None = None, classes: int = 10) -> Module:
    """Make the network ``name`` for images (C, H, W) and a number of classes."""
    entry = find(name)
    return entry.build(entry.input_shape if input_shape is None else input_shape, classes)
