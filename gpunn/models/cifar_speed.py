"""A network in the manner of the fastest published trainings on CIFAR-10, what comes before its training, and after."""

from __future__ import annotations

import numpy as np

from gpunn._layout import physical
from gpunn._shared.numbers import real_number
from gpunn._tensor import Tensor
from gpunn.errors import ShapeError, UsageError, here
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d
from gpunn.nn.smooth_activation import GELU
from gpunn.ops.cat import cat
from gpunn.ops.flip import flip
from gpunn.ops.pad import pad
from gpunn.tape import no_grad

_PATCH = 2


class CifarSpeedNet(Module):
    """A fixed whitening layer of 2×2 filters, three blocks of two 3×3 convolutions, linear; about 2 million parameters.

    The first layer's filters are set from training images by :meth:`whiten_` and are not trained; its bias is. A block
    is convolution, maxima over 2×2, batch norm, GELU, convolution, batch norm, GELU. Batch norms have biases and no
    weights that are trained. Each 3×3 convolution begins as the identity of as many channels as come in, its other
    filters at random. The scores of the last layer are divided by 9.

    Parameters
    ----------
    in_channels : int
        Channels of the images.
    classes : int
        Number of scores.
    widths : (int, int, int)
        Channels of the blocks.

    Shape
    -----
    x : (N, in_channels, H, W) float32, from 25x25 pixels on, up to 48x48;  y : (N, classes), scores before the softmax

    References
    ----------
    Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, section 3.

    Examples
    --------
    >>> from gpunn.models import CifarSpeedNet
    >>> sum(p.numel() for p in CifarSpeedNet().parameters() if p.requires_grad)
    1971352
    """

    def __init__(self, in_channels: int = 3, classes: int = 10, widths: tuple[int, int, int] = (64, 256, 256)) -> None:
        super().__init__()
        filters = 2 * in_channels * _PATCH**2
        self.whiten = Conv2d(in_channels, filters, _PATCH)
        self.whiten.weight.requires_grad_(False)
        self.activation = GELU()
        blocks, channels = [], filters
        for width in widths:
            blocks.append(_Block(channels, width))
            channels = width
        self.blocks = Sequential(*blocks)
        self.pool = MaxPool2d(3)
        self.head = Linear(channels, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.blocks(self.activation(self.whiten(x))))
        if x.shape[2:] != (1, 1):
            raise ShapeError(
                f"{here('CifarSpeedNet')}: expected images of 25x25 to 48x48 pixels, of which 1x1 is left here; got "
                f"{tuple(x.shape[2:])}."
            )
        return self.head(x.flatten(1)) * (1 / 9)

    def whiten_(self, images: Tensor, eps: float = 5e-4) -> CifarSpeedNet:
        """Set the first layer so that its outputs over these images are uncorrelated, of variance about 1.

        The filters are the eigenvectors of the covariance of all 2×2 patches, divided by the roots of the eigenvalues
        plus ``eps``, and the same with the other sign, as GELU cuts one side off.

        Parameters
        ----------
        images : Tensor, (N, in_channels, H, W) float32
            Standardised, as the network gets them; a few thousand do.
        eps : float
            Added to the eigenvalues.

        Returns
        -------
        CifarSpeedNet
            Itself.

        Raises
        ------
        UsageError
            If there are no such images, or ``eps`` is not positive.
        """
        real_number("CifarSpeedNet.whiten_", "eps", eps, 0, above=True)
        channels = self.whiten.weight.shape[1]
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != channels or min(images.shape) < 1:
            raise UsageError(f"CifarSpeedNet.whiten_: expected images (N, {channels}, H, W); got {images!r:.80}.")
        x = physical(images.detach().numpy())
        views = np.lib.stride_tricks.sliding_window_view(x, (_PATCH, _PATCH), axis=(1, 2))
        patches = views.reshape(-1, channels * _PATCH**2).astype(np.float64)  # a filter's numbers in logical order
        covariance = patches.T @ patches / len(patches)
        values, vectors = np.linalg.eigh(covariance)
        filters = (vectors / np.sqrt(values + eps)).T[::-1].reshape(-1, channels, _PATCH, _PATCH)
        with no_grad():
            both = np.concatenate([filters, -filters]).astype(np.float32)
            self.whiten.weight.copy_(Tensor(np.ascontiguousarray(both), "cpu"))
            if self.whiten.bias is not None:
                self.whiten.bias.zero_()
        return self


class _Block(Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _identity_conv(in_channels, out_channels)
        self.pool = MaxPool2d(2)
        self.norm1 = _norm(out_channels)
        self.conv2 = _identity_conv(out_channels, out_channels)
        self.norm2 = _norm(out_channels)
        self.activation = GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm1(self.pool(self.conv1(x))))
        return self.activation(self.norm2(self.conv2(x)))


def _norm(channels: int) -> BatchNorm2d:
    # Running averages move fast: there are few steps, and the weights are far from where they began at the end.
    made = BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    assert made.weight is not None
    made.weight.requires_grad_(False)
    return made


def _identity_conv(in_channels: int, out_channels: int) -> Conv2d:
    """A convolution whose first filters pass the channels that come in through unchanged."""
    made = Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    count = min(in_channels, out_channels)
    weight = made.weight.detach().numpy().copy()
    weight[:count] = 0
    weight[np.arange(count), np.arange(count), 1, 1] = 1
    with no_grad():
        made.weight.copy_(Tensor(weight, "cpu"))
    return made


def flipped_and_shifted_scores(model: Module, images: Tensor) -> Tensor:
    """Scores averaged over six views of each image: as it is, shifted by a pixel up left and down right, each mirrored.

    The views that are not shifted count half, the four others an eighth each. The edges that a shift uncovers are
    reflected.

    Parameters
    ----------
    model : Module
        In evaluation mode; returns scores (N, classes).
    images : Tensor, (N, C, H, W)

    Returns
    -------
    Tensor, (N, classes)

    References
    ----------
    Jordan 2024, arXiv:2404.00498, section 3.5 (multi-crop evaluation).

    Examples
    --------
    >>> import gpunn
    >>> from gpunn.models import build
    >>> from gpunn.models.cifar_speed import flipped_and_shifted_scores
    >>> model = build("lenet5").eval()
    >>> flipped_and_shifted_scores(model, gpunn.rand(4, 1, 28, 28)).shape
    (4, 10)
    """
    n, _, height, width = images.shape
    with no_grad():
        padded = pad(images, (1, 1, 1, 1), "reflect")
        up, down = padded[:, :, :height, :width], padded[:, :, 2:, 2:]
        views = [view for straight in (images, up, down) for view in (straight, flip(straight, (3,)))]
        scores = model(cat(views)).reshape(6, n, -1)
        return scores[:2].mean(0) * 0.5 + scores[2:].mean(0) * 0.5
