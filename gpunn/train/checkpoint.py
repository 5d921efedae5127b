"""Checkpoints: everything a run needs to go on bit for bit, in one file with a checksum.

A checkpoint is a safetensors file, so weights can be read out of it by any program that reads that format: tensors
``model.<name>``, ``optimizer.<parameter's number>.<buffer>`` and ``totals``. What is no tensor (counters, generators,
options, the run's ``config.json``) is JSON, in the metadata under ``state``. The metadata also has the SHA-256 of the
file, in which its own 64 digits count as zeros.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._files import file_size, open_file
from gpunn._json import parse
from gpunn._safetensors import read_arrays
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, quoted, shortened
from gpunn.serialize import encode, write_atomically

_FORMAT = "gpunn checkpoint 1"
_NO_DIGEST = "0" * 64
_ARRAY_DTYPE = re.compile(r"[<>|=][biufc]\d{1,2}", re.ASCII)
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')


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
    digest = _digest((length, header, data))
    write_atomically(path, length, header.replace(_NO_DIGEST.encode(), digest.encode(), 1), data)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint, and see that it is as it was written.

    Raises
    ------
    DataError
        If it is missing, cut short, altered or no checkpoint.
    """
    path = Path(path)
    try:
        _check_digest(path)
        arrays, metadata = read_arrays(path)
        if metadata.get("format") != _FORMAT:
            raise _damaged(path, f"its format is {quoted(metadata.get('format'), 40)}; {_FORMAT!r} can be read")
        state = _from_json(parse(metadata["state"].encode(), path.stat().st_size))
    except OSError as error:
        raise _damaged(path, str(error.strerror or error)) from error
    except DTypeError as error:
        raise _damaged(path, str(error)) from error
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(state, dict):
        raise _damaged(path, f"its state is {type(state).__name__}")
    return Checkpoint(path, arrays, state)


def _check_digest(path: Path) -> None:
    """Raise DataError unless the file's checksum is that of its content."""
    with open_file(path) as file:
        length, size = file.read(8), file_size(file)
        bytes_of_header = int.from_bytes(length, "little")
        if len(length) < 8 or bytes_of_header > size - 8:
            raise _damaged(path, f"it has {size} bytes, and a header of {bytes_of_header}")
        header = file.read(bytes_of_header)
        found = _DIGEST.search(header)
        if found is None:
            raise _damaged(path, "it has no checksum")
        blank = header[: found.start(1)] + _NO_DIGEST.encode() + header[found.end(1) :]
        if _digest(itertools.chain((length, blank), iter(lambda: file.read(1 << 20), b""))) != found[1].decode():
            raise _damaged(path, "its checksum does not fit its content")


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{shortened(path, 200)}: expected a whole checkpoint; {shortened(why, 200)}. Use an earlier one.")


def _digest(pieces: Iterable[bytes | memoryview]) -> str:
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
        # NumPy reads other texts as lists of fields, and raises SyntaxError for some.
        if not isinstance(dtype, str) or not _ARRAY_DTYPE.fullmatch(dtype) or not isinstance(items, list):
            raise TypeError(f"an array of {quoted(dtype, 40)}")
        kind = np.dtype(dtype)
        return np.array(_from_json(items), kind).reshape([int(n) for n in shape])
    return {key: _from_json(v) for key, v in value.items()}
