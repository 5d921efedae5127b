"""How many weights connect a layer's inputs to its outputs, without creating them (lecture topic L14).

Where no weight is shared, this is also the number of multiply-adds for one item.
"""

from __future__ import annotations

from gpunn._window import Window


def full_weights(inputs: int, outputs: int) -> int:
    """Weights of a fully connected layer: one for each pair.

    Parameters
    ----------
    inputs, outputs : int
        Units on both sides.

    Examples
    --------
    >>> full_weights(200 * 200, 400_000)
    16000000000
    """
    return inputs * outputs


def local_weights(window: Window, in_channels: int, out_channels: int, *, inside: bool = False) -> int:
    """Weights of a locally connected layer: a separate R x S window for each output.

    Parameters
    ----------
    window : Window
        How the windows are placed over the image; a sequence is an image of height 1.
    in_channels, out_channels : int
        C and K.
    inside : bool
        Leave out the weights that would read only padding.

    Examples
    --------
    >>> from gpunn.nn import LocallyConnected1d
    >>> centred = LocallyConnected1d(1, 1, kernel_size=3, input_size=5, padding="same", bias=False).window(5)
    >>> local_weights(centred, 1, 1), local_weights(centred, 1, 1, inside=True)  # 3 n, 3 n - 2
    (15, 13)
    """
    taps = window.taps_inside if inside else window.P * window.Q * window.R * window.S
    return taps * in_channels * out_channels


def shared_weights(window: Window, in_channels: int, out_channels: int, groups: int = 1) -> int:
    """Weights of a convolution: one R x S window for each pair of channels of a group, shared by all positions.

    Parameters
    ----------
    window : Window
        Only its size R x S counts.
    in_channels, out_channels : int
        C and K.
    groups : int
        Groups of channels, each convolved by itself.
    """
    return window.R * window.S * (in_channels // groups) * out_channels


def attention_products(queries: int, keys: int, embed_dim: int, key_features: int, value_features: int) -> int:
    """Multiply-adds of multi-head attention for one item, without the projection of its result.

    Projections of queries, keys and values, the scores of each query with each key, and the weighted sums of values.
    The number of heads changes nothing: each has its part of the features.

    Parameters
    ----------
    queries, keys : int
        L and S, positions.
    embed_dim, key_features, value_features : int
        E, and the features of keys and values.

    Examples
    --------
    >>> attention_products(197, 197, 768, 768, 768)  # of one block of ViT-B/16
    408196608
    """
    projected = queries * embed_dim + keys * (key_features + value_features)
    return projected * embed_dim + 2 * queries * keys * embed_dim
