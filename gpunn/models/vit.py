"""Vision transformers: an image as a sequence of patches, with torchvision's parameter names."""

from __future__ import annotations

import math

from gpunn._creation import zeros
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn import init
from gpunn.nn.attention import MultiheadAttention
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.dropout import Dropout
from gpunn.nn.layernorm import LayerNorm
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.parameter import Parameter
from gpunn.nn.smooth_activation import GELU
from gpunn.ops.cat import cat


class VisionTransformer(Module):
    """Patches projected linearly, a class token in front, positions added; encoder blocks; a linear layer on the token.

    Parameters
    ----------
    image_size, patch_size : int
        Height and width of images and patches; the first is a multiple of the second.
    num_layers, num_heads : int
        Encoder blocks, and heads of attention in each.
    hidden_dim, mlp_dim : int
        Features of a position, and of the hidden layer behind attention.
    dropout, attention_dropout : float
        Behind linear layers, and on attention weights.
    num_classes : int
        Number of scores.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, image_size, image_size);  y : (N, num_classes), scores before the softmax

    Raises
    ------
    UsageError
        If patches do not divide the image.
    ShapeError
        If images are of another size.

    References
    ----------
    Dosovitskiy and others 2021, arXiv:2010.11929; ViT-B/16 is the default; lecture, N3, L17.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        num_layers: int = 12,
        num_heads: int = 12,
        hidden_dim: int = 768,
        mlp_dim: int = 3072,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if image_size % patch_size:
            raise UsageError(
                f"VisionTransformer: patch_size: expected a divisor of image_size, {image_size}; got {patch_size}."
            )
        self.image_size, self.hidden_dim = image_size, hidden_dim
        self.conv_proj = Conv2d(in_channels, hidden_dim, patch_size, stride=patch_size)
        self.class_token = Parameter(zeros(1, 1, hidden_dim))
        positions = (image_size // patch_size) ** 2 + 1
        self.encoder = Encoder(positions, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
        self.heads = Sequential({"head": Linear(hidden_dim, num_classes)})
        fan_in = in_channels * patch_size**2
        init.trunc_normal_(self.conv_proj.weight, std=math.sqrt(1 / fan_in))
        for layer, name in ((self.conv_proj, "bias"), (self.heads.head, "weight"), (self.heads.head, "bias")):
            init.zeros_(getattr(layer, name))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.image_size, self.image_size):
            raise ShapeError(
                f"{here('VisionTransformer')}: expected images of {self.image_size}x{self.image_size} pixels; got x of "
                f"shape {x.shape}. Positions are learned, so the size is fixed."
            )
        patches = self.conv_proj(x).flatten(2).transpose(1, 2)
        tokens = cat([self.class_token.expand(len(x), 1, self.hidden_dim), patches], 1)
        return self.heads(self.encoder(tokens)[:, 0])


class Encoder(Module):
    """Positions, dropout, encoder blocks, layer norm.

    Parameters
    ----------
    seq_length : int
        L.
    num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout
        See :class:`VisionTransformer`; E is ``hidden_dim``.

    Shape
    -----
    x, y : (N, L, E)

    References
    ----------
    Dosovitskiy and others 2021, arXiv:2010.11929.
    """

    def __init__(
        self,
        seq_length: int,
        num_layers: int,
        num_heads: int,
        hidden_dim: int,
        mlp_dim: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.pos_embedding = Parameter(zeros(1, seq_length, hidden_dim))
        init.normal_(self.pos_embedding, std=0.02)
        self.dropout = Dropout(dropout)
        blocks: dict[str, Module] = {
            f"encoder_layer_{i}": EncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout)
            for i in range(num_layers)
        }
        self.layers = Sequential(blocks)
        self.ln = LayerNorm(hidden_dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(x + self.pos_embedding)))


class EncoderBlock(Module):
    """x + attention(norm(x)), and to that its own norm's two linear layers with GELU.

    Parameters
    ----------
    num_heads, hidden_dim, mlp_dim, dropout, attention_dropout
        See :class:`VisionTransformer`; E is ``hidden_dim``.

    Shape
    -----
    x, y : (N, L, E)

    References
    ----------
    Dosovitskiy and others 2021, arXiv:2010.11929, figure 1; norms in front, as there.
    """

    def __init__(self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(hidden_dim, eps=1e-6)
        self.self_attention = MultiheadAttention(hidden_dim, num_heads, dropout=attention_dropout, batch_first=True)
        self.dropout = Dropout(dropout)
        self.ln_2 = LayerNorm(hidden_dim, eps=1e-6)
        self.mlp = Sequential(
            Linear(hidden_dim, mlp_dim), GELU(), Dropout(dropout), Linear(mlp_dim, hidden_dim), Dropout(dropout)
        )
        for layer in (self.mlp[0], self.mlp[3]):
            init.xavier_uniform_(layer.weight)
            init.normal_(layer.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        y, _ = self.self_attention(y, y, y, need_weights=False)
        x = x + self.dropout(y)
        return x + self.mlp(self.ln_2(x))
