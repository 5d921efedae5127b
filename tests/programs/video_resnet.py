"""A residual network for short films, with whole and with factored convolutions (Tran and others, 2018)."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def convolution(inputs, outputs, stride, factored):
    if not factored:
        return nn.Conv3d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    between = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
    return nn.Sequential(
        nn.Conv3d(inputs, between, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(between),
        nn.ReLU(inplace=True),
        nn.Conv3d(between, outputs, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False),
    )


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1, factored=False):
        super().__init__()
        self.conv1 = nn.Sequential(
            convolution(inputs, outputs, stride, factored), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
        )
        self.conv2 = nn.Sequential(convolution(outputs, outputs, 1, factored), nn.BatchNorm3d(outputs))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv3d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.conv2(self.conv1(x))
        out += shortcut
        return self.relu(out)


class VideoResNet(nn.Module):
    def __init__(self, widths=(64, 128, 256, 512), blocks=2, num_classes=400):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, widths[0], kernel_size=(3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        )
        stages, inputs = [], widths[0]
        for number, width in enumerate(widths):
            for block in range(blocks):
                stages.append(Block(inputs, width, 2 if number and not block else 1, factored=number % 2 == 1))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm3d):
                nn.init.constant_(module.weight, 1)
                nn.init.constant_(module.bias, 0)

    def forward(self, x):
        x = self.avgpool(self.stages(self.stem(x)))
        return self.fc(torch.flatten(x, 1))


def build(toy=False):
    return VideoResNet((4, 6), 1, 5) if toy else VideoResNet()


def batch(draw, toy=False):
    shape = (2, 3, 4, 12, 12) if toy else (2, 3, 16, 112, 112)
    return draw.standard_normal(shape), draw.integers(0, 5, 2)


def loss(net, films, labels):
    scores = net(films)
    return F.cross_entropy(scores, labels), scores
