"""Example inputs of the primitives of ``gpunn/ops/take_slice.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn.ops.take_slice import Key, put_slice, read_strided, set_slice, take_slice, write_strided
from tests.examples import examples_for


def _keys() -> list[tuple[tuple[int, ...], Key]]:
    return [
        ((2, 3, 4, 5), (slice(None), slice(None), slice(0, None, 2), slice(1, 4))),
        ((2, 3, 4, 5), (0, slice(None), 1, None)),
        ((2, 3), (slice(1, 2), slice(None))),
        ((2, 8, 5, 6), (slice(None), slice(None), slice(None, None, 2), slice(1, None, 2))),
        ((3, 8, 4, 4), (slice(None), slice(4, 8))),
        ((0, 3), (slice(None), slice(2, 9))),
        ((5,), (3,)),
        ((), ()),
    ]


@examples_for(take_slice)
def _take_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"x": np.asarray(rng.standard_normal(shape), np.float32), "key": key} for shape, key in _keys()]
    return [*made, {"x": np.arange(4), "key": (slice(0, 3, 2),)}]


@examples_for(put_slice)
def _put_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"dy": np.asarray(np.ones(s)[k], np.float32), "shape": s, "key": k} for s, k in _keys()]


@examples_for(set_slice)
def _set_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = [{"target": np.zeros(s, np.float32), "value": np.array(2, np.float32), "key": k} for s, k in _keys()]
    return [*made, {"target": np.zeros((2, 3)), "value": np.arange(3.0), "key": (1,)}]


_STRIDED = [  # lengths, strides in elements, the first element; of 24
    ((4, 3, 2), (1, 8, 4), 0),
    ((5,), (4,), 2),
    ((2, 3), (12, 2), 5),
    ((), (), 23),
    ((0, 3), (1, 1), 0),
    ((1, 2, 2, 3), (24, 1, 12, 4), 1),
]


@examples_for(read_strided)
def _read_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    x = np.asarray(rng.standard_normal((2, 3, 4)), np.float32)
    made = [{"x": x, "shape": shape, "strides": strides, "start": start} for shape, strides, start in _STRIDED]
    return [*made, {"x": np.arange(6), "shape": (3, 2), "strides": (1, 3), "start": 0}]


@examples_for(write_strided)
def _write_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for shape, strides, start in _STRIDED:
        value = np.asarray(rng.standard_normal(shape), np.float32)
        made.append({"target": np.zeros((2, 3, 4), np.float32), "value": value, "strides": strides, "start": start})
    return made
