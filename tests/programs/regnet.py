"""RegNet (Radosavovic and others, 2020) for 32 x 32 images: widths quantised from a line, groups of equal width."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def conv2d(w_in, w_out, k, *, stride=1, groups=1, bias=False):
    """A convolution that pads to keep the size."""
    assert k % 2 == 1, "Only odd size kernels supported to avoid padding issues."
    return nn.Conv2d(w_in, w_out, k, stride=stride, padding=(k - 1) // 2, groups=groups, bias=bias)


class SE(nn.Module):
    def __init__(self, w_in, w_se):
        super(SE, self).__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d((1, 1))
        self.f_ex = nn.Sequential(
            conv2d(w_in, w_se, 1, bias=True), nn.ReLU(inplace=True), conv2d(w_se, w_in, 1, bias=True), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.f_ex(self.avg_pool(x))


class BottleneckTransform(nn.Module):
    def __init__(self, w_in, w_out, stride, group_width, se_ratio):
        super(BottleneckTransform, self).__init__()
        self.a = conv2d(w_in, w_out, 1)
        self.a_bn = nn.BatchNorm2d(w_out)
        self.a_af = nn.ReLU(inplace=True)
        self.b = conv2d(w_out, w_out, 3, stride=stride, groups=w_out // group_width)
        self.b_bn = nn.BatchNorm2d(w_out)
        self.b_af = nn.ReLU(inplace=True)
        self.se = SE(w_out, int(round(w_in * se_ratio)))
        self.c = conv2d(w_out, w_out, 1)
        self.c_bn = nn.BatchNorm2d(w_out)
        self.c_bn.final_bn = True

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x


class ResBottleneckBlock(nn.Module):
    def __init__(self, w_in, w_out, stride, group_width, se_ratio=0.25):
        super(ResBottleneckBlock, self).__init__()
        self.proj, self.bn = None, None
        if (w_in != w_out) or (stride != 1):
            self.proj = conv2d(w_in, w_out, 1, stride=stride)
            self.bn = nn.BatchNorm2d(w_out)
        self.f = BottleneckTransform(w_in, w_out, stride, group_width, se_ratio)
        self.af = nn.ReLU(True)

    def forward(self, x):
        x_p = self.bn(self.proj(x)) if self.proj is not None else x
        return self.af(x_p + self.f(x))


def init_weights(m):
    if isinstance(m, nn.Conv2d):
        fan_out = m.kernel_size[0] * m.kernel_size[1] * m.out_channels
        m.weight.data.normal_(mean=0.0, std=math.sqrt(2.0 / fan_out))
    elif isinstance(m, nn.BatchNorm2d):
        zero_init_gamma = hasattr(m, "final_bn") and m.final_bn
        m.weight.data.fill_(0.5 if zero_init_gamma else 1.0)
        m.bias.data.zero_()
    elif isinstance(m, nn.Linear):
        m.weight.data.normal_(mean=0.0, std=0.01)
        m.bias.data.zero_()


def generate_regnet(w_a, w_0, w_m, d, q=8):
    """Widths and depths of the stages of a network of ``d`` blocks."""
    ws_cont = torch.arange(d) * w_a + w_0
    ks = torch.round(torch.log(ws_cont / w_0) / math.log(w_m))
    ws_all = (torch.round(w_0 * torch.pow(w_m, ks) / q) * q).int().tolist()
    ws = sorted(set(ws_all))
    return ws, [ws_all.count(w) for w in ws]


class RegNet(nn.Module):
    def __init__(self, w_a, w_0, w_m, d, group_width, num_classes=10):
        super(RegNet, self).__init__()
        ws, ds = generate_regnet(w_a, w_0, w_m, d)
        self.stem = nn.Sequential(conv2d(3, ws[0], 3), nn.BatchNorm2d(ws[0]), nn.ReLU(True))
        prev_w = ws[0]
        for i, (w, depth) in enumerate(zip(ws, ds)):
            stage = nn.Sequential()
            for j in range(depth):
                stage.add_module("b{}".format(j + 1), ResBottleneckBlock(prev_w, w, 2 if j == 0 else 1, group_width))
                prev_w = w
            self.add_module("s{}".format(i + 1), stage)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(prev_w, num_classes))
        self.apply(init_weights)

    def forward(self, x):
        for module in self.children():
            x = module(x)
        return x


def build(toy=False):
    return RegNet(8.0, 8, 2.0, 3, 4) if toy else RegNet(27.89, 48, 2.09, 16, 8)


def batch(draw, toy=False):
    n, size = (4, 12) if toy else (8, 32)
    return draw.standard_normal((n, 3, size, size)), draw.integers(0, 10, n)


def loss(net, images, labels):
    scores = net(images)
    return F.cross_entropy(scores, labels), scores
