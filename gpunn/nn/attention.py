"""Multi-head attention."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gpunn._creation import zeros
from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn import init
from gpunn.nn._arguments import new_parameter, whole
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.ops.cat import cat
from gpunn.ops.dropout import dropout
from gpunn.ops.linear import linear
from gpunn.ops.matmul import matmul
from gpunn.ops.scaled_dot_product_attention import scaled_dot_product_attention
from gpunn.ops.softmax import softmax
from gpunn.ops.where import masked_fill


class SDPBackend(enum.IntEnum):
    """PyTorch's ways to compute attention, by name; here one way is taken whatever is asked for."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Change nothing: attention has one kernel here, which keeps no weights in memory.

    Parameters
    ----------
    backends : SDPBackend or sequence of SDPBackend
        Which of them PyTorch may take.
    set_priority : bool
        Whether in this order.

    Raises
    ------
    UsageError
        If they are no SDPBackends.
    """
    given = (backends,) if isinstance(backends, SDPBackend) else backends
    if not isinstance(given, Sequence) or not all(isinstance(b, SDPBackend) for b in given):
        raise UsageError(f"sdpa_kernel: backends: expected SDPBackend, or several in a list; got {backends!r}.")
    yield


class MultiheadAttention(Module):
    """Attention by several heads, each in its own projection of the features; their results are joined and projected.

    head_i = attention(query W_i^Q, key W_i^K, value W_i^V);  y = (head_1, …, head_h) W^O + b

    Parameters
    ----------
    embed_dim : int
        E, features of the query and the result; a multiple of ``num_heads``.
    num_heads : int
        h.
    dropout : float
        Proportion of attention weights that become 0 in training.
    bias : bool
        Whether the projections have biases.
    add_bias_kv : bool
        Add a learned key and value behind the others.
    add_zero_attn : bool
        Add a key and value of zeros behind the others.
    kdim, vdim : int, optional
        Features of key and value; E if not given.
    batch_first : bool
        Whether batches are (N, L, E), not (L, N, E).
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Attributes
    ----------
    in_proj_weight : Parameter, (3 E, E), or None
        W^Q, W^K, W^V below each other; with ``kdim`` or ``vdim`` instead q_proj_weight (E, E), k_proj_weight (E, kdim),
        v_proj_weight (E, vdim).
    in_proj_bias : Parameter, (3 E,), or None
    out_proj : Linear
        W^O and its bias.
    bias_k, bias_v : Parameter, (1, 1, E), or None

    Shape
    -----
    query : (L, E), (L, N, E) or with ``batch_first`` (N, L, E);  key, value: the same with S positions
    y : as query;  weights : (N, L, S), with ``average_attn_weights=False`` (N, h, L, S), or None

    Raises
    ------
    UsageError
        If ``embed_dim`` is not a multiple of ``num_heads``, or a number is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Vaswani and others 2017, arXiv:1706.03762, section 3.2.2; lecture topic L17.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = gpunn.zeros(3, 5, 8)
    >>> y, weights = attention(x, x, x)
    >>> y.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.embed_dim = whole("MultiheadAttention", "embed_dim", embed_dim)
        self.num_heads = whole("MultiheadAttention", "num_heads", num_heads)
        self.kdim = embed_dim if kdim is None else whole("MultiheadAttention", "kdim", kdim)
        self.vdim = embed_dim if vdim is None else whole("MultiheadAttention", "vdim", vdim)
        if embed_dim % num_heads:
            raise UsageError(
                f"MultiheadAttention: embed_dim: expected a multiple of num_heads, {num_heads}; got {embed_dim}."
            )
        if not 0 <= real_number("MultiheadAttention", "dropout", dropout) <= 1:
            raise UsageError(f"MultiheadAttention: dropout: expected a proportion from 0 to 1; got {dropout!r}.")
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        self.head_dim = embed_dim // num_heads
        E = embed_dim
        one = self.kdim == self.vdim == E
        sizes = {"in_proj_weight": (3 * E, E)} if one else {}
        sizes |= (
            {} if one else {"q_proj_weight": (E, E), "k_proj_weight": (E, self.kdim), "v_proj_weight": (E, self.vdim)}
        )
        for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_weight"):
            made = new_parameter(sizes[name], device, dtype) if name in sizes else None
            self.register_parameter(name, made)
        self.register_parameter("in_proj_bias", new_parameter((3 * E,), device, dtype) if bias else None)
        self.out_proj = Linear(E, E, bias=bias, device=device, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, new_parameter((1, 1, E), device, dtype) if add_bias_kv else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: Xavier's uniform distribution, biases 0, as in PyTorch."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The result and, if wanted, the attention weights.

        Parameters
        ----------
        query, key, value : Tensor
        key_padding_mask : Tensor, optional
            (N, S), or (S,) for a single item. Of bools: True where a key is not to be looked at; others are added to
            the scores.
        need_weights : bool
            Return the weights; without them attention may be computed without ever having them in memory.
        attn_mask : Tensor, optional
            (L, S) or (N h, L, S). Of bools: True where a query may not look; others are added to the scores.
        average_attn_weights : bool
            Return the mean of the heads' weights.
        is_causal : bool
            A hint that ``attn_mask`` is the causal one, which must be given, as in PyTorch.
        """
        if query.ndim not in (2, 3) or not query.ndim == key.ndim == value.ndim:
            raise ShapeError(
                f"{here('MultiheadAttention')}: expected query, key and value with 3 axes each, or 2 without a batch; "
                f"got {query.shape}, {key.shape}, {value.shape}."
            )
        if is_causal and attn_mask is None:
            raise UsageError(f"{here('MultiheadAttention')}: is_causal: it is a hint about attn_mask; got none.")
        single = query.ndim == 2
        if single:
            query, key, value = (t.unsqueeze(0) for t in (query, key, value))
        elif not self.batch_first:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        features = (query.shape[-1], key.shape[-1], value.shape[-1])
        if features != (self.embed_dim, self.kdim, self.vdim) or key.shape[:2] != value.shape[:2]:
            raise ShapeError(
                f"{here('MultiheadAttention')}: expected {self.embed_dim}, {self.kdim} and {self.vdim} features, "
                f"and as many keys as values; got {query.shape}, {key.shape}, {value.shape} (batch first)."
            )
        q, k, v = self._projected(query, key, value)
        mask = self._mask(attn_mask, key_padding_mask, query.shape[0], q.shape[1], k.shape[1])
        k, v, mask = self._extended(k, v, mask)
        N, h = query.shape[0], self.num_heads
        q, k, v = (self._heads(t) for t in (q, k, v))
        rate = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if need_weights:
            scores = matmul(q * self.head_dim**-0.5, k.transpose(-2, -1))
            weights = softmax(scores if mask is None else scores + mask, -1)
            weights = dropout(weights, rate, True) if rate else weights
            y = matmul(weights, v)
            weights = weights.reshape(N, h, *weights.shape[1:])
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            y = scaled_dot_product_attention(q, k, v, mask, rate)
        y = y.reshape(N, h, -1, self.head_dim).transpose(1, 2).reshape(N, -1, self.embed_dim)
        y = self.out_proj(y)
        if single:
            return y.squeeze(0), None if weights is None else weights.squeeze(0)
        return y if self.batch_first else y.transpose(0, 1), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        E, bias = self.embed_dim, self.in_proj_bias
        if self.in_proj_weight is not None and query is key and key is value:  # one product for all three
            together = linear(query, self.in_proj_weight, bias)
            return together[..., :E], together[..., E : 2 * E], together[..., 2 * E :]
        if self.in_proj_weight is not None:
            rows = [self.in_proj_weight[i * E : (i + 1) * E] for i in range(3)]
        else:
            rows = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        biases = [None if bias is None else bias[i * E : (i + 1) * E] for i in range(3)]
        q, k, v = (linear(t, w, b) for t, w, b in zip((query, key, value), rows, biases, strict=True))
        return q, k, v

    def _heads(self, t: Tensor) -> Tensor:
        """(N, L, E) as (N h, L, E / h)."""
        N, L = t.shape[:2]
        return (
            t.reshape(N, L, self.num_heads, self.head_dim).transpose(1, 2).reshape(N * self.num_heads, L, self.head_dim)
        )

    def _extended(self, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """With the additional key and value, which every query may look at."""
        N, E = k.shape[0], self.embed_dim
        added = []
        if self.bias_k is not None:
            added.append([t.expand(N, 1, E) for t in (self.bias_k, self.bias_v)])
        if self.add_zero_attn:
            added.append([zeros(N, 1, E, dtype=k.dtype, device=k.device)] * 2)
        for more_k, more_v in added:
            k, v = cat([k, more_k], 1), cat([v, more_v], 1)
            if mask is not None:
                mask = cat([mask, zeros(*mask.shape[:2], 1, dtype=mask.dtype, device=mask.device)], 2)
        return k, v, mask

    def _mask(self, attn_mask: Any, padding: Any, N: int, L: int, S: int) -> Tensor | None:
        """Both masks as numbers to add to the scores, (N h, L, S)."""
        h = self.num_heads
        total: Tensor | None = None
        for name, mask in (("attn_mask", attn_mask), ("key_padding_mask", padding)):
            if mask is None:
                continue
            wanted: dict[tuple[int, ...], tuple[int, ...]] = (
                {(L, S): (1, L, S), (N * h, L, S): (N * h, L, S)}
                if name == "attn_mask"
                else {(N, S): (N, 1, S), **({(S,): (1, 1, S)} if N == 1 else {})}
            )
            if mask.shape not in wanted:
                raise ShapeError(
                    f"{here('MultiheadAttention')}: {name}: expected shape {' or '.join(map(str, wanted))}; got "
                    f"{mask.shape}."
                )
            numbers = self._numbers(mask).reshape(*wanted[mask.shape])
            if name == "key_padding_mask":
                numbers = numbers.reshape(N, 1, 1, S).expand(N, h, 1, S).reshape(N * h, 1, S)
            total = numbers if total is None else total + numbers
        return None if total is None else total.expand(N * h, L, S)

    def _numbers(self, mask: Tensor) -> Tensor:
        if mask.dtype != bool:
            return mask
        nothing = zeros(*mask.shape, dtype=self.out_proj.weight.dtype, device=mask.device)
        return masked_fill(nothing, mask, float("-inf"))
