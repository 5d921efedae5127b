"""Group normalisation (``kernels/group_norm.cu``).

The primitives see (N, P, G, K, Q): N items, G groups of K channels, P positions that lie before the channels in memory
and Q behind them. Of images, which are channels last, Q = 1; of everything else P = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._device import Device, same_device
from gpunn._half import FLOATING, goes_with
from gpunn._shared.numbers import real_number, whole_number
from gpunn._tensor import Tensor
from gpunn.cpu import group_norm as fast
from gpunn.cpu.elementwise import quiet
from gpunn.errors import DTypeError, ShapeError, here
from gpunn.gpu.launcher import DIVISOR, KernelSource, c_type, ceil_div, divisor, vector_width
from gpunn.ops.cast import in_dtype
from gpunn.primitive import primitive
from gpunn.tape import record

SOURCE = KernelSource("group_norm.cu", REAL=("float", "double"), VEC=(1, 4))
_OP = "group_norm"
_BLOCK = 256  # threads of a block, at most: BLOCK in group_norm.cu
_PARTS = 2048  # blocks that leave parts of sums, about: a few full loads of the largest GPUs
_ROWS = 8  # rows that a thread does at least, so that loading its channels' numbers pays
_DEEP = 64  # CUDA's limit on a block's third axis
# struct Layout
_LAYOUT = np.dtype([("per_group", DIVISOR), ("channels", DIVISOR), ("groups", np.int32), ("channels_last", np.int32)])
Three = tuple[bool, bool, bool]  # whether the gradients of x, weight, bias are wanted


# -- primitives -----------------------------------------------------------------------------------


def _mean(u: Any) -> Any:
    """Over each group, axes kept; added in float64, so that long sums lose no digits. 0 of no positions."""
    total = u.sum(axis=(1, 3, 4), dtype=np.float64, keepdims=True)
    return (total / max(1, u.shape[1] * u.shape[3] * u.shape[4])).astype(u.dtype)


def _by_channel(u: Any) -> Any:
    """The sum of each channel over items and positions, added in float64."""
    return u.sum(axis=(0, 1, 4), dtype=np.float64).astype(u.dtype)


@primitive(returns=("y", "mean", "rstd"), wide=("mean", "rstd"))
def group_norm_forward(xp: Any, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    """y = (x - mean) * rstd * weight + bias by groups, with rstd = 1 / sqrt(var + eps); None leaves a step out.

    x, y (N, P, G, K, Q);  weight, bias (G, K);  mean, rstd (N, G).
    """
    mean = _mean(x)
    centred = x - mean
    rest = _mean(centred)  # as far as the mean was rounded
    mean, centred = mean + rest, centred - rest
    rstd = 1 / xp.sqrt(_mean(centred**2) + x.dtype.type(eps))
    y = centred * rstd
    if weight is not None:
        y = y * weight[:, :, None]
    if bias is not None:
        y = y + bias[:, :, None]
    return y, mean[:, 0, :, 0, 0], rstd[:, 0, :, 0, 0]


@group_norm_forward.numpy
def _(x: np.ndarray, weight: Any, bias: Any, eps: float) -> tuple[Any, Any, Any]:
    found = fast.forward(x, weight, bias, eps)
    if found is not None:
        return found
    with quiet():
        return group_norm_forward.plain(np, x, weight, bias, eps)


@group_norm_forward.kernel
def _(
    device: Device, x: Any, weight: Any, bias: Any, eps: float, most: int = _PARTS, threads: int = _BLOCK
) -> tuple[Any, Any, Any]:
    y = device.empty(x.shape, x.dtype)
    mean, rstd = (device.empty((x.shape[0], x.shape[2]), x.dtype) for _ in range(2))
    cut = _cut(x, most, threads, y, mean, rstd, weight, bias)
    parts = cut.parts(device)
    cut.launch(device, "group_norm_moments", (*parts, x))
    cut.launch_groups(device, "group_norm_statistics", (mean, rstd, *parts), (cut.rows, cut.per_chunk, cut.width, eps))
    cut.launch(device, "group_norm_normalise", (y, x, mean, rstd, weight, bias))
    return y, mean, rstd


@primitive(returns=("dx", "dweight", "dbias"), wide=("dweight", "dbias"))
def group_norm_backward(
    xp: Any, dy: Any, x: Any, mean: Any, rstd: Any, weight: Any, needs: Three
) -> tuple[Any, Any, Any]:
    """dx = rstd (g - mean(g) - xhat mean(g xhat)) by groups, g = dy weight; dweight = sum of dy xhat, dbias of dy."""
    mean, rstd = (a[:, None, :, None, None] for a in (mean, rstd))
    xhat = (x - mean) * rstd
    dx = None
    if needs[0]:
        g = dy if weight is None else dy * weight[:, :, None]
        dx = (g - _mean(g) - xhat * _mean(g * xhat)) * rstd
    return dx, _by_channel(dy * xhat) if needs[1] else None, _by_channel(dy) if needs[2] else None


@group_norm_backward.numpy
def _(
    dy: np.ndarray, x: np.ndarray, mean: np.ndarray, rstd: np.ndarray, weight: Any, needs: Three
) -> tuple[Any, Any, Any]:
    found = fast.backward(dy, x, mean, rstd, weight, needs)
    if found is not None:
        return found
    with quiet():
        return group_norm_backward.plain(np, dy, x, mean, rstd, weight, needs)


@group_norm_backward.kernel
def _(
    device: Device,
    dy: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    weight: Any,
    needs: Three,
    most: int = _PARTS,
    threads: int = _BLOCK,
) -> tuple[Any, Any, Any]:
    n, _, groups, channels, _ = x.shape
    dx = device.empty(x.shape, x.dtype) if needs[0] else None
    cut = _cut(x, most, threads, dx, dy, mean, rstd, weight)
    parts = cut.parts(device)
    cut.launch(device, "group_norm_backward_sums", (*parts, dy, x, mean, rstd))
    if dx is not None:
        through = tuple(device.empty(mean.shape, x.dtype) for _ in range(2))
        cut.launch_groups(device, "group_norm_backward_means", (*through, *parts, rstd, weight))
        cut.launch(device, "group_norm_backward", (dx, dy, x, mean, rstd, weight, *through))
    dweight, dbias = (device.empty((groups, channels), x.dtype) if need else None for need in needs[1:])
    if needs[1] or needs[2]:
        slices = cut.chunks * n
        args = (dweight, dbias, *parts, slices, groups * channels)
        block = (8, min(threads // 8, max(1, slices)), 1)  # 8 floats are what memory gives at once
        grid = (ceil_div(groups * channels, 8), 1, 1)
        SOURCE.launch(device, "group_norm_parameters", grid, block, args, REAL=c_type(x.dtype, _OP), VEC=1)
    return dx, dweight, dbias


# -- how the work is cut up -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Cut:
    """x as the kernels see it, planes of rows of lanes (see ``group_norm.cu``), and the launches over it."""

    x: Any  # (N, P, G, K, Q)
    vec: int
    planes: int
    rows: int
    lanes: int
    width: int  # lanes that are one channel: all of a plane, or 1
    per_chunk: int  # rows
    chunks: int
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    layout: np.ndarray

    def parts(self, device: Device) -> tuple[Any, ...]:
        """Room for what the blocks find of each channel of each item."""
        n, _, groups, channels, _ = self.x.shape
        return tuple(device.empty((self.chunks, n * groups * channels), self.x.dtype) for _ in range(2))

    def launch(self, device: Device, kernel: str, arrays: tuple[Any, ...]) -> None:
        """A kernel over all of x."""
        args = (*arrays, self.planes, self.rows, self.lanes, self.per_chunk, self.chunks, self.layout)
        self._launch(device, kernel, self.grid, self.block, args)

    def launch_groups(self, device: Device, kernel: str, arrays: tuple[Any, ...], how: tuple[Any, ...] = ()) -> None:
        """A kernel over the parts of each group: a warp for few of them, else a block."""
        n, before, groups, channels, behind = self.x.shape
        count = self.chunks * channels
        few = count <= _BLOCK
        block = (32, min(_BLOCK // 32, max(1, n * groups)), 1) if few else (_BLOCK, 1, 1)
        size = max(1, before * channels * behind)
        args = (*arrays, n * groups, n * groups * channels, self.chunks, size, self.layout, *how)
        self._launch(device, kernel, (ceil_div(n * groups, block[1]), 1, 1), block, args)

    def _launch(self, device: Device, kernel: str, grid: Any, block: Any, args: tuple[Any, ...]) -> None:
        SOURCE.launch(device, kernel, grid, block, args, REAL=c_type(self.x.dtype, _OP), VEC=self.vec)


def _cut(x: Any, most: int, threads: int, *arrays: Any) -> _Cut:
    """For x and the arrays that go with it, over blocks of at most ``threads``, about ``most`` of them."""
    n, before, groups, channels, behind = x.shape
    last = behind == 1
    assert last or before == 1, "no layout has positions on both sides of the channels"
    vec = vector_width(groups * channels if last else behind, x, *arrays)
    planes, rows, lanes = (n, before, groups * channels) if last else (n * groups * channels, behind // vec, vec)
    tiles = ceil_div(lanes, 32 * vec)  # 32 threads side by side read whole lines of memory
    across = ceil_div(lanes, tiles * vec)
    down = max(1, min(rows, threads // across))
    deep = max(1, min(planes, threads // (across * down), _DEEP))
    blocks = ceil_div(planes, deep) * tiles
    per_chunk = max(_ROWS * down, ceil_div(rows, max(1, most // max(1, blocks))))
    chunks = max(1, ceil_div(rows, per_chunk))
    layout = np.array([(divisor(channels), divisor(groups * channels), groups, int(last))], _LAYOUT)
    grid, block = (ceil_div(planes, deep) * chunks, tiles, 1), (across, down, deep)
    return _Cut(x, vec, planes, rows, lanes, 1 if last else vec, per_chunk, chunks, grid, block, layout)


# -- public op ------------------------------------------------------------------------------------


def group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalise each group of channels of each item to zero mean and unit variance, then scale and shift by channel.

    y = (x - mean) / sqrt(var + eps) * weight + bias

    Mean and variance are taken over a group's channels and all their positions: of one group, those of layer norm over
    (C, *); of as many groups as channels, those of instance norm.

    Parameters
    ----------
    x : Tensor, (N, C, *)
        float32 or float64.
    num_groups : int
        G: parts of C / G neighbouring channels each.
    weight, bias : Tensor (C), optional
        1 and 0 if not given.
    eps : float
        Added to the variance, which divides by the number of elements.

    Returns
    -------
    Tensor
        As x.

    Raises
    ------
    ShapeError
        If x has no channels, their number is not a multiple of ``num_groups``, x is one item with one value in each
        group, whose variance means nothing, or weight or bias has another shape.
    UsageError
        If ``num_groups`` is not a positive integer.
    DTypeError, DeviceError
        If the tensors are not of one floating dtype and one device.

    Examples
    --------
    >>> import gpunn
    >>> group_norm(gpunn.tensor([[1.0, 3.0, 5.0, 5.0]]), 2, eps=3.0).tolist()
    [[-0.5, 0.5, 0.0, 0.0]]

    References
    ----------
    Wu, He 2018, arXiv:1803.08494.
    """
    if casting.on:
        x, weight, bias = casting.inputs("group_norm", x, weight, bias)
    num_groups = whole_number(_OP, "num_groups", num_groups, 1)
    if type(eps) is not float or not eps >= 0:
        eps = real_number(_OP, "eps", eps, 0, finite=False)
    _check(x, num_groups, weight, bias)
    device, px = x.device, x._physical
    grouped = _grouped_shape(x.shape, num_groups)
    gx = px.reshape(grouped)
    scale, shift = (None if t is None else t._physical.reshape(grouped[2:4]) for t in (weight, bias))
    y, mean, rstd = group_norm_forward(device, gx, scale, shift, eps)
    operands = {"x": x, "weight": weight, "bias": bias}
    inputs = {name: t for name, t in operands.items() if t is not None}

    def backward(dy: Any, needs: tuple[bool, ...]) -> tuple[Any, ...]:
        asked = dict(zip(inputs, needs, strict=True))
        wanted = (asked["x"], asked.get("weight", False), asked.get("bias", False))
        dx, dweight, dbias = group_norm_backward(device, dy.reshape(grouped), gx, mean, rstd, scale, wanted)
        named = {"x": None if dx is None else dx.reshape(px.shape)}
        for name, gradient in (("weight", dweight), ("bias", dbias)):
            if gradient is not None:
                named[name] = in_dtype(device, gradient.reshape(-1), inputs[name].dtype)
        return tuple(named.get(name) for name in inputs)

    saves = [t for t in (x, weight) if t is not None]
    return record(_OP, y.reshape(px.shape), device, tuple(inputs.values()), backward, saves=saves)


