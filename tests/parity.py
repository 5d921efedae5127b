"""Running one computation in gpunn and in PyTorch from the same numbers and comparing what comes out.

``torch`` is optional: importing this module skips the tests that need it where it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

import gpunn

torch = pytest.importorskip("torch", reason="parity tests compare with PyTorch; pip install torch==2.13.0")
# PyTorch's threads spin while they wait for one another: with as many processes as cores, small steps take ten times as
# long. The bits of what is compared do not matter here, only that it is right.
torch.set_num_threads(1)


def compare(
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    arrays: Mapping[str, np.ndarray | None],
    where: str,
    tolerance: float,
    no_gradient: tuple[str, ...] = (),
    least_scale: float = 1e-6,
) -> None:
    """Values of ``ours(**tensors)`` and ``theirs(**tensors)``, and the gradients of all floating inputs.

    The gradient that enters is a fixed random one. ``tolerance`` is relative to the largest
    magnitude of each array, or to ``least_scale`` (see :func:`close`).
    """
    given = {name: array for name, array in arrays.items() if array is not None}

    def leaf(name: str, array: np.ndarray) -> bool:
        return array.dtype.kind == "f" and name not in no_gradient

    mine = {n: gpunn.tensor(a, device=where, requires_grad=leaf(n, a)) for n, a in given.items()}
    other = {n: torch.tensor(a, requires_grad=leaf(n, a)) for n, a in given.items()}
    absent = {name: None for name, array in arrays.items() if array is None}
    y, expected = ours(**mine, **absent), theirs(**other, **absent)
    close("output", y.detach().numpy(), expected.detach().numpy(), tolerance, least_scale)
    if not expected.requires_grad:
        return
    dy = (
        np.random.Generator(np.random.Philox(3)).standard_normal(expected.shape).astype(expected.detach().numpy().dtype)
    )
    y.backward(gpunn.tensor(dy, device=where))
    expected.backward(torch.tensor(dy))
    for name, tensor in other.items():
        if tensor.grad is not None:
            assert mine[name].grad is not None, f"no gradient for {name}"
            close(f"gradient of {name}", mine[name].grad.numpy(), tensor.grad.numpy(), tolerance, least_scale)


def close(name: str, got: np.ndarray, expected: np.ndarray, tolerance: float, least_scale: float = 1e-6) -> None:
    """Shapes and dtypes equal; values within ``tolerance`` of the largest magnitude, or of ``least_scale``.

    Sums of inputs of order one have rounding errors of that scale even where all of them cancel: 1 then.
    """
    assert got.shape == expected.shape, f"{name}: shape {got.shape}, PyTorch {expected.shape}"
    assert got.dtype == expected.dtype, f"{name}: dtype {got.dtype}, PyTorch {expected.dtype}"
    if expected.size == 0:
        return
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0, got), np.where(finite, 0, expected), err_msg=name)
    scale = max(np.abs(expected[finite]).max(initial=0), least_scale)
    error = np.abs(got[finite] - expected[finite]).max(initial=0) / scale
    assert error <= tolerance, f"{name}: relative error {error:.2e} > {tolerance:.2e}"
