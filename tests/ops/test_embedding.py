"""Embedding against PyTorch, by hand, with a padding row, captured, and what it refuses."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import nn, optim
from gpunn._gradcheck import gradcheck
from gpunn.errors import ArgumentError, DeviceError, DTypeError, GraphError, RangeError, ShapeError, UsageError
from gpunn.nn.functional import embedding
from tests.ops.arrays import FEW_ROUNDINGS


@st.composite
def cases(draw: st.DrawFn, most: int = 60) -> tuple:
    """(input, weight, padding row)"""
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    rows, columns = draw(st.integers(1, 9)), draw(st.sampled_from([1, 3, 4, 5, 8]))
    shape = draw(st.sampled_from([(), (0,), (1,), (7,), (most,), (2, 5), (2, 3, 4), (3, 0)]))
    index = np.asarray(rng.integers(0, rows, shape), draw(st.sampled_from([np.int32, np.int64])))
    weight = rng.standard_normal((rows, columns)).astype(draw(st.sampled_from([np.float32, np.float64])))
    return index, weight, draw(st.one_of(st.none(), st.integers(-rows, rows - 1)))


def _compare(case: tuple, where: str) -> None:
    parity = pytest.importorskip("tests.parity")
    index, weight, padding = case
    parity.compare(
        lambda index, weight: embedding(index, weight, padding),
        lambda index, weight: parity.torch.nn.functional.embedding(index, weight, padding),
        {"index": index, "weight": weight},
        where,
        10 * FEW_ROUNDINGS[weight.dtype],  # up to 60 rows of one place are added, in another order
        (),
        1,
    )


@given(cases())
@settings(max_examples=100, deadline=None)
def test_matches_torch(case: tuple) -> None:
    _compare(case, "cpu")


@given(cases())
@settings(max_examples=30, deadline=None)
def test_kernels_match_torch(kernels: str, case: tuple) -> None:
    _compare(case, kernels)


def test_gradcheck() -> None:
    weight = gpunn.tensor(np.random.Generator(np.random.Philox(0)).random((4, 3)), requires_grad=True)
    index = gpunn.tensor([[0, 3], [3, 3]])
    assert gradcheck(lambda w: embedding(index, w) ** 2, weight)


def test_layer_by_hand() -> None:
    layer = nn.Embedding(3, 2, padding_idx=-3)
    assert layer.padding_idx == 0
    assert layer.weight[0].tolist() == [0.0, 0.0]
    assert list(layer.state_dict()) == ["weight"]
    assert repr(layer) == "Embedding(3, 2, padding_idx=0)"
    assert (layer.weight[1:] != 0).all()
    layer(gpunn.tensor([0, 2, 2])).sum().backward()
    assert layer.weight.grad.tolist() == [[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]]


def test_a_given_table() -> None:
    table = gpunn.tensor([[1.0, 2.0], [3.0, 4.0]])
    layer = nn.Embedding.from_pretrained(table, padding_idx=1)
    assert layer(gpunn.tensor([1, 0])).tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert not layer.weight.requires_grad
    table.zero_()
    assert layer.weight.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert nn.Embedding.from_pretrained(table, freeze=False).weight.requires_grad


def test_first_values_are_standard_normal() -> None:
    values = nn.Embedding(500, 40).weight.detach().numpy()
    # 20,000 numbers: the mean is within 0.03 and the deviation within 0.02 in all but one case of ten thousand.
    assert abs(values.mean()) < 0.03
    assert abs(values.std() - 1) < 0.02


def test_an_index_out_of_range_is_reported_and_trains_nothing(kernels: str) -> None:
    layer = nn.Embedding(4, 3).to(kernels)
    optimizer = optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.detach().numpy().copy()
    loss = (layer(gpunn.tensor([1, 0, 4], device=kernels)) ** 2).sum()
    loss.backward()
    optimizer.step()
    with pytest.raises(RangeError, match=r"Embedding: axis 0, of length 4: index 4 at position 2 is out of range"):
        loss.item()
    np.testing.assert_array_equal(layer.weight.detach().numpy(), before)
    layer(gpunn.tensor([3], device=kernels)).detach().numpy()  # the device lives on


def test_a_captured_step_equals_eager_to_the_bit(kernels: str) -> None:
    rng = np.random.Generator(np.random.Philox(2))
    given = [gpunn.tensor(rng.integers(0, 6, (3, 5)), device=kernels) for _ in range(5)]
    runs: list[Any] = []
    for captured in (False, True):
        gpunn.manual_seed(0)
        layer = nn.Embedding(6, 4, padding_idx=2).to(kernels)
        target = gpunn.ones(3, 5, 4, device=kernels)
        optimizer = optim.SGD(layer.parameters(), lr=0.1)

        def step(x: gpunn.Tensor, layer: Any = layer, optimizer: Any = optimizer, target: Any = target) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(layer(x), target)
            loss.backward()
            optimizer.step()
            return loss

        call: Any = gpunn.capture(step) if captured else step
        runs.append([call(x).item() for x in given] + [layer.weight.detach().numpy().tobytes()])
        if captured:
            assert call.graphs == 1
    assert runs[0] == runs[1]


def _changed_in_between() -> None:
    index, weight = gpunn.tensor([0, 1]), gpunn.ones(2, 3, requires_grad=True)
    y = embedding(index, weight)
    index[0] = 1
    y.sum().backward()


W = gpunn.ones(3, 2)
PLACES = gpunn.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: embedding(gpunn.tensor([0, 3]), W),
            RangeError,
            "embedding: index 3 is out of range for axis 0",
        ),
        (lambda: embedding(gpunn.tensor([-1]), W), RangeError, "index -1 is out of range"),
        (lambda: nn.Embedding(3, 2)(gpunn.tensor([3])), RangeError, "^Embedding: index 3"),
        (lambda: embedding(W, W), DTypeError, "input: expected a Tensor of integers; got float32"),
        (lambda: embedding(cast(Any, [0]), W), ArgumentError, "got a list"),
        (lambda: embedding(PLACES, gpunn.ones(3)), ShapeError, r"a table \(V, D\) as weight; got shape \(3,\)"),
        (lambda: embedding(PLACES, gpunn.ones(3, 2, dtype=np.int64)), DTypeError, "weight: expected a floating dtype"),
        (lambda: embedding(PLACES, W, 3), UsageError, "padding_idx: expected a row of the table, which has 3; got 3"),
        (lambda: nn.Embedding(0, 2), UsageError, "num_embeddings"),
        (lambda: nn.Embedding(3, 2, 3), UsageError, "padding_idx: expected a row of 3; got 3"),
        (lambda: nn.Embedding(3, 2, -4), UsageError, "padding_idx"),
        (lambda: nn.Embedding.from_pretrained(PLACES), ShapeError, r"a table \(V, D\)"),
        (_changed_in_between, GraphError, "changed in place"),
    ],
)
def test_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_refuses_an_index_of_another_device(kernels: str) -> None:
    with pytest.raises(DeviceError, match="embedding"):
        embedding(gpunn.tensor([0], device=kernels), W)
    with pytest.raises(RangeError, match="axis 0 has length 0"):
        embedding(gpunn.tensor([0], device=kernels), gpunn.zeros(0, 2, device=kernels))
