"""The large networks written in PyTorch, from their papers, with torchvision's names: what ours are compared with."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_RESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def _bottleneck(inside: int, width: int, stride: int, wide: int) -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if wide == 1:
                shapes = [(inside, width, 3, stride, 1), (width, width, 3, 1, 1)]
            else:
                shapes = [(inside, width, 1, 1, 0), (width, width, 3, stride, 1), (width, 4 * width, 1, 1, 0)]
            self.count = len(shapes)
            for number, (c, k, size, step, border) in enumerate(shapes, 1):
                setattr(self, f"conv{number}", nn.Conv2d(c, k, size, step, border, bias=False))
                setattr(self, f"bn{number}", nn.BatchNorm2d(k))
            self.downsample = None
            if stride > 1 or inside != wide * width:
                narrow = nn.Conv2d(inside, wide * width, 1, stride, bias=False)
                self.downsample = nn.Sequential(narrow, nn.BatchNorm2d(wide * width))

        def forward(self, x: Any) -> Any:
            y = x
            for number in range(1, self.count + 1):
                y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
                y = y.relu() if number < self.count else y
            return (y + (x if self.downsample is None else self.downsample(x))).relu()

    return Block()


class ResNet(nn.Module):
    def __init__(self, depth: int, num_classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        wide, inside = (1 if depth < 50 else 4), 64
        for stage, count in enumerate(_RESNET[depth]):
            width, blocks = 64 * 2**stage, []
            for place in range(count):
                blocks.append(_bottleneck(inside, width, 2 if stage and not place else 1, wide))
                inside = width * wide
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inside, num_classes)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class _Dense(nn.Module):
    def __init__(self, inside: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, parts: list[Any]) -> Any:
        y = self.conv1(self.norm1(torch.cat(parts, 1)).relu())
        return self.conv2(self.norm2(y).relu())


class _DenseBlock(nn.ModuleDict):
    def forward(self, x: Any) -> Any:
        parts = [x]
        for layer in self.values():
            parts.append(layer(parts))
        return torch.cat(parts, 1)


class DenseNet(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features, channels = nn.Sequential(), 64
        self.features.add_module("conv0", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(64))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        for block, count in enumerate((6, 12, 24, 16), 1):
            layers = {f"denselayer{i + 1}": _Dense(channels + 32 * i) for i in range(count)}
            self.features.add_module(f"denseblock{block}", _DenseBlock(layers))
            channels += 32 * count
            if block < 4:
                between = nn.Sequential()
                between.add_module("norm", nn.BatchNorm2d(channels))
                between.add_module("relu", nn.ReLU())
                between.add_module("conv", nn.Conv2d(channels, channels // 2, 1, bias=False))
                between.add_module("pool", nn.AvgPool2d(2))
                self.features.add_module(f"transition{block}", between)
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).relu().mean((2, 3)))


class _Unit(nn.Module):
    def __init__(self, c: int, k: int, size: int, stride: int = 1, border: int = 0) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(c, k, size, stride, border, bias=False), nn.BatchNorm2d(k, eps=0.001)

    def forward(self, x: Any) -> Any:
        return self.bn(self.conv(x)).relu()


class _Inception(nn.Module):
    def __init__(self, c: int, one: int, red3: int, three: int, red5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.branch1 = _Unit(c, one, 1)
        self.branch2 = nn.Sequential(_Unit(c, red3, 1), _Unit(red3, three, 3, border=1))
        self.branch3 = nn.Sequential(_Unit(c, red5, 1), _Unit(red5, five, 3, border=1))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), _Unit(c, pooled, 1))

    def forward(self, x: Any) -> Any:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class _Aux(nn.Module):
    def __init__(self, c: int, num_classes: int) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = _Unit(c, 128, 1), nn.Linear(2048, 1024), nn.Linear(1024, num_classes)

    def forward(self, x: Any) -> Any:
        return self.fc2(self.fc1(self.conv(F.adaptive_avg_pool2d(x, 4)).flatten(1)).relu())


class GoogLeNet(nn.Module):
    """Without dropout."""

    _TABLE = (
        ("3a", 192, 64, 96, 128, 16, 32, 32),
        ("3b", 256, 128, 128, 192, 32, 96, 64),
        ("4a", 480, 192, 96, 208, 16, 48, 64),
        ("4b", 512, 160, 112, 224, 24, 64, 64),
        ("4c", 512, 128, 128, 256, 24, 64, 64),
        ("4d", 512, 112, 144, 288, 32, 64, 64),
        ("4e", 528, 256, 160, 320, 32, 128, 128),
        ("5a", 832, 256, 160, 320, 32, 128, 128),
        ("5b", 832, 384, 192, 384, 48, 128, 128),
    )

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = _Unit(3, 64, 7, 2, 3), _Unit(64, 64, 1), _Unit(64, 192, 3, border=1)
        for name, *widths in self._TABLE:
            setattr(self, f"inception{name}", _Inception(*widths))
        self.aux1, self.aux2 = _Aux(512, num_classes), _Aux(528, num_classes)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Any) -> Any:
        def pool(x: Any, size: int = 3) -> Any:
            return F.max_pool2d(x, size, 2, ceil_mode=True)

        x = pool(self.conv3(self.conv2(pool(self.conv1(x)))))
        x = pool(self.inception3b(self.inception3a(x)))
        early = x = self.inception4a(x)
        late = x = self.inception4d(self.inception4c(self.inception4b(x)))
        x = self.inception5b(self.inception5a(pool(self.inception4e(x), 2)))
        return self.fc(x.mean((2, 3))), self.aux2(late), self.aux1(early)


def _feature_layers(rows: list[Any], channels: int = 3) -> nn.Sequential:
    """(filters, size, stride, padding, groups): convolution, ReLU; "norm" before that ReLU; (size, stride): pooling."""
    layers: list[nn.Module] = []
    for row in rows:
        if row == "norm":
            layers.insert(len(layers) - 1, nn.BatchNorm2d(channels))
        elif len(row) == 2:
            layers.append(nn.MaxPool2d(*row))
        else:
            layers += [nn.Conv2d(channels, row[0], row[1], row[2], row[3], groups=row[4]), nn.ReLU()]
            channels = row[0]
    return nn.Sequential(*layers)


class Classifier(nn.Module):
    """AlexNet or VGG in evaluation mode: features, mean over parts, linear layers where theirs are."""

    def __init__(self, rows: list[Any], parts: int | None, places: tuple[int, ...], sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.features, self.parts = _feature_layers(rows), parts
        layers: list[nn.Module] = [nn.Identity() for _ in range(7)]
        for place, (inside, outside) in zip(places, itertools.pairwise(sizes), strict=True):
            layers[place] = nn.Linear(inside, outside)
            if place != places[-1]:
                layers[place + 1] = nn.ReLU()
        self.classifier = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        x = self.features(x)
        x = x if self.parts is None else F.adaptive_avg_pool2d(x, self.parts)
        return self.classifier(x.flatten(1))


ALEXNET = [
    (64, 11, 4, 2, 1),
    (3, 2),
    (192, 5, 1, 2, 1),
    (3, 2),
    (384, 3, 1, 1, 1),
    (256, 3, 1, 1, 1),
    (256, 3, 1, 1, 1),
    (3, 2),
]
TWO_GROUPS = [
    (96, 11, 4, 0, 1),
    (3, 2),
    (256, 5, 1, 2, 2),
    (3, 2),
    (384, 3, 1, 1, 1),
    (384, 3, 1, 1, 2),
    (256, 3, 1, 1, 2),
    (3, 2),
]


def alexnet(num_classes: int, two_groups: bool) -> Classifier:
    sizes = (256 * 36, 4096, 4096, num_classes)
    return Classifier(TWO_GROUPS if two_groups else ALEXNET, None if two_groups else 6, (1, 4, 6), sizes)


def vgg11(num_classes: int, batch_norm: bool) -> Classifier:
    rows: list[Any] = []
    for width, count in ((64, 1), (128, 1), (256, 2), (512, 2), (512, 2)):
        rows += [(width, 3, 1, 1, 1), "norm"] * count if batch_norm else [(width, 3, 1, 1, 1)] * count
        rows.append((2, 2))
    return Classifier(rows, 7, (0, 3, 6), (512 * 49, 4096, 4096, num_classes))


class _Block(nn.Module):
    def __init__(self, heads: int, hidden: int, inner: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(hidden, eps=1e-6), nn.LayerNorm(hidden, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, inner), nn.GELU(), nn.Identity(), nn.Linear(inner, hidden), nn.Identity()
        )

    def forward(self, x: Any) -> Any:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y)[0]
        return x + self.mlp(self.ln_2(x))


class ViT(nn.Module):
    """Without dropout: patches and class token, positions, blocks with norms in front, a linear layer on the token."""

    def __init__(self, image: int, patch: int, layers: int, heads: int, hidden: int, inner: int, classes: int) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden))
        self.conv_proj = nn.Conv2d(3, hidden, patch, patch)
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, hidden))
        self.encoder.layers = nn.Sequential()
        for number in range(layers):
            self.encoder.layers.add_module(f"encoder_layer_{number}", _Block(heads, hidden, inner))
        self.encoder.ln = nn.LayerNorm(hidden, eps=1e-6)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(hidden, classes))

    def forward(self, x: Any) -> Any:
        tokens = self.conv_proj(x).reshape(len(x), self.class_token.shape[2], -1).permute(0, 2, 1)
        tokens = torch.cat([self.class_token.repeat(len(x), 1, 1), tokens], 1) + self.encoder.pos_embedding
        return self.heads(self.encoder.ln(self.encoder.layers(tokens))[:, 0])
