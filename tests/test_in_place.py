"""In-place changes, known answers: initialisation code, names of one tensor, inplace layers, what backward reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
def test_what_initialisation_code_does(where: str) -> None:
    w = gpunn.nn.Parameter(gpunn.ones(3, 4, device=where))
    with gpunn.no_grad():
        w[:1].zero_()
        w.t()[1].fill_(5)
        for row in w:
            row *= 2
        w.chunk(2, 1)[1].sub_(1)
    w.data[2].fill_(7)
    w.data.view(-1)[0] = 9
    assert w.tolist() == [[9, 10, -1, -1], [2, 10, 1, 1], [7, 7, 7, 7]]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_images_are_changed_through_any_view(where: str) -> None:
    x = gpunn.zeros(2, 3, 2, 2, device=where)
    x[:, 1].fill_(1)
    x.flatten(1)[0] += 10
    x.permute(3, 2, 1, 0)[0, 0, 2].mul_(2)
    expected = np.zeros((2, 3, 2, 2))
    expected[:, 1] = 1
    expected[0] += 10
    expected[:, 2, 0, 0] *= 2
    np.testing.assert_array_equal(x.cpu().numpy(), expected)


def test_all_names_of_a_tensor_on_the_tape_see_a_change() -> None:
    w: Any = gpunn.tensor([1.0, 2.0], requires_grad=True)
    y = other = w * 3
    y += 1
    y[0] *= w[1]
    assert y is other
    assert other.tolist() == [8, 7]
    y.sum().backward()
    assert w.grad.tolist() == [3 * 2, 3 + 4]


def test_a_view_made_before_is_part_of_the_new_value() -> None:
    w: Any = gpunn.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = w * 1
    column, turned = y[:, 1], y.t()
    y.mul_(w)
    assert (column.tolist(), turned.tolist()) == ([4, 16], [[1, 9], [4, 16]])
    column.sum().backward(retain_graph=True)
    assert w.grad.tolist() == [[0, 4], [0, 8]]
    w.grad = None
    turned[0].sum().backward()
    assert w.grad.tolist() == [[2, 0], [6, 0]]


def test_a_retained_gradient_is_that_of_the_last_value() -> None:
    w: Any = gpunn.tensor([1.0, 2.0], requires_grad=True)
    y: Any = w * 1
    y.retain_grad()
    y.mul_(3)
    (y * 5).sum().backward()
    assert (y.grad.tolist(), w.grad.tolist()) == ([5, 5], [15, 15])


INPLACE = ["ReLU", "ReLU6", "LeakyReLU", "ELU", "Hardtanh", "SiLU", "Dropout"]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("layer", INPLACE)
def test_inplace_layers_change_their_input(layer: str, where: str) -> None:
    """As Xception's blocks want it, whose shortcut sees the rectified input."""
    values = np.array([[-1.0, 0.5, 2.0, 9.0]], np.float32)
    plain: Any = getattr(gpunn.nn, layer)()
    inplace: Any = getattr(gpunn.nn, layer)(inplace=True)
    if layer == "Dropout":
        inplace.generator.set_state(plain.generator.get_state())
    x = gpunn.tensor(values, device=where)
    expected = plain(x).tolist()
    assert inplace(x) is x
    assert x.tolist() == expected
    leaf: Any = gpunn.tensor(values, device=where, requires_grad=True)
    if layer != "Dropout":
        again: Any = gpunn.tensor(values, device=where, requires_grad=True)
        hidden = leaf * 2
        inplace(hidden)
        (hidden * hidden).sum().backward()
        other = plain(again * 2)
        (other * other).sum().backward()
        assert leaf.grad.tolist() == again.grad.tolist()
    with pytest.raises(gpunn.errors.UsageError, match="a leaf that requires a gradient"):
        inplace(leaf)


