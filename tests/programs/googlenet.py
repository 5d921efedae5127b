"""GoogLeNet with batch normalisation for 32 x 32 images, and its auxiliary heads (Szegedy and others, 2015)."""

from collections import namedtuple

import torch
import torch.nn as nn
import torch.nn.functional as F

GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ["logits", "aux2", "aux1"])

BLOCKS = [  # of each block: 1x1, 3x3 after 1x1, 5x5 after 1x1, 1x1 after pooling
    ("a3", (64, 96, 128, 16, 32, 32)),
    ("b3", (128, 128, 192, 32, 96, 64)),
    ("pool", None),
    ("a4", (192, 96, 208, 16, 48, 64)),
    ("b4", (160, 112, 224, 24, 64, 64)),
    ("c4", (128, 128, 256, 24, 64, 64)),
    ("d4", (112, 144, 288, 32, 64, 64)),
    ("e4", (256, 160, 320, 32, 128, 128)),
    ("pool", None),
    ("a5", (256, 160, 320, 32, 128, 128)),
    ("b5", (384, 192, 384, 48, 128, 128)),
]


class BasicConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x):
        x = self.conv(x)
        x = self.bn(x)
        return F.relu(x, inplace=True)


class Inception(nn.Module):
    def __init__(self, in_channels, n1x1, n3x3_reduce, n3x3, n5x5_reduce, n5x5, pool):
        super().__init__()
        self.branch1 = BasicConv2d(in_channels, n1x1, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, n3x3_reduce, kernel_size=1),
            BasicConv2d(n3x3_reduce, n3x3, kernel_size=3, padding=1),
        )
        # Two convolutions of 3 x 3 see what one of 5 x 5 sees.
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, n5x5_reduce, kernel_size=1),
            BasicConv2d(n5x5_reduce, n5x5, kernel_size=3, padding=1),
            BasicConv2d(n5x5, n5x5, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(in_channels, pool, kernel_size=1),
        )

    def _forward(self, x):
        return [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]

    def forward(self, x):
        return torch.cat(self._forward(x), 1)


class InceptionAux(nn.Module):
    def __init__(self, in_channels, hidden, num_classes):
        super().__init__()
        self.conv = BasicConv2d(in_channels, hidden // 8, kernel_size=1)
        self.fc1 = nn.Linear(hidden // 8 * 16, hidden)
        self.fc2 = nn.Linear(hidden, num_classes)

    def forward(self, x):
        x = F.adaptive_avg_pool2d(x, (4, 4))
        x = self.conv(x)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x), inplace=True)
        x = F.dropout(x, 0.7, training=self.training)
        return self.fc2(x)


class GoogLeNet(nn.Module):
    def __init__(self, num_classes=10, aux_logits=False, shrink=1):
        super().__init__()
        self.aux_logits = aux_logits
        channels = 192 // shrink
        self.pre_layers = BasicConv2d(3, channels, kernel_size=3, padding=1)
        self.order = []
        for name, plan in BLOCKS:
            self.order.append(name)
            if plan is None:
                continue
            sizes = [n // shrink for n in plan]
            self.add_module(name, Inception(channels, *sizes))
            channels = sizes[0] + sizes[2] + sizes[4] + sizes[5]
            if aux_logits and name in ("a4", "d4"):
                setattr(self, "aux1" if name == "a4" else "aux2", InceptionAux(channels, 1024 // shrink, num_classes))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, x):
        x = self.pre_layers(x)
        aux = {}
        for name in self.order:
            if name == "pool":
                x = self.maxpool(x)
                continue
            x = getattr(self, name)(x)
            if self.training and self.aux_logits and name in ("a4", "d4"):
                head = "aux1" if name == "a4" else "aux2"
                aux[head] = getattr(self, head)(x)
        x = self.avgpool(x)
        x = x.view(x.size()[0], -1)
        x = self.linear(x)
        if aux:
            return GoogLeNetOutputs(x, aux["aux2"], aux["aux1"])
        return x


def build(toy=False):
    return GoogLeNet(aux_logits=True, shrink=16) if toy else GoogLeNet()


def batch(draw, toy=False):
    n, size = (3, 16) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    outputs = net(images)
    if isinstance(outputs, GoogLeNetOutputs):
        total = F.cross_entropy(outputs.logits, labels)
        for aux in outputs[1:]:
            total += 0.3 * F.cross_entropy(aux, labels)
        return total, outputs
    return F.cross_entropy(outputs, labels), outputs
