"""Group normalisation."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.group_norm import group_norm


class GroupNorm(Module):
    """Normalise each group of channels of each item to zero mean and unit variance, then scale and shift by channel.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Mean and variance are taken over a group's channels and all their positions, and are each item's own: training and
    evaluation are the same, and small batches do as well as large ones.

    Parameters
    ----------
    num_groups : int
        G, a divisor of ``num_channels``. 1 is layer normalisation over (C, *), ``num_channels`` is instance
        normalisation.
    num_channels : int
        C.
    eps : float
        Added to the variance.
    affine : bool
        Whether there are a weight and a bias.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Attributes
    ----------
    weight, bias : Parameter, (C,), or None
        1 and 0 at first.

    Shape
    -----
    x : (N, C, *) float32 or float64;  y : as x

    Raises
    ------
    UsageError
        If ``num_channels`` is not a multiple of ``num_groups``, or one of them is not a positive integer.
    ShapeError, DTypeError, DeviceError
        If x has other channels than the weight, or is one item with one value in each group; the message names the
        layer.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> nn.GroupNorm(2, 4)(gpunn.tensor([[1.0, 1.0, 3.0, 3.0]])).tolist()
    [[0.0, 0.0, 0.0, 0.0]]

    References
    ----------
    Wu, He 2018, arXiv:1803.08494.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = whole("GroupNorm", "num_groups", num_groups)
        self.num_channels = c = whole("GroupNorm", "num_channels", num_channels)
        if c % self.num_groups:
            raise UsageError(f"GroupNorm: num_channels: expected a multiple of num_groups = {num_groups}; got {c}.")
        self.eps = real_number("GroupNorm", "eps", eps, 0, finite=False)
        self.affine = affine
        self.weight: Parameter | None
        self.bias: Parameter | None
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, new_parameter((c,), device, dtype) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
