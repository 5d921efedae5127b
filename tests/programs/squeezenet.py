"""SqueezeNet of fire modules, with batch normalisation and one skip (Iandola and others, 2016)."""

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.init as init


class Fire(nn.Module):
    def __init__(self, in_channel, out_channel, squeeze_channel):
        super().__init__()
        self.squeeze = nn.Sequential(
            nn.Conv2d(in_channel, squeeze_channel, 1), nn.BatchNorm2d(squeeze_channel), nn.ReLU(inplace=True)
        )
        half = int(out_channel / 2)
        self.expand_1x1 = nn.Sequential(
            nn.Conv2d(squeeze_channel, half, 1), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )
        self.expand_3x3 = nn.Sequential(
            nn.Conv2d(squeeze_channel, half, 3, padding=1), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )

    def forward(self, x):
        x = self.squeeze(x)
        x = torch.cat([self.expand_1x1(x), self.expand_3x3(x)], 1)
        return x


class SqueezeNet(nn.Module):
    def __init__(self, class_num=10, w=1):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 96 // w, 3, padding=1), nn.BatchNorm2d(96 // w), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2)
        )
        self.fire2 = Fire(96 // w, 128 // w, 16 // w)
        self.fire3 = Fire(128 // w, 128 // w, 16 // w)
        self.fire4 = Fire(128 // w, 256 // w, 32 // w)
        self.fire5 = Fire(256 // w, 256 // w, 32 // w)
        self.fire6 = Fire(256 // w, 384 // w, 48 // w)
        self.fire7 = Fire(384 // w, 384 // w, 48 // w)
        self.fire8 = Fire(384 // w, 512 // w, 64 // w)
        self.fire9 = Fire(512 // w, 512 // w, 64 // w)
        self.conv10 = nn.Conv2d(512 // w, class_num, 1)
        self.avg = nn.AdaptiveAvgPool2d(1)
        self.maxpool = nn.MaxPool2d(2, 2)

        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                if m is self.conv10:
                    init.normal_(m.weight, mean=0.0, std=0.01)
                else:
                    init.kaiming_uniform_(m.weight)
                if m.bias is not None:
                    init.constant_(m.bias, 0)

    def forward(self, x):
        x = self.stem(x)
        f2 = self.fire2(x)
        f3 = self.fire3(f2) + f2
        f4 = self.fire4(f3)
        f4 = self.maxpool(f4)
        f5 = self.fire5(f4) + f4
        f6 = self.fire6(f5)
        f7 = self.fire7(f6) + f6
        f8 = self.fire8(f7)
        f8 = self.maxpool(f8)
        f9 = self.fire9(f8)
        c10 = self.conv10(f9)
        x = self.avg(c10)
        x = x.view(x.size(0), -1)
        return x


def build(toy=False):
    return SqueezeNet(w=8) if toy else SqueezeNet()


def batch(draw, toy=False):
    n, size = (4, 16) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    scores = net(images)
    return F.cross_entropy(scores, labels), scores
