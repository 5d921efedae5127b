"""Gradients of several small batches for a step, clipped; a running average of the weights; a frozen part."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F


class ModelEMA:
    """A second network whose weights follow those of the first."""

    def __init__(self, model, decay):
        self.module = copy.deepcopy(model).eval()
        for p in self.module.parameters():
            p.requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        msd = model.state_dict()
        for k, v in self.module.state_dict().items():
            if v.is_floating_point():
                v *= self.decay
                v += (1.0 - self.decay) * msd[k].detach()
            else:
                v.copy_(msd[k])


class Regressor(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Linear(width, width))
        self.head = nn.Linear(width, 1)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return self.head(F.silu(self.backbone(x))).squeeze(-1) * self.log_scale.exp()


def set_requires_grad(module, value):
    for p in module.parameters():
        p.requires_grad = value


def build(toy=False):
    return Regressor(8 if toy else 128)


def batch(draw, toy=False):
    x = draw.standard_normal((24, 3))
    return x, x[:, 0] * x[:, 1] + abs(x[:, 2])


def run(net, batch):
    x, y = batch
    ema = ModelEMA(net, 0.7)
    set_requires_grad(net.backbone, False)
    optimizer = torch.optim.AdamW(filter(lambda p: p.requires_grad, net.parameters()), lr=1e-2, weight_decay=1e-2)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    accumulation_steps, told = 3, []
    for epoch in range(3):
        if epoch == 1:
            set_requires_grad(net.backbone, True)
            optimizer.add_param_group({"params": net.backbone.parameters(), "lr": 3e-3, "weight_decay": 0.0})
        optimizer.zero_grad(set_to_none=True)
        for i, (inputs, targets) in enumerate(zip(x.split(4), y.split(4))):
            with torch.amp.autocast("cpu", enabled=False):
                loss = F.smooth_l1_loss(net(inputs), targets, beta=0.5) / accumulation_steps
            scaler.scale(loss).backward()
            if (i + 1) % accumulation_steps == 0:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_value_([net.log_scale], 0.05)
                norm = nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.5, error_if_nonfinite=True)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                ema.update(net)
                told.append((loss.item(), norm.item()))
    net.eval()
    trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    mae = (ema.module(x) - y).abs().mean()
    return {"told": told, "average": ema.module.state_dict(), "mae": mae, "trainable": trainable, "net": repr(net)}
