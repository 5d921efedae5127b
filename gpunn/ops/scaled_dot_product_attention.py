"""Scaled dot-product attention: each query's mean of the values, weighted by how well it fits the keys.

The primitives (``kernels/scaled_dot_product_attention.cu``) see (items, positions, features): with four axes memory
would have the heads last.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._autocast import casting
from gpunn._creation import ones, zeros
from gpunn._device import Device, same_device
from gpunn._half import FLOATING
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.gpu.launcher import KernelSource, c_type, ceil_div, vector_width
from gpunn.ops.dropout import dropout
from gpunn.ops.matmul import matmul
from gpunn.ops.max import amax
from gpunn.ops.softmax import softmax
from gpunn.ops.where import masked_fill
from gpunn.primitive import primitive
from gpunn.tape import record

_OP = "scaled_dot_product_attention"
SOURCE = KernelSource("scaled_dot_product_attention.cu", REAL=("float", "double"), WIDTH=(32, 64, 128), VEC=(1, 4))
_SHAPE = {
    real: np.dtype(
        [(n, np.int32) for n in ("L", "S", "E", "V", "tiles", "mask_items", "causal")] + [("scale", real)], align=True
    )
    for real in (np.float32, np.float64)
}
Three = tuple[bool, bool, bool]  # whether the gradients of query, key, value are wanted


# -- primitives -----------------------------------------------------------------------------------


@primitive(returns=("y", "lse"), wide=("lse",))
def attention_forward(xp: Any, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    """y = p v, p = exp(s - lse), s = q kᵀ scale + mask, lse = log of the sum over the keys of exp(s).

    Where a query sees no key, p and y are 0: lse is 0 there, of which exp(-inf - lse) makes 0 in the backward too.
    q (B, L, E);  k (B, S, E);  v (B, S, V);  mask (B or 1, L, S) or None;  y (B, L, V);  lse (B, L).
    """
    s = _scores(xp, q, k, mask, scale, causal)
    with np.errstate(invalid="ignore", divide="ignore"):
        most = s.max(axis=2, keepdims=True)
        nothing = xp.isneginf(most)
        about = xp.where(nothing, 0, most)
        weights = xp.exp(s - about)
        total = weights.sum(axis=2, keepdims=True) + nothing  # which is a sum of 0 otherwise
        return xp.matmul(weights, v) / total, (about + xp.log(total))[:, :, 0]


def _scores(xp: Any, q: Any, k: Any, mask: Any, scale: float, causal: bool) -> Any:
    s = xp.matmul(q, k.swapaxes(1, 2)) * q.dtype.type(scale)
    if mask is not None:
        s = s + mask
    if causal:
        unseen = xp.arange(k.shape[1]) > xp.arange(q.shape[1])[:, None]
        s = xp.where(unseen, s.dtype.type(-np.inf), s)
    return s


@attention_forward.kernel
def _(device: Device, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool) -> tuple[Any, Any]:
    y, lse = device.empty((*q.shape[:2], v.shape[2]), q.dtype), device.empty(q.shape[:2], q.dtype)
    _launch(device, "attention_forward", q.shape[1], (y, lse, q, k, v, mask), q, v, mask, scale, causal)
    return y, lse


@primitive(returns=("dq", "dk", "dv"))
def attention_backward(
    xp: Any,
    dy: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    y: Any,
    lse: Any,
    scale: float,
    causal: bool,
    needs: Three,
) -> tuple[Any, Any, Any]:
    """dq = scale ds k, dk = scale dsᵀ q, dv = pᵀ dy, with ds = p (dy vᵀ - the sum over features of dy y)."""
    with np.errstate(invalid="ignore"):
        p = xp.exp(_scores(xp, q, k, mask, scale, causal) - lse[:, :, None])
        ds = p * (xp.matmul(dy, v.swapaxes(1, 2)) - (dy * y).sum(axis=2, keepdims=True)) * q.dtype.type(scale)
        dq = xp.matmul(ds, k) if needs[0] else None
        dk = xp.ascontiguousarray(xp.matmul(ds.swapaxes(1, 2), q)) if needs[1] else None
        dv = xp.ascontiguousarray(xp.matmul(p.swapaxes(1, 2), dy)) if needs[2] else None
        return dq, dk, dv


@attention_backward.kernel
def _(
    device: Device,
    dy: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any,
    y: Any,
    lse: Any,
    scale: float,
    causal: bool,
    needs: Three,
) -> tuple[Any, Any, Any]:
    dq, dk, dv = (device.empty(a.shape, a.dtype) if need else None for a, need in zip((q, k, v), needs, strict=True))
    delta = device.empty(lse.shape, lse.dtype)
    how = (q, v, mask, scale, causal)
    _launch(device, "attention_backward_queries", q.shape[1], (dq, delta, dy, q, k, v, mask, y, lse), *how)
    if needs[1] or needs[2]:
        _launch(device, "attention_backward_keys", k.shape[1], (dk, dv, dy, q, k, v, mask, lse, delta), *how)
    return dq, dk, dv


def _width(q: Any, v: Any) -> int | None:
    """The features that a specialisation has room for; None if there is none."""
    most = max(q.shape[-1], v.shape[-1])
    return next((width for width in (32, 64, 128) if most <= width), None)


def _launch(
    device: Device,
    kernel: str,
    rows: int,
    arrays: tuple[Any, ...],
    q: Any,
    v: Any,
    mask: Any,
    scale: float,
    causal: bool,
) -> None:
    """Launch over blocks of ``rows`` and over items."""
    width = _width(q, v)
    assert width is not None  # the op asked
    tile = 256 // q.itemsize  # ROWS in the kernel
    tiles = ceil_div(rows, tile)
    if max(tiles * len(q), *q.shape, *v.shape) >= 2**31:
        raise UsageError(
            f"{here(_OP)}: {len(q):,} items of {rows:,} positions are too many for one launch: split the batch."
        )
    numbers = (q.shape[1], v.shape[1], q.shape[2], v.shape[2], tiles, 1 if mask is None else len(mask), int(causal))
    shape = np.array((*numbers, scale), _SHAPE[q.dtype.type])
    grid = (tiles * len(q), 1, 1)
    threads = 256 if (kernel, width, tile) == ("attention_backward_keys", 128, 64) else 128
    vec = vector_width(math.gcd(q.shape[2], v.shape[2]), *arrays)
    SOURCE.launch(device, kernel, grid, threads, (*arrays, shape), REAL=c_type(q.dtype, _OP), WIDTH=width, VEC=vec)


# -- the op ----------------------------------------------------------------------------------------


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(query keyᵀ scale + mask) value, with the softmax over the keys; then dropout on its weights.

    Parameters
    ----------
    query : Tensor
        (..., L, E), float32 or float64.
    key : Tensor
        (..., S, E).
    value : Tensor
        (..., S, V).
    attn_mask : Tensor, optional
        Broadcast to (..., L, S). Of bools: True where a query may look; others are added to the scores.
    dropout_p : float
        Proportion of weights that become 0. Applied whenever it is above 0: pass 0 in evaluation.
    is_causal : bool
        A query looks at keys of its own position and before it only; not together with a mask.
    scale : float, optional
        1 / sqrt(E) if not given.
    enable_gqa : bool
        Query may have a multiple of the heads (the axis before L) of key and value, which neighbours then share.

    Returns
    -------
    Tensor
        (..., L, V). 0 for a query that may look at no key.

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    DTypeError, DeviceError
        If the inputs' dtypes or devices differ, or they are not floating.
    UsageError
        If an option is invalid.

    References
    ----------
    Vaswani and others 2017, arXiv:1706.03762, section 3.2.1; lecture topic L17.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.nn import functional as F
    >>> q, k = gpunn.tensor([[1.0, 0.0]]), gpunn.tensor([[50.0, 0.0], [0.0, 50.0]])
    >>> F.scaled_dot_product_attention(q, k, gpunn.tensor([[1.0], [2.0]])).tolist()
    [[1.0]]
    """
    if casting.on:
        query, key, value, attn_mask = casting.inputs("scaled_dot_product_attention", query, key, value, attn_mask)
    query, key, value = _checked(query, key, value, enable_gqa)
    L, S = query.shape[-2], key.shape[-2]
    if attn_mask is not None and is_causal:
        raise UsageError(f"{here(_OP)}: attn_mask and is_causal: expected one of the two; got both.")
    factor = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else real_number(_OP, "scale", scale)
    batch = query.shape[:-2]
    # Three axes: with four, memory would have the heads last.
    q, k, v = (t.reshape(-1, *t.shape[-2:]) for t in (query, key, value))
    mask = None if attn_mask is None else _mask(attn_mask, (*batch, L, S), query)
    recorded = mask is not None and mask.requires_grad
    if dropout_p or recorded or _width(q, v) is None or not (len(q) and L and S):
        y = _composed(q, k, v, mask, dropout_p, is_causal, factor)
    else:
        y = _fused(q, k, v, mask, is_causal, factor)
    return y.reshape(*batch, L, value.shape[-1])


