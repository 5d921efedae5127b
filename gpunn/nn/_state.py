"""Loading a state_dict: everything is checked and converted before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunn._half import FLOATING
from gpunn._interop import is_cupy, tensor_of
from gpunn._tensor import Tensor
from gpunn._views import refuse_repeated
from gpunn.errors import StateDictError, shortened
from gpunn.nn._state_hints import Other, likely_fix
from gpunn.nn._uninitialized import Uninitialized, is_uninitialized
from gpunn.tape import no_grad

_LISTED = 12  # names that a message has of a kind before it counts the rest
_LONGEST = 499  # characters of a message, since its names may be a file's


class LoadReport(NamedTuple):
    """What did not match in a ``load_state_dict(strict=False)``: PyTorch's named tuple."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load(
    name: str, own: Mapping[str, Tensor], given: Mapping[str, Any], strict: bool, others: Sequence[Other] = ()
) -> LoadReport:
    """Copy ``given`` into the tensors ``own``, all or nothing; see :meth:`Module.load_state_dict`.

    ``others``: what tells other networks' weights from the module's; see :func:`likely_fix`.
    """
    missing = [key for key in own if key not in given]
    unexpected = [key for key in given if key not in own]
    values: dict[str, np.ndarray] = {}
    mismatched: dict[str, str] = {}
    for key, tensor in own.items():
        if key not in given:
            continue
        if is_uninitialized(tensor) and is_uninitialized(given[key]):
            continue
        values[key] = value = _host(name, key, given[key])
        if not is_uninitialized(tensor) and value.shape != tensor.shape:
            mismatched[key] = f"expected {tensor.shape}, got {value.shape}"
        elif value.dtype.kind in "OUSMmc" or _floating(value) != _floating(tensor):
            mismatched[key] = f"expected {tensor.dtype}, got {value.dtype}"
    if mismatched or (strict and (missing or unexpected)):
        raise _error(name, own, given, missing, unexpected, mismatched, strict, others)
    # Whatever can fail (memory, a view that cannot be written to) fails here.
    with no_grad():
        ready = []
        for key, value in values.items():
            tensor = own[key]
            if isinstance(tensor, Uninitialized):  # a lazy layer's: the values say its shape
                tensor.materialize(value.shape)
            refuse_repeated("load_state_dict", tensor)
            # By NumPy, as a file may have half precision, which no tensor has.
            ready.append((tensor, tensor_of("load_state_dict", value.astype(tensor.dtype, copy=False), tensor.device)))
        for tensor, source in ready:
            tensor.copy_(source)
    return LoadReport(missing, unexpected)


def _host(name: str, key: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        return value._numpy_without_tape()
    if is_cupy(value):
        return tensor_of("load_state_dict", value, "cpu").array
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    raise StateDictError(
        f"{name}: expected Tensors, NumPy or CuPy arrays in the state_dict; '{shortened(key, 80)}' is "
        f"{type(value).__name__}. Convert it with gpunn.tensor or numpy.asarray; nothing was loaded."
    )


def _floating(array: Tensor | np.ndarray) -> bool:
    # NumPy has no kind for bfloat16 (from ml_dtypes).
    return array.dtype.kind in FLOATING or array.dtype.name == "bfloat16"


def _error(
    name: str,
    own: Mapping[str, Tensor],
    given: Mapping[str, Any],
    missing: Sequence[str],
    unexpected: Sequence[str],
    mismatched: Mapping[str, str],
    strict: bool,
    others: Sequence[Other],
) -> StateDictError:
    """All differences as attributes of the error; a message that counts them and names the first ones."""
    wrong = [f"{key}: {what}" for key, what in mismatched.items()]
    faults = {"wrong shapes or dtypes": wrong}
    lines = [f"wrong shape or dtype: {line}" for line in wrong]
    if strict:
        faults = {"missing keys": list(missing), "unexpected keys": list(unexpected), **faults}
        lines = [
            *(f"missing: {key} {_shape_text(own[key])}" for key in missing),
            *(f"unexpected: {key} {_shape_text(given[key])}" for key in unexpected),
            *lines,
        ]
    listings = {f"{what} ({len(keys)})": keys for what, keys in faults.items() if keys}
    count = len(lines)
    head = (
        f"{shortened(name, 40)}: the state_dict does not fit, so nothing was loaded; "
        + ("1 difference" if count == 1 else f"{count:,} differences, all in .differences of this error")
        + ":\n"
    )
    fix = likely_fix(own, given, missing, unexpected, mismatched, others)
    if not fix:
        fix = "It may belong to a model built with other arguments"
        fix += "; strict=False skips missing and unexpected keys." if missing or unexpected else "."
    left = _LONGEST - len(head) - len(fix) - sum(len(what) + 5 for what in listings)
    rooms: dict[str, int] = {}
    texts = {what: _listing(keys, left) for what, keys in listings.items()}
    for place, what in enumerate(sorted(texts, key=lambda what: len(texts[what]))):
        rooms[what] = min(len(texts[what]), left // (len(texts) - place))
        left -= rooms[what]
    body = "\n".join(f"  {what}: {_listing(keys, rooms[what])}" for what, keys in listings.items())
    return StateDictError(f"{head}{body}\n{fix}", missing, unexpected, list(mismatched), lines)


def _shape_text(value: Any) -> str:
    if is_uninitialized(value):
        return "of a shape not known yet"
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else str(tuple(shape))


def _listing(keys: Sequence[str], room: int) -> str:
    """The first keys that fit, and how many more there are; at least the first, shortened."""
    separator = "; " if ": " in keys[0] else ", "
    shown = [shortened(key, 80) for key in keys[:_LISTED]]
    for count in range(len(shown), 0, -1):
        more = f" and {len(keys) - count:,} more" if count < len(keys) else ""
        text = separator.join(shown[:count]) + more
        if len(text) <= room or count == 1:
            break
    return shortened(text, max(room, 24))
