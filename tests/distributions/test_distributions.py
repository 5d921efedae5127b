"""Distributions against PyTorch's: formulas, gradients and shapes; samples by their moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import distributions
from gpunn.errors import ShapeError, UsageError
from tests.devices import EVERYWHERE

_RNG = np.random.Generator(np.random.Philox(8))
_ANY, _ABOVE = _RNG.standard_normal((3, 4)), 0.5 + _RNG.random((3, 4))
_CHANCES = 0.05 + 0.9 * _RNG.random((3, 4))
_WHOLE = _RNG.integers(0, 4, 3)
# name: parameters by name, and values to ask for
CASES: dict[str, tuple[str, dict[str, np.ndarray], np.ndarray]] = {
    "normal": ("Normal", {"loc": _ANY, "scale": _ABOVE}, _RNG.standard_normal((3, 4))),
    "normal-broadcast": ("Normal", {"loc": _ANY, "scale": _ABOVE[0]}, _RNG.standard_normal((2, 3, 4))),
    "uniform": ("Uniform", {"low": -_ABOVE, "high": _ABOVE}, 0.4 * _CHANCES),
    "laplace": ("Laplace", {"loc": _ANY, "scale": _ABOVE}, _RNG.standard_normal((3, 4))),
    "exponential": ("Exponential", {"rate": _ABOVE}, _ABOVE[::-1].copy()),
    "bernoulli": ("Bernoulli", {"probs": _CHANCES}, (_ANY > 0).astype(np.float64)),
    "bernoulli-logits": ("Bernoulli", {"logits": _ANY}, (_ANY > 0).astype(np.float64)),
    "categorical": ("Categorical", {"probs": _ABOVE}, _WHOLE),
    "categorical-logits": ("Categorical", {"logits": _ANY}, _WHOLE),
    "categorical-many": ("Categorical", {"logits": _ANY}, np.stack([_WHOLE, _WHOLE[::-1]])),
    "one-hot": ("OneHotCategorical", {"logits": _ANY}, np.eye(4)[_WHOLE]),
}


def _other(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of a second distribution of the same kind."""
    return {name: v[::-1].copy() * (1.5 if name == "high" else 1) for name, v in values.items()}


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("case", CASES)
def test_formulas_and_gradients_match_torch(where: str, case: str) -> None:
    parity = pytest.importorskip("tests.parity")
    kind, values, asked = CASES[case]

    def results(library: Any, given: dict[str, Any], **home: Any) -> Any:
        module = library.distributions
        made = getattr(module, kind)(**given, **({"validate_args": False} if library is parity.torch else {}))
        other = getattr(module, kind)(**{k: library.tensor(v, **home) for k, v in _other(values).items()})
        found = [made.log_prob(library.tensor(asked, **home)), made.entropy(), module.kl_divergence(made, other)]
        if not kind.endswith("Categorical"):
            found += [made.mean, made.variance, made.stddev]
        return library.cat([f.reshape(-1) for f in found])

    # A few operations on numbers of order one.
    parity.compare(
        lambda **given: results(gpunn, given, device=where),
        lambda **given: results(parity.torch, given),
        values,
        where,
        1e-12,
        least_scale=1,
    )


@pytest.mark.parametrize("case", CASES)
def test_samples_have_the_shape_and_the_moments(case: str) -> None:
    kind, values, _ = CASES[case]
    made = getattr(distributions, kind)(**{k: gpunn.tensor(v, requires_grad=True) for k, v in values.items()})
    gpunn.manual_seed(2)
    drawn = made.sample((5000, 2))
    assert drawn.shape == (5000, 2, *made.batch_shape, *made.event_shape)
    assert not drawn.requires_grad
    if kind == "Categorical":
        shares = np.stack([(drawn.numpy() == c).mean((0, 1)) for c in range(4)], -1)
        np.testing.assert_allclose(shares, made.probs.detach().numpy(), atol=5 * 0.5 / np.sqrt(10000))
        return
    expected = made.mean.detach().numpy()
    spread = np.sqrt(expected * (1 - expected)) if kind.startswith("One") else made.stddev.detach().numpy()
    # Five standard errors of a mean of 10,000.
    assert (np.abs(drawn.numpy().mean((0, 1)) - expected) <= 5 * spread / 100).all()
    if not kind.startswith("One"):
        # The standard error of a variance is at most sqrt(8) variances here, a tenth of that: exponential.
        assert (np.abs(drawn.numpy().var((0, 1)) / spread**2 - 1) <= 5 * np.sqrt(8) / 100).all()


