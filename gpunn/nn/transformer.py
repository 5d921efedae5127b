"""The encoder of a transformer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from gpunn._device import Device
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import UsageError
from gpunn.nn._arguments import whole
from gpunn.nn.attention import MultiheadAttention
from gpunn.nn.containers import ModuleList
from gpunn.nn.dropout import Dropout
from gpunn.nn.layernorm import LayerNorm
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.ops.gelu import gelu
from gpunn.ops.relu import relu
from gpunn.random import Generator, default_generator

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu}


def activation_of(op: str, activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The function that is given, or named."""
    if not isinstance(activation, str):
        return activation
    if activation not in _ACTIVATIONS:
        raise UsageError(f"{op}: activation: expected 'relu', 'gelu' or a function; got {activation!r}.")
    return _ACTIVATIONS[activation]


class TransformerEncoderLayer(Module):
    """Self-attention, then two linear layers on each position, each with dropout, a way around it, and a layer norm.

    Parameters
    ----------
    d_model : int
        E, features of each position; a multiple of ``nhead``.
    nhead : int
        Heads of the attention.
    dim_feedforward : int
        Features between the two linear layers.
    dropout : float
        Probability of dropping, of attention weights too.
    activation : str or callable
        Between the linear layers: "relu", "gelu", or a function or module.
    layer_norm_eps : float
        Added to the variance in layer norms.
    batch_first : bool
        Whether batches are (N, L, E), not (L, N, E).
    norm_first : bool
        Whether the norms come before attention and linear layers, not behind the sums.
    bias : bool
        Whether linear layers and norms have biases.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Shape
    -----
    src : (L, E), (L, N, E) or with ``batch_first`` (N, L, E);  y : like src

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError, DTypeError, DeviceError
        If the inputs do not fit; the message names the layer.

    References
    ----------
    Vaswani and others 2017, arXiv:1706.03762, section 3.1; lecture topic L17.

    Examples
    --------
    >>> import gpunn
    >>> from gpunn import nn
    >>> nn.TransformerEncoderLayer(8, 2, batch_first=True)(gpunn.zeros(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        op = "TransformerEncoderLayer"
        d_model, width = whole(op, "d_model", d_model), whole(op, "dim_feedforward", dim_feedforward)
        eps = real_number(op, "layer_norm_eps", layer_norm_eps, 0, finite=False)
        home: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **home)
        self.linear1 = Linear(d_model, width, bias, **home)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(width, d_model, bias, **home)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps, bias=bias, **home)
        self.norm2 = LayerNorm(d_model, eps, bias=bias, **home)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = activation_of(op, activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Apply the layer; the masks are those of :class:`MultiheadAttention`."""
        masks = (src_mask, src_key_padding_mask, is_causal)
        if self.norm_first:
            x = src + self._attended(self.norm1(src), *masks)
            return x + self._fed_forward(self.norm2(x))
        x = self.norm1(src + self._attended(src, *masks))
        return self.norm2(x + self._fed_forward(x))

    def _attended(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        y, _ = self.self_attn(
            x, x, x, key_padding_mask=padding, need_weights=False, attn_mask=mask, is_causal=is_causal
        )
        return self.dropout1(y)

    def _fed_forward(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoder(Module):
    """Several layers of an encoder, each a copy of the given one with parameters of its own.

    Parameters
    ----------
    encoder_layer : Module
        What is copied, with its parameters' values; usually a :class:`TransformerEncoderLayer`.
    num_layers : int
        How many.
    norm : Module, optional
        Applied to the last layer's output.
    enable_nested_tensor, mask_check : bool
        Change nothing: there are no nested tensors.

    Shape
    -----
    src : as the layers take it;  y : like src

    Raises
    ------
    UsageError
        If ``num_layers`` is not a positive integer.

    References
    ----------
    Vaswani and others 2017, arXiv:1706.03762, section 3.1; lecture topic L17.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.num_layers = whole("TransformerEncoder", "num_layers", num_layers)
        self.layers = ModuleList([copied(encoder_layer) for _ in range(self.num_layers)])
        self.norm = norm

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Apply the layers; the masks are those of :class:`MultiheadAttention`."""
        y = src
        for layer in self.layers:
            y = layer(y, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal))
        return y if self.norm is None else self.norm(y)


def copied(layer: Module) -> Module:
    """A copy that draws masks of its own: a copied generator would draw the same in every layer."""
    made = copy.deepcopy(layer)
    for module in made.modules():
        if isinstance(getattr(module, "generator", None), Generator):
            module.generator = default_generator().spawn(type(module).__name__)
    return made
