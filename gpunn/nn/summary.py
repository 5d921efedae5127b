"""What a model consists of: one row per layer, found by running it once on an item of zeros."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpunn._creation import zeros
from gpunn._half import FLOATING
from gpunn._tensor import Tensor
from gpunn.nn import counting
from gpunn.nn._modes import evaluating
from gpunn.nn._receptive import Field, Fields, window_of
from gpunn.nn._recurrent import RNNBase
from gpunn.nn.attention import MultiheadAttention
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv1d, Conv2d, Conv3d
from gpunn.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from gpunn.nn.fusion import fused_pairs
from gpunn.nn.groupnorm import GroupNorm
from gpunn.nn.linear import Linear
from gpunn.nn.local import LocallyConnected1d, LocallyConnected2d
from gpunn.nn.module import Module
from gpunn.nn.recurrent_cells import RNNCellBase
from gpunn.nn.syncbatchnorm import SyncBatchNorm
from gpunn.tape import enable_grad

HEADINGS = ("layer", "type", "output", "parameters", "multiply-adds", "activation", "receptive field", "notes")
NUMBERS = HEADINGS[3:6]  # aligned to the right


@dataclass(frozen=True)
class LayerSummary:
    """One call of one layer, for a batch of one.

    Attributes
    ----------
    name, kind : str
        Dotted name in the model, and class.
    output_shape : tuple of int
        Without the batch axis; of the first output where there are several.
    parameters : int
        0 where an earlier row counts them already (a layer called twice).
    multiply_adds : int
        For convolutions, linear and locally connected layers, one product per weight and output that it
        reaches, padding included, biases not; for transposed convolutions one per weight and input that meets it;
        for batch and group normalisation, one per element; for attention those of its projections, scores and sums,
        but for the last projection, which is a row of its own; for recurrent layers, those of their products, which
        are the same in each step. 0 for all others.
    activation_bytes : int
        Of all outputs; 0 where the layer is fused into the one before, or returns its input or what a layer inside it
        has returned, and so stores nothing.
    receptive_field : tuple of int, or None
        How many rows and columns of the model's input an output element depends on, not clipped at the
        input's border; the most over all branches. None where it is unknown, or all of the input.
    jump : tuple of int, or None
        By how much the fields of neighbours are shifted.
    sees_all : bool
        Whether an output element depends on the whole input.
    notes : tuple of str
        Fusion, border rows and columns that no window reaches, weights that read only padding.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: tuple[int, ...] | None
    jump: tuple[int, ...] | None
    sees_all: bool
    notes: tuple[str, ...]

    def cells(self) -> tuple[str, ...]:
        """The row as strings, one for each of ``HEADINGS``."""
        field = Field(self.receptive_field or (), self.jump or (), self.sees_all)
        counts = _count(self.parameters), _count(self.multiply_adds), _bytes(self.activation_bytes)
        return self.name, self.kind, shape_text(self.output_shape), *counts, str(field), "; ".join(self.notes)


