"""Padding layers against PyTorch's, and what they refuse."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

import gpunn
from gpunn import nn
from gpunn.errors import ShapeError, UsageError

LAYERS = [
    ("ZeroPad1d", (2,)),
    ("ZeroPad1d", ((1, -1),)),
    ("ZeroPad2d", (1,)),
    ("ZeroPad2d", ((1, 2, 3, 0),)),
    ("ConstantPad1d", (1, 2.5)),
    ("ConstantPad2d", ((1, 2, 0, -1), -1.0)),
    ("ReflectionPad2d", (2,)),
    ("ReflectionPad2d", ((1, 2, 0, 1),)),
    ("ReplicationPad2d", ((3, 2, 0, 1),)),
    ("ReflectionPad1d", ((1, 3),)),
    ("ReplicationPad1d", (2,)),
    ("CircularPad1d", ((5, 1),)),
    ("CircularPad2d", (2,)),
    ("CircularPad2d", ((1, 2, 0, 4),)),
    ("ZeroPad3d", ((1, 2, 0, 1, 3, 0),)),
    ("ConstantPad3d", ((1, -2, 0, 1, 3, -1), 0.5)),
    ("ReflectionPad3d", ((1, 2, 0, 1, 2, 0),)),
    ("ReplicationPad3d", ((1, 2, 0, 1, 4, 1),)),
    ("CircularPad3d", (2,)),
]


@pytest.mark.parametrize("batch", [(2,), (), (0,)])
@pytest.mark.parametrize(("name", "args"), LAYERS)
def test_matches_torch(name: str, args: tuple, batch: tuple) -> None:
    parity = pytest.importorskip("tests.parity")
    shape = (*batch, 3, *(3, 4, 5)[3 - int(name[-2]) :])
    x = np.random.Generator(np.random.Philox(0)).standard_normal(shape).astype(np.float32)
    ours, theirs = getattr(nn, name)(*args), getattr(parity.torch.nn, name)(*args)
    # At most 20 copies of a corner are added.
    parity.compare(ours, lambda x: theirs(x), {"x": x}, "cpu", 1e-6, (), 1)
    assert repr(ours) == repr(theirs)
    assert ours.state_dict() == {}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.ZeroPad2d((1, 2)), UsageError, r"ZeroPad2d: padding: .*\(left, right, top, bottom\); got \(1, 2\)"),
        (lambda: nn.ZeroPad1d(cast(Any, 1.5)), UsageError, "ZeroPad1d: padding"),
        (lambda: nn.ReflectionPad2d(4)(gpunn.zeros(1, 1, 4, 9)), ShapeError, "ReflectionPad2d: .* axis 2, of length 4"),
        (lambda: nn.ReplicationPad2d(1)(gpunn.zeros(4, 4)), ShapeError, "one or two more"),
    ],
)
def test_refuses(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()
