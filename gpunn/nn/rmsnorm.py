"""Normalisation by the root of the mean square."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.composed.norms import rms_norm
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.layer_norm import lengths


class RMSNorm(Module):
    """x / sqrt(mean(x²) + eps) * weight, with the mean over trailing axes.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the trailing axes.
    eps : float, optional
        Added to the mean; the dtype's distance from 1 to the next number if not given.
    elementwise_affine : bool
        Whether there is a weight.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter of ``normalized_shape``, or None
        Initially 1.

    Shape
    -----
    x : (..., *normalized_shape) float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not end in ``normalized_shape``; the message names the layer.

    References
    ----------
    Zhang, Sennrich 2019, arXiv:1910.07467.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = lengths("RMSNorm", normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.weight: Parameter | None
        self.register_parameter(
            "weight", new_parameter(self.normalized_shape, device, dtype) if elementwise_affine else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
