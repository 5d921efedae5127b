"""Which part of a model's input an element of each tensor depends on, tracked from layer to layer.

A layer's inputs are recognised by their place on the tape. Functions that a model calls between layers
(additions, concatenations, activations) are followed there too; they count as elementwise if they
keep the axes after the channels unchanged, and are unknown otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpunn._tensor import Tensor
from gpunn._window import Window, triple
from gpunn.nn.attention import MultiheadAttention
from gpunn.nn.conv import Conv3d
from gpunn.nn.groupnorm import GroupNorm
from gpunn.nn.layernorm import LayerNorm
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling3d import AvgPool3d, MaxPool3d
from gpunn.tape import Node

# Layers defined here (or subclasses that keep their forward) read one position only; the rest of a norm's or
# dropout's work is over the batch, or absent in evaluation mode.
_POINTWISE = {
    "gpunn.nn.activation",
    "gpunn.nn.batchnorm",
    "gpunn.nn.composed_activation",
    "gpunn.nn.dropout",
    "gpunn.nn.shrink",
    "gpunn.nn.smooth_activation",
}


@dataclass(frozen=True)
class Field:
    """The part of the input that one element depends on.

    Attributes
    ----------
    size : tuple of int
        Extent in the input, along each axis after the channels, as if the input were infinite.
    jump : tuple of int
        By how much neighbours' fields are shifted in the input: the product of all strides.
    whole : bool
        Whether it is all of the input; size and jump are then meaningless.
    """

    size: tuple[int, ...]
    jump: tuple[int, ...]
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return "all"
        if not self.size:
            return "-"
        jump = self.jump[:1] if len(set(self.jump)) == 1 else self.jump
        return f"{'x'.join(map(str, self.size))} every {'x'.join(map(str, jump))}"


WHOLE = Field((), (), True)


def _is_token_by_token(layer: Module, x: Tensor) -> bool:
    """Whether a layer changes the features of each position of (N, L, E) alone."""
    pointwise = isinstance(layer, Linear | LayerNorm) or type(layer).forward.__module__ in _POINTWISE
    return x.ndim == 3 and pointwise


def window_of(layer: Module, x: Tensor) -> Window | None:
    """How the layer's window slides over x, for a layer with a method ``window`` that returns a Window."""
    method = getattr(layer, "window", None)
    if not callable(method) or x.ndim < 2:
        return None
    for leading in (2, 1):  # a batch, or one item
        try:
            window = method(*x.shape[leading:])
        except TypeError:  # also of a user's method of the same name that takes other arguments
            continue
        return window if isinstance(window, Window) else None
    return None


def _in_volumes(layer: Module) -> tuple[tuple[int, int, int], ...] | None:
    """Size, dilation and stride of the layer's window along the three axes of a volume, for a layer that has one."""
    if not isinstance(layer, Conv3d | MaxPool3d | AvgPool3d):
        return None
    options = (layer.kernel_size, getattr(layer, "dilation", 1), layer.stride)
    return tuple(zip(*(triple(value, "window", "size", 1) for value in options), strict=True))


