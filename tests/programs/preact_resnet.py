"""ResNet whose blocks begin with their norms (He and others, 2016), each residual kept or dropped as a whole."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class PreActBasic(nn.Module):
    expansion = 1

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels * PreActBasic.expansion, kernel_size=3, padding=1),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels * PreActBasic.expansion:
            self.shortcut = nn.Conv2d(in_channels, out_channels * PreActBasic.expansion, 1, stride=stride)

    def forward(self, x):
        res = self.residual(x.clone())
        shortcut = self.shortcut(x)
        return res + shortcut


class StochasticDepth(nn.Module):
    """A block that its residual's survival is drawn for, anew in each step."""

    def __init__(self, block, p):
        super().__init__()
        self.block = block
        self.p = torch.tensor(p).float()

    def survival(self):
        return torch.bernoulli(self.p).item() == 1

    def forward(self, x):
        if self.training:
            if self.survival():
                return self.block(x)
            return self.block.shortcut(x)
        return self.block.residual(x) * self.p.item() + self.block.shortcut(x)


class PreActResNet(nn.Module):
    def __init__(self, block, num_block, width=64, class_num=10, survival=1.0):
        super().__init__()
        self.input_channels = width
        self.pre = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.stage1 = self._make_layers(block, num_block[0], width, 1, survival)
        self.stage2 = self._make_layers(block, num_block[1], width * 2, 2, survival)
        self.stage3 = self._make_layers(block, num_block[2], width * 4, 2, survival)
        self.stage4 = self._make_layers(block, num_block[3], width * 8, 2, survival)
        self.linear = nn.Linear(self.input_channels, class_num)

    def _make_layers(self, block, block_num, out_channels, stride, survival):
        layers = []
        layers.append(StochasticDepth(block(self.input_channels, out_channels, stride), survival))
        self.input_channels = out_channels * block.expansion
        while block_num - 1:
            layers.append(StochasticDepth(block(self.input_channels, out_channels, 1), survival))
            block_num -= 1
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.pre(x)
        for stage in [self.stage1, self.stage2, self.stage3, self.stage4]:
            x = stage(x)
        x = F.adaptive_avg_pool2d(x, (1, 1)).squeeze(-1).squeeze(-1)
        return self.linear(x)


def build(toy=False):
    return PreActResNet(PreActBasic, [1, 1, 2, 1], width=4) if toy else PreActResNet(PreActBasic, [2, 2, 2, 2])


def batch(draw, toy=False):
    n, size = (4, 16) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    scores = net(images)
    return F.cross_entropy(scores, labels), scores