def _fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """By the primitives."""
    device, arrays = q.device, (q._physical, k._physical, v._physical)
    added = None if mask is None else mask._physical
    y, lse = attention_forward(device, *arrays, added, scale, causal)

    def backward(dy: Any, needs: Three) -> tuple[Any, Any, Any]:
        made: tuple[Any, Any, Any] = attention_backward(device, dy, *arrays, added, y, lse, scale, causal, needs)
        return made

    saves = (q, k, v) if mask is None else (q, k, v, mask)
    return record(_OP, y, device, (q, k, v), backward, saves=saves, keeps=True)


def _composed(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float, causal: bool, scale: float
) -> Tensor:
    """By other ops, with the weights in memory: dropout draws for each, and a mask's gradient has their shape."""
    scores = matmul(q * scale, k.transpose(-2, -1))
    if causal:
        unseen = ones(*scores.shape[1:], dtype="bool", device=q.device).tril().logical_not()
        scores = masked_fill(scores, unseen, -math.inf)
    elif mask is not None:
        scores = scores + mask
    if mask is None or not scores.shape[-1]:
        weights = softmax(scores, -1)
    else:  # a query that may look at no key has no weights, where softmax would divide 0 by 0
        nothing = amax(scores.detach(), -1, keepdim=True) == -math.inf
        weights = masked_fill(softmax(masked_fill(scores, nothing, 0.0), -1), nothing, 0.0)
    if dropout_p:
        weights = dropout(weights, dropout_p, True)
    return matmul(weights, v)


