"""Opening files that may be anything, and how much memory a file is worth.

A file may be a pipe that never ends, a device, or a few bytes that unpack to gigabytes. Readers open it here, read its
header, and ask before they allocate.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, BinaryIO

import numpy as np

# What a file may take beside ten times its size: a small file of zeros is no attack.
_FREE = 12_000_000
_RATIO = 10
_KINDS = (
    (stat.S_ISDIR, "it is a folder"),
    (stat.S_ISFIFO, "it is a pipe, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)


def most_unpacked(size: int) -> int:
    """How many bytes a compressed file of ``size`` bytes may unpack to: ten times as many, and 12 MB.

    What people compress is far below (MNIST: 4.8 times), what is made to exhaust the memory far above (deflate
    reaches 1,032 times).
    """
    return _RATIO * size + _FREE


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open an ordinary file for reading.

    Raises
    ------
    OSError
        If the system refuses, or it is a pipe, a device or a folder: a pipe would be waited for, and a device may
        never end. ``strerror`` says which.
    """
    try:
        _check_ordinary(os.stat(path).st_mode)
        # Between the two calls it may have become a pipe, which then must not be waited for.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError as error:
        raise OSError(errno.EINVAL, f"its name cannot be one ({error})") from error
    file = os.fdopen(handle, "rb")
    try:
        _check_ordinary(os.fstat(handle).st_mode)
    except OSError:
        file.close()
        raise
    return file


def is_file(path: str | os.PathLike[str]) -> bool:
    """``os.path.isfile``, False also for a name that cannot be one."""
    try:
        return os.path.isfile(path)
    except ValueError:
        return False


def is_folder(path: str | os.PathLike[str]) -> bool:
    """``os.path.isdir``, False also for a name that cannot be one; ``Path.is_dir`` raises for one that is too long."""
    try:
        return os.path.isdir(path)
    except ValueError:
        return False


def file_size(file: BinaryIO) -> int:
    """Bytes in an open file."""
    return os.fstat(file.fileno()).st_size


def fill(stream: Any, array: np.ndarray, at_once: int = 1 << 24) -> int:
    """Read into a C-contiguous array of any dtype until it is full or the stream ends; returns the bytes read.

    ``stream`` is anything with ``readinto``, which is asked for ``at_once`` bytes at most: some make as many beside.
    """
    flat: Any = array.reshape(-1).view(np.uint8)
    view = memoryview(flat)
    done = 0
    while done < len(view):
        got = stream.readinto(view[done : done + at_once])
        if not got:
            break
        done += got
    return done


def _check_ordinary(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    what = next((text for is_kind, text in _KINDS if is_kind(mode)), "it is no file")
    raise OSError(errno.EINVAL, what)
