"""Reading IDX, the file format of MNIST and its relatives.

A file is: two zero bytes, one byte for the type, one for the number of dimensions, one
big-endian 32-bit length per dimension, then the elements, big-endian, last axis fastest.
Published files are usually gzip-compressed.
"""

from __future__ import annotations

import gzip
import math
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gpunn.errors import DataError

# Type code -> dtype as stored. 0x0A is not assigned.
_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_GZIP_MAGIC = b"\x1f\x8b"
_AGAIN = "Download or copy the file again."


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file, plain or gzip-compressed, whole into memory.

    Whether it is compressed is read from its first two bytes, not from its name: browsers
    unpack ``.gz`` files and keep the name.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    numpy.ndarray
        The dimensions the file states; uint8, int8, int16, int32, float32 or float64 in this
        machine's byte order. The caller owns it and may write to it.

    Raises
    ------
    DataError
        If the file is missing or unreadable, is not IDX, has an unknown type code, holds fewer
        or more bytes than its header says, or is a damaged gzip file. The message names the
        file, what was expected and what was found.

    References
    ----------
    "The IDX file format" in LeCun, Cortes, Burges, "The MNIST database of handwritten digits",
    http://yann.lecun.com/exdb/mnist/. gzip: RFC 1952.
    """
    path = Path(path)
    data = _read_bytes(path)
    if len(data) < 4 or data[:2] != b"\x00\x00":
        raise DataError(
            f"{path}: expected an IDX file, which begins with two zero bytes, a type code and the number "
            f"of dimensions; got {len(data)} bytes beginning with {data[:4]!r}. {_AGAIN}"
        )
    dtype, ndim = _DTYPES.get(data[2]), data[3]
    if dtype is None:
        known = ", ".join(f"0x{code:02X} ({known.name})" for code, known in _DTYPES.items())
        raise DataError(f"{path}: expected an IDX type code out of {known}; got 0x{data[2]:02X}. {_AGAIN}")

    start = 4 + 4 * ndim
    if len(data) < start:
        raise DataError(
            f"{path}: truncated: expected a header of {start} bytes for {ndim} dimensions; "
            f"found {len(data)} bytes in all. {_AGAIN}"
        )
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", ndim, offset=4))
    # Python integers: the product of corrupt lengths does not wrap around to a small number.
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "trailing bytes"
        raise DataError(
            f"{path}: {fault}: expected {expected} bytes ({start} of header, then {shape} of {dtype.name}); "
            f"found {len(data)}. {_AGAIN}"
        )
    # Even an array that NumPy cannot make has the right number of bytes if one length is zero.
    if ndim > 32 or math.prod(n or 1 for n in shape) * dtype.itemsize > sys.maxsize:
        raise DataError(f"{path}: expected an array NumPy can hold; got dimensions {shape}. {_AGAIN}")
    stored = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return stored.astype(dtype.newbyteorder("="))  # a copy: the stored bytes are read-only


def _read_bytes(path: Path) -> bytes:
    """The file's contents, decompressed if gzipped."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: could not be read: {error.strerror or error}.") from error
    if data[:2] != _GZIP_MAGIC:
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: expected a complete gzip file; got {len(data)} bytes that do not decompress ({error}). {_AGAIN}"
        ) from error
