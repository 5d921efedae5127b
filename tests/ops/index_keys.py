"""Keys to index with, drawn by hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import gpunn
from tests.ops.arrays import FEW_ROUNDINGS, arrays, shapes

# Up to some 50 copies of an element are added.
BOUND = {dtype: 10 * bound for dtype, bound in FEW_ROUNDINGS.items()}


@st.composite
def keys(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[tuple, tuple]:
    """A key for an array of this shape: for gpunn, and the same for PyTorch."""
    torch = pytest.importorskip("torch")
    common = draw(st.lists(st.integers(0, 3), max_size=2))
    ours: list[Any] = []
    theirs: list[Any] = []

    def add(mine: Any, other: Any) -> None:
        ours.append(mine)
        theirs.append(other)

    at, ellipsis = 0, False
    while at < len(shape) and draw(st.integers(0, 5)):
        n = shape[at]
        kind = draw(st.sampled_from(["int", "slice", "none", "array", "array", "mask", "ellipsis", "slice"]))
        if kind == "int" and n:
            number = draw(st.integers(-n, n - 1))
            add(draw(st.sampled_from([number, np.int64(number), gpunn.tensor(number)])), number)
            at += 1
        elif kind == "slice":
            end = st.one_of(st.none(), st.integers(-6, 6))
            part = slice(draw(end), draw(end), draw(st.sampled_from([None, 1, 2, 3])))
            add(part, part)
            at += 1
        elif kind == "none":
            add(None, None)
        elif kind == "ellipsis" and not ellipsis:
            add(Ellipsis, Ellipsis)
            ellipsis, left = True, draw(st.integers(0, len(shape) - at))
            at += left
            # The rest of the key must end at the last axis.
            while at < len(shape):
                part = slice(draw(st.integers(0, 2)), None)
                add(part, part)
                at += 1
        elif kind == "mask":
            span = draw(st.integers(1, min(2, len(shape) - at)))
            if any(hasattr(v, "dtype") for v in theirs):
                continue
            rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 99))))
            mask = rng.random(shape[at : at + span]) > 0.4
            add(draw(st.sampled_from([mask, gpunn.tensor(mask)])), torch.tensor(mask))
            common = [int(mask.sum())]  # other arrays of this key have its length, or 1
            at += span
        elif kind == "array" and (n or 0 in common):
            lengths = [1 if draw(st.integers(0, 4)) == 0 else m for m in common[draw(st.integers(0, len(common))) :]]
            if n == 0 and 0 not in lengths:
                continue
            rng = np.random.Generator(np.random.Philox(draw(st.integers(0, 99))))
            places = rng.integers(-n, n, lengths) if n else np.zeros(lengths, np.int64)
            if draw(st.booleans()):
                places = places.astype(np.int32)
            listed = places.tolist() if places.size and places.ndim else places  # [] has lost its shape
            add(draw(st.sampled_from([places, gpunn.tensor(places), listed])), torch.tensor(places))
            at += 1
    return tuple(ours), tuple(theirs)


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    x = draw(arrays(draw(shapes())))
    return x, *draw(keys(x.shape))
