"""Reading arrays out of an ``.npz`` file that may have been made to do harm.

``numpy.load`` unpacks whatever a header promises, evaluates the header as Python literals, and lets the errors of half
a dozen modules through. Here a header is looked at before anything is allocated for it.
"""

from __future__ import annotations

import lzma
import math
import os
import re
import struct
import sys
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from gpunn._files import file_size, fill, most_unpacked, open_file
from gpunn.errors import DataError, quoted, shortened

_DIRECTORY = 1_000_000  # bytes at the file's end that list what it holds: some 10,000 arrays
_HEADER = 1 << 16
_AT_ONCE = 1 << 17
_KEY = r"""(?:'descr'|"descr")\s*:\s*(?P<descr>'[^'\\]*'|"[^"\\]*"|[(\[].*[)\]])"""
_ORDER = r"""(?:'fortran_order'|"fortran_order")\s*:\s*(?P<order>True|False)"""
_SHAPE = r"""(?:'shape'|"shape")\s*:\s*\((?P<shape>[\d,\sL]*)\)"""
# NumPy writes the keys in this order; others need not.
_HEADERS = [
    re.compile(rf"\s*\{{\s*{a}\s*,\s*{b}\s*,\s*{c}\s*,?\s*\}}\s*", re.ASCII | re.DOTALL)
    for a, b, c in (
        (_KEY, _ORDER, _SHAPE),
        (_KEY, _SHAPE, _ORDER),
        (_ORDER, _KEY, _SHAPE),
        (_ORDER, _SHAPE, _KEY),
        (_SHAPE, _KEY, _ORDER),
        (_SHAPE, _ORDER, _KEY),
    )
]
_DTYPE = re.compile(r"[<>=|]?(\?|[biufcSUVmM]\d{0,4})", re.ASCII)


@dataclass(frozen=True)
class Header:
    """What the header of an array in the file states.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        As stored.
    fortran : bool
        Whether the first axis is the fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape in C order of the bytes as they are stored."""
        return self.shape[::-1] if self.fortran else self.shape


