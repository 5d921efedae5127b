"""gelu, both forms, against PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, UsageError
from gpunn.ops.gelu import gelu
from tests.devices import EVERYWHERE
from tests.ops import activations

FORMS = ("none", "tanh")


def _compare(x: np.ndarray, form: str, where: str) -> None:
    activations.compare(
        lambda x: gelu(x, form), lambda torch, x: torch.nn.functional.gelu(x, approximate=form), x, where
    )


@given(activations.arrays(), st.sampled_from(FORMS))
@settings(max_examples=100, deadline=None)
def test_matches_torch_on_cpu(x: np.ndarray, form: str) -> None:
    _compare(x, form, "cpu")


@given(activations.arrays(), st.sampled_from(FORMS))
@settings(max_examples=25, deadline=None)
def test_matches_torch_with_kernels(kernels: str, x: np.ndarray, form: str) -> None:
    _compare(x, form, kernels)


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("form", FORMS)
def test_far_out_and_special(where: str, form: str) -> None:
    # PyTorch gives NaN for infinity on some processors.
    activations.compare_far(
        lambda x: gelu(x, form), lambda torch, x: torch.nn.functional.gelu(x, approximate=form), where, infinite=False
    )
    infinite = gpunn.tensor(np.array([np.inf], np.float32), device=where)
    assert gelu(infinite, form).tolist() == [np.inf]


@pytest.mark.parametrize("where", EVERYWHERE)
def test_small_values_far_below_zero_keep_their_digits(where: str) -> None:
    """x (1 + erf(x / sqrt 2)) / 2 would have none of them right in float32."""
    x = np.array([-5.0, -7.0], np.float32)
    expected = [0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]
    # exp(-24.5) of a rounded argument is off by 24.5 roundings.
    np.testing.assert_allclose(gelu(gpunn.tensor(x, device=where)).numpy(), expected, rtol=3e-6)


def test_forms_are_close_and_not_the_same() -> None:
    x = gpunn.tensor(np.linspace(-6, 6, 2001))
    apart = np.abs(gelu(x).numpy() - gelu(x, "tanh").numpy()).max()
    assert 4e-4 < apart < 5e-4


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form: str) -> None:
    activations.check_gradient(lambda x: gelu(x, form))


@pytest.mark.parametrize("form", FORMS)
def test_threads_do_not_change_bits(form: str) -> None:
    activations.check_threads(lambda x: gelu(x, form))


def test_refuses_other_forms() -> None:
    with pytest.raises(UsageError, match="gelu: approximate: expected 'none' or 'tanh'; got 'erf'"):
        gelu(gpunn.ones(2), "erf")


def test_refuses_integers() -> None:
    with pytest.raises(DTypeError, match="gelu: expected a floating dtype; got int64"):
        gelu(gpunn.arange(3))


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_largest_number_stays(where: str, dtype: type, approximate: str) -> None:
    most = float(np.finfo(dtype).max)
    y = gelu(gpunn.tensor(np.array([most, -most], dtype), device=where), approximate=approximate)
    assert y.tolist() == [most, 0.0]
