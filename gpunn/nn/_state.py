"""Loading a state_dict: everything is checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gpunn._interop import is_cupy, tensor_of
from gpunn._tensor import Tensor
from gpunn.errors import StateDictError, shortened
from gpunn.tape import no_grad

_LISTED = 12  # keys that a message names before it counts the rest
_ROOM = 240  # characters that they may take, as they may be a file's


class LoadReport(NamedTuple):
    """What did not match in a ``load_state_dict(strict=False)``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(name: str, own: Mapping[str, Tensor], given: Mapping[str, Any], strict: bool) -> LoadReport:
    """Copy ``given`` into the tensors ``own``, all or nothing; see :meth:`Module.load_state_dict`."""
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    values: dict[str, np.ndarray] = {}
    misshapen = []
    for key, tensor in own.items():
        if key not in given:
            continue
        values[key] = value = _host(name, key, given[key])
        if value.shape != tensor.shape:
            misshapen.append(f"{key}: expected {tensor.shape}, got {value.shape}")
        elif value.dtype.kind in "OUSMm" or _floating(value) != _floating(tensor):
            misshapen.append(f"{key}: expected {tensor.dtype}, got {value.dtype}")
    faults = [("wrong shapes or dtypes", misshapen)]
    if strict:
        faults = [("missing keys", missing), ("unexpected keys", unexpected), *faults]
    if any(keys for _, keys in faults):
        listings = {what: _listing(keys) for what, keys in faults if keys}
        left, rooms = _ROOM, {}
        for count, what in enumerate(sorted(listings, key=lambda what: len(listings[what]))):
            rooms[what] = min(len(listings[what]), left // (len(listings) - count))
            left -= rooms[what]
        listed = "\n".join(f"  {what}: {shortened(text, rooms[what])}" for what, text in listings.items())
        raise StateDictError(
            f"{name}: the state_dict does not fit, so nothing was loaded:\n{listed}\n"
            "It may belong to a model built with other arguments"
            + ("; strict=False skips missing and unexpected keys." if missing or unexpected else ".")
        )
    with no_grad():
        for key, value in values.items():
            own[key].copy_(value)
    return LoadReport(missing, unexpected)


def _host(name: str, key: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value._numpy_without_tape()
    if is_cupy(value):
        return tensor_of("load_state_dict", value, "cpu").array
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    raise StateDictError(
        f"{name}: expected Tensors, NumPy or CuPy arrays in the state_dict; '{key}' is {type(value).__name__}. "
        "Convert it with gpunn.tensor or numpy.asarray; nothing was loaded."
    )


def _floating(array: Tensor | np.ndarray) -> bool:
    # NumPy has no kind for bfloat16 (from ml_dtypes).
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _listing(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    separator = "; " if ":" in keys[0] else ", "
    return separator.join(shortened(key, 80) for key in keys[:_LISTED]) + more
