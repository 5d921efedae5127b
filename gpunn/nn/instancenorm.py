"""Instance normalisation."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn.composed.norms import instance_norm
from gpunn.errors import ShapeError, here
from gpunn.nn.batchnorm import _BatchNorm


class _InstanceNorm(_BatchNorm):
    """What instance normalisation of sequences, images and volumes shares; they differ in the inputs they accept."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # it fuses nothing
        """Apply the layer."""
        (axes,) = self._ndims
        if x.ndim not in (axes, axes - 1):
            raise ShapeError(f"{here('instance_norm')}: expected x of shape {self._expected}; got {x.shape}.")
        if x.shape[-axes + 1] != self.num_features:
            raise ShapeError(
                f"{here('instance_norm')}: expected {self.num_features} channels; got x of shape {x.shape}."
            )
        batch = x if x.ndim == axes else x.unsqueeze(0)
        y = instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return y if x.ndim == axes else y.squeeze(0)


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each sequence; otherwise like :class:`InstanceNorm2d`.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running estimates.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates, which are used in evaluation.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Shape
    -----
    x : (N, C, L) or (C, L), float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or one position; the message names the layer.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    _ndims = (3,)
    _expected = "(N, C, L) or (C, L)"


class InstanceNorm2d(_InstanceNorm):
    """Normalise each channel of each image to zero mean and unit variance, then scale and shift.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running estimates.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates, which are used in evaluation.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Shape
    -----
    x : (N, C, H, W) or (C, H, W), float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or one position; the message names the layer.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    _ndims = (4,)
    _expected = "(N, C, H, W) or (C, H, W)"


class InstanceNorm3d(_InstanceNorm):
    """Normalise each channel of each volume; otherwise like :class:`InstanceNorm2d`.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the newest batch in the running estimates.
    affine : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running estimates, which are used in evaluation.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.
    bias : bool
        Whether there is a bias beside the weight.

    Shape
    -----
    x : (N, C, D, H, W) or (C, D, H, W), float32 or float64;  y : like x

    Raises
    ------
    ShapeError, DTypeError, DeviceError
        If x has other axes or channels, or one position; the message names the layer.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    _ndims = (5,)
    _expected = "(N, C, D, H, W) or (C, D, H, W)"
