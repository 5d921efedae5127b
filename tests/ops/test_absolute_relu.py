"""absolute_relu against PyTorch's abs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn.errors import DTypeError
from gpunn.ops.absolute_relu import absolute_relu
from tests.devices import EVERYWHERE
from tests.ops import activations


@given(activations.arrays())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray) -> None:
    activations.compare(absolute_relu, lambda torch, x: torch.abs(x), x, "cpu")


@given(activations.arrays())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray) -> None:
    activations.compare(absolute_relu, lambda torch, x: torch.abs(x), x, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out_and_special(where: str) -> None:
    activations.compare_far(absolute_relu, lambda torch, x: torch.abs(x), where)


def test_gradcheck() -> None:
    activations.check_gradient(absolute_relu, (0.0,))


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(absolute_relu)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_gradient_is_the_sign(where: str) -> None:
    assert [activations.gradient_at(absolute_relu, x, where) for x in (-2, -0.0, 0, 3)] == [-1, 0, 0, 1]


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="absolute_relu: expected a floating dtype; got int64"):
        absolute_relu(gpunn.arange(3))
