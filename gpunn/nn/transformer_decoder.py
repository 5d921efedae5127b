"""The decoder of a transformer, and the whole of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpunn._creation import full
from gpunn._default_device import default_device
from gpunn._device import Device
from gpunn._promotion import default_float
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, here
from gpunn.nn import init
from gpunn.nn._arguments import whole
from gpunn.nn.attention import MultiheadAttention
from gpunn.nn.containers import ModuleList
from gpunn.nn.dropout import Dropout
from gpunn.nn.layernorm import LayerNorm
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.transformer import TransformerEncoder, TransformerEncoderLayer, activation_of, copied
from gpunn.ops.relu import relu
from gpunn.ops.tril import triu


class TransformerDecoderLayer(Module):
    """Self-attention, attention to the encoder's output, and two linear layers; around each a way with a layer norm.

    Parameters
    ----------
    d_model : int
        E, features of each position; a multiple of ``nhead``.
    nhead : int
        Heads of both attentions.
    dim_feedforward : int
        Features between the two linear layers.
    dropout : float
        Probability of dropping, of attention weights too.
    activation : str or callable
        Between the linear layers: "relu", "gelu", or a function or module.
    layer_norm_eps : float
        Added to the variance in layer norms.
    batch_first : bool
        Whether batches are (N, T, E), not (T, N, E).
    norm_first : bool
        Whether the norms come before attentions and linear layers, not behind the sums.
    bias : bool
        Whether linear layers and norms have biases.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Shape
    -----
    tgt : (T, E), (T, N, E) or with ``batch_first`` (N, T, E);  memory : the same with S positions;  y : like tgt

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
    >>> layer = nn.TransformerDecoderLayer(8, 2, batch_first=True)
    >>> layer(gpunn.zeros(3, 4, 8), gpunn.zeros(3, 5, 8)).shape
    (3, 4, 8)
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
        op = "TransformerDecoderLayer"
        d_model, width = whole(op, "d_model", d_model), whole(op, "dim_feedforward", dim_feedforward)
        eps = real_number(op, "layer_norm_eps", layer_norm_eps, 0, finite=False)
        home: dict[str, Any] = {"device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **home)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, **home)
        self.linear1 = Linear(d_model, width, bias, **home)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(width, d_model, bias, **home)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, eps, bias=bias, **home)
        self.norm2 = LayerNorm(d_model, eps, bias=bias, **home)
        self.norm3 = LayerNorm(d_model, eps, bias=bias, **home)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = activation_of(op, activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Apply the layer; the masks are those of :class:`MultiheadAttention`."""

        def own(x: Tensor) -> Tensor:
            return self.dropout1(_attended(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))

        def across(x: Tensor) -> Tensor:
            masks = memory_mask, memory_key_padding_mask, memory_is_causal
            return self.dropout2(_attended(self.multihead_attn, x, memory, *masks))

        def fed_forward(x: Tensor) -> Tensor:
            return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))

        x = tgt
        for norm, part in ((self.norm1, own), (self.norm2, across), (self.norm3, fed_forward)):
            x = x + part(norm(x)) if self.norm_first else norm(x + part(x))
        return x


def _attended(
    attention: MultiheadAttention,
    x: Tensor,
    others: Tensor,
    mask: Tensor | None,
    padding: Tensor | None,
    is_causal: bool,
) -> Tensor:
    y, _ = attention(
        x, others, others, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=is_causal
    )
    return y


class TransformerDecoder(Module):
    """Several layers of a decoder, each a copy of the given one with parameters of its own.

    Parameters
    ----------
    decoder_layer : Module
        What is copied, with its parameters' values; usually a :class:`TransformerDecoderLayer`.
    num_layers : int
        How many.
    norm : Module, optional
        Applied to the last layer's output.

    Shape
    -----
    tgt, memory : as the layers take them;  y : like tgt

    Raises
    ------
    UsageError
        If ``num_layers`` is not a positive integer.

    References
    ----------
    Vaswani and others 2017, arXiv:1706.03762, section 3.1; lecture topic L17.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.num_layers = whole("TransformerDecoder", "num_layers", num_layers)
        self.layers = ModuleList([copied(decoder_layer) for _ in range(self.num_layers)])
        self.norm = norm

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Apply the layers; the masks are those of :class:`MultiheadAttention`."""
        y = tgt
        for layer in self.layers:
            y = layer(
                y,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal),
                memory_is_causal=memory_is_causal,
            )
        return y if self.norm is None else self.norm(y)


class Transformer(Module):
    """Encoder and decoder, from one sequence to another; without embeddings and without a last linear layer.

    Parameters
    ----------
    d_model : int
        E, features of each position; a multiple of ``nhead``.
    nhead : int
        Heads of all attentions.
    num_encoder_layers, num_decoder_layers : int
        How many.
    dim_feedforward : int
        Features between the two linear layers of each.
    dropout : float
        Probability of dropping, of attention weights too.
    activation : str or callable
        Between the linear layers: "relu", "gelu", or a function or module.
    custom_encoder, custom_decoder : Module, optional
        In place of :class:`TransformerEncoder` and :class:`TransformerDecoder`.
    layer_norm_eps : float
        Added to the variance in layer norms.
    batch_first : bool
        Whether batches are (N, T, E), not (T, N, E).
    norm_first : bool
        Whether the norms come before attentions and linear layers, not behind the sums.
    bias : bool
        Whether linear layers and norms have biases.
    device : Device or str, optional
        ``cpu`` if not given.
    dtype : dtype, optional
        float32 if not given.

    Shape
    -----
    src : (S, E), (S, N, E) or with ``batch_first`` (N, S, E);  tgt : the same with T positions;  y : like tgt

    Raises
    ------
    UsageError
        If an option is invalid.
    ShapeError
        If the sequences have other features, or not the same batch; the message names the layer.

    References
    ----------
    Vaswani and others 2017, arXiv:1706.03762; lecture topic L17.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Device | str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        given: tuple[Any, ...] = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first)
        given += (norm_first, bias, device, dtype)
        home: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.encoder: Module = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*given), num_encoder_layers, LayerNorm(d_model, layer_norm_eps, **home)
        )
        self.decoder: Module = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*given), num_decoder_layers, LayerNorm(d_model, layer_norm_eps, **home)
        )
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.ndim > 1:
                init.xavier_uniform_(parameter)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Encode ``src``, and decode ``tgt`` with it; the masks are those of :class:`MultiheadAttention`."""
        batch = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or src.ndim not in (2, 3) or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise ShapeError(
                f"{here('Transformer')}: expected src and tgt of one batch; got shapes {src.shape} and {tgt.shape} "
                f"with batch_first={self.batch_first}."
            )
        for name, x in (("src", src), ("tgt", tgt)):
            if x.shape[-1] != self.d_model:
                raise ShapeError(f"{here('Transformer')}: {name}: expected {self.d_model} features; got {x.shape[-1]}.")
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(src_is_causal)
        )
        y: Tensor = self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=bool(tgt_is_causal),
            memory_is_causal=memory_is_causal,
        )
        return y

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Device | str | None = None, dtype: Any = None) -> Tensor:
        """A mask that hides later positions: (sz, sz), -inf above the diagonal, else 0.

        Parameters
        ----------
        sz : int
            Positions.
        device : Device or str, optional
            ``cpu`` if not given.
        dtype : dtype, optional
            The default one if not given.
        """
        kind = default_float() if dtype is None else dtype
        return triu(full((sz, sz), -math.inf, dtype=kind, device=default_device() if device is None else device), 1)
