"""A U-Net for volumes: what goes down is joined on the way up (Çiçek and others, 2016)."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class Twice(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv3d(inputs, outputs, 3, padding=1, padding_mode="replicate"),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding="same"),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.LeakyReLU(0.01, inplace=True),
        )


class UNet3d(nn.Module):
    def __init__(self, channels=1, classes=3, width=32, depth=3):
        super().__init__()
        self.down, self.up, self.joined = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = channels
        for level in range(depth):
            self.down.append(Twice(inputs, width << level))
            inputs = width << level
        for level in reversed(range(depth - 1)):
            self.up.append(nn.ConvTranspose3d(inputs, width << level, kernel_size=2, stride=2))
            inputs = width << level
            self.joined.append(Twice(2 * inputs, inputs))
        self.head = nn.Conv3d(inputs, classes, 1)

    def forward(self, x):
        kept = []
        for number, part in enumerate(self.down):
            x = part(x if number == 0 else F.max_pool3d(x, 2))
            kept.append(x)
        kept.pop()
        for up, joined in zip(self.up, self.joined):
            beside = kept.pop()
            x = up(x)
            if x.shape[2:] != beside.shape[2:]:
                x = F.interpolate(x, size=beside.shape[2:], mode="trilinear", align_corners=False)
            x = joined(torch.cat([beside, x], dim=1))
        return self.head(x)


def build(toy=False):
    return UNet3d(width=3, depth=2) if toy else UNet3d()


def batch(draw, toy=False):
    shape = (1, 3, 6, 5) if toy else (1, 32, 64, 64)
    return draw.standard_normal((2, *shape)), draw.integers(0, 3, (2, *shape[1:]))


def loss(net, volumes, labels):
    scores = net(volumes)
    shares = F.softmax(scores, dim=1)
    wanted = F.one_hot(labels, 3).permute(0, 4, 1, 2, 3).to(shares.dtype)
    overlap = (shares * wanted).sum(dim=(0, 2, 3, 4)) / (shares + wanted).sum(dim=(0, 2, 3, 4))
    return F.cross_entropy(scores.flatten(2), labels.flatten(1)) + 1 - 2 * overlap.mean(), scores
