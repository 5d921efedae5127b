"""LeNet as in the lecture, and the pattern it is an instance of."""

from __future__ import annotations

from collections.abc import Sequence

from gpunn.errors import UsageError
from gpunn.nn.activation import ReLU
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.flatten import Flatten
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d


def convolutional_layers(
    in_channels: int,
    image: tuple[int, int],
    channels: Sequence[int],
    hidden: Sequence[int],
    classes: int,
    kernel_size: int = 5,
) -> dict[str, Module]:
    """The pattern [conv, ReLU, pool] × N, flatten, [linear, ReLU] × M, linear, as named layers.

    Convolutions keep the size ("same" padding) and every pool halves it, rounding down.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    image : (int, int)
        Their height and width.
    channels : sequence of int
        Output channels of each convolution: N of them.
    hidden : sequence of int
        Units of each hidden linear layer: M of them.
    classes : int
        Outputs of the last linear layer.
    kernel_size : int
        Of every convolution; odd.

    Returns
    -------
    dict of str to Module
        conv1, relu1, pool1, conv2, …, flatten, fc1, relu3, …: for a ``Sequential``.

    Raises
    ------
    UsageError
        If the kernel is even, or the pools reduce the image to nothing.

    References
    ----------
    Lecture, N1.
    """
    if kernel_size % 2 == 0:
        raise UsageError(f"convolutional_layers: kernel_size: expected an odd number; got {kernel_size}.")
    height, width = image
    layers: dict[str, Module] = {}
    for number, outputs in enumerate(channels, 1):
        layers[f"conv{number}"] = Conv2d(in_channels, outputs, kernel_size, padding=kernel_size // 2)
        layers[f"relu{number}"] = ReLU()
        layers[f"pool{number}"] = MaxPool2d(2, 2)
        in_channels, height, width = outputs, height // 2, width // 2
    if height < 1 or width < 1:
        raise UsageError(
            f"convolutional_layers: {len(channels)} pools leave nothing of an image of "
            f"{image[0]}x{image[1]}; expected at least {2 ** len(channels)}x{2 ** len(channels)}."
        )
    layers["flatten"] = Flatten()
    features = in_channels * height * width
    for number, units in enumerate(hidden, 1):
        layers[f"fc{number}"] = Linear(features, units)
        layers[f"relu{len(channels) + number}"] = ReLU()
        features = units
    layers[f"fc{len(hidden) + 1}"] = Linear(features, classes)
    return layers


class LeNet5(Sequential):
    """The lecture's LeNet: two convolutions with max pooling, then two fully connected layers.

    1×28×28 → conv 20@5×5 → ReLU → max 2/2 → conv 50@5×5 → ReLU → max 2/2 → 2450 → 500 → ReLU → 10
    with the defaults: 1,256,080 parameters. (LeCun's own LeNet-5 has 6 and 16 filters, average
    pooling, three fully connected layers and tanh; this is its usual modern form, with the width
    the lecture gives.)

    The layers are called conv1, relu1, pool1, conv2, relu2, pool2, flatten, fc1, relu3, fc2, so a PyTorch
    module with conv1, conv2, fc1 and fc2 has the same ``state_dict``.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    classes : int
        Number of scores.
    channels : (int, int)
        Filters of the two convolutions.
    hidden : int
        Units of the hidden fully connected layer.
    image : (int, int)
        Height and width of the images.

    Shape
    -----
    x : (N, in_channels, *image) float32 or float64;  y : (N, classes), scores before the softmax

    Raises
    ------
    UsageError
        If a size is invalid, or the image is smaller than 4×4.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition",
    Proc. IEEE 86(11); lecture, N1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        classes: int = 10,
        channels: tuple[int, int] = (20, 50),
        hidden: int = 500,
        image: tuple[int, int] = (28, 28),
    ) -> None:
        super().__init__(convolutional_layers(in_channels, image, channels, (hidden,), classes))
