"""Reading IDX, the file format of MNIST and its relatives.

A file is: two zero bytes, one byte for the type, one for the number of dimensions, one
big-endian 32-bit length per dimension, then the elements, big-endian, last axis fastest.
Published files are usually gzip-compressed.
"""

from __future__ import annotations

import math
import os
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._files import file_size, fill, most_unpacked, open_file
from gpunn.data._gzip import GzipStream
from gpunn.errors import DataError, quoted

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
_REST = 1 << 12  # bytes looked for behind the last element
_AGAIN = "Download or copy the file again."


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one IDX file, plain or gzip-compressed, whole into memory: as much as its array takes and no more.

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
        file, what was expected and what was found. A compressed file may unpack to ten times its size and 12 MB;
        a plain one may have any size.

    References
    ----------
    "The IDX file format" in LeCun, Cortes, Burges, "The MNIST database of handwritten digits",
    http://yann.lecun.com/exdb/mnist/. gzip: RFC 1952.
    """
    path = Path(path)
    try:
        with open_file(path) as file:
            size = file_size(file)
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if not packed:
                return _read(path, file, size, size)
            try:
                return _read(path, GzipStream(file), None, most_unpacked(size))
            except (EOFError, zlib.error) as error:
                raise DataError(
                    f"{path}: expected a complete gzip file; got {size} bytes that do not decompress ({error}). "
                    f"{_AGAIN}"
                ) from error
    except OSError as error:
        raise DataError(f"{path}: could not be read: {error.strerror or error}.") from error


def _read(path: Path, stream: Any, size: int | None, most: int) -> np.ndarray:
    """The array in a stream of ``size`` bytes, or, of unknown size, that may have up to ``most``."""
    head = np.zeros(4, np.uint8)
    found = fill(stream, head)
    if found < 4 or head[0] or head[1]:
        raise DataError(
            f"{path}: expected an IDX file, which begins with two zero bytes, a type code and the number "
            f"of dimensions; got {found if size is None or found < 4 else size} bytes beginning with "
            f"{head[:found].tobytes()!r}. {_AGAIN}"
        )
    dtype, ndim = _DTYPES.get(int(head[2])), int(head[3])
    if dtype is None:
        known = ", ".join(f"0x{code:02X} ({known.name})" for code, known in _DTYPES.items())
        raise DataError(f"{path}: expected an IDX type code out of {known}; got 0x{head[2]:02X}. {_AGAIN}")

    start = 4 + 4 * ndim
    lengths = np.zeros(ndim, ">u4")
    found += fill(stream, lengths)
    if found < start:
        raise DataError(
            f"{path}: truncated: expected a header of {start} bytes for {ndim} dimensions; "
            f"found {found} bytes in all. {_AGAIN}"
        )
    shape = tuple(int(n) for n in lengths)
    # Python integers: the product of corrupt lengths does not wrap around to a small number.
    expected = start + math.prod(shape) * dtype.itemsize
    stated = f"{start} of header, then {quoted(shape)} of {dtype.name}"
    # Before anything is allocated for them: what a plain file does not have, and what a small one should not unpack to.
    if size is not None and size != expected:
        raise _wrong_length(path, expected, stated, size)
    if size is None and expected > most:
        raise DataError(
            f"{path}: expected gzip of at most {most} bytes in a file of this size; its header states "
            f"{quoted(expected, 30)} "
            f"({stated}). If the file is genuine, unpack it first (gunzip): plain files of any size are read."
        )
    # Even an array that NumPy cannot make has the right number of bytes if one length is zero.
    if ndim > 32 or math.prod(n or 1 for n in shape) * dtype.itemsize > sys.maxsize:
        raise DataError(f"{path}: expected an array NumPy can hold; got dimensions {quoted(shape)}. {_AGAIN}")
    stored = np.empty(shape, dtype)
    found += fill(stream, stored)
    # In full, though nothing more should be there: the checksum is at the end.
    found += fill(stream, np.empty(_REST, np.uint8)) if found == expected else 0
    if found != expected:
        raise _wrong_length(path, expected, stated, found, found - expected >= _REST)
    return stored if dtype.isnative else stored.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _wrong_length(path: Path, expected: int, stated: str, found: int, at_least: bool = False) -> DataError:
    fault = "truncated" if found < expected else "trailing bytes"
    return DataError(
        f"{path}: {fault}: expected {quoted(expected, 30)} bytes ({stated}); found "
        f"{'at least ' if at_least else ''}{found}. {_AGAIN}"
    )
