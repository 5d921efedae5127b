"""permute, transpose, movedim, t, T, mT against PyTorch, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE
from tests.ops.arrays import arrays, axis, shapes


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_permute_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    shape = data.draw(shapes())
    order = [a - data.draw(st.sampled_from([0, len(shape)])) for a in data.draw(st.permutations(range(len(shape))))]
    x = data.draw(arrays(shape))
    parity.compare(lambda x: gpunn.permute(x, order), lambda x: parity.torch.permute(x, order), {"x": x}, where, 0)


@pytest.mark.parametrize("where", EVERYWHERE)
@given(st.data())
@settings(max_examples=100, deadline=None)
def test_transpose_and_movedim_match_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    x = data.draw(arrays(data.draw(shapes(least=1))))
    a, b = axis(data.draw, x.ndim), axis(data.draw, x.ndim)
    for name in ("transpose", "movedim"):
        parity.compare(
            lambda x, f=name: getattr(gpunn, f)(x, a, b), lambda x, f=name: getattr(parity.torch, f)(x, a, b), {"x": x},
            where, 0,
        )  # fmt: skip


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1), (1, 0, 2)])
def test_permute_with_kernels(kernels: str, order: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    x = np.random.Generator(np.random.Philox(0)).standard_normal((2, 33, 5)).astype(np.float32)
    parity.compare(lambda x: x.permute(order), lambda x: x.permute(order), {"x": x}, kernels, 0)


def test_method_forms() -> None:
    x = gpunn.arange(6).reshape(2, 3)
    assert x.T.tolist() == x.t().tolist() == x.mT.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert x.permute(1, 0).tolist() == x.permute((1, 0)).tolist() == x.transpose(0, 1).tolist() == x.T.tolist()
    assert gpunn.zeros(2, 3, 4, 5).mT.shape == (2, 3, 5, 4)
    assert gpunn.zeros(2, 3, 4).movedim((0, 1), (-1, 0)).shape == (3, 4, 2)
    assert gpunn.zeros(3).t().shape == gpunn.zeros(3).T.shape == (3,)
    assert gpunn.zeros(2, 3).movedim((), ()).shape == (2, 3)


def test_numbers() -> None:
    x = gpunn.tensor(2.0)
    assert x.t().item() == x.transpose(0, -1).item() == x.permute(()).item() == 2.0


def test_gradcheck() -> None:
    x = gpunn.tensor(np.random.Generator(np.random.Philox(0)).random((2, 3, 2, 4)), requires_grad=True)
    weight = gpunn.tensor(np.random.Generator(np.random.Philox(1)).random((4, 2, 3, 2)))
    assert gradcheck(lambda x: x.permute(3, 2, 1, 0) * weight, x)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x.permute(0, 1), UsageError, r"permute: expected each axis of shape \(2, 3, 4\) once; got \(0, 1\)"),
        (lambda x: x.permute(0, 1, 1), UsageError, "each axis"),
        (lambda x: x.transpose(0, 3), UsageError, "transpose: dim: expected axes"),
        (lambda x: x.t(), ShapeError, "at most a matrix"),
        (lambda x: x.T, ShapeError, "at most a matrix"),
        (lambda x: x[0, 0].mT, ShapeError, "a matrix or a batch of them"),
        (lambda x: x.movedim((0, 1), 0), UsageError, "equally many axes"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call(gpunn.zeros(2, 3, 4))
