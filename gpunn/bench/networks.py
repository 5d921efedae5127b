"""Cases of whole training steps: forward, mean cross-entropy, backward, SGD with momentum.

A network is described once: how gpunn builds it, how PyTorch (and DeZero) build the same with the same weight names,
and its layers' sizes, from which FLOP and bytes are counted.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn.bench.case import Arrays, Case, Run, import_dezero, tensors, torch_tensors

LR, MOMENTUM = 0.01, 0.9


@dataclass(frozen=True)
class Layer:
    """Sizes of one layer for one item: elements in and out, weights with biases, multiply-adds."""

    inputs: int
    outputs: int
    weights: int = 0
    multiply_adds: int = 0
    kind: str = "product"


@dataclass(frozen=True)
class Network:
    """One network, in gpunn and in PyTorch.

    Attributes
    ----------
    key, title : str
    input_shape : tuple of int
        (C, H, W).
    classes : int
    build : callable
        Returns the gpunn module.
    twin : callable
        ``twin(torch)`` returns the same as a PyTorch module, with the same ``state_dict`` keys.
    layers : tuple of Layer
        The first one needs no gradient of its input.
    dezero : callable or None
        ``dezero(functions, x, weights)`` returns the scores.
    """

    key: str
    title: str
    input_shape: tuple[int, int, int]
    classes: int
    build: Callable[[], Any]
    twin: Callable[[Any], Any]
    layers: tuple[Layer, ...]
    dezero: Callable[[Any, Any, dict[str, Any]], Any] | None = None

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold."""
        return sum(layer.weights for layer in self.layers)

    @property
    def convolutional(self) -> bool:
        """Whether weights are shared between positions, so that PyTorch's memory format matters."""
        return any(layer.multiply_adds > layer.weights for layer in self.layers)

    def forward_flop(self, n: int) -> float:
        """Multiplications and additions of the matrix products for n items."""
        return 2.0 * n * sum(layer.multiply_adds for layer in self.layers)

    def step_flop(self, n: int) -> float:
        """Forward, weight gradients, and the gradients of all inputs but the first."""
        return 3 * self.forward_flop(n) - 2.0 * n * self.layers[0].multiply_adds

    def step_bytes(self, n: int, itemsize: int = 4) -> float:
        """Bytes a step moves if every layer reads and writes each of its arrays once.

        Forward: input, weights, output (batch norm reads its input twice). Backward: output's gradient, input, weights,
        both results (batch norm reads three arrays twice). Update: five words per weight.
        """
        passes = {"product": (1, 1, 2, 1), "norm": (2, 1, 3, 4), "pool": (1, 1, 1, 1), "add": (1, 0, 1, 0)}
        elements = 0
        for number, layer in enumerate(self.layers):
            reads, writes, back_inputs, back_outputs = passes[layer.kind]
            back_inputs -= number == 0 and layer.kind == "product"
            elements += n * layer.inputs * (reads + back_inputs) + n * layer.outputs * (writes + back_outputs)
            elements += layer.weights * (3 + 5)
        return float(itemsize * elements)


