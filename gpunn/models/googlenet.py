"""GoogLeNet (Inception v1) with batch normalisation and torchvision's parameter names."""

from __future__ import annotations

from gpunn._tensor import Tensor
from gpunn.nn import init
from gpunn.nn.adaptive_pooling import AdaptiveAvgPool2d
from gpunn.nn.batchnorm import BatchNorm2d
from gpunn.nn.containers import Sequential
from gpunn.nn.conv import Conv2d
from gpunn.nn.dropout import Dropout
from gpunn.nn.linear import Linear
from gpunn.nn.module import Module
from gpunn.nn.pooling import MaxPool2d
from gpunn.ops.adaptive_avg_pool2d import adaptive_avg_pool2d
from gpunn.ops.cat import cat


class GoogLeNet(Module):
    """Three convolutions, nine inception blocks with poolings between, mean over the image, dropout, linear.

    In training mode with ``aux_logits`` two more classifiers look at the outputs of the third and the sixth block, so
    that gradients reach the first layers; add their losses with a weight of 0.3.

    Parameters
    ----------
    num_classes : int
        Number of scores.
    aux_logits : bool
        Have the two additional classifiers.
    dropout, dropout_aux : float
        Before the last linear layer, and in the additional classifiers.
    in_channels : int
        Channels of the images.

    Shape
    -----
    x : (N, in_channels, H, W)
    y : (N, num_classes), scores before the softmax; in training mode with ``aux_logits`` a tuple of three such, as in
    torchvision: the scores, those of the later and those of the earlier additional classifier

    References
    ----------
    Szegedy and others 2015, arXiv:1409.4842; lecture, N3. Batch normalisation, and 3×3 filters where the paper has
    5×5, as in torchvision.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = False,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.aux_logits = aux_logits
        self.conv1 = BasicConv2d(in_channels, 64, 7, stride=2, padding=3)
        self.maxpool1 = MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, 1)
        self.conv3 = BasicConv2d(64, 192, 3, padding=1)
        self.maxpool2 = MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        if aux_logits:
            self.aux1 = InceptionAux(512, num_classes, dropout_aux)
            self.aux2 = InceptionAux(528, num_classes, dropout_aux)
        self.avgpool = AdaptiveAvgPool2d(1)
        self.dropout = Dropout(dropout)
        self.fc = Linear(1024, num_classes)
        for module in self.modules():
            if isinstance(module, Conv2d | Linear):
                init.trunc_normal_(module.weight, 0.0, 0.01, -0.02, 0.02)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        x = self.maxpool1(self.conv1(x))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        early = self.inception4a(x)
        late = self.inception4d(self.inception4c(self.inception4b(early)))
        x = self.maxpool4(self.inception4e(late))
        x = self.inception5b(self.inception5a(x))
        scores = self.fc(self.dropout(self.avgpool(x).flatten(1)))
        if self.aux_logits and self.training:
            return scores, self.aux2(late), self.aux1(early)
        return scores


class BasicConv2d(Module):
    """Convolution without bias, batch norm with ε = 0.001, ReLU.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding : int
        Of the convolution.

    Shape
    -----
    x : (N, in_channels, H, W);  y : (N, out_channels, H', W')

    References
    ----------
    Szegedy and others 2015, arXiv:1409.4842.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)
        self.bn = BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x), activation="relu")


class Inception(Module):
    """Four branches, joined along the channels: 1×1; 1×1 and 3×3; 1×1 and 3×3; pooling and 1×1.

    Parameters
    ----------
    in_channels : int
        C.
    ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj : int
        Channels of the first branch, of the second's two convolutions, of the third's two, and of the fourth.

    Shape
    -----
    x : (N, C, H, W);  y : (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W)

    References
    ----------
    Szegedy and others 2015, arXiv:1409.4842, figure 2(b).
    """

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int, pool_proj: int
    ) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, ch1x1, 1)
        self.branch2 = Sequential(BasicConv2d(in_channels, ch3x3red, 1), BasicConv2d(ch3x3red, ch3x3, 3, padding=1))
        self.branch3 = Sequential(BasicConv2d(in_channels, ch5x5red, 1), BasicConv2d(ch5x5red, ch5x5, 3, padding=1))
        self.branch4 = Sequential(MaxPool2d(3, 1, padding=1), BasicConv2d(in_channels, pool_proj, 1))

    def forward(self, x: Tensor) -> Tensor:
        return cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class InceptionAux(Module):
    """A classifier in the middle of the network: mean over 4×4 parts, 1×1 convolution, two linear layers.

    Parameters
    ----------
    in_channels : int
        C.
    num_classes : int
        Number of scores.
    dropout : float
        Between the linear layers.

    Shape
    -----
    x : (N, C, H, W);  y : (N, num_classes)

    References
    ----------
    Szegedy and others 2015, arXiv:1409.4842, section 5.
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.7) -> None:
        super().__init__()
        self.conv = BasicConv2d(in_channels, 128, 1)
        self.fc1 = Linear(2048, 1024)
        self.fc2 = Linear(1024, num_classes)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(adaptive_avg_pool2d(x, 4)).flatten(1)
        return self.fc2(self.dropout(self.fc1(x).relu()))
