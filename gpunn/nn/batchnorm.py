"""Batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._creation import ones, zeros
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._promotion import default_float
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.ops.batch_norm import batch_norm
from gpunn.tape import no_grad


class _BatchNorm(Module):
    """What batch normalisation of sequences, images and volumes shares; they differ in the inputs they accept."""

    _ndims: tuple[int, ...]
    _expected: str

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = n = whole(type(self).__name__, "num_features", num_features)
        self.eps = real_number(type(self).__name__, "eps", eps, 0, finite=False)
        if momentum is not None:
            momentum = real_number(type(self).__name__, "momentum", momentum, 0, finite=False)
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.weight: Parameter | None
        self.bias: Parameter | None
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            self.register_parameter(name, new_parameter((n,), device, dtype) if wanted else None)
        home: Device | str = default_device() if device is None else device
        kind = default_float() if dtype is None else dtype
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(n, dtype=kind, device=home) if tracked else None)
        self.register_buffer("running_var", ones(n, dtype=kind, device=home) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros(dtype=np.int64, device=home) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches seen."""
        if self.track_running_stats:
            with no_grad():
                self.running_mean.zero_()
                self.running_var.fill_(1)
                self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, and :meth:`reset_running_stats`."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, x: Tensor, *, residual: Tensor | None = None, activation: str | None = None) -> Tensor:
        """Apply the layer; add ``residual`` and apply ``activation`` ("relu") in the same pass."""
        if x.ndim not in self._ndims:
            raise ShapeError(f"{here('batch_norm')}: expected x of shape {self._expected}; got {x.shape}.")
        return batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum,
            self.eps,
            residual=residual,
            activation=activation,
            num_batches_tracked=self.num_batches_tracked,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Normalise each feature over the batch, then scale and shift; otherwise like :class:`BatchNorm2d`.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the newest batch in the running estimates; None averages all batches equally.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates; without them the batch's are used in evaluation too.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Shape
    -----
    x : (N, C) or (N, C, L) float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or a training batch has one value per channel; the message
        names the layer.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """

    _ndims = (2, 3)
    _expected = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Normalise each channel of images over the batch, then scale and shift.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    In training, mean and variance are the batch's (variance dividing by the count), and the running
    estimates are updated: running ← (1 - momentum) running + momentum · batch, with the unbiased variance.
    In evaluation the running estimates are used; :func:`recompute_batch_statistics` replaces them by the
    statistics of the whole training set.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the newest batch in the running estimates; None averages all batches equally.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates; without them the batch's are used in evaluation too.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Attributes
    ----------
    weight, bias : Parameter, (C,), or None
        Initially 1 and 0.
    running_mean, running_var : Tensor, (C,), or None
        Initially 0 and 1.
    num_batches_tracked : Tensor, () int64, or None

    Shape
    -----
    x : (N, C, H, W) float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or a training batch has one value per channel; the message
        names the layer.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """

    _ndims = (4,)
    _expected = "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Normalise each channel of volumes over the batch, then scale and shift; otherwise like :class:`BatchNorm2d`.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the newest batch in the running estimates; None averages all batches equally.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates; without them the batch's are used in evaluation too.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Shape
    -----
    x : (N, C, D, H, W) float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or a training batch has one value per channel; the message
        names the layer.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """

    _ndims = (5,)
    _expected = "(N, C, D, H, W)"
