"""MobileNetV3 (Howard and others, 2019): hard swish, hard sigmoid, squeeze and excitation where a row says so."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn import init


class hswish(nn.Module):
    def forward(self, x):
        out = x * F.relu6(x + 3, inplace=True) / 6
        return out


class hsigmoid(nn.Module):
    def forward(self, x):
        out = F.relu6(x + 3, inplace=True) / 6
        return out


class SeModule(nn.Module):
    def __init__(self, in_size, reduction=4):
        super(SeModule, self).__init__()
        expand_size = max(in_size // reduction, 8)
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_size, expand_size, kernel_size=1, bias=False),
            nn.BatchNorm2d(expand_size),
            nn.ReLU(inplace=True),
            nn.Conv2d(expand_size, in_size, kernel_size=1, bias=False),
            hsigmoid(),
        )

    def forward(self, x):
        return x * self.se(x)


class Block(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection."""

    def __init__(self, kernel_size, in_size, expand_size, out_size, act, se, stride):
        super(Block, self).__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_size, expand_size, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(expand_size)
        self.act1 = act(inplace=True)
        self.conv2 = nn.Conv2d(
            expand_size,
            expand_size,
            kernel_size=kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            groups=expand_size,
            bias=False,
        )
        self.bn2 = nn.BatchNorm2d(expand_size)
        self.act2 = act(inplace=True)
        self.se = SeModule(expand_size) if se else nn.Identity()
        self.conv3 = nn.Conv2d(expand_size, out_size, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_size)
        self.act3 = act(inplace=True)
        self.skip = None
        if stride == 1 and in_size != out_size:
            self.skip = nn.Sequential(nn.Conv2d(in_size, out_size, kernel_size=1, bias=False), nn.BatchNorm2d(out_size))

    def forward(self, x):
        skip = x
        out = self.act1(self.bn1(self.conv1(x)))
        out = self.act2(self.bn2(self.conv2(out)))
        out = self.se(out)
        out = self.bn3(self.conv3(out))
        if self.skip is not None:
            skip = self.skip(skip)
        if self.stride == 1:
            out = out + skip
        return self.act3(out)


SMALL = [  # kernel, expansion, channels, activation, squeeze, stride
    (3, 16, 16, nn.ReLU, True, 2),
    (3, 72, 24, nn.ReLU, False, 2),
    (3, 88, 24, nn.ReLU, False, 1),
    (5, 96, 40, nn.Hardswish, True, 2),
    (5, 240, 40, nn.Hardswish, True, 1),
    (5, 120, 48, nn.Hardswish, True, 1),
    (5, 144, 48, nn.Hardswish, True, 1),
    (5, 288, 96, nn.Hardswish, True, 2),
    (5, 576, 96, nn.Hardswish, True, 1),
]


class MobileNetV3(nn.Module):
    def __init__(self, rows, width=16, last=576, hidden=1280, num_classes=10):
        super(MobileNetV3, self).__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.hs1 = hswish()
        blocks = []
        for kernel_size, expand_size, out_size, act, se, stride in rows:
            blocks.append(Block(kernel_size, width, expand_size, out_size, act, se, stride))
            width = out_size
        self.bneck = nn.Sequential(*blocks)
        self.conv2 = nn.Conv2d(width, last, kernel_size=1, stride=1, padding=0, bias=False)
        self.bn2 = nn.BatchNorm2d(last)
        self.hs2 = hswish()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.linear3 = nn.Linear(last, hidden, bias=False)
        self.bn3 = nn.BatchNorm1d(hidden)
        self.hs3 = nn.Hardswish(inplace=True)
        self.drop = nn.Dropout(0.2)
        self.linear4 = nn.Linear(hidden, num_classes)
        self.init_params()

    def init_params(self):
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                init.kaiming_normal_(m.weight, mode="fan_out")
                if m.bias is not None:
                    init.constant_(m.bias, 0)
            elif isinstance(m, nn.BatchNorm2d):
                init.constant_(m.weight, 1)
                init.constant_(m.bias, 0)
            elif isinstance(m, nn.Linear):
                init.normal_(m.weight, std=0.001)
                if m.bias is not None:
                    init.constant_(m.bias, 0)

    def forward(self, x):
        out = self.hs1(self.bn1(self.conv1(x)))
        out = self.bneck(out)
        out = self.hs2(self.bn2(self.conv2(out)))
        out = self.gap(out).flatten(1)
        out = self.drop(self.hs3(self.bn3(self.linear3(out))))
        return self.linear4(out)


def build(toy=False):
    if toy:
        return MobileNetV3([SMALL[0], (5, 24, 16, nn.Hardswish, True, 1), (3, 24, 12, nn.ReLU, False, 1)], 8, 32, 16)
    return MobileNetV3(SMALL)


def batch(draw, toy=False):
    n, size = (5, 10) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    scores = net(images)
    log_probabilities = torch.log_softmax(scores, dim=-1)
    return F.nll_loss(log_probabilities, labels), scores