class NpzFile:
    """The arrays of an open ``.npz`` file.

    Parameters
    ----------
    name : str
        For errors.
    file : binary file

    Raises
    ------
    DataError
        If it is no such file; later, if an array cannot be read.
    """

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name = name
        if file.read(6) == b"\x93NUMPY":
            raise DataError(f"{name}: expected several arrays, made by numpy.savez; it holds one, made by numpy.save.")
        file.seek(0)
        counted = _Counted(file)
        try:
            self._zip = zipfile.ZipFile(counted)
        except _FAULTS as error:
            raise DataError(
                f"{name}: expected a file made by numpy.savez; it cannot be read: {_reason(error)}."
            ) from error
        counted.left = sys.maxsize
        self.members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        if len(self.members) != len(self._zip.infolist()):
            raise DataError(f"{name}: expected every array once; it holds two of one name.")

    def open(self, key: str) -> tuple[Header, zipfile.ZipExtFile]:
        """The header of an array, and the stream of its bytes, as many as the header states.

        Raises
        ------
        DataError
            If the header is not one of NumPy's, is one of Python objects, or states another size.
        """
        info = self.members[key]
        if info.flag_bits & 0x1:
            raise self._fault(key, "it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._fault(key, f"it is compressed by method {info.compress_type}, where numpy.savez uses deflate")
        try:
            stream: Any = self._zip.open(info)
            header, length = self._header(key, stream)
        except DataError:
            raise
        except _FAULTS as error:
            raise self._fault(key, _reason(error)) from error
        expected = length + math.prod(header.shape) * header.dtype.itemsize
        if info.file_size != expected:
            raise self._fault(
                key,
                f"expected {quoted(expected, 30)} bytes for {header.dtype} {quoted(header.shape)}; it has "
                f"{info.file_size}",
            )
        return header, stream

    def fill(self, key: str, stream: zipfile.ZipExtFile, array: np.ndarray) -> None:
        """Read the next bytes of an array into a C-contiguous one.

        Raises
        ------
        DataError
            If they are damaged or fewer.
        """
        try:
            if fill(stream, array, _AT_ONCE) < array.nbytes:
                raise EOFError("it ends too early")
        except _FAULTS as error:
            raise self._fault(key, _reason(error)) from error

    def finish(self, key: str, stream: zipfile.ZipExtFile) -> None:
        """Check that an array was whole: its checksum is compared when its end is reached."""
        try:
            if stream.read(1):
                raise EOFError("it goes on where its end was expected")
        except _FAULTS as error:
            raise self._fault(key, _reason(error)) from error

    def _header(self, key: str, stream: Any) -> tuple[Header, int]:
        prefix = stream.read(8)
        if len(prefix) < 8 or prefix[:6] != b"\x93NUMPY":
            raise self._fault(key, "it is no array made by NumPy")
        width = {1: 2, 2: 4, 3: 4}.get(prefix[6])
        if width is None:
            raise self._fault(key, f"version {prefix[6]} of NumPy's format is not known")
        (length,) = struct.unpack("<H" if width == 2 else "<I", stream.read(width))
        if length > _HEADER:
            raise self._fault(key, f"expected a header of at most {_HEADER} bytes; it states {length}")
        raw = stream.read(length)
        if len(raw) < length:
            raise self._fault(key, "its header is cut short")
        # One space for many: the patterns would try every way to share them out.
        text = " ".join(raw.decode("utf-8" if prefix[6] == 3 else "latin-1").split())
        match = next((m for pattern in _HEADERS if (m := pattern.fullmatch(text))), None)
        if match is None:
            raise self._fault(key, f"expected a header of NumPy's; got {quoted(text)}")
        dtype = self._dtype(key, match["descr"])
        lengths = [part.strip().rstrip("L") for part in match["shape"].split(",")]
        lengths = lengths[:-1] if lengths[-1] == "" else lengths
        if not all(part.isdecimal() and len(part) < 20 for part in lengths) or len(lengths) > 32:
            raise self._fault(key, f"expected a shape NumPy can hold; got ({quoted(match['shape'].strip())})")
        shape = tuple(int(part) for part in lengths)
        if math.prod(n or 1 for n in shape) * dtype.itemsize > sys.maxsize:
            raise self._fault(key, f"expected a shape NumPy can hold; got {quoted(shape)}")
        return Header(shape, dtype, match["order"] == "True"), 8 + width + length

    def _dtype(self, key: str, text: str) -> np.dtype[Any]:
        descr = text[1:-1]
        if text[0] not in "'\"":
            raise self._fault(key, f"expected numbers; it is a table of {quoted(text)}")
        if descr in ("O", "|O"):
            raise self._fault(key, "Object arrays cannot be loaded: that would run code that is in the file")
        if not _DTYPE.fullmatch(descr):
            raise self._fault(key, f"expected numbers; got the dtype {quoted(descr)}")
        try:
            return np.dtype(descr)
        except TypeError as error:
            raise self._fault(key, f"expected numbers; got the dtype {quoted(descr)}") from error

    def _fault(self, key: str, reason: str) -> DataError:
        return DataError(f"{self._name}: {quoted(key)[1:-1]} cannot be read: {reason}.")


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All arrays of an ``.npz`` file, by name.

    Raises
    ------
    DataError
        If it cannot be read, is no such file, or unpacks to far more than its own size.
    """
    name = shortened(path, 200)
    try:
        with open_file(path) as file:
            archive, left = NpzFile(name, file), most_unpacked(file_size(file))
            arrays = {}
            for key in archive.members:
                header, stream = archive.open(key)
                left -= math.prod(header.shape) * header.dtype.itemsize
                if left < 0:
                    raise DataError(f"{name}: its arrays unpack to more than {most_unpacked(file_size(file))} bytes.")
                stored = np.empty(header.stored_shape, header.dtype)
                archive.fill(key, stream, stored)
                archive.finish(key, stream)
                array = stored.T if header.fortran else stored
                native = array.dtype.newbyteorder("=")
                arrays[key] = np.asarray(array.astype(native, copy=False), order="C")
            return arrays
    except OSError as error:
        raise DataError(f"{name}: could not be read: {error.strerror or error}.") from error


class _Counted:
    """The file, of which opening the archive may read its directory and not much more.

    What ``zipfile`` makes of a directory takes some twenty times its bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.left = _DIRECTORY + (1 << 17)
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        if self.left == sys.maxsize:
            return self._file.read(count)
        here = self._file.tell()
        rest = self._file.seek(0, 2) - here
        self._file.seek(here)
        wanted = rest if count is None or count < 0 else min(count, rest)
        if wanted > self.left:
            raise zipfile.BadZipFile(f"its list of contents is longer than {_DIRECTORY} bytes")
        self.left -= wanted
        return self._file.read(count)


# What zipfile, zlib, lzma and struct raise for damaged files, each of which was seen.
_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    ValueError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
)


def _reason(error: BaseException) -> str:
    return str(error).rstrip(".") or type(error).__name__
