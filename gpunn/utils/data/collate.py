"""A batch from a list of items, by what the items are made of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from gpunn._calls import explains
from gpunn._creation import tensor
from gpunn._creation_shared import as_tensor
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError
from gpunn.ops.cat import stack


@explains  # here, so that the loader's is the public one
def default_collate(batch: Sequence[Any]) -> Any:
    """Items put together into a batch, field by field.

    Tensors and arrays are stacked along a new first axis. Python's numbers become a tensor: int64, bool, and float64
    for floats. Strings and bytes stay in the sequence they are in. Dicts, named tuples, lists and tuples become the
    same of batches, except that a tuple becomes a list.

    Parameters
    ----------
    batch : list of items
        All alike.

    Returns
    -------
    Tensor, list, dict or named tuple

    Raises
    ------
    DataError
        If there is no item, or sequences differ in length, or dicts in their keys.
    ShapeError
        If tensors differ in shape.
    DTypeError
        If an item is made of something else. Give the loader a ``collate_fn`` then.

    Examples
    --------
    >>> from gpunn.utils.data import default_collate
    >>> default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    if not len(batch):
        raise DataError("default_collate: expected at least one item to make a batch of; got none.")
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, np.ndarray | np.generic) and first.dtype.kind not in "SUO":
        return stack([as_tensor(array) for array in batch]) if first.ndim else as_tensor(np.array(batch))
    if isinstance(first, bool | int):
        return tensor(list(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype=np.float64)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        missing = [key for item in batch for key in first if key not in item]
        if missing:
            raise DataError(f"default_collate: expected the same keys in all items; {missing[0]!r} is missing in one.")
        return _mapping(first, {key: default_collate([item[key] for item in batch]) for key in first})
    if isinstance(first, Sequence):
        lengths = {len(item) for item in batch}
        if len(lengths) > 1:
            raise DataError(
                f"default_collate: expected items of one length in a batch; got {sorted(lengths)}. "
                "Pad them, or give the loader a collate_fn."
            )
        return _sequence(first, [default_collate(field) for field in zip(*batch, strict=True)])
    raise DTypeError(
        f"default_collate: expected tensors, arrays, numbers, strings, dicts, lists or tuples; got "
        f"{type(first).__name__}. Convert it in __getitem__ (an image by transforms.ToTensor()), or give a collate_fn."
    )


@explains
def default_convert(data: Any) -> Any:
    """An item with its arrays as tensors; what a loader without batches does with items.

    Parameters
    ----------
    data : any
        Arrays, also inside dicts, named tuples, lists and tuples, become tensors. A tuple becomes a list. The rest
        stays.

    Examples
    --------
    >>> import numpy as np
    >>> from gpunn.utils.data import default_convert
    >>> default_convert((np.array([1, 2]), "a"))
    [tensor([1, 2]), 'a']
    """
    if isinstance(data, np.ndarray | np.generic):
        return data if data.dtype.kind in "SUO" else as_tensor(data)
    if isinstance(data, Mapping):
        return _mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return _sequence(data, [default_convert(value) for value in data])
    return data


def _mapping(like: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Values in a mapping of the same kind; a copy keeps what else it holds."""
    if isinstance(like, MutableMapping):
        made = copy.copy(like)
        made.update(values)
        return made
    return _built(type(like), values)


def _sequence(like: Sequence[Any], values: list[Any]) -> Any:
    if isinstance(like, tuple):
        return type(like)(*values) if hasattr(like, "_fields") else values
    if isinstance(like, MutableSequence):
        made = copy.copy(like)
        for i, value in enumerate(values):
            made[i] = value
        return made
    return _built(type(like), values)


def _built(kind: Callable[[Any], Any], values: Any) -> Any:
    """Values in a container of this kind, or as they are if it is not made from values, as a range is not."""
    try:
        return kind(values)
    except TypeError:
        return values
