"""tanh against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn.errors import DTypeError
from gpunn.ops.tanh import tanh
from tests.devices import EVERYWHERE
from tests.ops import activations


@given(activations.arrays())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray) -> None:
    activations.compare(tanh, lambda torch, x: torch.tanh(x), x, "cpu")


@given(activations.arrays())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray) -> None:
    activations.compare(tanh, lambda torch, x: torch.tanh(x), x, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out_and_special(where: str) -> None:
    activations.compare_far(tanh, lambda torch, x: torch.tanh(x), where)


def test_gradcheck() -> None:
    activations.check_gradient(tanh)


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(tanh)


def test_ends() -> None:
    assert tanh(gpunn.tensor(np.array([-1e4, 0, 1e4], np.float32))).tolist() == [-1, 0, 1]
    assert activations.gradient_at(tanh, 0) == 1


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="tanh: expected a floating dtype; got int64"):
        tanh(gpunn.arange(3))