@dataclass(frozen=True)
class Summary:
    """All layers in the order they run, and the model's number of parameters; ``print`` shows a table."""

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

    def total(self) -> tuple[str, ...]:
        """The last row as strings, one for each of ``HEADINGS``."""
        counts = _count(self.parameters), _count(self.multiply_adds), _bytes(self.activation_bytes)
        return "total", "", "", *counts, "", ""

    def __str__(self) -> str:
        rows = [HEADINGS, *(layer.cells() for layer in self.layers), self.total()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        right = [heading in NUMBERS for heading in HEADINGS]
        lines = [
            "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summarize(model: Module, input_shape: Sequence[int], dtype: Any = None) -> Summary:
    """Run ``model`` once on zeros and describe every layer.

    Parameters
    ----------
    model : Module
        In training or evaluation mode; it runs in evaluation mode, and its own mode is kept.
    input_shape : sequence of int
        Of one item, without the batch axis.
    dtype : dtype, optional
        Of the input; that of the first parameter if not given. Indices are int64.

    Returns
    -------
    Summary
        ``layers`` (see ``gpunn.nn.summary.LayerSummary``), totals, and a table as its text.

    Raises
    ------
    ShapeError
        If the model does not take such an input; the message names the layer.

    Examples
    --------
    >>> from gpunn import nn
    >>> print(nn.summarize(nn.Sequential(nn.Conv2d(3, 10, 5, padding=2)), (3, 32, 32)))
    layer  type    output    parameters  multiply-adds  activation  receptive field  notes
    --------------------------------------------------------------------------------------
    0      Conv2d  10x32x32         760        768,000    40.0 KiB  5x5 every 1
    --------------------------------------------------------------------------------------
    total                           760        768,000    40.0 KiB
    """
    # Hooks disable fusion, so it is looked up before they are added.
    fused = {id(b): a for m in model.modules() if isinstance(m, Sequential) for a, b in fused_pairs(m)}
    names = {id(module): name for name, module in model.named_modules()}
    rows: list[LayerSummary] = []
    counted: set[int] = set()
    made: list[Tensor] = []  # what layers have returned, which those around them may return once more
    first = next(model.parameters(), None)
    kind, home = (np.dtype(np.float32), "cpu") if first is None else (first.dtype, str(first.device))
    x = zeros(1, *input_shape, dtype=kind if dtype is None else dtype, device=home)
    x.requires_grad = x.dtype.kind in FLOATING  # so that everything computed from it is on the tape
    fields = Fields(x)

    def note(layer: Module, args: tuple[Any, ...], output: Any) -> None:
        own = [p for p in layer.parameters(recurse=False) if id(p) not in counted]
        counted.update(map(id, own))
        inputs, outputs = _tensors(args), _tensors(output)
        field = fields.after(layer, inputs, outputs[0]) if outputs else None
        for other in outputs[1:]:
            fields.put(other, None)
        host = fused.get(id(layer))
        notes = [f"fused into {names[id(host)]}"] if host is not None else []
        stored = sum(y.numel() * y.dtype.itemsize for y in outputs if not any(y is given for given in (*inputs, *made)))
        made.extend(outputs)
        if host is not None:  # the host writes only the output of the last layer fused into it
            rows[:] = [replace(row, activation_bytes=stored) if row.name == names[id(host)] else row for row in rows]
            stored = 0
        known = field is not None and not field.whole and field.size != ()
        rows.append(
            LayerSummary(
                names[id(layer)],
                type(layer).__name__,
                _item_shape(layer, outputs[0]) if outputs else (),
                sum(p.numel() for p in own),
                _multiply_adds(layer, inputs, outputs),
                stored,
                field.size if field is not None and known else None,
                field.jump if field is not None and known else None,
                field is not None and field.whole,
                (*notes, *_unused(layer, inputs)),
            )
        )

    # A module with inner modules is represented by them, unless it also has parameters of its own.
    shown = [m for m in model.modules() if not m._modules or m._parameters]
    with enable_grad(), evaluating(model), contextlib.ExitStack() as hooks:
        for layer in shown:
            hooks.enter_context(layer.register_forward_hook(note))
        model(x)
    return Summary(tuple(rows), sum(p.numel() for p in model.parameters()))


def _tensors(values: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(values, Tensor):
        return [values]
    inner = values.values() if isinstance(values, dict) else values if isinstance(values, tuple | list) else ()
    return [tensor for value in inner for tensor in _tensors(value)]


def _item_shape(layer: Module, y: Tensor) -> tuple[int, ...]:
    """Without the batch axis, which recurrent layers usually have behind that of the sequence."""
    if isinstance(layer, RNNBase) and y.ndim == 3 and not layer.batch_first:
        return y.shape[0], y.shape[2]
    return y.shape[1:]


def _multiply_adds(layer: Module, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    if not inputs or not outputs:
        return 0
    x, y = inputs[0], outputs[0]
    if isinstance(layer, Linear):
        return x.numel() // layer.in_features * counting.full_weights(layer.in_features, layer.out_features)
    if isinstance(layer, BatchNorm1d | BatchNorm2d | BatchNorm3d | SyncBatchNorm | GroupNorm):
        return y.numel()
    if isinstance(layer, MultiheadAttention):
        keys = inputs[1].numel() // layer.kdim + (layer.bias_k is not None) + layer.add_zero_attn
        return counting.attention_products(x.numel() // layer.embed_dim, keys, layer.embed_dim, layer.kdim, layer.vdim)
    if isinstance(layer, RNNBase | RNNCellBase):
        size = layer.input_size
        return x.numel() // size * sum(p.numel() for p in layer.parameters() if p.ndim == 2)
    if isinstance(layer, Conv1d | Conv2d | Conv3d):
        return y.numel() // layer.out_channels * layer.weight.numel()
    if isinstance(layer, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d):  # each element of x meets each weight
        return x.numel() // layer.in_channels * layer.weight.numel()
    window = window_of(layer, x)
    if isinstance(layer, LocallyConnected1d | LocallyConnected2d) and window is not None:
        return counting.local_weights(window, layer.in_channels, layer.out_channels)
    return 0


def _unused(layer: Module, inputs: list[Tensor]) -> Iterator[str]:
    window = window_of(layer, inputs[0]) if inputs else None
    if window is None:
        return
    names = ("row", "column") if inputs[0].ndim == 4 else ("element", "element")
    for count, what in zip(window.unused, names, strict=True):
        if count:
            last = f"last {what}" if count == 1 else f"last {count} {what}s"
            yield f"{last} of the padded input unused"
    if isinstance(layer, LocallyConnected1d | LocallyConnected2d):
        channels = layer.in_channels, layer.out_channels
        outside = counting.local_weights(window, *channels) - counting.local_weights(window, *channels, inside=True)
        if outside:
            yield f"{outside:,} weights meet only padding"


def shape_text(shape: Sequence[int]) -> str:
    """``3x32x32``."""
    return "x".join(map(str, shape))


def _count(n: int) -> str:
    return f"{n:,}" if n else "-"


def _bytes(n: int) -> str:
    if n < 1024:
        return f"{n} B" if n else "-"
    return f"{n / 1024:,.1f} KiB"
