"""Reading safetensors files from anybody: nothing is mapped, nor allocated that the file's length does not cover.

The safetensors package maps the file, so a process dies of SIGBUS when the file is cut short while it is read; and it
makes arrays of whatever shape the header has.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from gpunn._files import file_size, fill, open_file
from gpunn._json import parse
from gpunn.errors import DataError, DTypeError, quoted, shortened

DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "uint16": "U16",
    "int16": "I16",
    "uint32": "U32",
    "int32": "I32",
    "uint64": "U64",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
"""What both this format and NumPy (with ml_dtypes for bfloat16) can hold: NumPy's name -> the format's."""
_NAMES = {name: numpy for numpy, name in DTYPES.items()}
# Each becomes an object of a kilobyte, and an entry of fifty bytes is enough for one.
_TENSORS = 10_000
_AXES = 64


class Entry(NamedTuple):
    """One tensor of a file: its name, the format's dtype, shape, and place behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What a file says it holds; ``start`` is where the arrays begin."""

    entries: list[Entry]
    metadata: dict[str, str]
    start: int


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, sorted by name, and its metadata.

    Raises
    ------
    DataError
        If the file cannot be read, is cut short, is not safetensors, or holds more and smaller tensors than any
        model has.
    DTypeError
        If an array has a dtype that NumPy does not have, or that needs ml_dtypes.
    """
    try:
        with _open(path) as file:
            header = _read_header(path, file)
            dtypes = {entry.dtype: _dtype(path, entry) for entry in header.entries}
            arrays = {}
            for entry in header.entries:
                file.seek(header.start + entry.begin)
                arrays[entry.name] = _read(path, file, entry, dtypes[entry.dtype])
    except OSError as error:
        raise DataError(f"{path}: expected a whole safetensors file; {error.strerror or error}.") from error
    return dict(sorted(arrays.items())), header.metadata


def read_header(path: str | os.PathLike[str]) -> Header:
    """What the file says it holds, without the arrays; raises as :func:`read_arrays`."""
    try:
        with _open(path) as file:
            return _read_header(path, file)
    except OSError as error:
        raise DataError(f"{path}: expected a whole safetensors file; {error.strerror or error}.") from error


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        return open_file(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a safetensors file; there is no such file.") from error
    except OSError as error:
        found = "that is a folder" if os.path.isdir(path) else error.strerror or error
        raise DataError(f"{path}: expected a safetensors file; {found}.") from error


def _read_header(path: str | os.PathLike[str], file: BinaryIO) -> Header:
    size = file_size(file)
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        raise _broken(path, size, f"a header of {length} bytes" if len(prefix) == 8 else "no length of a header")
    raw = file.read(length)
    if len(raw) < length:
        raise _broken(path, size, f"{len(raw)} of {length} bytes of header")
    try:
        parsed = parse(raw, size)
        if not isinstance(parsed, dict):
            raise ValueError(f"it is a {type(parsed).__name__}")
        metadata = _metadata(parsed.pop("__metadata__", {}))
        entries = [_entry(name, stated) for name, stated in parsed.items()]
        _check_places(entries, size - 8 - length)
    except ValueError as error:
        raise _broken(path, size, f"a header that is none: {error}") from error
    if len(entries) > _TENSORS + size // 1000:
        raise DataError(
            f"{path}: expected at most {_TENSORS + size // 1000} tensors in a file of {size} bytes; it holds "
            f"{len(entries)}. A model has fewer and larger ones."
        )
    return Header(entries, metadata, 8 + length)


def _metadata(stated: Any) -> dict[str, str]:
    if not isinstance(stated, dict) or not all(isinstance(value, str) for value in stated.values()):
        raise ValueError("its metadata are not strings")
    return dict(sorted(stated.items()))


def _entry(name: str, stated: Any) -> Entry:
    if not isinstance(stated, dict) or set(stated) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{quoted(name)} has no dtype, shape and data_offsets")
    dtype, shape, offsets = stated["dtype"], stated["shape"], stated["data_offsets"]
    if not isinstance(dtype, str) or not _lengths(shape) or not _lengths(offsets) or len(offsets) != 2:
        raise ValueError(f"{quoted(name)} has another kind of dtype, shape or data_offsets")
    if len(shape) > _AXES:
        raise ValueError(f"{quoted(name)} has {len(shape)} axes; NumPy's arrays have at most {_AXES}")
    if dtype in _NAMES:
        item = _ITEM_SIZES[dtype]
        if math.prod(shape) * item != offsets[1] - offsets[0]:
            raise ValueError(f"{quoted(name)} is {dtype} {quoted(shape)} in {offsets[1] - offsets[0]} bytes")
        # With an axis of length 0 the bytes are right, and the array may still be none.
        if math.prod(n or 1 for n in shape) * item > sys.maxsize:
            raise ValueError(f"{quoted(name)} has shape {quoted(shape)}, which NumPy cannot hold")
    return Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= sys.maxsize for n in value)


def _check_places(entries: Iterable[Entry], size: int) -> None:
    """Raise ValueError unless the arrays fill the rest of the file, without a gap and without sharing a byte."""
    end = 0
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        if entry.begin != end or entry.end < end:
            raise ValueError(f"{quoted(entry.name)} is at bytes {entry.begin} to {entry.end}, where {end} was expected")
        end = entry.end
    if end != size:
        raise ValueError(f"its arrays take {end} bytes; {size} follow")


def _dtype(path: str | os.PathLike[str], entry: Entry) -> np.dtype[Any]:
    name = quoted(entry.name)
    if entry.dtype not in _NAMES:
        raise DTypeError(
            f"{shortened(path, 200)}: {name} is {shortened(entry.dtype, 40)}, which NumPy does not have. Save it as "
            "F32 or BF16."
        )
    return numpy_dtype(path, name, _NAMES[entry.dtype])


def numpy_dtype(path: str | os.PathLike[str], what: str, dtype: str) -> np.dtype[Any]:
    """NumPy's dtype of this name; DTypeError where ``what`` is in the file needs ml_dtypes, and that is missing."""
    if dtype == "bfloat16":
        try:
            importlib.import_module("ml_dtypes")  # registers the dtype with NumPy
        except ImportError as error:
            raise DTypeError(
                f"{shortened(path, 200)}: {what} is bfloat16, which needs ml_dtypes; importing it failed ({error}). "
                "Install it with pip install ml_dtypes, or save the file as float32."
            ) from error
    return np.dtype(dtype)


def _read(path: str | os.PathLike[str], file: BinaryIO, entry: Entry, dtype: np.dtype[Any]) -> np.ndarray:
    array = np.empty(entry.shape, dtype.newbyteorder("<") if dtype.itemsize > 1 and entry.dtype != "BF16" else dtype)
    if fill(file, array) < array.nbytes:
        raise _broken(path, file_size(file), f"{quoted(entry.name)} cut short while it was read")
    if entry.dtype == "BOOL" and array.size and array.view(np.uint8).max() > 1:
        raise DataError(f"{path}: expected bytes 0 and 1 in {quoted(entry.name)}, which is BOOL; it has others.")
    return array if array.dtype.isnative else array.astype(dtype)


def _broken(path: str | os.PathLike[str], size: int, found: str) -> DataError:
    return DataError(
        f"{shortened(path, 160)}: expected a whole safetensors file; found {size} bytes that are not "
        f"one ({shortened(found, 150)}). It was cut short or is another format: copy it again or use an earlier one."
    )


_ITEM_SIZES = {"BOOL": 1, "C64": 8, "BF16": 2} | {name: int(name[1:]) // 8 for name in _NAMES if name[0] in "UIF"}
