"""How many weights connect the inputs of a layer with its outputs, without making them (lecture topic L14).

Where no weight is shared, it is also the number of multiply-adds for one item.
"""

from __future__ import annotations

from gpunn._window import Window


def full_weights(inputs: int, outputs: int) -> int:
    """Of a fully connected layer: one for each pair.

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
    """Of a locally connected layer: its own R x S window for each output.

    Parameters
    ----------
    window : Window
        How the windows lie over the image; a sequence is an image of height 1.
    in_channels, out_channels : int
        C and K.
    inside : bool
        Leave out the weights that would meet only padding.

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
    """Of a convolution: one R x S window for each pair of channels of a group, at every position the same.

    Parameters
    ----------
    window : Window
        Of which only the size R x S counts.
    in_channels, out_channels : int
        C and K.
    groups : int
        Parts of the channels that do not see each other.
    """
    return window.R * window.S * (in_channels // groups) * out_channels
