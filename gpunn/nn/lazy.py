"""Layers that take the number of their inputs from the first batch, and are the plain layers from then on."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._tensor import Tensor
from gpunn._window import Padding, Pair
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn._lazy import Lazy
from gpunn.nn.batchnorm import BatchNorm1d, BatchNorm2d, _BatchNorm
from gpunn.nn.conv import Conv1d, Conv2d
from gpunn.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d
from gpunn.nn.instancenorm import InstanceNorm1d, InstanceNorm2d
from gpunn.nn.linear import Linear


class LazyLinear(Lazy, Linear):
    """:class:`Linear` that takes ``in_features`` from the last axis of its first batch.

    Parameters
    ----------
    out_features : int
        M.
    bias, device, dtype
        As of :class:`Linear`.

    Shape
    -----
    x : (..., D) float32 or float64;  y : (..., M)

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Lecture topic L1.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.LazyLinear(5))
    >>> model(gpunn.ones(2, 3, 4)).shape
    (2, 5)
    >>> model[1]
    Linear(in_features=12, out_features=5, bias=True)
    """

    cls_to_become = Linear
    _count = "in_features"

    def __init__(
        self, out_features: int, bias: bool = True, device: Device | str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(1, out_features, bias, device, dtype)
        self._forget("weight", "bias")

    def _inputs_of(self, x: Tensor) -> int:
        if not x.ndim:
            raise ShapeError(f"{here('LazyLinear')}: expected x (..., D); got a number.")
        return x.shape[-1]

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.out_features, count), "bias": (self.out_features,)}

    def _loaded(self, count: int) -> int:
        return self.weight.shape[1]


class _LazyConv(Lazy):
    """What lazy convolutions share: the number of channels comes from the first batch."""

    _count = "in_channels"
    _transposed = False

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        K, groups, kernel = self.out_channels, self.groups, self.kernel_size
        if count % groups:
            raise UsageError(
                f"{here(type(self).__name__)}: groups: expected a divisor of x's {count} channels; got {groups}."
            )
        weight = (count, K // groups, *kernel) if self._transposed else (K, count // groups, *kernel)
        return {"weight": weight, "bias": (K,)}

    def _loaded(self, count: int) -> int:
        weight: Tensor = self.weight
        return weight.shape[0] if self._transposed else weight.shape[1] * int(self.groups)


class LazyConv1d(_LazyConv, Conv1d):
    """:class:`Conv1d` that takes ``in_channels`` from its first batch.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As of :class:`Conv1d`.

    Shape
    -----
    As of :class:`Conv1d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Lecture topic L12.
    """

    cls_to_become = Conv1d

    def __init__(
        self,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        options = (kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        super().__init__(groups, out_channels, *options)
        self._forget("weight", "bias")


class LazyConv2d(_LazyConv, Conv2d):
    """:class:`Conv2d` that takes ``in_channels`` from its first batch.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As of :class:`Conv2d`.

    Shape
    -----
    As of :class:`Conv2d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Lecture topic L10.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> layer = nn.LazyConv2d(8, 3)
    >>> layer(gpunn.ones(2, 3, 6, 6)).shape
    (2, 8, 4, 4)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d

    def __init__(
        self,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        options = (kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype)
        super().__init__(groups, out_channels, *options)
        self._forget("weight", "bias")


class LazyConvTranspose1d(_LazyConv, ConvTranspose1d):
    """:class:`ConvTranspose1d` that takes ``in_channels`` from its first batch.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype
        As of :class:`ConvTranspose1d`.

    Shape
    -----
    As of :class:`ConvTranspose1d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """

    cls_to_become = ConvTranspose1d
    _transposed = True

    def __init__(
        self,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        options = (kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype)
        super().__init__(groups, out_channels, *options)
        self._forget("weight", "bias")


class LazyConvTranspose2d(_LazyConv, ConvTranspose2d):
    """:class:`ConvTranspose2d` that takes ``in_channels`` from its first batch.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype
        As of :class:`ConvTranspose2d`.

    Shape
    -----
    As of :class:`ConvTranspose2d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """

    cls_to_become = ConvTranspose2d
    _transposed = True

    def __init__(
        self,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        padding_mode: str = "zeros",
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        options = (kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype)
        super().__init__(groups, out_channels, *options)
        self._forget("weight", "bias")


class _LazyNorm(Lazy, _BatchNorm):
    """What lazy normalisations share: the number of channels comes from the first batch."""

    _count = "num_features"

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(1, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self._forget("weight", "bias", "running_mean", "running_var")

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (count,))

    def _loaded(self, count: int) -> int:
        return next((t.shape[0] for t in (self.weight, self.running_mean) if t is not None), count)


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """:class:`BatchNorm1d` that takes ``num_features`` from its first batch.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As of :class:`BatchNorm1d`.

    Shape
    -----
    As of :class:`BatchNorm1d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """:class:`BatchNorm2d` that takes ``num_features`` from its first batch.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As of :class:`BatchNorm2d`.

    Shape
    -----
    As of :class:`BatchNorm2d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """

    cls_to_become = BatchNorm2d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """:class:`InstanceNorm1d` that takes ``num_features`` from its first batch.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As of :class:`InstanceNorm1d`; but ``affine`` and ``track_running_stats`` are True if not given, as in PyTorch.

    Shape
    -----
    As of :class:`InstanceNorm1d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """:class:`InstanceNorm2d` that takes ``num_features`` from its first batch.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As of :class:`InstanceNorm2d`; but ``affine`` and ``track_running_stats`` are True if not given, as in PyTorch.

    Shape
    -----
    As of :class:`InstanceNorm2d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    cls_to_become = InstanceNorm2d