def _grouped_shape(shape: tuple[int, ...], groups: int) -> tuple[int, ...]:
    """(N, P, G, K, Q) of a tensor's physical array."""
    n, c, *rest = shape
    positions = math.prod(rest)
    before, behind = (positions, 1) if len(shape) == 4 else (1, positions)
    return n, before, groups, c // groups, behind


def _check(x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None) -> None:
    if x.dtype.kind not in FLOATING:
        raise DTypeError(f"{here(_OP)}: expected a floating dtype; got {x.dtype}. Convert with .float().")
    if x.ndim < 2 or x.shape[1] == 0:
        raise ShapeError(f"{here(_OP)}: expected x of shape (N, C, *) with at least one channel; got {x.shape}.")
    channels = x.shape[1]
    if channels % groups:
        raise ShapeError(
            f"{here(_OP)}: expected channels in a multiple of num_groups = {groups}; got {channels} in x of shape "
            f"{x.shape}. Choose a divisor of {channels}."
        )
    if x.numel() == groups:
        raise ShapeError(
            f"{here(_OP)}: expected more than 1 value per group; got x of shape {x.shape} in {groups} groups, "
            "which would all become 0. Use fewer groups."
        )
    for name, other in (("weight", weight), ("bias", bias)):
        if other is None:
            continue
        if other.device is not x.device:
            same_device(_OP, x.device, other.device)
        if other.shape != (channels,):
            raise ShapeError(
                f"{here(_OP)}: {name}: expected shape ({channels},) to match x of shape {x.shape}; got {other.shape}."
            )
        if not goes_with(x.dtype, other.dtype):
            raise DTypeError(f"{here(_OP)}: {name}: expected {x.dtype} as x has; got {other.dtype}.")
