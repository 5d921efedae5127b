"""Scaled dot-product attention: parity with PyTorch, known answers, gradients, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import DTypeError, ShapeError, UsageError
from gpunn.nn import functional
from tests.devices import EVERYWHERE

F: Any = functional  # whose arguments are given as lists here


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).normal(size=shape)


@pytest.mark.parity
@pytest.mark.parametrize("where", EVERYWHERE)
@settings(max_examples=40, deadline=None)
@given(
    batch=st.lists(st.integers(1, 3), max_size=3),
    lengths=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 7), st.integers(1, 7)),
    how=st.sampled_from(["plain", "causal", "bool", "float", "scale"]),
    seed=st.integers(0, 99),
)
def test_values_and_gradients_are_pytorchs(where: str, batch: Any, lengths: Any, how: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    L, S, E, V = lengths
    given_ = [numbers(*batch, n, e, seed=seed + i) for i, (n, e) in enumerate(((L, E), (S, E), (S, V)))]
    options: dict[str, Any] = {"is_causal": True} if how == "causal" else {"scale": 0.3} if how == "scale" else {}
    mask = None
    if how == "bool":
        mask = numbers(L, S, seed=seed + 7) > -0.5
        mask[:, 0] = True  # a query that may look at nothing is another test's
    elif how == "float":
        mask = numbers(*batch[-1:], 1, S, seed=seed + 7)
    dy = numbers(*batch, L, V, seed=seed + 9)

    ours = [gpunn.tensor(a, device=where, requires_grad=True) for a in given_]
    y = F.scaled_dot_product_attention(*ours, None if mask is None else gpunn.tensor(mask, device=where), **options)
    y.backward(gpunn.tensor(dy, device=where))
    theirs = [torch.tensor(a, requires_grad=True) for a in given_]
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *theirs, None if mask is None else torch.tensor(mask), **options
    )
    wanted.backward(torch.tensor(dy))
    # float64: sums of at most nine numbers of about 1.
    np.testing.assert_allclose(y.detach().numpy(), wanted.detach().numpy(), rtol=0, atol=1e-13)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parity
def test_heads_that_share_keys_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    q, k, v = numbers(2, 6, 5, 4), numbers(2, 3, 7, 4, seed=1), numbers(2, 3, 7, 2, seed=2)
    wanted = torch.nn.functional.scaled_dot_product_attention(*map(torch.tensor, (q, k, v)), enable_gqa=True).numpy()
    found = F.scaled_dot_product_attention(*map(gpunn.tensor, (q, k, v)), enable_gqa=True).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_equal_keys_give_the_mean_and_a_far_better_one_its_value(where: str) -> None:
    value = gpunn.tensor([[1.0, 0.0], [2.0, 6.0], [3.0, 3.0]], device=where)
    query = gpunn.tensor([[1.0], [2.0]], device=where)
    mean = F.scaled_dot_product_attention(query, gpunn.ones(3, 1, device=where), value)
    np.testing.assert_allclose(mean.numpy(), [[2, 3], [2, 3]], rtol=1e-6)
    one = F.scaled_dot_product_attention(query, gpunn.tensor([[0.0], [500.0], [0.0]], device=where), value)
    assert one.tolist() == [[2, 6], [2, 6]]
    causal = F.scaled_dot_product_attention(query, gpunn.ones(3, 1, device=where), value, is_causal=True)
    np.testing.assert_allclose(causal.numpy(), [[1.0, 0.0], [1.5, 3.0]], rtol=1e-6)


def test_dropout_drops_weights_and_scales_the_others() -> None:
    gpunn.manual_seed(2)
    value = gpunn.ones(400, 1)
    y = F.scaled_dot_product_attention(gpunn.zeros(300, 2), gpunn.zeros(400, 2), value, dropout_p=0.25)
    # Each result is the mean of 400 numbers that are 0 or 4/3: its deviation is 0.029.
    assert abs(float(y.mean()) - 1) < 5 * 0.029 / 300**0.5
    assert 0.02 < float(y.std()) < 0.04
    assert F.scaled_dot_product_attention(gpunn.zeros(3, 2), gpunn.zeros(4, 2), value[:4], dropout_p=1.0).tolist() == (
        [[0.0]] * 3
    )


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("kind", ["bool", "added", "recorded", "wide"])
def test_a_query_that_may_look_at_nothing_gives_0(kind: str, where: str) -> None:
    """As in batches of sequences that are filled up: no NaN comes back either. Wide heads have no kernel."""
    from tests.parity import compare

    E = 130 if kind == "wide" else 3
    mask = np.array([[[True, False, True]] * 5, [[False] * 3] * 4 + [[True] * 3]])
    arrays = {n: numbers(2, length, E, seed=s) for n, length, s in (("query", 5, 1), ("key", 3, 2), ("value", 3, 3))}
    arrays["attn_mask"] = mask if kind in ("bool", "wide") else np.where(mask, 0.0, -np.inf)
    torch = pytest.importorskip("torch")
    constant = () if kind == "recorded" else ("attn_mask",)
    theirs = torch.nn.functional.scaled_dot_product_attention
    compare(F.scaled_dot_product_attention, theirs, arrays, where, 1e-12, constant)  # float64, sums of 130 numbers
    y = F.scaled_dot_product_attention(*(gpunn.tensor(a, device=where) for a in arrays.values()))
    assert y[1, :4].abs().max().item() == 0


def test_nan_stays_with_the_queries_that_see_it(kernels: str) -> None:
    """Where the largest score is looked for, NaN is none; it has to come through the sum, in each of several tiles."""
    q, k, v = (numbers(150, 8, seed=s).astype(np.float32) for s in range(3))
    q[3, 2], k[100, 5] = np.nan, np.nan  # keys from 100 on are seen by queries from 100 on
    y = F.scaled_dot_product_attention(*(gpunn.tensor(a, device=kernels) for a in (q, k, v)), is_causal=True).numpy()
    there = np.isnan(y)
    assert (there == there[:, :1]).all()
    np.testing.assert_array_equal(np.flatnonzero(there[:, 0]), [3, *range(100, 150)])
    whole = F.scaled_dot_product_attention(*(gpunn.tensor(a) for a in (q[:, :], k, v)), is_causal=True).numpy()
    # float32: means of at most 150 numbers of about 1, by scores of about 3.
    np.testing.assert_allclose(y[~there], whole[~there], rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_bits_do_not_depend_on_the_order_of_blocks(causal: bool, kernels: str) -> None:
    q, k, v, dy = (numbers(3, 100, 16, seed=s).astype(np.float32) for s in range(4))
    made = []
    for order in ((0, 1, 2), (2, 0, 1)):
        inputs = [gpunn.tensor(a[list(order)], device=kernels, requires_grad=True) for a in (q, k, v)]
        y = F.scaled_dot_product_attention(*inputs, is_causal=causal)
        y.backward(gpunn.tensor(dy[list(order)], device=kernels))
        back = np.argsort(order)
        made.append([a.numpy()[back] for a in (y.detach(), *(t.grad for t in inputs))])
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradcheck() -> None:
    inputs = [gpunn.tensor(numbers(2, n, 3, seed=n), requires_grad=True) for n in (3, 4, 4)]
    assert gpunn.gradcheck(F.scaled_dot_product_attention, inputs)
    assert gpunn.gradcheck(lambda *t: F.scaled_dot_product_attention(*t, is_causal=True), inputs)


def test_a_captured_step_is_the_eager_one(kernels: str) -> None:
    given_ = [gpunn.tensor(numbers(2, n, 4, seed=n).astype(np.float32), device=kernels) for n in (5, 6, 6)]
    weight = gpunn.ones(4, 4, device=kernels, requires_grad=True)

    def step(q: Any, k: Any, v: Any) -> Any:
        weight.grad = None
        loss = F.scaled_dot_product_attention(q @ weight, k, v, is_causal=True).square().sum()
        loss.backward()
        return loss

    eager, gradient = step(*given_).item(), weight.grad.numpy().copy()
    captured = gpunn.capture(step)
    for _ in range(3):
        assert captured(*given_).item() == eager
        np.testing.assert_array_equal(weight.grad.numpy(), gradient)


def test_refusals() -> None:
    x = gpunn.ones(2, 3, 4)

    def refused(error: type[Exception], match: str, *args: Any, **options: Any) -> None:
        with pytest.raises(error, match=match):
            F.scaled_dot_product_attention(*args, **options)

    refused(ShapeError, "at least two axes", gpunn.ones(4), x, x)
    refused(ShapeError, "as many features", gpunn.ones(2, 3, 5), x, x)
    refused(ShapeError, "as many positions", x, x, gpunn.ones(2, 5, 4))
    refused(ShapeError, "leading axes that fit together", x, gpunn.ones(3, 3, 4), gpunn.ones(3, 3, 4))
    refused(DTypeError, "of one floating dtype", x, x, x.double())
    refused(DTypeError, "of one floating dtype", *[x.to("int64")] * 3)
    refused(UsageError, "expected one of the two; got both", x, x, x, gpunn.ones(3, 3, dtype="bool"), is_causal=True)
    refused(ShapeError, "attn_mask: expected a shape that broadcasts", x, x, x, gpunn.ones(4, 4))
    refused(DTypeError, "attn_mask: expected bool or float32", x, x, x, gpunn.ones(3, 3, dtype="int64"))
    refused(
        ShapeError, "enable_gqa: expected a multiple", *[gpunn.ones(1, n, 3, 4) for n in (5, 2, 2)], enable_gqa=True
    )
