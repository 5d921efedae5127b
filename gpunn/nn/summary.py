"""What a model consists of: one row per layer, found by running it once on an image of zeros."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._creation import zeros
from gpunn._tensor import Tensor
from gpunn.nn._modes import evaluating
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.fusion import fused_pairs
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d
from gpunn.tape import no_grad


@dataclass(frozen=True)
class LayerSummary:
    """One call of one layer, for a batch of one.

    Attributes
    ----------
    name, kind : str
        Dotted name in the model, and class.
    output_shape : tuple of int
        Without the batch axis.
    parameters : int
        0 where an earlier row counts them already (a layer called twice).
    multiply_adds : int
        Of convolutions and linear layers.
    activation_bytes : int
        Of the output; 0 where it is fused into the layer before and never stored.
    notes : tuple of str
        Fusion, and border rows and columns that no window reaches.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """All layers in the order they run, and the model's number of parameters."""

    layers: tuple[LayerSummary, ...]
    parameters: int

    @property
    def multiply_adds(self) -> int:
        """Of all layers, for a batch of one."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        """Of all stored outputs, for a batch of one."""
        return sum(layer.activation_bytes for layer in self.layers)


def summarize(model: Module, input_shape: Sequence[int]) -> Summary:
    """Run ``model`` once on zeros and describe every layer.

    Parameters
    ----------
    model : Module
        In training or evaluation mode; it runs in the latter and is left as it was.
    input_shape : sequence of int
        Of one item, without the batch axis.

    Raises
    ------
    ShapeError
        If the model does not take such an input; the message names the layer.
    """
    # Hooks end fusion, so it is looked up before they are there.
    fused = {id(relu): first for m in model.modules() if isinstance(m, Sequential) for first, relu in fused_pairs(m)}
    names = {id(module): name for name, module in model.named_modules()}
    rows: list[LayerSummary] = []
    counted: set[int] = set()

    def note(layer: Module, args: tuple[Any, ...], output: Any) -> None:
        own = [p for p in layer.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))
        host = fused.get(id(layer))
        notes = [f"fused into {names[id(host)]}"] if host is not None else []
        rows.append(
            LayerSummary(
                names[id(layer)],
                type(layer).__name__,
                output.shape[1:],
                sum(p.numel() for p in own),
                _multiply_adds(layer, output),
                0 if host is not None else output.numel() * output.dtype.itemsize,
                (*notes, *_unused(layer, args[0])),
            )
        )

    first = next(model.parameters(), None)
    dtype, home = (np.dtype(np.float32), "cpu") if first is None else (first.dtype, str(first.device))
    # A module with modules inside is shown by them, unless it has parameters of its own too.
    shown = [m for m in model.modules() if not m._modules or m._parameters]
    with no_grad(), evaluating(model), contextlib.ExitStack() as hooks:
        for layer in shown:
            hooks.enter_context(layer.register_forward_hook(note))
        model(zeros(1, *input_shape, dtype=dtype, device=home))
    return Summary(tuple(rows), sum(p.numel() for p in model.parameters()))


def _multiply_adds(layer: Module, output: Tensor) -> int:
    """Each output sums one product per weight that reaches it."""
    if isinstance(layer, Conv2d | Linear):
        return output.numel() * (layer.weight.numel() // layer.weight.shape[0])
    return 0


def _unused(layer: Module, x: Tensor) -> Iterator[str]:
    if isinstance(layer, Conv2d | MaxPool2d):
        for count, what in zip(layer.window(*x.shape[2:]).unused, ("row", "column"), strict=True):
            if count:
                last = f"last {what}" if count == 1 else f"last {count} {what}s"
                yield f"{last} of the padded input unused"