class Fields:
    """The fields of all tensors met so far in a model's run on the input ``x``."""

    def __init__(self, x: Tensor) -> None:
        axes = max(0, x.ndim - 2)
        # By the identity of a node, or of a leaf; the object is kept so that its id is not reused.
        self._known: dict[int, tuple[Any, Field | None, tuple[int, ...]]] = {}
        self.put(x, Field((1,) * axes, (1,) * axes))

    def put(self, tensor: Tensor, field: Field | None) -> None:
        """Remember a tensor's field; None: unknown."""
        place = tensor._node or tensor
        self._known[id(place)] = place, field, tensor.shape

    def after(self, layer: Module, inputs: Sequence[Tensor], output: Tensor) -> Field | None:
        """The field of a layer's output; it is remembered."""
        if isinstance(layer, MultiheadAttention) and len(inputs) > 1:  # each query looks at all keys
            field = WHOLE if self._all_of(inputs[1], 3) else None
            self.put(output, field)
            return field
        if layer._modules or not inputs or any(output is x for x in inputs):
            return self._of([output])  # the inner layers have recorded it already
        if type(layer).forward.__module__ == "gpunn.nn.flatten":
            return None  # positions are gone but nothing is lost: a linear layer after it can still trace them
        field = self._rule(layer, inputs, output)
        if field is None and _is_token_by_token(layer, inputs[0]) and self._of(inputs) is None:
            return None  # positions are somewhere, and each is still what it was: attention can still trace them
        self.put(output, field)
        return field

    def _rule(self, layer: Module, inputs: Sequence[Tensor], output: Tensor) -> Field | None:
        x = inputs[0]
        if isinstance(layer, Linear):
            return WHOLE if self._all_of(x) or self._of(inputs) == WHOLE else None
        before = self._of(inputs)
        window = window_of(layer, x)
        if before is None or before == WHOLE:
            return before
        if window is not None:
            both = tuple(zip((window.R, window.S), window.dilation, window.stride, (window.H, window.W), strict=True))
            # A sequence is an image with one axis of length 1 along which nothing happens.
            axes = both if x.ndim == 4 else (both[0] if both[0] != (1, 1, 1, 1) else both[1],)
            return _widened(before, [(k, d, step) for k, d, step, _ in axes])
        along = _in_volumes(layer)
        if along is not None:
            return _widened(before, along) if len(before.size) == 3 else None
        if type(layer).forward.__module__ in _POINTWISE and x.shape[2:] == output.shape[2:]:
            return before
        if isinstance(layer, GroupNorm):  # mean and variance are those of all positions
            return WHOLE if x.ndim > 2 else before
        if type(layer).__name__.startswith("Adaptive") and set(output.shape[2:]) == {1}:
            return WHOLE
        return None

    def _of(self, tensors: Sequence[Tensor]) -> Field | None:
        """The field of elements computed from all of these: the largest along each axis."""
        fields = []
        for tensor in tensors:
            sources = self._sources(tensor)
            direct = id(tensor._node or tensor) in self._known
            for field, shape in sources:
                kept = direct or (len(shape) == tensor.ndim and shape[2:] == tensor.shape[2:])
                fields.append(field if kept or field == WHOLE else None)
        known = [field for field in fields if field is not None]
        if WHOLE in known:  # more than that there is not
            return WHOLE
        if not known or len(known) < len(fields):
            return None
        if len({len(field.size) for field in known}) > 1:
            return None
        size = tuple(map(max, zip(*(field.size for field in known), strict=True)))
        return Field(size, tuple(map(max, zip(*(field.jump for field in known), strict=True))))

    def _all_of(self, x: Tensor, ndim: int = 2) -> bool:
        """Whether a row of x (with three axes: all positions) holds what an earlier layer computed from one item."""
        sources = self._sources(x)
        if x.ndim != ndim or not sources or any(field is None for field, _ in sources):
            return False
        if any(field == WHOLE for field, _ in sources):
            return True
        return all(x.numel() >= _count(shape) for _, shape in sources)

    def _sources(self, tensor: Tensor) -> list[tuple[Field | None, tuple[int, ...]]]:
        """The nearest known tensors that this one was computed from, itself if it is known."""
        waiting: list[Any] = [tensor._node or tensor]
        seen: set[int] = set()
        found = []
        while waiting:
            place = waiting.pop()
            if place is None or id(place) in seen:
                continue
            seen.add(id(place))
            if id(place) in self._known:
                found.append(self._known[id(place)][1:])
            elif isinstance(place, Node):
                waiting += place.parents
        return found


def _widened(before: Field, axes: Sequence[tuple[int, int, int]]) -> Field:
    """The field of a window's outputs, from its size, dilation and stride along each axis."""
    size = tuple(n + d * (k - 1) * j for n, j, (k, d, _) in zip(before.size, before.jump, axes, strict=True))
    return Field(size, tuple(j * step for j, (_, _, step) in zip(before.jump, axes, strict=True)))


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count
