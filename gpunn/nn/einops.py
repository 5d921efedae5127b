"""The layers of ``einops.layers.torch`` for tensors of gpunn: the same names, arguments and patterns.

``from gpunn.nn.einops import Rearrange`` in place of ``from einops.layers.torch import Rearrange``. They need the
package einops, ``pip install 'gpunn[einops]'``. Its functions (``einops.rearrange``, ``reduce``, ``repeat``,
``einsum``, ``pack``, ``unpack``) take tensors as they are.

>>> import gpunn
>>> from gpunn.nn.einops import Rearrange
>>> patches = Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=4, q=4)
>>> patches(gpunn.zeros(2, 3, 8, 12)).shape
(2, 6, 48)
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from gpunn._calls import explains_all
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.einsum import einsum

__all__ = ["EinMix", "Rearrange", "Reduce"]


def _einops(layer: str) -> ModuleType:
    try:
        import einops.layers._einmix
    except ImportError as error:
        raise UsageError(f"{layer}: it needs the package einops ({error}): pip install 'gpunn[einops]'.") from error
    return einops


def _lengths(axes: dict[str, int]) -> str:
    return "".join(f", {axis}={length}" for axis, length in axes.items())


class Rearrange(Module):
    """``einops.rearrange`` with a fixed pattern, as a layer: axes in another order, split or put together.

    Parameters
    ----------
    pattern : str
        Axes of the input, an arrow, axes of the output, such as ``"b c h w -> b (h w) c"``.
    **axes_lengths : int
        Lengths of axes that the input's shape leaves open.

    Shape
    -----
    x : as the left side says;  y : as the right side says

    Raises
    ------
    EinopsError
        If the pattern is wrong; when called, if x does not fit to it.
    UsageError
        If the package einops is not installed.

    References
    ----------
    Rogozhnikov, "Einops: clear and reliable tensor manipulations with Einstein-like notation", ICLR 2022.
    """

    def __init__(self, pattern: str, **axes_lengths: int) -> None:
        super().__init__()
        self.pattern = pattern
        self.axes_lengths = axes_lengths
        _einops("Rearrange").layers.RearrangeMixin(pattern, **axes_lengths)  # refuses a wrong pattern

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _einops("Rearrange").rearrange(x, self.pattern, **self.axes_lengths)
        return y

    def extra_repr(self) -> str:
        return f"{self.pattern!r}{_lengths(self.axes_lengths)}"


class Reduce(Module):
    """``einops.reduce`` with a fixed pattern, as a layer: axes that the right side leaves out are summed, or the like.

    Parameters
    ----------
    pattern : str
        Axes of the input, an arrow, axes of the output, such as ``"b c (h 2) (w 2) -> b c h w"``.
    reduction : str
        ``'sum'``, ``'mean'``, ``'min'``, ``'max'`` or ``'prod'``; of truth values ``'any'`` or ``'all'``.
    **axes_lengths : int
        Lengths of axes that the input's shape leaves open.

    Shape
    -----
    x : as the left side says;  y : as the right side says

    Raises
    ------
    EinopsError
        If pattern or reduction are wrong; when called, if x does not fit to the pattern.
    UsageError
        If the package einops is not installed.

    References
    ----------
    Rogozhnikov, "Einops: clear and reliable tensor manipulations with Einstein-like notation", ICLR 2022.
    """

    def __init__(self, pattern: str, reduction: str, **axes_lengths: int) -> None:
        super().__init__()
        self.pattern = pattern
        self.reduction = reduction
        self.axes_lengths = axes_lengths
        _einops("Reduce").layers.ReduceMixin(pattern, reduction, **axes_lengths)  # refuses what is wrong

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _einops("Reduce").reduce(x, self.pattern, self.reduction, **self.axes_lengths)
        return y

    def extra_repr(self) -> str:
        return f"{self.pattern!r}, {self.reduction!r}{_lengths(self.axes_lengths)}"


class EinMix(Module):
    """A linear layer along whichever axes a pattern names: einsum of the input with a weight, and a bias.

    Parameters
    ----------
    pattern : str
        Axes of the input, an arrow, axes of the output, such as ``"b t (head c) -> b t (head d)"``.
    weight_shape : str
        Axes of the weight, such as ``"head c d"``; all of them stand in the pattern.
    bias_shape : str, optional
        Axes of the bias; no bias if not given.
    **axes_lengths : int
        Lengths of all axes of weight and bias.

    Attributes
    ----------
    weight : Parameter of shape ``weight_shape``
        Initially uniform in ±sqrt(3 / n), with the number n of elements that make one of the output.
    bias : Parameter, or None
        With the output's axes, of length 1 where ``bias_shape`` lacks them. Initially uniform in ±sqrt(1 / n).

    Shape
    -----
    x : as the left side says, float32 or float64;  y : as the right side says

    Raises
    ------
    EinopsError
        If pattern, shapes or lengths do not fit together; when called, if x does not fit to the pattern.
    UsageError
        If the package einops is not installed.

    References
    ----------
    Rogozhnikov, "Einops: clear and reliable tensor manipulations with Einstein-like notation", ICLR 2022.
    """

    def __init__(self, pattern: str, weight_shape: str, bias_shape: str | None = None, **axes_lengths: int) -> None:
        super().__init__()
        self.pattern = pattern
        self.weight_shape = weight_shape
        self.bias_shape = bias_shape
        self.axes_lengths = axes_lengths
        layer = self

        class Reading(_einops("EinMix").layers._einmix._EinmixMixin):  # type: ignore[misc]
            """Reads the patterns, and says which parameters and which layers around the product they mean."""

            def _create_parameters(self, *shapes: Any) -> None:
                layer._make_parameters(*shapes)

            def _create_rearrange_layers(self, *around: Any) -> None:
                layer._make_layers(*around)

        self.pre_rearrange: Rearrange | None = None
        self.post_rearrange: Rearrange | None = None
        self.einsum_pattern: str = Reading(pattern, weight_shape, bias_shape, **axes_lengths).einsum_pattern

    def _make_layers(
        self, before: str | None, lengths: dict[str, int] | None, after: str | None, lengths_after: dict[str, int]
    ) -> None:
        if before is not None:
            self.pre_rearrange = Rearrange(before, **(lengths or {}))
        if after is not None:
            self.post_rearrange = Rearrange(after, **lengths_after)

    def _make_parameters(
        self, weight: Sequence[int], weight_bound: float, bias: Sequence[int] | None, bias_bound: float
    ) -> None:
        self.weight = new_parameter(tuple(weight), None, None)
        init.uniform_(self.weight, -weight_bound, weight_bound)
        self.bias: Parameter | None
        self.register_parameter("bias", None if bias is None else new_parameter(tuple(bias), None, None))
        if self.bias is not None:
            init.uniform_(self.bias, -bias_bound, bias_bound)

    def forward(self, x: Tensor) -> Tensor:
        if self.pre_rearrange is not None:
            x = self.pre_rearrange(x)
        y = einsum(self.einsum_pattern, x, self.weight)
        if self.bias is not None:
            y = y + self.bias
        return y if self.post_rearrange is None else self.post_rearrange(y)

    def __repr__(self) -> str:  # one line: the layers around the product follow from the pattern
        return f"EinMix({self.extra_repr()})"

    def extra_repr(self) -> str:
        bias = "" if self.bias_shape is None else f", {self.bias_shape!r}"
        return f"{self.pattern!r}, {self.weight_shape!r}{bias}{_lengths(self.axes_lengths)}"


explains_all(globals())