def _checked(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The three with equal leading axes, or ShapeError."""
    same_device(_OP, query.device, key.device, value.device)
    if not query.dtype == key.dtype == value.dtype or query.dtype.kind not in FLOATING:
        raise DTypeError(
            f"{here(_OP)}: expected query, key and value of one floating dtype; got {query.dtype}, {key.dtype}, "
            f"{value.dtype}."
        )
    shapes = f"query {query.shape}, key {key.shape}, value {value.shape}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(f"{here(_OP)}: expected at least two axes, (..., length, features); got {shapes}.")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"{here(_OP)}: expected query (..., L, E), key (..., S, E), value (..., S, V); got {shapes}. Query and key "
            "need as many features, key and value as many positions."
        )
    if enable_gqa and query.ndim > 2 and key.shape[-3] != query.shape[-3]:
        heads, fewer = query.shape[-3], key.shape[-3]
        if not fewer or heads % fewer or value.shape[-3] != fewer:
            raise ShapeError(
                f"{here(_OP)}: enable_gqa: expected a multiple of the heads of key and value; got {shapes}."
            )
        key, value = (_repeated(t, heads // fewer) for t in (key, value))
    try:
        batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    except ValueError:
        raise ShapeError(f"{here(_OP)}: expected leading axes that fit together; got {shapes}.") from None
    query, key, value = (t.expand(*batch, *t.shape[-2:]) if t.shape[:-2] != batch else t for t in (query, key, value))
    return query, key, value


def _repeated(t: Tensor, count: int) -> Tensor:
    """Each head ``count`` times in a row."""
    lead, heads, rest = t.shape[:-3], t.shape[-3], t.shape[-2:]
    return t.reshape(*lead, heads, 1, *rest).expand(*lead, heads, count, *rest).reshape(*lead, heads * count, *rest)


def _mask(mask: Any, shape: tuple[int, ...], query: Tensor) -> Tensor:
    """A mask as numbers to add to the scores, (items, L, S), or (1, L, S) if all items have the same."""
    same_device(_OP, query.device, mask.device)
    if mask.dtype != bool and mask.dtype != query.dtype:
        raise DTypeError(f"{here(_OP)}: attn_mask: expected bool or {query.dtype}; got {mask.dtype}.")
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{here(_OP)}: attn_mask: expected a shape that broadcasts to {shape}; got {mask.shape}.")
    if mask.dtype == bool:
        nothing = zeros(*mask.shape, dtype=query.dtype, device=query.device)
        mask = masked_fill(nothing, mask.logical_not(), -math.inf)
    whole = shape if math.prod(mask.shape[:-2]) > 1 else shape[-2:]
    mask = mask.reshape(*mask.shape[-2:]) if len(whole) == 2 and mask.ndim > 2 else mask
    return (mask.expand(*whole) if mask.shape != whole else mask).reshape(-1, *shape[-2:])
