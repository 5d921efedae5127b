"""Reading gzip as a stream, in time and memory proportional to what is read.

``gzip.decompress`` unpacks everything before anyone can look at it, and copies the rest of the file for each member: a
megabyte of empty members takes it minutes.
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

_CHUNK = 1 << 14


class GzipStream:
    """The decompressed bytes of one or more gzip members, checksums verified.

    Parameters
    ----------
    file : binary file
        At the beginning of the first member. Zeros behind a member are skipped, as ``gzip`` does.

    References
    ----------
    RFC 1952.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pending = b""
        self._inflate: Any = None
        self._begun = False

    def read(self, most: int) -> bytes:
        """Up to ``most`` bytes (at least 1 is asked for); none only at the end.

        Raises
        ------
        EOFError, zlib.error
            If the file is cut short or damaged.
        """
        while self._inflate is not None or self._next_member():
            if not self._pending:
                self._pending = self._file.read(_CHUNK)
                if not self._pending:
                    raise EOFError("it ends in the middle")
            data: bytes = self._inflate.decompress(self._pending, most)
            self._pending = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self._pending = self._inflate.unused_data
                self._inflate = None
            if data:
                return data
        return b""

    def readinto(self, buffer: Any, /) -> int:
        """Fill a part of ``buffer``; 0 at the end."""
        data = self.read(min(len(buffer), 4 * _CHUNK))
        buffer[: len(data)] = data
        return len(data)

    def _next_member(self) -> bool:
        if self._begun:
            self._pending = self._pending.lstrip(b"\0")
        while not self._pending:
            chunk = self._file.read(_CHUNK)
            if not chunk:
                return False
            self._pending = chunk.lstrip(b"\0") if self._begun else chunk
        self._begun = True
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        return True
