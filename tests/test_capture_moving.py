"""Steps that cut, join, turn, pad and pick can be captured: they equal eager ones, and only kernels run in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import CaptureError, RangeError, UsageError
from gpunn.primitive import count_bodies

F = nn.functional


class DenseBlock(nn.Module):
    """Each layer sees all outputs before it, joined along the channels, as in DenseNet; branches as in GoogLeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3)])
        self.fc = nn.Linear(15 * 16, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(F.relu(layer(gpunn.cat(seen, 1))))
        return self.fc(gpunn.cat(seen, 1).flatten(1))


class OptionA(nn.Module):
    """A residual block whose shortcut takes every second pixel and pads the channels with zeros (He et al. 2015)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8 * 4, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3))
        return self.fc(F.relu(self.conv(x) + shortcut).flatten(1))


class Tokens(nn.Module):
    """Patches as tokens, a class token in front, positions added, heads apart and together again, as in ViT."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.token = nn.Parameter(gpunn.zeros(1, 1, 8))
        self.position = nn.Parameter(0.1 * gpunn.ones(1, 5, 8))
        self.mix = nn.Linear(8, 24)
        self.fc = nn.Linear(8, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        n = x.shape[0]
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = gpunn.cat([self.token.expand(n, -1, -1), tokens], 1)
        # Added row by row here, not by broadcasting: this is a test of moving.
        tokens = tokens + self.position.expand(n, -1, -1)
        q, k, v = (t.reshape(n, 5, 2, 4).permute(0, 2, 1, 3) for t in self.mix(tokens).chunk(3, -1))
        mixed = F.relu(q + k.flip(2)) + v
        return self.fc(mixed.permute(0, 2, 1, 3).reshape(n, 5, 8)[:, 0])


class Everything(nn.Module):
    """What the others leave out: stack, unbind, other frames, where, indices, triangles, local filters."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.LocallyConnected2d(3, 4, 3, (6, 6))
        self.table = nn.Embedding(7, 8)
        self.register_buffer("order", gpunn.tensor([2, 0, 2, 1]))
        self.register_buffer("along", gpunn.tensor([[[[3]], [[0]], [[3]]]]))
        self.fc = nn.Linear(3 * 4 * 4, 3)

    def forward(self, x: gpunn.Tensor) -> gpunn.Tensor:
        y = F.pad(x[:, :, :2, 1:], (1, 0, 1, 1), mode="reflect")
        y = F.pad(y, (1, 1, 1, 1), mode="replicate")
        parts = F.relu(self.local(y)).unbind(1)
        y = gpunn.stack([parts[3], parts[0], parts[1] + parts[2]], 1)
        y = gpunn.where(y > 0.3, y, 0.1).masked_fill(y > 2.0, 1.0).tril(1)
        z = self.table(self.order).reshape(1, 4, 8)[:, :, 2:6].expand(x.shape[0], -1, -1)
        y = y + gpunn.stack([z, z[:, self.order], z.index_select(2, self.order)], 1)
        picked = y.gather(2, self.along.expand(x.shape[0], -1, -1, 4))
        return self.fc((y + picked.expand(-1, -1, 4, -1).repeat(1, 1, 1, 1)).flatten(1))


class Run:
    """One training run, captured or not, from the same seed."""

    def __init__(self, kernels: str, make: Callable[[], Any], captured: bool) -> None:
        gpunn.manual_seed(1)
        self.net = make().to(kernels)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.05)
        self.step: Any = gpunn.capture(self._step) if captured else self._step

    def _step(self, x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.net(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss


def batches(kernels: str, count: int) -> list[tuple[gpunn.Tensor, gpunn.Tensor]]:
    rng = np.random.Generator(np.random.Philox(4))
    made = []
    for _ in range(count):
        x, labels = rng.standard_normal((3, 3, 4, 4)).astype(np.float32), rng.integers(0, 3, 3)
        made.append((gpunn.tensor(x, device=kernels), gpunn.tensor(labels, device=kernels)))
    return made


@pytest.mark.parametrize("make", [DenseBlock, OptionA, Tokens, Everything], ids=lambda m: m.__name__)
def test_captured_equals_eager_to_the_bit_and_runs_only_kernels(kernels: str, make: Callable[[], Any]) -> None:
    eager, captured = Run(kernels, make, False), Run(kernels, make, True)
    for x, labels in batches(kernels, 5):
        with count_bodies() as bodies:
            expected = eager.step(x, labels)
        assert {body for _, body in bodies} == {"kernel"}, [name for name, body in bodies if body != "kernel"]
        assert captured.step(x, labels).item() == expected.item()
    assert captured.step.graphs == 1
    for name, p in captured.net.named_parameters():
        other = dict(eager.net.named_parameters())[name]
        assert p.detach().numpy().tobytes() == other.detach().numpy().tobytes(), name
        assert p.grad.numpy().tobytes() == other.grad.numpy().tobytes(), name
        assert np.abs(other.grad.numpy()).max() > 0, f"{name} is not reached"


@pytest.mark.parametrize("make", [DenseBlock, OptionA, Tokens, Everything], ids=lambda m: m.__name__)
def test_kernels_agree_with_the_cpu(kernels: str, make: Callable[[], Any]) -> None:
    gpunn.manual_seed(1)
    net = make()
    x, labels = batches(kernels, 1)[0]
    F.cross_entropy(net(x.to("cpu")), labels.to("cpu")).backward()
    expected = {name: p.grad.numpy() for name, p in net.named_parameters()}
    run = Run(kernels, make, False)
    run.step(x, labels)
    for name, p in run.net.named_parameters():
        # Sums of at most a few hundred terms of order one in another order.
        np.testing.assert_allclose(p.grad.numpy(), expected[name], rtol=0, atol=1e-5, err_msg=name)


# What the eager step writes at places and by masks, of a leaf `w` (3, 4, 2), numbers `x` like it and places `i` (5,).
PLACED: dict[str, Callable[..., Any]] = {
    "scatter": lambda w, x, i: (w * x).scatter(1, i.reshape(1, 5, 1)[:, :4].expand(3, -1, 2), w.exp()),
    "index_fill": lambda w, x, i: (w * x).index_fill(1, i, 0.5),
    "index_fill of numbers": lambda w, x, i: w * (x * 9).long().index_fill(0, i[:2] // 2, 7),
    "index_copy": lambda w, x, i: (w * x).index_copy(1, i, w.exp()[:, :1].expand(-1, 5, -1) + x[:, :1]),
    "masked_scatter": lambda w, x, i: (w * x).masked_scatter(x > 0, (w.exp() * x).flip(0)),
    "cumsum": lambda w, x, i: (w * x).cumsum(1),
    "cumsum of numbers": lambda w, x, i: w * (x > 0).cumsum(0),
    "cumsum of a long axis": lambda w, x, i: (w.reshape(1, -1) * x.reshape(-1, 1)).repeat(2, 1).reshape(-1).cumsum(0),
    "assignment": lambda w, x, i: _assigned(w * x, (slice(None), i), w.exp()[:, :1] + x[:, :1]),
    "assignment at several": lambda w, x, i: _assigned(w * x, (i // 2, slice(1, 3), i // 4), w[0, :2, 0] * x[0, 0, 0]),
    "assignment by a mask": lambda w, x, i: _assigned(w * x, x > 0, 0.25),
}  # fmt: skip


def _assigned(y: Any, key: Any, value: Any) -> Any:
    y[key] = value
    return y


@pytest.mark.parametrize("name", PLACED)
def test_captured_placing_equals_eager_to_the_bit(kernels: str, name: str) -> None:
    def step(x: Any, i: Any) -> Any:
        w.grad = None
        y = PLACED[name](w, x, i)
        (y * y).sum().backward()
        return gpunn.cat([y.detach().reshape(-1), w.grad.reshape(-1)])

    w: Any = gpunn.tensor(np.linspace(-1, 1, 24).reshape(3, 4, 2), device=kernels, requires_grad=True)
    captured = gpunn.capture(step)
    for seed in range(3):
        rng = np.random.Generator(np.random.Philox(seed))
        x, i = (gpunn.tensor(v, device=kernels) for v in (rng.standard_normal((3, 4, 2)), rng.integers(0, 4, 5)))
        with count_bodies() as bodies:
            expected = step(x, i).numpy()
        assert {body for _, body in bodies} == {"kernel"}, [name for name, body in bodies if body != "kernel"]
        np.testing.assert_array_equal(captured(x, i).numpy(), expected)
        leaf = gpunn.tensor(w.detach().numpy(), requires_grad=True)
        y = PLACED[name](leaf, x.cpu(), i.cpu())
        (y * y).sum().backward()
        on_cpu = np.concatenate([y.detach().numpy().reshape(-1), leaf.grad.numpy().reshape(-1)])
        # Sums of some thousand float64 numbers in another order, relative to the largest of them.
        np.testing.assert_allclose(expected, on_cpu, rtol=0, atol=1e-13 * max(1, np.abs(on_cpu).max()))
    assert captured.graphs == 1


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, i: x.index_fill(0, i, 2.0), "index_fill: axis 0, of length 3: index 3 at position 1"),
        (lambda x, i: x.index_copy(0, i, x[:2]), "index_copy: axis 0, of length 3: index 3 at position 1"),
        (lambda x, i: x.masked_scatter(x * i[1] > 2, x[:1]), "masked_scatter: source: expected at least as many"),
    ],
)
def test_what_does_not_fit_is_reported_from_a_captured_step(kernels: str, call: Any, text: str) -> None:
    captured = gpunn.capture(lambda x, i: call(x, i))
    x = gpunn.ones(3, 2, device=kernels)
    for places in ([0, 1], [2, 1], [1, 2]):
        captured(x, gpunn.tensor(places, device=kernels)).tolist()
    y = captured(x, gpunn.tensor([0, 3], device=kernels))
    with pytest.raises((RangeError, UsageError), match=text):
        y.tolist()
    assert captured.graphs == 1


def test_an_index_of_the_host_cannot_be_captured(kernels: str) -> None:
    step = gpunn.capture(lambda x: x[[0, 2]])
    x = gpunn.ones(3, 2, device=kernels)
    step(x)
    with pytest.raises(CaptureError, match="index with an index of the host"):
        step(x)


def test_a_captured_index_out_of_range_is_reported(kernels: str) -> None:
    step = gpunn.capture(lambda x, i: x.index_select(0, i))
    x = gpunn.tensor([1.0, 2.0, 3.0], device=kernels)
    for places in ([0, 1], [2, 1], [1, 2]):
        y = step(x, gpunn.tensor(places, device=kernels))
        assert y.tolist() == [p + 1.0 for p in places]
    y = step(x, gpunn.tensor([0, -1], device=kernels))
    with pytest.raises(RangeError, match="index_select: axis 0, of length 3: index -1 at position 1"):
        y.tolist()
