"""silu against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn.errors import DTypeError
from gpunn.ops.silu import silu
from tests.devices import EVERYWHERE
from tests.ops import activations


@given(activations.arrays())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray) -> None:
    activations.compare(silu, lambda torch, x: torch.nn.functional.silu(x), x, "cpu")


@given(activations.arrays())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray) -> None:
    activations.compare(silu, lambda torch, x: torch.nn.functional.silu(x), x, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out_and_special(where: str) -> None:
    activations.compare_far(silu, lambda torch, x: torch.nn.functional.silu(x), where)


def test_gradcheck() -> None:
    activations.check_gradient(silu)


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(silu)


def test_is_x_times_its_sigmoid() -> None:
    x = gpunn.randn(50)
    np.testing.assert_allclose(silu(x).numpy(), (x * gpunn.sigmoid(x)).numpy(), rtol=1e-6)  # two roundings


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="silu: expected a floating dtype; got int64"):
        silu(gpunn.arange(3))
