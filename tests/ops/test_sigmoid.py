"""sigmoid against PyTorch, and where exp overflows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn.errors import DTypeError
from gpunn.ops.sigmoid import sigmoid
from tests.devices import EVERYWHERE
from tests.ops import activations


@given(activations.arrays())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray) -> None:
    activations.compare(sigmoid, lambda torch, x: torch.sigmoid(x), x, "cpu")


@given(activations.arrays())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray) -> None:
    activations.compare(sigmoid, lambda torch, x: torch.sigmoid(x), x, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out_and_special(where: str) -> None:
    activations.compare_far(sigmoid, lambda torch, x: torch.sigmoid(x), where)


def test_gradcheck() -> None:
    activations.check_gradient(sigmoid)


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(sigmoid)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_ends(where: str) -> None:
    x = gpunn.tensor(np.array([-1e4, 0, 1e4], np.float32), device=where)
    assert sigmoid(x).tolist() == [0, 0.5, 1]
    assert activations.gradient_at(sigmoid, 0, where) == 0.25


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="sigmoid: expected a floating dtype; got int64"):
        sigmoid(gpunn.arange(3))
