"""Checkpoints: everything a run needs to go on bit for bit, in one file with a checksum.

A checkpoint is a safetensors file, so weights can be read out of it by any program that reads that format: tensors
``model.<name>``, ``optimizer.<parameter's number>.<buffer>`` and ``totals``. What is no tensor (counters, generators,
options) is JSON, in the metadata under ``state``. The metadata also has the SHA-256 of the file, in which its own 64
digits count as zeros.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._tensor import Tensor
from gpunn.errors import DataError
from gpunn.serialize import encode, write_atomically

_FORMAT = "gpunn checkpoint 1"
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_MOST_HEADER = 2**27  # bytes: a model of half a million tensors


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read.

    Attributes
    ----------
    path : pathlib.Path
    arrays : dict of str to numpy.ndarray
        Tensors by name, in logical order.
    state : dict
        The rest.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose names begin with ``prefix`` and a dot, by the rest of their names."""
        return {name[len(prefix) + 1 :]: a for name, a in self.arrays.items() if name.startswith(f"{prefix}.")}


def write_checkpoint(
    path: str | os.PathLike[str], arrays: Mapping[str, Tensor | np.ndarray], state: Mapping[str, Any]
) -> None:
    """Write a checkpoint whole or not at all.

    Parameters
    ----------
    path : path-like
    arrays : mapping of str to Tensor or numpy.ndarray
    state : mapping
        Of strings to what JSON has, NumPy's arrays and numbers, and tuples (which come back as lists). Floats keep
        their bits; NaN and infinity are kept too.

    Raises
    ------
    DataError
        If the system refuses. A file that was there is unchanged.
    """
    metadata = {"format": _FORMAT, "sha256": _NO_DIGEST, "state": json.dumps(_to_json(state), allow_nan=False)}
    length, header, data = encode(arrays, metadata)
    digest = _digest(length, header, data)
    write_atomically(path, length, header.replace(_NO_DIGEST.encode(), digest.encode(), 1), data)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, and see that it is as it was written.

    Raises
    ------
    DataError
        If it is missing, cut short, altered or no checkpoint.
    """
    path = Path(path)
    content = _content(path)
    size = int.from_bytes(content[:8], "little")
    if not 2 <= size <= min(len(content) - 8, _MOST_HEADER):
        raise _damaged(path, f"its first bytes announce a header of {size:,} bytes in {len(content):,}")
    header = bytes(content[8 : 8 + size])
    found = _DIGEST.search(header)
    if found is None:
        raise _damaged(path, "it has no checksum")
    blank = header[: found.start(1)] + _NO_DIGEST.encode() + header[found.end(1) :]
    if _digest(content[:8], blank, content[8 + size :]) != found[1].decode():
        raise _damaged(path, "its checksum does not fit its content")
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        metadata = json.loads(header)["__metadata__"]
        if metadata["format"] != _FORMAT:
            raise _damaged(path, f"its format is {str(metadata['format'])[:40]!r}; this version reads {_FORMAT!r}")
        state = _from_json(json.loads(metadata["state"]))
        arrays = load(bytes(content))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, f"{type(error).__name__}: {str(error)[:120]}") from error
    if not isinstance(state, dict):
        raise _damaged(path, f"its state is {type(state).__name__}")
    return Checkpoint(path, arrays, state)


def _content(path: Path) -> memoryview:
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind):
            raise DataError(f"{path}: expected a checkpoint; that is no regular file.")
        return memoryview(path.read_bytes())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: could not be read: {getattr(error, 'strerror', None) or error}.") from error


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path}: expected a whole checkpoint; {why}. Use an earlier one.")


def _digest(*pieces: Any) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _to_json(value: Any) -> Any:
    """With arrays and the numbers JSON does not have as objects of one entry, ``{"$array": …}``, ``{"$float": …}``."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"checkpoint: expected names that are strings and do not begin with $; got {key!r}")
        return {key: _to_json(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, np.ndarray):
        return {"$array": [value.dtype.str, list(value.shape), _to_json(value.reshape(-1).tolist())]}
    if isinstance(value, np.generic):
        return _to_json(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(v) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$float"}:
        return float(value["$float"])
    if set(value) == {"$array"}:
        dtype, shape, items = value["$array"]
        kind = np.dtype(dtype)
        if kind.hasobject or not isinstance(items, list):
            raise TypeError(f"an array of {kind}")
        return np.array(_from_json(items), kind).reshape([int(n) for n in shape])
    return {key: _from_json(v) for key, v in value.items()}