@pytest.mark.parametrize("case", ["normal", "uniform", "laplace", "exponential"])
def test_gradients_reach_parameters_through_samples(case: str) -> None:
    kind, values, _ = CASES[case]
    given = {k: gpunn.tensor(v, requires_grad=True) for k, v in values.items()}
    made = getattr(distributions, kind)(**given)
    gpunn.manual_seed(4)
    y = made.rsample()
    y.sum().backward()
    # Location and scale: y = a + s z, so that a little more s moves y by (y - a) / s of it.
    for name, t in given.items():
        step = 1e-6
        more = {k: (v + step if k == name else v) for k, v in values.items()}
        gpunn.manual_seed(4)
        moved = getattr(distributions, kind)(**{k: gpunn.tensor(v) for k, v in more.items()}).rsample()
        assert t.grad is not None
        # Differences of float64 over 1e-6 leave nine digits; the curvature takes another three.
        np.testing.assert_allclose(t.grad.numpy(), (moved - y).detach().numpy() / step, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [0, 1, 2])
def test_independent_matches_torch(axes: int) -> None:
    parity = pytest.importorskip("tests.parity")

    def results(library: Any, loc: Any, scale: Any) -> Any:
        module = library.distributions
        made = module.Independent(module.Normal(loc, scale), axes)
        other = module.Independent(module.Normal(scale, scale), axes)
        found = [made.log_prob(library.tensor(_CHANCES)), made.entropy(), module.kl_divergence(made, other)]
        assert tuple(made.batch_shape) + tuple(made.event_shape) == (3, 4)
        assert len(made.event_shape) == axes
        return library.cat([f.reshape(-1) for f in found])

    parity.compare(
        lambda loc, scale: results(gpunn, loc, scale),
        lambda loc, scale: results(parity.torch, loc, scale),
        {"loc": _ANY, "scale": _ABOVE},
        "cpu",
        1e-12,  # sums of a dozen terms
        least_scale=1,
    )


def test_a_normal_has_its_distribution_function() -> None:
    made = distributions.Normal(1.0, 2.0)
    assert made.cdf(gpunn.tensor([1.0])).item() == 0.5
    assert abs(made.cdf(gpunn.tensor([3.0], dtype="float64")).item() - 0.8413447460685429) < 1e-7


def test_numbers_and_mixed_parameters() -> None:
    made = distributions.Normal(gpunn.zeros(3, dtype="float64"), 2)
    assert made.sample().dtype == gpunn.float64
    assert distributions.Normal(0, 1).sample().shape == ()
    assert repr(distributions.Normal(0.0, gpunn.ones(2))) == "Normal(batch_shape: (2,), event_shape: ())"
    first = distributions.Categorical(probs=gpunn.tensor([1.0, 1.0, 2.0]))
    assert first.probs.tolist() == [0.25, 0.25, 0.5]
    assert first.mode.item() == 2
    assert first.param_shape == (3,)
    assert abs(first.perplexity().item() - 2 * np.sqrt(2)) < 1e-5


def test_wrong_parameters_are_told() -> None:
    with pytest.raises(UsageError, match="one of probs and logits; got neither"):
        distributions.Categorical()
    with pytest.raises(UsageError, match="one of probs and logits; got both"):
        distributions.Bernoulli(gpunn.ones(2), gpunn.ones(2))
    with pytest.raises(ShapeError, match=r"loc \(2,\), scale \(3,\)"):
        distributions.Normal(gpunn.ones(2), gpunn.ones(3))
    with pytest.raises(ShapeError, match="last axis of classes"):
        distributions.Categorical(gpunn.tensor(1.0))
    with pytest.raises(ShapeError, match="sample_shape"):
        distributions.Normal(0.0, 1.0).sample(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no gradient"):
        distributions.Categorical(gpunn.ones(2)).rsample()
    with pytest.raises(UsageError, match="Normal and Laplace"):
        distributions.kl_divergence(distributions.Normal(0.0, 1.0), distributions.Laplace(0.0, 1.0))
    with pytest.raises(UsageError, match="0 to 0"):
        distributions.Independent(distributions.Normal(0.0, 1.0), 1)
