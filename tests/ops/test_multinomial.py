"""bernoulli, multinomial and normal: seeded, distributed as they say, and refused where PyTorch refuses."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import DTypeError, ShapeError, UsageError
from tests.devices import EVERYWHERE

gpunn: Any = typed
MANY = 20_000


def generator() -> Any:
    return gpunn.Generator(3)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_the_same_numbers_on_every_device(where: str) -> None:
    def draw(device: str) -> list[Any]:
        source = generator()
        weights = gpunn.tensor([[0.0, 1.0, 3.0], [2.0, 2.0, 0.0]], device=device)
        return [
            gpunn.multinomial(weights, 2, generator=source).tolist(),
            weights.multinomial(5, True, generator=source).tolist(),
            gpunn.bernoulli(weights / 4, generator=source).tolist(),
            gpunn.normal(weights, 2.0, generator=source).tolist(),
            weights.bernoulli(0.3, generator=source).tolist(),
            weights.bernoulli_(weights / 4, generator=source).tolist(),
        ]

    assert draw(where) == draw("cpu")


def test_distributions() -> None:
    weights = gpunn.tensor([0.0, 1.0, 3.0])
    # Five standard deviations of a share of MANY draws are below 0.02; of a mean with deviation 2 below 0.1.
    shares = np.bincount(weights.multinomial(MANY, True, generator=generator()).numpy(), minlength=3) / MANY
    np.testing.assert_allclose(shares, [0, 0.25, 0.75], atol=0.02)
    first = gpunn.ones(MANY, 3) * weights
    firsts = np.bincount(gpunn.multinomial(first, 2, generator=generator()).numpy()[:, 0], minlength=3) / MANY
    np.testing.assert_allclose(firsts, [0, 0.25, 0.75], atol=0.02)
    coins = gpunn.bernoulli(gpunn.full((MANY,), 0.3), generator=generator())
    assert {*coins.tolist()} == {0.0, 1.0}
    assert abs(coins.mean().item() - 0.3) < 0.02
    assert abs(gpunn.zeros(MANY).bernoulli(0.9, generator=generator()).mean().item() - 0.9) < 0.02
    numbers = gpunn.normal(
        5.0, 2.0, size=(MANY,), generator=generator(), dtype=gpunn.float64, device="cpu", requires_grad=True,
        layout=None, pin_memory=False,
    )  # fmt: skip
    assert (numbers.dtype, numbers.requires_grad) == (gpunn.float64, True)
    assert abs(numbers.mean().item() - 5) < 0.1
    assert abs(numbers.std().item() - 2) < 0.1
    wide = gpunn.normal(gpunn.zeros(MANY, 1), gpunn.tensor([1.0, 4.0]), generator=generator())
    np.testing.assert_allclose(wide.std(0).numpy(), [1, 4], atol=0.2)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_bernoulli_in_place(dtype: str) -> None:
    for p, low, high in ((0.0, 0, 0), (1.0, 1, 1), (0.3, 0.28, 0.32)):  # five standard deviations of a share are 0.016
        x = gpunn.ones(MANY // 4, 4, dtype=dtype)
        view = x[:1]
        assert x.bernoulli_(p, generator=generator()) is x
        assert view.tolist() == x[:1].tolist()
        assert {*x.ravel().tolist()} <= {0, 1}
        assert low <= x.float().mean().item() <= high
        assert str(x.dtype) == dtype
    halves = gpunn.empty(MANY).bernoulli_(generator=generator()).mean().item()
    assert abs(halves - 0.5) < 0.02
    each = gpunn.ones(2, 3, dtype=dtype).bernoulli_(gpunn.tensor([0.0, 1.0, 1.0]))
    assert each.tolist() == [[0, 1, 1], [0, 1, 1]]
    with pytest.raises(UsageError, match="bernoulli_: p: expected"):
        gpunn.ones(2).bernoulli_(1.5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: gpunn.empty_like(x).bernoulli_(0.5),
        lambda x: gpunn.bernoulli(x * 0.1 + 0.3),
        lambda x: gpunn.empty_like(x).bernoulli_(x[:1] * 0.1 + 0.5),
        lambda x: gpunn.multinomial(x.exp(), 8),
        lambda x: gpunn.multinomial(x.exp(), 8, True),
        lambda x: gpunn.multinomial(x[0].exp(), 20, True).sum(),
        lambda x: gpunn.normal(x, x.exp()),
        lambda x: gpunn.distributions.Categorical(logits=x).sample((8,)).t(),
    ],
)
def test_each_replay_draws_anew(kernels: str, draw: Any) -> None:
    def step(x: Any) -> Any:
        return x + draw(x)

    runs = []
    for run in (step, gpunn.capture(step)):
        gpunn.manual_seed(4)
        x = gpunn.zeros(3, 8, device=kernels)
        runs.append([run(x).tolist() for _ in range(4)])
    assert runs[0] == runs[1]
    assert all(a != b for a, b in itertools.pairwise(runs[1]))


def test_each_index_once_and_shapes() -> None:
    rows = gpunn.multinomial(gpunn.ones(50, 4), 4, generator=generator())
    assert (rows.shape, rows.dtype) == ((50, 4), gpunn.int64)
    assert all(sorted(row) == [0, 1, 2, 3] for row in rows.tolist())
    assert gpunn.multinomial(gpunn.tensor([0.0, 2.0]), 1).tolist() == [1]


def test_refusals() -> None:
    for error, text, call in (
        (UsageError, "multinomial: expected finite weights", lambda: gpunn.multinomial(gpunn.tensor([-1.0, 1.0]), 1)),
        (UsageError, "need replacement=True", lambda: gpunn.multinomial(gpunn.tensor([0.0, 1.0]), 2)),
        (UsageError, "cannot be drawn", lambda: gpunn.multinomial(gpunn.zeros(2), 1, True)),
        (ShapeError, "multinomial: expected weights", lambda: gpunn.multinomial(gpunn.ones(1, 1, 1), 1)),
        (DTypeError, "multinomial: expected floating", lambda: gpunn.multinomial(gpunn.tensor([1]), 1)),
        (UsageError, "bernoulli: expected probabilities", lambda: gpunn.bernoulli(gpunn.tensor([1.5]))),
        (DTypeError, "bernoulli: expected floating", lambda: gpunn.bernoulli(gpunn.tensor([1]))),
        (UsageError, "normal: std", lambda: gpunn.normal(gpunn.zeros(2), -1.0)),
        (ShapeError, "normal: mean and std: shapes", lambda: gpunn.normal(gpunn.zeros(2), gpunn.ones(3))),
        (UsageError, "normal: size", lambda: gpunn.normal(0.0, 1.0)),
    ):
        with pytest.raises(error, match=text):
            call()
