"""Lazy layers for volumes: they take the number of their inputs from the first batch."""

from __future__ import annotations

from typing import Any

from gpunn._device import Device
from gpunn._window import Padding, Pair
from gpunn.nn.batchnorm import BatchNorm3d
from gpunn.nn.conv import Conv3d
from gpunn.nn.conv_transpose import ConvTranspose3d
from gpunn.nn.instancenorm import InstanceNorm3d
from gpunn.nn.lazy import _LazyConv, _LazyNorm


class LazyConv3d(_LazyConv, Conv3d):
    """:class:`Conv3d` that takes ``in_channels`` from its first batch.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        As of :class:`Conv3d`.

    Shape
    -----
    As of :class:`Conv3d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ji, Xu, Yang, Yu 2013, "3D convolutional neural networks for human action recognition".
    """

    cls_to_become = Conv3d

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


class LazyConvTranspose3d(_LazyConv, ConvTranspose3d):
    """:class:`ConvTranspose3d` that takes ``in_channels`` from its first batch.

    Parameters
    ----------
    out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation, padding_mode, device, dtype
        As of :class:`ConvTranspose3d`.

    Shape
    -----
    As of :class:`ConvTranspose3d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Dumoulin, Visin 2016, arXiv:1603.07285, chapter 4.
    """

    cls_to_become = ConvTranspose3d
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


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """:class:`BatchNorm3d` that takes ``num_features`` from its first batch.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As of :class:`BatchNorm3d`.

    Shape
    -----
    As of :class:`BatchNorm3d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ioffe, Szegedy 2015, arXiv:1502.03167; lecture topic L7.
    """

    cls_to_become = BatchNorm3d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """:class:`InstanceNorm3d` that takes ``num_features`` from its first batch.

    Parameters
    ----------
    eps, momentum, affine, track_running_stats, device, dtype, bias
        As of :class:`InstanceNorm3d`; but ``affine`` and ``track_running_stats`` are True if not given, as in PyTorch.

    Shape
    -----
    As of :class:`InstanceNorm3d`.

    Raises
    ------
    UsageError
        If an option is invalid, or the parameters are used before the first batch.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022.
    """

    cls_to_become = InstanceNorm3d
