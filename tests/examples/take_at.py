"""Example inputs of the primitives of ``gpunn/ops/take_at.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunn._layout import logical
from gpunn.ops.take_at import add_at, index_range, nonzero_places, set_at, take_at, valid_index
from tests.examples import examples_for


def _index_cases() -> list[dict[str, Any]]:
    i, j = np.array([2, 0, 2, 1, 2]), np.array([[0, 1], [3, 0]])
    return [
        {"shape": (3, 4), "indices": [i], "axes": (0,), "at": 0},
        {"shape": (2, 3, 4, 5), "indices": [i], "axes": (1,), "at": 1},
        {"shape": (3, 2, 2, 3), "indices": [i], "axes": (0,), "at": 0},
        {"shape": (2, 3, 4, 5), "indices": [j], "axes": (2,), "at": 2},
        {"shape": (3, 4, 2), "indices": [np.array([[1], [2]]), j], "axes": (0, 1), "at": 0},
        {"shape": (3, 2, 4), "indices": [np.array([1, 2]), j], "axes": (0, 2), "at": 0},
        {"shape": (3, 2), "indices": [i[:0]], "axes": (0,), "at": 0},
        {"shape": (0, 2), "indices": [i[:0]], "axes": (0,), "at": 0},
        {"shape": (3, 8), "indices": [i], "axes": (0,), "at": 0},
        {"shape": (4, 3, 5), "indices": [j], "axes": (0,), "at": 0},
        {"shape": (2, 3, 2, 3, 2, 3, 2), "indices": [i, i, i], "axes": (1, 3, 5), "at": 0},
        # As many axes as the kernel has room for: five that no index joins, and the index.
        {"shape": (2, 3, 2, 3, 2, 3, 2, 3, 2), "indices": [i, i, i, i], "axes": (1, 3, 5, 7), "at": 0},
        {"shape": (3, 3), "indices": [i[:, None], i], "axes": (0, 1), "at": 0},
        # More indices than a block has threads.
        {"shape": (7, 11), "indices": [np.arange(300) % 7, np.arange(300) % 11], "axes": (0, 1), "at": 0},
    ]


@examples_for(take_at)
def _take_at_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": rng.standard_normal(c.pop("shape")).astype(np.float32), **c} for c in _index_cases()]


@examples_for(add_at)
def _add_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made = []
    for case in _index_cases():
        y = take_at.plain(np, np.zeros(case["shape"], np.float32), case["indices"], case["axes"], case["at"])
        dy = rng.standard_normal(logical(y).shape)
        made.append({"dy": dy.astype(np.float32), "unique": False, **case})
    once: dict[str, Any] = {"shape": (4,), "indices": [np.array([2, 1])], "axes": (0,), "at": 0}
    many = {"shape": (2,), "indices": [rng.integers(0, 2, 1000)], "axes": (0,), "at": 0}
    # Places that end with a chunk of 32, before it, after it, and fill several. The last: one that begins as a chunk
    # ends and fills the next, and more elements than a block has threads.
    for counts, width in (([32, 31, 33, 97, 2], 3), ([31, 31, 33, 97, 2], 3), ([32, 31, 34, 97, 2], 50)):
        runs = np.repeat([4, 0, 1, 5, 2], counts)
        ends: dict[str, Any] = {"shape": (6, width), "indices": [runs], "axes": (0,), "at": 0}
        made.append({"dy": rng.standard_normal((len(runs), width)), "unique": False, **ends})
    made += [{"dy": rng.standard_normal((2, 3)), "unique": True, **once, "shape": (4, 3)}]
    return [
        *made,
        {"dy": np.array([np.nan, np.inf]), "unique": True, **once},
        {"dy": rng.random(1000), "unique": False, **many},
    ]


@examples_for(set_at)
def _set_at_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    twice = {"indices": [np.array([2, 0, 2])], "axes": (0,), "at": 0}
    made = [
        {"target": np.zeros((3, 4)), "value": np.array(1.0), "key": (slice(None), slice(1, 3)), **twice},
        {"target": np.zeros(3, np.float32), "value": np.array([1, 2, 3], np.float32), "key": (slice(None),), **twice},
        {"target": np.zeros((2, 3)), "value": rng.random((2, 1)), "key": (), "indices": [np.array([0, 2])]}
        | {"axes": (1,), "at": 1},
        {"target": np.zeros((2, 3)), "value": rng.random(0), "key": (), "indices": [np.zeros(0, int)]}
        | {"axes": (1,), "at": 1},
        {"target": np.zeros((2, 8, 3), bool), "value": np.array([[True]]), "key": (1, slice(1, None, 2))}
        | {"indices": [np.array([3])], "axes": (0,), "at": 0},
        # More than a block, nearly all of them twice or more, behind a slice.
        {"target": np.zeros((5, 90), np.int32), "value": rng.integers(0, 99, (5, 600)).astype(np.int32)}
        | {"key": (slice(None), slice(2, 82)), "indices": [rng.integers(0, 80, 600)], "axes": (1,), "at": 1},
    ]
    for case in _index_cases():
        y = take_at.plain(np, np.zeros(case["shape"], np.float32), case["indices"], case["axes"], case["at"])
        value = rng.standard_normal(logical(y).shape).astype(np.float32)
        target = rng.standard_normal(case.pop("shape")).astype(np.float32)
        for of_value in (value, value[..., :1]):
            made.append({"target": target.copy(), "value": of_value, "key": (), **case})
    return made


@examples_for(index_range)
def _range_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"index": np.array([[3, -1], [0, 2]])}, {"index": np.array(5)}]


@examples_for(valid_index)
def _valid_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [{"index": np.array([3, -1, 0, -4]), "negative": True}]
    made += [{"index": rng.integers(0, 4, (2, 3, 200)).astype(np.int32), "negative": False}]
    made += [{"index": np.array(2), "negative": False}, {"index": np.zeros((0, 2), np.int64), "negative": True}]
    return [{**given, "length": 4, "place": "an example"} for given in made]


@examples_for(nonzero_places)
def _nonzero_examples(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [{"x": rng.random((2, 3, 4, 2)) > 0.5}, {"x": np.array([0.0, np.nan, 2])}, {"x": np.zeros((0, 2), bool)}]
