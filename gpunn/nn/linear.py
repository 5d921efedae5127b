"""Linear: the fully connected layer."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.linear import linear


class Linear(Module):
    """y = x Wᵀ + b on the last axis.

    Parameters
    ----------
    in_features, out_features : int
        D and M.
    bias : bool
        Whether there is a b.
    device : Device or str, optional
        Where the parameters are made; ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    weight : Parameter, (M, D)
        Initially uniform on ±1 / sqrt(D), PyTorch's default, and so is the bias.
    bias : Parameter, (M,), or None

    Shape
    -----
    x : (..., D) float32 or float64;  y : (..., M)

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x does not fit the weight; the message names the layer.

    References
    ----------
    Lecture topic L1.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = whole("Linear", "in_features", in_features)
        self.out_features = whole("Linear", "out_features", out_features)
        self.weight = new_parameter((self.out_features, self.in_features), device, dtype)
        self.bias: Parameter | None
        self.register_parameter("bias", new_parameter((self.out_features,), device, dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values from the default generator."""
        init.default_(self.weight, self.bias)

    def forward(self, x: Tensor, *, activation: str | None = None) -> Tensor:
        """Apply the layer, and ``activation`` ("relu") in the same pass."""
        return linear(x, self.weight, self.bias, activation=activation)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
