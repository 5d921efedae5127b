"""A captured step made of plain tensor arithmetic: reductions, broadcasting, element-wise functions, matrix products.

What is not a launch does not happen on a replay, so equality over several replays, to the bit, says that every
op here is kernels and nothing else.
"""

from __future__ import annotations

import numpy as np
import pytest

import gpunn
from gpunn.errors import CaptureError
from gpunn.primitive import count_bodies


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).standard_normal(shape).astype(np.float32)


class Net:
    """Images (N, 3, 4, 6) to a loss, by hand: a scale per channel, attention between rows, sums, means, extremes."""

    def __init__(self, device: str) -> None:
        self.parameters = {
            name: gpunn.tensor(drawn(number, *shape), device=device, requires_grad=True)
            for number, (name, shape) in enumerate(
                {"scale": (3, 1, 1), "q": (6, 5), "k": (6, 5), "w": (6, 7), "b": (7,), "temperature": ()}.items()
            )
        }
        self.average = gpunn.zeros(7, device=device)

    def loss(self, x: gpunn.Tensor) -> gpunn.Tensor:
        p = self.parameters
        x = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True) + 1e-5).sqrt()
        # Axes from the middle of what lies channels last: what is left is put in order again.
        middle = x.std(2).sum() + x.max(3).values.square().mean() + (x.mean(2) * x.mean(3).sum(2, keepdim=True)).mean()
        rows = (x * p["scale"]).clamp(-2, 2).sum(1)  # (N, 4, 6)
        scores = (rows @ p["q"]) @ (rows @ p["k"]).transpose(1, 2)  # (N, 4, 4)
        scores = scores / (1 + p["temperature"] ** 2)
        weights = (scores - scores.max(2, keepdim=True).values).exp()
        mixed = (weights / weights.sum(2, keepdim=True)) @ rows
        y = mixed @ p["w"] + p["b"]  # (N, 4, 7)
        with gpunn.no_grad():
            self.average.mul_(0.9).add_(y.mean((0, 1)), alpha=0.1)
        best, place = y.max(1)
        positive = (y > 0).to(np.dtype(np.float32)).mean()
        parts = best.tanh().mean() + y.amin((0, 2)).sum() + y.norm() + y.abs().sum(0).log1p().mean() + positive + middle
        return (
            parts + (place.to(np.dtype(np.float32)) * best).sin().sum() + gpunn.maximum(y[:, 0], y[:, 1]).prod(0).sum()
        )

    def step(self, x: gpunn.Tensor) -> gpunn.Tensor:
        for p in self.parameters.values():
            p.grad = None
        loss = self.loss(x)
        loss.backward()
        with gpunn.no_grad():
            for p in self.parameters.values():
                p.sub_(p.grad, alpha=0.01)
        return loss

    def state(self) -> dict[str, bytes]:
        everything = {**self.parameters, "average": self.average}
        return {name: t.detach().numpy().tobytes() for name, t in everything.items()}


def test_captured_arithmetic_equals_eager_to_the_bit(kernels: str) -> None:
    eager, captured = Net(kernels), Net(kernels)
    step = gpunn.capture(captured.step)
    for number in range(5):
        x = gpunn.tensor(drawn(100 + number, 5, 3, 4, 6), device=kernels)
        with count_bodies() as counts:
            expected = eager.step(x).item()
        assert {body for _, body in counts} == {"kernel"}, [name for name, body in counts if body != "kernel"]
        assert step(x).item() == expected
        assert np.isfinite(expected)
    assert step.graphs == 1
    assert captured.state() == eager.state()


# Names, and what their arguments are made of: numbers from -1 to 1 for those that know no others.
INVERSES = dict.fromkeys(("acos", "asin", "atanh", "erfinv"), "tanh") | dict.fromkeys(("asinh", "atan", "erf"), "clone")
INVERSES |= {"acosh": "cosh", "atan2": "clone"}


@pytest.mark.parametrize("name", INVERSES)
def test_captured_inverse_functions_equal_eager_to_the_bit(kernels: str, name: str) -> None:
    def step(t: gpunn.Tensor) -> gpunn.Tensor:
        weight.grad = None
        x = getattr(t * weight, INVERSES[name])()
        y = getattr(x, name)(*((x.flip(0),) if name == "atan2" else ()))
        y.sum().backward()
        assert weight.grad is not None
        return gpunn.stack([y.detach(), weight.grad.detach()])

    weight = gpunn.ones(7, 3, device=kernels, requires_grad=True)
    captured = gpunn.capture(step)
    for number in range(3):
        t = gpunn.tensor(drawn(number, 7, 3), device=kernels)
        with count_bodies() as counts:
            expected = step(t).numpy()
        assert {body for _, body in counts} == {"kernel"}
        found = captured(t).numpy()
        np.testing.assert_array_equal(found, expected)
        assert np.isfinite(found).all()


def test_kernels_and_cpu_learn_the_same(kernels: str) -> None:
    nets = Net("cpu"), Net(kernels)
    for number in range(3):
        x = drawn(100 + number, 5, 3, 4, 6)
        mine, other = (
            net.step(gpunn.tensor(x, device=where)).item() for net, where in zip(nets, ("cpu", kernels), strict=True)
        )
        np.testing.assert_allclose(mine, other, rtol=1e-5)  # sums of some hundred terms in another order
    for name, p in nets[0].parameters.items():
        np.testing.assert_allclose(p.detach().numpy(), nets[1].parameters[name].detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_replay_copies_its_inputs_and_runs_no_other_body(kernels: str) -> None:
    net = Net(kernels)
    step = gpunn.capture(net.step)
    x = gpunn.tensor(drawn(1, 5, 3, 4, 6), device=kernels)
    step(x)
    step(x)
    before = net.state()
    with count_bodies() as counts:
        step(x)
    assert set(counts) == {("copy_arrays", "kernel")}  # the inputs
    assert net.state() != before


def test_writing_by_array_library_code_is_still_refused(kernels: str) -> None:
    total = gpunn.zeros(3, device=kernels)
    step = gpunn.capture(lambda x: total.fill_(1) + x)
    x = gpunn.ones(3, device=kernels)
    step(x)
    with pytest.raises(CaptureError, match="fill_ \\(array-library code\\) inside a captured step"):
        step(x)