def test_a_fused_relu_changes_the_input_of_its_sequential() -> None:
    x = gpunn.tensor([[[[-1.0, 2.0], [3.0, -4.0]]]])
    y = gpunn.nn.Sequential(gpunn.nn.ReLU(inplace=True), gpunn.nn.MaxPool2d(2))(x)
    assert (y.tolist(), x.tolist()) == ([[[[3]]]], [[[[0, 2], [3, 0]]]])
    y = gpunn.nn.Sequential(gpunn.nn.Identity(), gpunn.nn.ReLU(inplace=True))(-x)
    assert y.sum().item() == 0


@pytest.mark.parametrize(
    "keeps",
    [
        lambda x: x.exp(), lambda x: x.expm1(), lambda x: x.sqrt(), lambda x: x.rsqrt(), lambda x: x.reciprocal(),
        lambda x: x.sigmoid(), lambda x: x.tanh(), lambda x: x.relu(), lambda x: x.softmax(0),
        lambda x: x.log_softmax(0), lambda x: x.norm(), lambda x: x.std(), lambda x: x.amax(0), lambda x: x.max(),
        lambda x: 2**x, lambda x: 1 / x, lambda x: gpunn.nn.functional.elu(x),
        lambda x: gpunn.nn.functional.hardtanh(x, -9, 9),
        lambda x: gpunn.nn.functional.leaky_relu(x), lambda x: gpunn.nn.functional.relu6(x),
        lambda x: gpunn.nn.functional.linear(x.view(1, 4), gpunn.ones(2, 4), activation="relu"),
        lambda x: gpunn.nn.functional.conv2d(x.view(1, 1, 2, 2), gpunn.ones(1, 1, 1, 1), activation="relu"),
        lambda x: gpunn.nn.functional.batch_norm(x.view(4, 1), None, None, training=True, activation="relu"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("through", ["detach", "data", "view", "no_grad"])
def test_an_output_that_backward_reads_is_not_changed_unnoticed(keeps: Any, through: str) -> None:
    x: Any = gpunn.tensor([1.0, 2.0, 0.5, 4.0], requires_grad=True)
    keeps(x).sum().backward()
    expected, x.grad = x.grad.tolist(), None
    y = keeps(x)
    if through == "detach":
        y.detach().mul_(2)
    elif through == "data":
        y.data.fill_(9)
    elif through == "view":
        y.detach().view(-1)[0] = 9
    else:
        with gpunn.no_grad():
            y.add_(1)
    with pytest.raises(gpunn.errors.GraphError, match="changed in place"):
        y.sum().backward()
    x.grad = None
    again = keeps(x)
    again *= 1  # on the tape the old value is kept
    again.sum().backward()
    assert x.grad.tolist() == expected


@pytest.mark.parametrize("where", EVERYWHERE)
def test_indices_that_backward_reads_are_not_changed_unnoticed(where: str) -> None:
    x = gpunn.tensor([[1.0, 3.0, 2.0]], requires_grad=True, device=where)
    for values, indices in (x.max(1), gpunn.nn.functional.adaptive_max_pool2d(x.view(1, 1, 1, 3), (1, 2), True)):
        indices.zero_()
        with pytest.raises(gpunn.errors.GraphError, match="changed in place"):
            values.sum().backward()


def test_a_captured_step_changes_in_place_what_an_eager_one_does(kernels: str) -> None:
    def train(captured: bool) -> list[Any]:
        gpunn.manual_seed(1)
        layer = gpunn.nn.Linear(4, 4).to(kernels)
        rule = gpunn.optim.SGD(layer.parameters(), lr=0.1)
        x = gpunn.randn(6, 4).to(kernels)

        def step(x: gpunn.Tensor) -> gpunn.Tensor:
            rule.zero_grad()
            y = layer(x)
            gpunn.nn.functional.relu(y, inplace=True)
            y += x
            y[:, 1:3] *= 2
            y[0] = x[1]
            halves = y.t().chunk(2)
            halves[0].mul_(halves[1].detach().clone())
            loss = (y * y).mean()
            loss.backward()
            rule.step()
            return loss

        run = gpunn.capture(step) if captured else step
        return [run(x).item() for _ in range(4)] + layer.weight.tolist()

    assert train(True) == train(False)
