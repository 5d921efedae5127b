"""searchsorted and bucketize: against PyTorch, on all numbers that have an order, and in captured steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn as typed
from gpunn.errors import ShapeError, UsageError
from gpunn.primitive import count_bodies
from tests.devices import EVERYWHERE

gpunn: Any = typed


@pytest.mark.parametrize("where", EVERYWHERE)
def test_matches_torch(where: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.Generator(np.random.Philox(1))
    line, table = np.sort(rng.integers(0, 9, 7)), np.sort(rng.standard_normal((2, 3, 6)), -1)
    values, many = rng.integers(-1, 10, (4, 5)), rng.standard_normal((2, 3, 4))
    for options in ({}, {"right": True}, {"side": "right"}, {"side": "left", "out_int32": True}):
        for sequence, wanted in ((line, values), (table, many), (line.astype(np.float32), 3)):
            mine, theirs = (
                library.searchsorted(
                    library.tensor(sequence, **place),
                    library.tensor(wanted, **place) if isinstance(wanted, np.ndarray) else wanted,
                    **options,
                )
                for library, place in ((gpunn, {"device": where}), (torch, {}))
            )
            assert mine.tolist() == theirs.tolist()
            assert str(mine.dtype) == str(theirs.dtype).removeprefix("torch.")
    mixed = table[..., ::-1].copy()
    order = np.argsort(mixed, -1)
    mine, theirs = (
        library.searchsorted(library.tensor(mixed), library.tensor(many), sorter=library.tensor(order))
        for library in (gpunn, torch)
    )
    assert mine.tolist() == theirs.tolist()
    for right in (False, True):
        assert (
            gpunn.bucketize(gpunn.tensor(values, device=where), gpunn.tensor(line, device=where), right=right).tolist()
            == torch.bucketize(torch.tensor(values), torch.tensor(line), right=right).tolist()
        )


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int16", "int8", "uint8"])
def test_kernels_find_what_numpy_does(kernels: str, dtype: str) -> None:
    rng = np.random.Generator(np.random.Philox(2))
    line = np.sort(rng.integers(0, 40, 300)).astype(dtype)
    values = rng.integers(0, 45, 700).astype(dtype)
    if line.dtype.kind == "f":
        line[:2], line[-3:] = -np.inf, (np.inf, np.nan, np.nan)
        values[:5] = (np.nan, np.inf, -np.inf, -0.0, 0.5)
    for right in (False, True):
        found = gpunn.searchsorted(
            gpunn.tensor(line, device=kernels), gpunn.tensor(values, device=kernels), right=right
        )
        np.testing.assert_array_equal(found.numpy(), np.searchsorted(line, values, "right" if right else "left"))


def test_a_captured_step_searches_anew(kernels: str) -> None:
    captured = gpunn.capture(lambda line, x: gpunn.searchsorted(line.sort().values, x) + gpunn.bucketize(x, line) * 0)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        line, x = rng.standard_normal(9), rng.standard_normal((3, 4))
        with count_bodies() as bodies:
            found = captured(gpunn.tensor(line, device=kernels), gpunn.tensor(x, device=kernels))
        assert {body for _, body in bodies} <= {"kernel"}
        np.testing.assert_array_equal(found.numpy(), np.searchsorted(np.sort(line), x))
    assert captured.graphs == 1


def test_refusals() -> None:
    x = gpunn.ones(2, 3)
    for error, text, call in (
        (UsageError, "searchsorted: side", lambda: gpunn.searchsorted(x, x, side="middle")),
        (UsageError, "searchsorted: side", lambda: gpunn.searchsorted(x, x, right=True, side="left")),
        (ShapeError, "searchsorted: expected a sequence", lambda: gpunn.searchsorted(x[0, 0], x[0, 0])),
        (ShapeError, "searchsorted: expected values", lambda: gpunn.searchsorted(x, x[0])),
        (ShapeError, "searchsorted: sorter", lambda: gpunn.searchsorted(x, x, sorter=x[0].long())),
        (ShapeError, "bucketize: boundaries", lambda: gpunn.bucketize(x, x)),
    ):
        with pytest.raises(error, match=text):
            call()
