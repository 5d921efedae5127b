"""Generators: streams that repeat, derive and resume exactly."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gpunn._device import device
from gpunn.errors import UsageError
from gpunn.random import Generator, philox_uint32


def test_same_seed_same_numbers() -> None:
    a, b = Generator(5), Generator(5)
    np.testing.assert_array_equal(a.normal(0, 1, (3, 4)), b.normal(0, 1, (3, 4)))
    np.testing.assert_array_equal(a.permutation(100), b.permutation(100))
    assert not np.array_equal(Generator(6).permutation(100), Generator(5).permutation(100))


def test_spawned_streams_differ_and_repeat() -> None:
    children = [Generator(5).spawn("loader"), Generator(5).spawn("dropout")]
    twice = Generator(5)
    children += [twice.spawn("loader"), twice.spawn("loader")]
    first, other, again, second = (c.uniform(0, 1, (4,)).tolist() for c in children)
    assert first == again
    assert len({tuple(v) for v in (first, other, second)}) == 3


def test_spawning_does_not_move_the_parent() -> None:
    a, b = Generator(1), Generator(1)
    a.spawn("x")
    np.testing.assert_array_equal(a.uniform(0, 1, (4,)), b.uniform(0, 1, (4,)))


@pytest.mark.parametrize("used", [0, 1, 3, 7])
def test_state_continues_exactly(used: int) -> None:
    """Also in the middle of a Philox block and with half of a 64-bit word left over."""
    a = Generator(9)
    a.spawn("child")
    a.uniform(0, 1, (used,))
    a.permutation(3 + used)
    a.next_call(device("cpu"))
    state = json.loads(json.dumps(a.get_state()))
    b = Generator(0)
    b.set_state(state)
    np.testing.assert_array_equal(a.normal(0, 1, (5,)), b.normal(0, 1, (5,)))
    np.testing.assert_array_equal(a.permutation(11), b.permutation(11))
    assert a.next_call(device("cpu"))[0] == b.next_call(device("cpu"))[0] == 1
    assert a.spawn("child").key == b.spawn("child").key


def test_philox_block_matches_numpy_and_is_cut_anywhere() -> None:
    words = philox_uint32((1, 2), call=3, n=21)
    stream = np.random.Philox(counter=[0, 3, 0, 0], key=[1, 2]).random_raw(11)
    np.testing.assert_array_equal(words[0::2], (stream & 0xFFFFFFFF)[:11].astype(np.uint32))
    np.testing.assert_array_equal(words[1::2], (stream >> 32)[:10].astype(np.uint32))
    np.testing.assert_array_equal(philox_uint32((1, 2), 3, 5), words[:5])
    assert not np.array_equal(philox_uint32((1, 2), 4, 21), words)


@pytest.mark.parametrize("seed", [-1, 1.5, "7"])
def test_refuses_bad_seeds(seed: Any) -> None:
    with pytest.raises(UsageError, match="non-negative integer"):
        Generator(seed)