def initial_weights(network: Network, seed: int = 0) -> dict[str, np.ndarray]:
    """A freshly initialised network's ``state_dict``, as NumPy arrays that nothing else holds."""
    with _seeded(seed):
        state = network.build().state_dict()
    return {name: np.array(value.numpy()) for name, value in state.items()}


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the default generator for the block; its state is restored afterwards."""
    from gpunn.random import default_generator, manual_seed

    state = default_generator().get_state()
    manual_seed(seed)
    try:
        yield
    finally:
        default_generator().set_state(state)


def gpunn_network(network: Network, device: Device, dtype: str = "float32") -> Any:
    """The module on the device with :func:`initial_weights`, in training mode."""
    import gpunn

    with _seeded(0):
        net = network.build()
    net.load_state_dict({name: gpunn.tensor(value) for name, value in initial_weights(network).items()})
    net = net.to(dtype).to(device)
    net.train()
    return net


def torch_network(network: Network, torch: Any, device: Any, channels_last: bool, dtype: str = "float32") -> Any:
    """The same in PyTorch."""
    net = network.twin(torch)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in initial_weights(network).items()})
    net = net.to(device=device, dtype=getattr(torch, dtype))
    return net.to(memory_format=torch.channels_last) if channels_last else net


def gpunn_step(net: Any, lr: float = LR, momentum: float = MOMENTUM) -> Callable[[Any, Any], Any]:
    """``step(x, labels)``: one training step of a gpunn module; returns the loss."""
    from gpunn.nn.loss import CrossEntropyLoss
    from gpunn.optim import SGD

    criterion = CrossEntropyLoss()
    optimizer = SGD(net.parameters(), lr=lr, momentum=momentum)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = criterion(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def torch_step(
    torch: Any, net: Any, lr: float = LR, momentum: float = MOMENTUM, fused: bool = False
) -> Callable[[Any, Any], Any]:
    """The same for a PyTorch module."""
    criterion = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum, fused=True if fused else None)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def training_step(network: Network, n: int, dtype: str = "float32") -> list[Case]:
    """The case of one step on a batch of n."""

    def ours(device: Device, arrays: Arrays, captured: bool = True) -> Run:
        import gpunn

        step = gpunn_step(gpunn_network(network, device, dtype))
        step = gpunn.capture(step) if captured else step
        given = tensors(device, arrays)
        return lambda: [step(given["x"], given["target"])._physical]

    def theirs(torch: Any, arrays: Arrays, last: bool) -> Run:
        given = torch_tensors(torch, arrays, last)
        home = given["x"].device
        fused = dtype == "float32"
        step = torch_step(torch, torch_network(network, torch, home, last, dtype), fused=fused)
        return lambda: [step(given["x"], given["target"])]

    c, h, w = network.input_shape
    return [
        Case(
            f"{network.key}-b{n}",
            "step",
            f"{network.title}, batch {n}",
            "steps",
            {"x": (n, h, w, c), "target": (n,)},
            network.step_flop(n),
            network.step_bytes(n, np.dtype(dtype).itemsize),
            ours,
            theirs,
            functools.partial(_dezero_step, network) if network.dezero else None,
            eager=functools.partial(ours, captured=False),
            dtype=dtype,
            items=n,
            classes=network.classes,
            layouts=network.convolutional,
            checked=4,
            tolerance=1e-3 if dtype == "float32" else 1e-9,
            network=network,
        )
    ]


def _dezero_step(network: Network, arrays: Arrays) -> Run:
    dezero, functions = import_dezero()
    weights = {name: dezero.Parameter(value, name=name) for name, value in initial_weights(network).items()}
    holder = dezero.Layer()
    for name, weight in weights.items():
        setattr(holder, name.replace(".", "_"), weight)
    optimizer = dezero.optimizers.MomentumSGD(LR, MOMENTUM).setup(holder)
    x, labels = np.ascontiguousarray(arrays["x"].transpose(0, 3, 1, 2)), arrays["target"]
    assert network.dezero is not None
    scores = network.dezero

    def run() -> list[Any]:
        loss = functions.softmax_cross_entropy(scores(functions, x, weights), labels)
        holder.cleargrads()
        loss.backward()
        optimizer.update()
        return [loss.data]

    return run


# -- the networks ---------------------------------------------------------------------------------


def _conv(c: int, k: int, r: int, h: int, p: int, bias: bool = True) -> Layer:
    weights = k * c * r * r
    return Layer(c * h * h, k * p * p, weights + bias * k, p * p * weights)


def _linear(c: int, k: int) -> Layer:
    return Layer(c, k, c * k + k, c * k)


def lenet(channels: tuple[int, int] = (20, 50), hidden: int = 500) -> Network:
    """The lecture's LeNet, and its shape with other widths."""
    a, b = channels

    def build() -> Any:
        from gpunn.models import LeNet5

        return LeNet5(channels=channels, hidden=hidden)

    def twin(torch: Any) -> Any:
        nn, F = torch.nn, torch.nn.functional
        net = nn.Module()
        net.conv1, net.conv2 = nn.Conv2d(1, a, 5, padding=2), nn.Conv2d(a, b, 5, padding=2)
        net.fc1, net.fc2 = nn.Linear(49 * b, hidden), nn.Linear(hidden, 10)

        def forward(x: Any) -> Any:
            x = F.max_pool2d(torch.relu(net.conv1(x)), 2, 2)
            x = F.max_pool2d(torch.relu(net.conv2(x)), 2, 2)
            return net.fc2(torch.relu(net.fc1(torch.flatten(x, 1))))

        net.forward = forward
        return net

    def dezero(F: Any, x: Any, w: dict[str, Any]) -> Any:
        for name in ("conv1", "conv2"):
            x = F.pooling(F.relu(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], 1, 2)), 2, 2)
        x = F.reshape(x, (x.shape[0], -1))
        return _dezero_mlp(F, x, w, ("fc1", "fc2"))

    layers = (
        _conv(1, a, 5, 28, 28),
        Layer(a * 784, a * 196, kind="pool"),
        _conv(a, b, 5, 14, 14),
        Layer(b * 196, b * 49, kind="pool"),
        _linear(49 * b, hidden),
        _linear(hidden, 10),
    )
    return Network("lenet", "LeNet (2 conv, 2 linear)", (1, 28, 28), 10, build, twin, layers, dezero)


