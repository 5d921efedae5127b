"""leaky_relu against PyTorch, for slopes of every kind."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.leaky_relu import leaky_relu
from tests.devices import EVERYWHERE
from tests.ops import activations

SLOPES = (0.01, 0.1, 0.0, 1.0, 2.5, -0.5)


def _compare(x: np.ndarray, slope: float, where: str) -> None:
    activations.compare(
        lambda x: leaky_relu(x, slope), lambda torch, x: torch.nn.functional.leaky_relu(x, slope), x, where
    )


@given(activations.arrays(), st.sampled_from(SLOPES))
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray, slope: float) -> None:
    _compare(x, slope, "cpu")


@given(activations.arrays(), st.sampled_from(SLOPES))
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray, slope: float) -> None:
    _compare(x, slope, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("slope", SLOPES)
def test_far_out_and_special(where: str, slope: float) -> None:
    ours = functools.partial(leaky_relu, negative_slope=slope)
    activations.compare_far(ours, lambda torch, x: torch.nn.functional.leaky_relu(x, slope), where)


def test_default_slope() -> None:
    assert leaky_relu(gpunn.tensor([-100.0, 2.0])).tolist() == [-1, 2]


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("slope", [0.5, 0.0, -2.0])
def test_gradient_at_zero_is_the_slope(where: str, slope: float) -> None:
    ours = functools.partial(leaky_relu, negative_slope=slope)
    assert [activations.gradient_at(ours, x, where) for x in (0.0, -0.0, -1, 1)] == [slope, slope, slope, 1]


@pytest.mark.parametrize("slope", [0.1, -0.7])
def test_gradcheck(slope: float) -> None:
    activations.check_gradient(lambda x: leaky_relu(x, slope), (0.0,))


def test_threads_do_not_change_bits() -> None:
    activations.check_threads(leaky_relu)


@pytest.mark.parametrize("slope", [np.nan, np.inf, "0.1", None])
def test_refuses_slopes_that_are_no_number(slope: Any) -> None:
    with pytest.raises(UsageError, match="negative_slope: expected a finite number"):
        leaky_relu(gpunn.ones(2), slope)


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="leaky_relu: expected a floating dtype; got int64"):
        leaky_relu(gpunn.arange(3))
