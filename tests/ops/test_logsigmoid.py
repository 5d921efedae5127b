"""logsigmoid against PyTorch, and where the sigmoid itself rounds to 0."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import gpunn
from gpunn.errors import DTypeError
from gpunn.ops.logsigmoid import logsigmoid
from tests.devices import EVERYWHERE
from tests.ops import activations


@given(activations.arrays())
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray) -> None:
    activations.compare(logsigmoid, lambda torch, x: torch.nn.functional.logsigmoid(x), x, "cpu")


@given(activations.arrays())
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray) -> None:
    activations.compare(logsigmoid, lambda torch, x: torch.nn.functional.logsigmoid(x), x, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_far_out_and_special(where: str) -> None:
    activations.compare_far(logsigmoid, lambda torch, x: torch.nn.functional.logsigmoid(x), where)


def test_gradcheck() -> None:
    activations.check_gradient(logsigmoid)


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(logsigmoid)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_small_probabilities_keep_their_digits(where: str) -> None:
    x = np.array([-200.0, -15, 15, 60])
    expected = [-200.0, -15 - np.exp(-15.0), -np.exp(-15.0), -np.exp(-60.0)]
    # The second digit of the series, exp(-30) / 2, is 1.5e-7 of the third value.
    np.testing.assert_allclose(logsigmoid(gpunn.tensor(x, device=where)).numpy(), expected, rtol=2e-7)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="logsigmoid: expected a floating dtype; got int64"):
        logsigmoid(gpunn.arange(3))
