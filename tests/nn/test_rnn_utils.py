"""Sequences of several lengths: filling up and back as in PyTorch; packed ones are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn.errors import ArgumentError, GpunnError, ShapeError, UsageError
from gpunn.nn.utils import rnn
from tests.devices import EVERYWHERE


@pytest.mark.parametrize("where", EVERYWHERE)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_matches_torch(where: str, data: st.DataObject) -> None:
    parity = pytest.importorskip("tests.parity")
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=3))
    rest = tuple(data.draw(st.lists(st.integers(1, 3), max_size=3)))
    options: dict[str, Any] = {
        "batch_first": data.draw(st.booleans()),
        "padding_value": data.draw(st.sampled_from([0.0, -1.5])),
        "padding_side": data.draw(st.sampled_from(["left", "right"])),
    }
    arrays = {
        f"s{i}": np.random.Generator(np.random.Philox(i)).standard_normal((n, *rest)) for i, n in enumerate(lengths)
    }
    parity.compare(
        lambda **s: rnn.pad_sequence(list(s.values()), **options),
        lambda **s: parity.torch.nn.utils.rnn.pad_sequence(list(s.values()), **options),
        arrays,
        where,
        0,  # nothing is computed
    )
    if options["padding_side"] == "right":
        first = options["batch_first"]
        given = [gpunn.tensor(a, device=where) for a in arrays.values()]
        back = rnn.unpad_sequence(rnn.pad_sequence(given, **options), gpunn.tensor(lengths), first)
        assert [s.tolist() for s in back] == [a.tolist() for a in arrays.values()]


def test_lengths_beyond_the_padding_give_all_of_it() -> None:
    padded = gpunn.tensor([[1, 2], [3, 4]])
    assert [s.tolist() for s in rnn.unpad_sequence(padded, [3, -1], True)] == [[1, 2], []]
    assert [s.tolist() for s in rnn.unpad_sequence(padded, [1, 2])] == [[1], [2, 4]]


@pytest.mark.parametrize("name", ["pack_padded_sequence", "pad_packed_sequence", "pack_sequence", "unpack_sequence"])
def test_packed_sequences_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"^{name}: there are no packed sequences here. Give the recurrent") as caught:
        getattr(rnn, name)(gpunn.ones(2, 3, 4), [2, 1], batch_first=True)
    assert len(str(caught.value)) < 500


def test_nothing_is_a_packed_sequence() -> None:
    assert not isinstance(gpunn.ones(2), rnn.PackedSequence)
    with pytest.raises(UsageError, match=r"^PackedSequence: there are no packed sequences"):
        rnn.PackedSequence(gpunn.ones(2), gpunn.ones(2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: rnn.pad_sequence([]),
            ArgumentError,
            r"^pad_sequence: sequences: expected at least one Tensor.*got \[",
        ),
        (lambda: rnn.pad_sequence([gpunn.ones(2), [1]]), ArgumentError, r"Tensors alone; got \['Tensor', 'list'\]"),  # type: ignore[list-item]
        (lambda: rnn.pad_sequence([gpunn.ones(2, 3), gpunn.ones(2)]), ShapeError, r"got \(2, 3\) and \(2,\)"),
        (lambda: rnn.pad_sequence([gpunn.ones(2)], padding_side="up"), UsageError, "padding_side: expected 'right' or"),
        (lambda: rnn.unpad_sequence(gpunn.ones(2), [1]), ShapeError, r"expected \(L, N, ...\) or \(N, L, ...\); got"),
        (lambda: rnn.unpad_sequence(gpunn.ones(2, 3), [1, 2]), ShapeError, "lengths: expected 3 whole numbers, one"),
    ],
)
def test_refuses(call: Any, error: type[GpunnError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
