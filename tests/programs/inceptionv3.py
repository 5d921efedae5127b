"""Blocks of Inception-v3 (Szegedy and others, 2016): factored 7 x 7, split 3 x 3, poolings beside convolutions."""

from typing import Any, List

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicConv2d(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionB(nn.Module):
    """Halves height and width."""

    def __init__(self, in_channels: int, w: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(in_channels, 384 // w, kernel_size=3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(in_channels, 64 // w, kernel_size=1)
        self.branch3x3dbl_2 = BasicConv2d(64 // w, 96 // w, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96 // w, 96 // w, kernel_size=3, stride=2)

    def _forward(self, x: Tensor) -> List[Tensor]:
        branch3x3 = self.branch3x3(x)
        branch3x3dbl = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        branch_pool = F.max_pool2d(x, kernel_size=3, stride=2)
        return [branch3x3, branch3x3dbl, branch_pool]

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self._forward(x), 1)


class InceptionC(nn.Module):
    def __init__(self, in_channels: int, channels_7x7: int, w: int) -> None:
        super().__init__()
        c7, out = channels_7x7 // w, 192 // w
        self.branch1x1 = BasicConv2d(in_channels, out, kernel_size=1)
        self.branch7x7_1 = BasicConv2d(in_channels, c7, kernel_size=1)
        self.branch7x7_2 = BasicConv2d(c7, c7, kernel_size=(1, 7), padding=(0, 3))
        self.branch7x7_3 = BasicConv2d(c7, out, kernel_size=(7, 1), padding=(3, 0))
        self.branch_pool = BasicConv2d(in_channels, out, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        branch1x1 = self.branch1x1(x)
        branch7x7 = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        branch_pool = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        branch_pool = self.branch_pool(branch_pool)
        return torch.cat([branch1x1, branch7x7, branch_pool], 1)


class InceptionE(nn.Module):
    def __init__(self, in_channels: int, w: int) -> None:
        super().__init__()
        out = 384 // w
        self.branch1x1 = BasicConv2d(in_channels, 320 // w, kernel_size=1)
        self.branch3x3_1 = BasicConv2d(in_channels, out, kernel_size=1)
        self.branch3x3_2a = BasicConv2d(out, out, kernel_size=(1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(out, out, kernel_size=(3, 1), padding=(1, 0))

    def forward(self, x: Tensor) -> Tensor:
        branch3x3 = self.branch3x3_1(x)
        branch3x3 = torch.cat([self.branch3x3_2a(branch3x3), self.branch3x3_2b(branch3x3)], 1)
        return torch.cat([self.branch1x1(x), branch3x3], 1)


class Inception3(nn.Module):
    def __init__(self, w: int = 1, num_classes: int = 10, transform_input: bool = True) -> None:
        super().__init__()
        self.transform_input = transform_input
        self.Conv2d_1a_3x3 = BasicConv2d(3, 64 // w, kernel_size=3, padding=1)
        self.Mixed_6a = InceptionB(64 // w, w)
        channels = (384 + 96 + 64) // w
        self.Mixed_6b = InceptionC(channels, 128, w)
        self.Mixed_6c = InceptionC(3 * (192 // w), 160, w)
        self.Mixed_7b = InceptionE(3 * (192 // w), w)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(320 // w + 2 * (384 // w), num_classes)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                stddev = float(m.stddev) if hasattr(m, "stddev") else 0.1
                torch.nn.init.trunc_normal_(m.weight, mean=0.0, std=stddev, a=-2, b=2)
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def _transform_input(self, x: Tensor) -> Tensor:
        if self.transform_input:
            x_ch0 = torch.unsqueeze(x[:, 0], 1) * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
            x_ch1 = torch.unsqueeze(x[:, 1], 1) * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
            x_ch2 = torch.unsqueeze(x[:, 2], 1) * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
            x = torch.cat((x_ch0, x_ch1, x_ch2), 1)
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self._transform_input(x)
        x = self.Conv2d_1a_3x3(x)
        x = self.Mixed_6a(x)
        x = self.Mixed_6b(x)
        x = self.Mixed_6c(x)
        x = self.Mixed_7b(x)
        x = self.dropout(self.avgpool(x))
        return self.fc(torch.flatten(x, 1))


def build(toy=False):
    return Inception3(w=32) if toy else Inception3()


def batch(draw, toy=False):
    n, size = (4, 10) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    scores = net(images)
    return F.cross_entropy(scores, labels), scores
