"""Layer normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.layer_norm import layer_norm, lengths


class LayerNorm(Module):
    """Normalise trailing axes to zero mean and unit variance, then scale and shift element by element.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Mean and variance are each item's own: training and evaluation are the same, and a batch of one works.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the trailing (logical) axes over which mean and variance are taken.
    eps : float
        Added to the variance.
    elementwise_affine : bool
        Whether there are a weight and a bias.
    bias : bool
        Whether there is a bias beside the weight.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight, bias : Parameter of ``normalized_shape``, or None
        Initially 1 and 0.

    Shape
    -----
    x : (..., *normalized_shape) float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not end in ``normalized_shape``; the message names the layer.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> nn.LayerNorm(3)(gpunn.tensor([[1.0, 1.0, 1.0]])).tolist()
    [[0.0, 0.0, 0.0]]

    References
    ----------
    Ba, Kiros, Hinton 2016, arXiv:1607.06450; lecture topic L8.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = shape = lengths("LayerNorm", normalized_shape)
        self.eps = real_number("LayerNorm", "eps", eps, 0, finite=False)
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None
        self.bias: Parameter | None
        has_bias = elementwise_affine and bias
        self.register_parameter("weight", new_parameter(shape, device, dtype) if elementwise_affine else None)
        self.register_parameter("bias", new_parameter(shape, device, dtype) if has_bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )
