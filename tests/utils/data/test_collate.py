"""default_collate and default_convert: PyTorch's batches, whatever items are made of."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn.errors import DataError, DTypeError, ShapeError
from gpunn.utils.data import default_collate, default_convert

Pair = namedtuple("Pair", "image label")


def plain(value: Any) -> Any:
    """A structure with each tensor as (dtype, numbers) and each container as (its type, what it holds)."""
    if hasattr(value, "numpy"):
        array = value.numpy()
        return "tensor", str(array.dtype), array.shape, array.tolist()
    if isinstance(value, dict | UserDict):
        return type(value).__name__, {key: plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [plain(v) for v in value]
    return type(value).__name__, value


BATCHES: dict[str, Any] = {
    "tensors": lambda library: [library.tensor([[1.0, 2.0]]), library.tensor([[3.0, 4.0]])],
    "images": lambda library: [library.ones(3, 4, 5), library.zeros(3, 4, 5)],
    "scalars": lambda library: [library.tensor(3), library.tensor(5)],
    "arrays": lambda library: [np.arange(3, dtype=np.uint8), np.arange(3, 6, dtype=np.uint8)],
    "float64 arrays": lambda library: [np.ones((2, 2)), np.zeros((2, 2))],
    "NumPy's numbers": lambda library: [np.float32(1.5), np.float32(2.5)],
    "integers": lambda library: [1, 2],
    "floats": lambda library: [0.1, 0.2],
    "truths": lambda library: [True, False],
    "strings": lambda library: ["a", "bc"],
    "bytes": lambda library: [b"a", b"bc"],
    "tuples": lambda library: [(library.ones(2), 1, "a"), (library.zeros(2), 2, "b")],
    "lists": lambda library: [[1, 2.0], [3, 4.0]],
    "nested lists": lambda library: [[(1, 2), [3]], [(4, 5), [6]]],
    "dicts": lambda library: [{"x": np.ones(2), "name": "a"}, {"x": np.zeros(2), "name": "b"}],
    "ordered dicts": lambda library: [OrderedDict(b=1, a=(2.0, "x")), OrderedDict(a=(3.0, "y"), b=4)],
    "dicts of users": lambda library: [UserDict(a=1), UserDict(a=2)],
    "named tuples": lambda library: [Pair(library.ones(2), 1), Pair(library.zeros(2), 2)],
    "dicts in tuples": lambda library: [({"a": {"b": 1}}, 2), ({"a": {"b": 3}}, 4)],
    "ranges": lambda library: [range(2), range(2, 4)],
}


@pytest.mark.parametrize("what", BATCHES)
def test_batches_are_pytorchs(what: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.utils.data.default_collate(BATCHES[what](torch))
    assert plain(default_collate(BATCHES[what](gpunn))) == plain(theirs)


@pytest.mark.parametrize("what", BATCHES)
def test_converted_items_are_pytorchs(what: str) -> None:
    torch = pytest.importorskip("torch")
    item, other = BATCHES[what](gpunn)[0], BATCHES[what](torch)[0]
    assert plain(default_convert(item)) == plain(torch.utils.data.default_convert(other))


def test_values_without_pytorch() -> None:
    batch = default_collate([{"x": np.array([1, 2]), "y": (0.5, "a")}, {"x": np.array([3, 4]), "y": (1.5, "b")}])
    assert batch["x"].tolist() == [[1, 2], [3, 4]]
    assert batch["y"][0].dtype == np.float64
    assert (batch["y"][0].tolist(), batch["y"][1]) == ([0.5, 1.5], ("a", "b"))


def test_gradients_go_through() -> None:
    leaf = gpunn.ones(2, requires_grad=True)
    default_collate([(leaf, 1), (leaf * 2, 2)])[0].sum().backward()
    assert leaf.grad.tolist() == [3, 3]


def test_items_are_not_changed() -> None:
    items = [{"a": 1}, {"a": 2}], [[1], [2]]
    for batch in items:
        before = repr(batch)
        default_collate(batch)
        assert repr(batch) == before


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ([], DataError, "at least one item"),
        ([object(), object()], DTypeError, "got object.*collate_fn"),
        ([None, None], DTypeError, "got NoneType"),
        ([(1, 2), (1, 2, 3)], DataError, r"one length in a batch; got \[2, 3\]"),
        ([{"a": 1}, {"b": 1}], DataError, "'a' is missing"),
        ([gpunn.ones(2), gpunn.ones(3)], ShapeError, "stack"),
        ([np.array(["a"]), np.array(["b"])], DTypeError, "got ndarray"),
    ],
)
def test_what_makes_no_batch(batch: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        default_collate(batch)
