"""Scaled dot-product attention: each query's weighted mean of the values, by how well it fits the keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpunn._creation import ones
from gpunn._device import same_device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import DTypeError, ShapeError, UsageError, here
from gpunn.ops.dropout import dropout
from gpunn.ops.matmul import matmul
from gpunn.ops.softmax import softmax
from gpunn.ops.where import masked_fill

_OP = "scaled_dot_product_attention"


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
        (..., L, V). NaN for a query that may look at no key, as in PyTorch's formula.

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
    query, key, value = _checked(query, key, value, enable_gqa)
    L, S = query.shape[-2], key.shape[-2]
    if attn_mask is not None and is_causal:
        raise UsageError(f"{here(_OP)}: attn_mask and is_causal: expected one of the two; got both.")
    factor = 1 / math.sqrt(query.shape[-1] or 1) if scale is None else real_number(_OP, "scale", scale)
    batch = query.shape[:-2]
    # Three axes: with four, memory would have the heads last.
    q, k, v = (t.reshape(-1, *t.shape[-2:]) for t in (query, key, value))
    scores = matmul(q * factor, k.transpose(-2, -1))
    if is_causal:
        allowed = ones(L, S, dtype="bool", device=query.device).tril()
        scores = masked_fill(scores, allowed.logical_not(), -math.inf)
    elif attn_mask is not None:
        mask = _mask(attn_mask, (*batch, L, S), query)
        scores = masked_fill(scores, mask.logical_not(), -math.inf) if mask.dtype == bool else scores + mask
    weights = softmax(scores, -1)
    if dropout_p:
        weights = dropout(weights, dropout_p, True)
    return matmul(weights, v).reshape(*batch, L, value.shape[-1])


def _checked(query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The three with equal leading axes, or ShapeError."""
    same_device(_OP, query.device, key.device, value.device)
    if not query.dtype == key.dtype == value.dtype or query.dtype.kind != "f":
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
    """A mask as (items, L, S), of bools or of the query's dtype."""
    same_device(_OP, query.device, mask.device)
    if mask.dtype != bool and mask.dtype != query.dtype:
        raise DTypeError(f"{here(_OP)}: attn_mask: expected bool or {query.dtype}; got {mask.dtype}.")
    try:
        whole = mask.expand(*shape) if mask.shape != shape else mask
    except (ShapeError, UsageError):
        raise ShapeError(
            f"{here(_OP)}: attn_mask: expected a shape that broadcasts to {shape}; got {mask.shape}."
        ) from None
    return whole.reshape(-1, *shape[-2:])
