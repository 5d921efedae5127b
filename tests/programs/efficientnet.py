"""EfficientNet-B0 (Tan and Le, 2019) for 32 x 32 images: squeeze and excitation, swish, stochastic depth."""

import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "num_blocks": [1, 2, 2, 3, 3, 4, 1],
    "expansion": [1, 6, 6, 6, 6, 6, 6],
    "out_channels": [16, 24, 40, 80, 112, 192, 320],
    "kernel_size": [3, 3, 5, 3, 5, 5, 3],
    "stride": [1, 2, 2, 2, 1, 2, 1],
}


def swish(x):
    return x * x.sigmoid()


def drop_connect(x, drop_ratio):
    keep_ratio = 1.0 - drop_ratio
    mask = torch.rand([x.shape[0], 1, 1, 1], dtype=x.dtype, device=x.device)
    mask = torch.floor(mask + keep_ratio)
    return x.div(keep_ratio) * mask


class SE(nn.Module):
    """Weights channels by what their means say."""

    def __init__(self, in_channels, se_channels):
        super(SE, self).__init__()
        self.se1 = nn.Conv2d(in_channels, se_channels, kernel_size=1, bias=True)
        self.se2 = nn.Conv2d(se_channels, in_channels, kernel_size=1, bias=True)
        self.act = nn.SiLU(inplace=True)

    def forward(self, x):
        out = F.adaptive_avg_pool2d(x, (1, 1))
        out = self.act(self.se1(out))
        out = self.se2(out).sigmoid()
        return x * out


class Block(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride, expand_ratio, se_ratio, drop_rate):
        super(Block, self).__init__()
        self.drop_rate = drop_rate
        self.expand_ratio = expand_ratio
        channels = expand_ratio * in_channels
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=1, stride=1, padding=0, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        padding = 1 if kernel_size == 3 else 2
        self.conv2 = nn.Conv2d(
            channels, channels, kernel_size=kernel_size, stride=stride, padding=padding, groups=channels, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.se = SE(channels, int(in_channels * se_ratio))
        self.conv3 = nn.Conv2d(channels, out_channels, kernel_size=1, stride=1, padding=0, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.has_skip = (stride == 1) and (in_channels == out_channels)

    def forward(self, x):
        out = x if self.expand_ratio == 1 else swish(self.bn1(self.conv1(x)))
        out = swish(self.bn2(self.conv2(out)))
        out = self.se(out)
        out = self.bn3(self.conv3(out))
        if self.has_skip:
            if self.training and self.drop_rate > 0:
                out = drop_connect(out, self.drop_rate)
            out = out + x
        return out


class EfficientNet(nn.Module):
    def __init__(self, cfg, width=32, drop_connect_rate=0.2, num_classes=10):
        super(EfficientNet, self).__init__()
        self.cfg = cfg
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layers = self._make_layers(width, drop_connect_rate)
        self.dropout = nn.Dropout(0.2, inplace=True)
        self.linear = nn.Linear(cfg["out_channels"][-1], num_classes)

    def _make_layers(self, in_channels, rate):
        layers = []
        keys = ["expansion", "out_channels", "num_blocks", "kernel_size", "stride"]
        b, blocks = 0, sum(self.cfg["num_blocks"])
        for expansion, out_channels, num_blocks, kernel_size, stride in zip(*[self.cfg[k] for k in keys]):
            for step in [stride] + [1] * (num_blocks - 1):
                drop_rate = rate * b / blocks
                layers.append(Block(in_channels, out_channels, kernel_size, step, expansion, 0.25, drop_rate))
                in_channels = out_channels
                b += 1
        return nn.Sequential(*layers)

    def forward(self, x):
        out = swish(self.bn1(self.conv1(x)))
        out = self.layers(out)
        out = F.adaptive_avg_pool2d(out, 1)
        out = out.view(out.size(0), -1)
        return self.linear(self.dropout(out))


def build(toy=False):
    if toy:
        cfg = {
            "num_blocks": [1, 2, 2],
            "expansion": [1, 6, 4],
            "out_channels": [4, 8, 8],
            "kernel_size": [3, 5, 3],
            "stride": [1, 2, 1],
        }
        return EfficientNet(cfg, width=8, drop_connect_rate=0.5)
    return EfficientNet(CONFIG)


def batch(draw, toy=False):
    n, size = (4, 10) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    scores = net(images)
    return F.cross_entropy(scores, labels), scores