def mlp(hidden: tuple[int, ...] = (1024, 1024), side: int = 32) -> Network:
    """The lecture's multilayer perceptron, 1024-1024-1024-10."""
    widths = (side * side, *hidden, 10)

    def build() -> Any:
        from gpunn.models import MLP

        return MLP((1, side, side), hidden=hidden)

    def twin(torch: Any) -> Any:
        nn = torch.nn
        net = nn.Sequential()
        net.add_module("flatten", nn.Flatten())
        for number in range(1, len(widths)):
            net.add_module(f"fc{number}", nn.Linear(widths[number - 1], widths[number]))
            if number < len(widths) - 1:
                net.add_module(f"act{number}", nn.ReLU())
        return net

    def dezero(F: Any, x: Any, w: dict[str, Any]) -> Any:
        names = [f"fc{number}" for number in range(1, len(widths))]
        return _dezero_mlp(F, F.reshape(x, (x.shape[0], -1)), w, names)

    layers = tuple(_linear(widths[i], widths[i + 1]) for i in range(len(widths) - 1))
    title = "MLP " + "-".join(map(str, widths))
    return Network("mlp", title, (1, side, side), 10, build, twin, layers, dezero)


def _dezero_mlp(F: Any, x: Any, w: dict[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        x = F.linear(x, F.transpose(w[f"{name}.weight"]), w[f"{name}.bias"])
        x = x if name == names[-1] else F.relu(x)
    return x


def resnet_cifar(depth: int = 20, shortcut: str = "A", side: int = 32) -> Network:
    """CIFAR ResNet."""

    def build() -> Any:
        from gpunn.models import ResNetCifar

        return ResNetCifar(depth, shortcut)

    blocks = (depth - 2) // 6
    layers = [_conv(3, 16, 3, side, side, bias=False), Layer(16 * side**2, 16 * side**2, 32, kind="norm")]
    c, h = 16, side
    for k in (16, 32, 64):
        for block in range(blocks):
            p = (h + 1) // 2 if block == 0 and k > 16 else h
            size = k * p * p
            norm = Layer(size, size, 2 * k, kind="norm")
            layers += [_conv(c, k, 3, h, p, bias=False), norm, _conv(k, k, 3, p, p, bias=False), norm]
            layers += [Layer(size, 0, kind="add")]  # the residual is read by the norm and written by its gradient
            if p != h and shortcut == "B":
                layers += [_conv(c, k, 1, p, p, bias=False), norm]
            c, h = k, p
    layers += [Layer(c * h * h, c, kind="pool"), _linear(c, 10)]
    twin = functools.partial(_resnet_twin, depth, shortcut)
    title = f"CIFAR ResNet-{depth} (option {shortcut})"
    return Network(f"resnet{depth}", title, (3, side, side), 10, build, twin, tuple(layers))


def _resnet_twin(depth: int, shortcut: str, torch: Any) -> Any:
    nn = torch.nn
    net = nn.Module()
    net.conv1, net.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
    c = 16
    for number, k in enumerate((16, 32, 64), 1):
        blocks = []
        for block in range((depth - 2) // 6):
            blocks.append(_block_twin(torch, c, k, 2 if number > 1 and block == 0 else 1, shortcut))
            c = k
        net.add_module(f"layer{number}", nn.Sequential(*blocks))
    net.fc = nn.Linear(64, 10)

    def forward(x: Any) -> Any:
        x = torch.relu(net.bn1(net.conv1(x)))
        return net.fc(net.layer3(net.layer2(net.layer1(x))).mean((2, 3)))

    net.forward = forward
    return net


def _block_twin(torch: Any, c: int, k: int, stride: int, shortcut: str) -> Any:
    nn = torch.nn
    block = nn.Module()
    block.conv1, block.bn1 = nn.Conv2d(c, k, 3, stride, 1, bias=False), nn.BatchNorm2d(k)
    block.conv2, block.bn2 = nn.Conv2d(k, k, 3, 1, 1, bias=False), nn.BatchNorm2d(k)
    if shortcut == "B" and stride != 1:
        block.downsample = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False), nn.BatchNorm2d(k))

    def past(x: Any) -> Any:
        if stride == 1:
            return x
        if shortcut == "B":
            return block.downsample(x)
        return nn.functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, k - c))

    def forward(x: Any) -> Any:
        y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
        return torch.relu(y + past(x))

    block.forward = forward
    return block
