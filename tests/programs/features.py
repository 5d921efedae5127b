"""Looks inside a network: hooks, features by name, gradients of inputs, heat maps (Selvaraju et al., 2017)."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F


class IntermediateLayerGetter(nn.ModuleDict):
    """Runs children up to the last that is asked for, and gives what those by name made."""

    def __init__(self, model, return_layers):
        if not set(return_layers).issubset([name for name, _ in model.named_children()]):
            raise ValueError("return_layers are not present in model")
        orig_return_layers = return_layers
        return_layers = {str(k): str(v) for k, v in return_layers.items()}
        layers = OrderedDict()
        for name, module in model.named_children():
            layers[name] = module
            if name in return_layers:
                del return_layers[name]
            if not return_layers:
                break
        super().__init__(layers)
        self.return_layers = orig_return_layers

    def forward(self, x):
        out = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                out[self.return_layers[name]] = x
        return out


class GradCAM:
    def __init__(self, model, target_layer):
        self.model, self.activations, self.gradients = model, None, None
        self.handles = [
            target_layer.register_forward_hook(self.save_activation),
            target_layer.register_full_backward_hook(self.save_gradient),
        ]

    def save_activation(self, module, input, output):
        self.activations = output.detach()

    def save_gradient(self, module, grad_input, grad_output):
        self.gradients = grad_output[0].detach()

    def __call__(self, x, index=None):
        output = self.model(x)
        index = output.argmax(dim=1) if index is None else index
        self.model.zero_grad()
        output.gather(1, index.view(-1, 1)).sum().backward(retain_graph=True)
        weights = self.gradients.mean(dim=(2, 3), keepdim=True)
        cam = F.relu((weights * self.activations).sum(dim=1, keepdim=True))
        cam = F.interpolate(cam, size=x.shape[2:], mode="bilinear", align_corners=False)
        low, high = cam.amin(dim=(1, 2, 3), keepdim=True), cam.amax(dim=(1, 2, 3), keepdim=True)
        return (cam - low) / (high - low).clamp(min=1e-12), index

    def remove(self):
        for handle in self.handles:
            handle.remove()


def build(toy=False):
    width = 4 if toy else 32
    return nn.Sequential(
        OrderedDict(
            [
                (
                    "stem",
                    nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
                ),
                ("layer1", nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU())),
                ("layer2", nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, 1, 1, groups=2), nn.ELU())),
                ("avgpool", nn.AdaptiveAvgPool2d((1, 1))),
                ("flatten", nn.Flatten()),
                ("fc", nn.Linear(2 * width, 5)),
            ]
        )
    )


def batch(draw, toy=False):
    return (draw.standard_normal((2, 3, 9, 7)),)


def run(net, batch):
    images = batch[0]
    net.eval()
    shapes, found = [], {}

    def note_shape(name):
        def hook(module, args, output):
            shapes.append((name, type(module).__name__, list(args[0].shape), list(output.shape)))

        return hook

    handles = [m.register_forward_hook(note_shape(n)) for n, m in net.named_modules() if not list(m.children())]
    pre = net.fc.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    replaced = net.layer1.register_forward_hook(lambda module, args, output: output.clamp(max=0.5))
    found["hooked"] = net(images)
    for handle in [*handles, pre, replaced]:
        handle.remove()
    found["shapes"] = shapes
    found["plain"] = net(images)

    cam = GradCAM(net, net.layer2)
    found["map"], found["classes"] = cam(images)
    cam.remove()

    pixels = images.clone().requires_grad_(True)
    scores = net(pixels)
    (saliency,) = torch.autograd.grad(scores[:, 1].sum(), pixels, retain_graph=True)
    found["saliency"] = saliency.abs().max(dim=1).values
    scores.max(1)[0].sum().backward()
    found["gradient"] = pixels.grad

    getter = IntermediateLayerGetter(net, {"stem": "low", "layer2": "high"})
    features = getter(images)
    features["high"].retain_grad()
    features["high"].pow(2).sum().backward()
    found["features"] = dict(features)
    found["kept"] = features["high"].grad

    steps = []
    tensor = net.stem(images)
    tensor.register_hook(lambda g: steps.append(g.abs().sum()))
    tensor.register_hook(lambda g: g * 0.5)
    net.layer1(tensor).sum().backward()
    found["steps"] = steps

    body = nn.Sequential(*list(net.children())[:-1])
    found["body"] = body(images)
    found["parameters"] = [(n, p.numel(), p.requires_grad) for n, p in net.named_parameters()]
    net.fc = nn.Identity()
    found["without"] = net(images)
    return found
