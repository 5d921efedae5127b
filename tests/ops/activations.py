"""What the tests of the activations share: inputs to draw, the comparison with PyTorch, work over threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import gpunn
from gpunn._gradcheck import gradcheck
from gpunn.cpu import threads
from gpunn.cpu.elementwise import PART

# What exp and erf of two libraries differ by is some last digits of the numbers that the formulas add up, which are
# of order one: hence least_scale=1 in what follows. Also for the largest gradients of float64, which are below 3.
TOLERANCE: dict[np.dtype, float] = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-12}


@st.composite
def arrays(draw: st.DrawFn, *, shape: tuple[int, ...] | None = None, kinks: tuple[float, ...] = (0.0,)) -> np.ndarray:
    """Numbers within a few units of 0, some of them kinks; any shape and layout, empty batches among them."""
    if shape is None:
        shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    layout = draw(st.sampled_from(["contiguous", "transposed", "strided"]))
    rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 2**16))))
    x = np.asarray(3 * rng.standard_normal(shape), dtype)
    kinked = rng.random(shape) < 0.2
    x[kinked] = rng.choice(kinks, int(kinked.sum()))
    if layout == "transposed":
        return np.ascontiguousarray(x.T).T
    if layout == "strided" and x.ndim:
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    return x


def compare(ours: Callable[..., Any], theirs: Callable[[Any, Any], Any], x: np.ndarray, where: str) -> None:
    """Values and gradients of ``ours(x)`` and ``theirs(torch, x)``."""
    parity = pytest.importorskip("tests.parity")
    theirs_of = parity.torch
    tolerance = TOLERANCE[x.dtype]
    parity.compare(ours, lambda x: theirs(theirs_of, x), {"x": x}, where, tolerance, least_scale=1)


def compare_far(ours: Callable[..., Any], theirs: Callable[[Any, Any], Any], where: str, infinite: bool = True) -> None:
    """The same at the ends of the numbers; the values also of infinities (unless told not) and NaN."""
    parity = pytest.importorskip("tests.parity")
    for dtype in TOLERANCE:
        compare(ours, theirs, np.array([-1e4, -100, -30, 30, 100, 1e4], dtype), where)
        special = np.array([np.nan, *([np.inf, -np.inf] if infinite else [])], dtype)
        expected = theirs(parity.torch, parity.torch.tensor(special)).numpy()
        np.testing.assert_array_equal(ours(gpunn.tensor(special, device=where)).numpy(), expected)


def check_gradient(ours: Callable[..., Any], kinks: tuple[float, ...] = ()) -> None:
    """Central differences agree at points at least 0.01 away from every kink."""
    x = 2 * np.random.Generator(np.random.Philox(1)).standard_normal((3, 4, 5))
    for kink in kinks:
        x[np.abs(x - kink) < 0.01] += 0.02
    assert gradcheck(ours, gpunn.tensor(x, requires_grad=True))


def check_threads(ours: Callable[..., Any]) -> None:
    """Values and gradients have the same bits with one thread as with two, and as in pieces that fill no block."""

    def run(x: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        t = gpunn.tensor(x, requires_grad=True)
        y = ours(t)
        y.backward(gpunn.tensor(dy))
        return [y.detach().numpy(), t.grad.numpy()]

    rng = np.random.Generator(np.random.Philox(2))
    x, dy = rng.standard_normal((2, 2 * PART + 77)).astype(np.float32)
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            threads.set_num_threads(count)
            results.append(run(x, dy))
    finally:
        threads.set_num_threads(before)
    pieces = [run(x[start : start + 1000], dy[start : start + 1000]) for start in range(0, x.size, 1000)]
    for one, two, parts in zip(*results, zip(*pieces, strict=True), strict=True):
        np.testing.assert_array_equal(one, two)
        # A vector loop and the loop over what is left of it may round differently in the last digit.
        np.testing.assert_allclose(np.concatenate(parts), one, rtol=1e-6, atol=1e-7)


def gradient_at(ours: Callable[..., Any], x: float, where: str = "cpu") -> float:
    """The gradient of one element."""
    t = gpunn.tensor(np.array([x], np.float32), device=where, requires_grad=True)
    ours(t).sum().backward()
    return t.grad.tolist()[0]
