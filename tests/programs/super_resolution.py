"""Larger images by channels that become pixels (Shi et al., 2016)."""

import math

import torch.nn as nn
import torch.nn.init as init


class Net(nn.Module):
    def __init__(self, upscale_factor, width=64):
        super(Net, self).__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, width, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(width, width, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(width, width // 2, (3, 3), (1, 1), (1, 1))
        self.conv4 = nn.Conv2d(width // 2, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        self._initialize_weights()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.relu(self.conv3(x))
        return self.pixel_shuffle(self.conv4(x))

    def _initialize_weights(self):
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv4.weight)


def build(toy=False):
    return Net(3, 8) if toy else Net(3)


def batch(draw, toy=False):
    n, h, w = (2, 7, 6) if toy else (4, 32, 32)
    return draw.random((n, 1, h, w)), draw.random((n, 1, 3 * h, 3 * w))


def loss(net, images, large):
    prediction = net(images)
    mse = nn.MSELoss()(prediction, large.detach())
    psnr = 10 * math.log10(1 / mse.item())
    return mse, [prediction, mse + 0 * psnr]
