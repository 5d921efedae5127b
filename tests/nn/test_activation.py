"""Activation layers: PyTorch's arguments, texts and numbers; kernels for all of them; state and learning of PReLU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import nn, optim
from gpunn.errors import DTypeError, GraphError, ShapeError, UsageError
from gpunn.nn import functional as F
from gpunn.primitive import count_bodies

LAYERS: list[tuple[str, tuple, dict]] = [
    ("Sigmoid", (), {}),
    ("Tanh", (), {}),
    ("LogSigmoid", (), {}),
    ("ReLU", (), {}),
    ("ReLU", (True,), {}),
    ("ReLU6", (), {}),
    ("ReLU6", (), {"inplace": True}),
    ("LeakyReLU", (), {}),
    ("LeakyReLU", (0.1, True), {}),
    ("LeakyReLU", (), {"negative_slope": 0.2}),
    ("PReLU", (), {}),
    ("PReLU", (6, 0.1), {}),
    ("PReLU", (), {"num_parameters": 6, "init": 0.5}),
    ("ELU", (), {}),
    ("ELU", (0.5, True), {}),
    ("Hardtanh", (), {}),
    ("Hardtanh", (-0.5, 2.0), {"inplace": True}),
    ("Softplus", (), {}),
    ("Softplus", (2.0, 1.0), {}),
    ("SiLU", (), {}),
    ("SiLU", (True,), {}),
    ("GELU", (), {}),
    ("GELU", ("tanh",), {}),
    ("Hardsigmoid", (), {}),
    ("Hardswish", (), {}),
    ("Hardswish", (True,), {}),
    ("Mish", (), {}),
    ("Mish", (), {"inplace": True}),
    ("SELU", (), {}),
    ("SELU", (True,), {}),
    ("CELU", (), {}),
    ("CELU", (0.5, True), {}),
    ("Softsign", (), {}),
    ("Tanhshrink", (), {}),
    ("GLU", (), {}),
]
OUR_OWN: list[tuple[str, tuple, dict, str]] = [
    ("Maxout", (2,), {}, "Maxout(k=2, dim=-1)"),
    ("Maxout", (3,), {"dim": 1}, "Maxout(k=3, dim=1)"),
    ("AbsoluteReLU", (), {}, "AbsoluteReLU()"),
    ("Step", (), {}, "Step()"),
    ("Step", (), {"strict": True}, "Step(strict=True)"),
]
ALL = [layer[:3] for layer in (*LAYERS, *OUR_OWN)]


@pytest.mark.parametrize(("name", "args", "named"), LAYERS)
@pytest.mark.parametrize("shape", [(5, 6), (2, 6, 3, 4)])
def test_numbers_and_text_are_pytorchs(name: str, args: tuple, named: dict, shape: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    ours, theirs = getattr(nn, name)(*args, **named), getattr(parity.torch.nn, name)(*args, **named)
    assert repr(ours) == repr(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    x = np.random.Generator(np.random.Philox(2)).standard_normal(shape).astype(np.float32)
    before = x.copy()
    # As in the tests of the ops: some last digits of numbers of order one, and of sums of a hundred for PReLU.
    parity.compare(lambda x: ours(x.clone()), lambda x: theirs(x.clone()), {"x": x}, "cpu", 2e-6, least_scale=1)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(("name", "args", "named", "text"), OUR_OWN)
def test_text_of_our_own(name: str, args: tuple, named: dict, text: str) -> None:
    assert repr(getattr(nn, name)(*args, **named)) == text


@pytest.mark.parametrize(("name", "args", "named"), ALL)
@pytest.mark.parametrize("shape", [(3, 6), (2, 6, 3, 4)])
def test_has_kernels_both_ways_and_the_same_numbers(
    kernels: str, name: str, args: tuple, named: dict, shape: tuple
) -> None:
    """So that a captured step can hold it: no plain body runs."""
    layer = getattr(nn, name)(*args, **named)
    numbers = np.random.Generator(np.random.Philox(2)).standard_normal(shape).astype(np.float32)
    results = []
    for where in ("cpu", kernels):
        x = gpunn.tensor(numbers, device=where, requires_grad=True)
        there = copy.deepcopy(layer).to(where)
        if where == "cpu":
            y = there(x.clone())
            dy = np.random.Generator(np.random.Philox(3)).standard_normal(y.shape).astype(np.float32)
        else:
            with count_bodies() as ran:
                y = there(x.clone())
                if y.requires_grad:
                    y.backward(gpunn.tensor(dy, device=where))
            assert {body for _, body in ran} == {"kernel"}
        if y.requires_grad and where == "cpu":
            y.backward(gpunn.tensor(dy))
        gradients = [x.grad, *(p.grad for p in there.parameters())]
        results.append([y.detach().numpy(), *(g.numpy() for g in gradients if g is not None)])
    for here, there in zip(*results, strict=True):
        # Last digits of exp and erf, and of a sum of 144 products.
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=2e-6)


def test_a_captured_step_learns_the_slope(kernels: str) -> None:
    """What a replay computes with PReLU inside is what the steps compute one by one."""

    def train(record: bool) -> list[float]:
        gpunn.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 4), nn.Maxout(2), nn.Tanh()).to(kernels)
        rule = optim.SGD(model.parameters(), lr=0.1)
        x = gpunn.randn(8, 4).to(kernels)
        labels = gpunn.tensor(np.arange(8) % 2).to(kernels)

        def step(x: gpunn.Tensor, labels: gpunn.Tensor) -> gpunn.Tensor:
            rule.zero_grad()
            loss = F.cross_entropy(model(x), labels)
            loss.backward()
            rule.step()
            return loss

        run: Callable[..., gpunn.Tensor] = gpunn.capture(step) if record else step
        return [run(x, labels).item() for _ in range(4)] + model[1].weight.tolist()

    assert train(True) == train(False)


def test_prelu_learns_and_moves_with_its_state() -> None:
    layer = nn.PReLU(3, init=0.1)
    assert layer.weight.tolist() == [np.float32(0.1)] * 3
    x = gpunn.tensor(np.array([[-1.0, -2.0, 1.0]], np.float32))
    layer(x).sum().backward()
    assert layer.weight.grad.tolist() == [-1, -2, 0]
    optim.SGD(layer.parameters(), lr=0.1).step()
    other = nn.PReLU(3)
    other.load_state_dict(layer.state_dict())
    assert other(x).tolist() == layer(x).tolist()
    layer.reset_parameters()
    assert layer.weight.tolist() == [np.float32(0.1)] * 3
    assert nn.PReLU(2, dtype=np.float64).weight.dtype == np.float64


def _in_place(layer: Any) -> bool:
    return True in layer[1] or "inplace" in layer[2]


_READ_THE_INPUT = {"LogSigmoid", "PReLU", "Softplus", "SiLU", "GELU", "AbsoluteReLU"}
_READ_THE_INPUT |= {"Hardswish", "Mish", "CELU", "Softsign", "GLU"}


@pytest.mark.parametrize(("name", "args", "named"), [x for x in ALL if x[0] != "Step" and not _in_place(x)])
def test_only_a_backward_that_reads_the_input_minds_its_change(name: str, args: tuple, named: dict) -> None:
    x = gpunn.randn(2, 6, requires_grad=True)
    y = getattr(nn, name)(*args, **named)(x)
    with gpunn.no_grad():
        x.fill_(-1)
    if name not in _READ_THE_INPUT:
        y.sum().backward()
        return
    with pytest.raises(GraphError, match="changed in place 1 time"):
        y.sum().backward()


def test_a_slope_changed_before_backward_is_noticed() -> None:
    layer = nn.PReLU()
    y = layer(gpunn.randn(3))
    layer.reset_parameters()
    with pytest.raises(GraphError, match="changed in place 1 time"):
        y.sum().backward()


def test_a_negative_slope_below_zero_reads_the_input() -> None:
    x = gpunn.randn(3, requires_grad=True)
    y = nn.LeakyReLU(-0.5)(x)
    x.data.zero_()
    with pytest.raises(GraphError, match="changed in place"):
        y.sum().backward()


def test_maxout_layer_is_a_convex_piecewise_function() -> None:
    """Two pieces with slopes 1 and -1 give |x|, as the absolute-value ReLU."""
    net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Maxout(2))
    net.load_state_dict({"0.weight": np.array([[1], [-1]], np.float32)})
    x = gpunn.tensor(np.linspace(-2, 2, 9, dtype=np.float32)[:, None])
    assert net(x).tolist() == nn.AbsoluteReLU()(x).tolist()


def test_step_says_that_it_has_no_gradient() -> None:
    assert "no gradient" in nn.Step.__doc__
    assert not nn.Sequential(nn.Linear(2, 3), nn.Step())(gpunn.ones(4, 2)).requires_grad


def test_relu6_is_not_taken_for_a_relu_that_fuses() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU6())
    net.load_state_dict({"0.weight": np.full((1, 1), 10, np.float32)})
    assert nn.fused_pairs(net) == []
    assert net(gpunn.ones(1, 1)).tolist() == [[6]]


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda: nn.PReLU(0), UsageError, "PReLU: num_parameters: expected a whole number of at least 1; got 0"),
        (lambda: nn.PReLU(3)(gpunn.ones(2, 4)), ShapeError, r"PReLU.*expected a weight of shape \(1,\) or \(4,\)"),
        (lambda: nn.Maxout(0), UsageError, "Maxout: k: expected a whole number of at least 1; got 0"),
        (lambda: nn.Maxout(2)(gpunn.ones(2, 5)), ShapeError, "Maxout.*a length that 2 divides"),
        (lambda: nn.GELU("erf")(gpunn.ones(2)), UsageError, "GELU.*expected 'none' or 'tanh'"),
        (lambda: nn.ELU(-1)(gpunn.ones(2)), UsageError, "ELU.*at least 0"),
        (lambda: nn.Hardtanh(1, 0)(gpunn.ones(2)), UsageError, "Hardtanh: expected min_val < max_val; got 1 and 0"),
        (lambda: nn.Softplus(0)(gpunn.ones(2)), UsageError, "Softplus.*other than 0"),
        (lambda: nn.Sigmoid()(gpunn.arange(3)), DTypeError, "Sigmoid.*expected a floating dtype"),
    ],
)
def test_refusals_name_the_layer(use: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        use()


def test_public_names() -> None:
    for name in ("relu", "sigmoid", "tanh"):
        assert getattr(gpunn, name) is getattr(F, name)
        assert name in gpunn.__all__
