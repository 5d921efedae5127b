"""Fetching a published file: from one mirror or the next, verified before it gets its name.

Imported only when something is to be fetched: importing the network modules takes 20 ms.

A file is written under a temporary name in its destination folder and renamed when its digests
match, so that under its own name it is whole or absent, whatever interrupts the download.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import socket
import ssl
import sys
import tarfile
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gpunn._files import file_size, most_unpacked
from gpunn.data._gzip import GzipStream
from gpunn.data._sources import Remote, Source
from gpunn.errors import DataError, quoted, shortened

_TIMEOUT = 30.0  # seconds without a byte
# Seconds for a whole file: a minute, and the time that 50 kB/s takes.
_LEAST_SECONDS = 60.0
_SLOWEST = 50e3
_CHUNK = 1 << 18


class _MirrorFailed(Exception):
    """A mirror does not deliver the file; the message says why."""


def fetch_file(dataset: str, source: Source, name: str, folder: Path) -> Path:
    """Download one file into ``folder`` under its own name.

    Parameters
    ----------
    dataset : str
        Its name, for messages.
    source : Source
    name : str
        Of the file, in ``source``.
    folder : Path
        Made if it does not exist.

    Raises
    ------
    DataError
        If no mirror delivers the published file, with every address and reason; or if the folder
        cannot be written.
    """
    target = folder / name
    with _verified(dataset, source, name, folder) as path:
        os.replace(path, target)
    return target


def fetch_members(dataset: str, source: Source, name: str, members: Collection[str], folder: Path) -> None:
    """Download a tar archive and extract only the named members into ``folder``.

    Parameters
    ----------
    dataset, source, name, folder
        As in :func:`fetch_file`.
    members : collection of str
        Paths in the archive; each is written under its last component.

    Raises
    ------
    DataError
        As in :func:`fetch_file`, or if a member is missing.
    """
    missing = set(members)
    with _verified(dataset, source, name, folder) as archive, open(archive, "rb") as packed:
        try:
            unpacked: Any = _Unpacked(packed)
            with tarfile.open(fileobj=unpacked, mode="r|") as tar:
                for member in tar:
                    # A sparse member's few bytes stand for as many zeros as it likes.
                    wanted = member.name in missing and member.isreg() and not member.issparse()
                    content = tar.extractfile(member) if wanted else None
                    if content is None:
                        continue
                    with content, _temporary(folder, Path(member.name).name) as (path, file):
                        while chunk := content.read(_CHUNK):
                            file.write(chunk)
                        _close(file)
                        os.replace(path, folder / Path(member.name).name)
                    missing.remove(member.name)
        except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
            raise DataError(
                f"{dataset}: {name} has the published digests and is no archive that can be unpacked: {error}."
            ) from error
    if missing:
        raise DataError(f"{dataset}: {name} holds no {', '.join(sorted(missing))}.")


class _Unpacked:
    """A gzip file decompressed for tarfile, up to what a file of its size may unpack to.

    Parameters
    ----------
    packed : binary file
    """

    def __init__(self, packed: BinaryIO) -> None:
        self._stream = GzipStream(packed)
        self._most = self._left = most_unpacked(file_size(packed))

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes; none only at the end. EOFError and zlib.error as :class:`GzipStream`."""
        data = self._stream.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise EOFError(f"it unpacks to more than {self._most} bytes")
        return data


@contextlib.contextmanager
def _verified(dataset: str, source: Source, name: str, folder: Path) -> Iterator[Path]:
    """A temporary file in ``folder`` with the published bytes; it is deleted afterwards unless it was renamed."""
    remote = source.file(name)
    reasons = []
    with _writing(dataset, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for mirror in source.mirrors:
            url = mirror + name
            with _temporary(folder, name) as (path, file):
                try:
                    _receive(dataset, url, remote, file)
                    _close(file)
                    _check(path, remote)
                except _MirrorFailed as failure:
                    reasons.append(f"{url}: {shortened(failure, 240)}")
                    continue
                yield path
                return
    raise DataError(
        f"{dataset}: could not download {name} into {os.path.abspath(folder)}: {'; '.join(reasons)}. Check the network "
        f"connection, or put the file there yourself."
    )


@contextlib.contextmanager
def _writing(dataset: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{dataset}: could not write to {os.path.abspath(folder)}: {error.strerror or error}. Choose "
            "another folder with root= or $GPUNN_DATA."
        ) from error


@contextlib.contextmanager
def _temporary(folder: Path, name: str) -> Iterator[tuple[Path, BinaryIO]]:
    handle, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            yield Path(path), file
    finally:
        # An interrupt ends here too. If all went well, the file has been renamed by now.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _close(file: BinaryIO) -> None:
    """Sync it to disk, so that after a crash following the rename the name has its contents."""
    file.flush()
    os.fsync(file.fileno())
    # mkstemp's files are private to the owner; in a shared data folder they need ordinary permissions.
    if hasattr(os, "fchmod"):
        os.fchmod(file.fileno(), 0o644)
    file.close()


def _receive(dataset: str, url: str, remote: Remote, file: BinaryIO, seconds: float | None = None) -> None:
    """Copy what ``url`` sends to ``file``, in chunks; a mirror that takes longer than ``seconds`` has failed."""
    request = urllib.request.Request(url, headers={"User-Agent": "gpunn"})
    received = 0
    limit = _LEAST_SECONDS + remote.size / _SLOWEST if seconds is None else seconds
    with (
        _Report(dataset, url, remote.size) as report,
        _Deadline(limit) as deadline,
        _network_failures(deadline),
        _opener(deadline).open(request, timeout=_TIMEOUT) as reply,
    ):
        while True:
            chunk = reply.read1(_CHUNK)  # what is there: a chunk in drops could take hours
            deadline.check()
            if not chunk:
                return
            received += len(chunk)
            if received > 2 * remote.size:
                raise _MirrorFailed(f"sends more than {received} bytes where {remote.size} were expected")
            _write(file, chunk)
            report.show(received)


class _Deadline:
    """Ends a connection when its time is over, whatever it is waiting for.

    A limit for each wait, as sockets have, does not do: a mirror may send a byte a second for days.

    Parameters
    ----------
    seconds : float
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._expired = False

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()

    def watch(self, connected: socket.socket) -> None:
        """Shut this one down too when the time is over."""
        with self._lock:
            self._sockets.append(connected)
            if self._expired:
                self._shut(connected)

    def check(self) -> None:
        """Raise the mirror's failure if the time is over."""
        if self._expired:
            raise _MirrorFailed(f"took longer than {self._seconds:.0f} seconds")

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            for connected in self._sockets:
                self._shut(connected)

    @staticmethod
    def _shut(connected: socket.socket) -> None:
        # Not the method of an SSL socket, which forgets its state while another thread reads from it.
        with contextlib.suppress(OSError):  # it has been closed already
            socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but none from https to something that anybody on the way can read and change."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request to follow, as the base class makes it."""
        if req.type == "https" and urllib.parse.urlsplit(newurl).scheme != "https":
            raise _MirrorFailed(f"redirects from https to {quoted(newurl, 100)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    """Opens addresses as ``urllib`` does, with safe redirects, and tells ``deadline`` of every connection."""

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class SecureConnection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            deadline.watch(self.sock)

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(SecureConnection, req, context=ssl.create_default_context())

    return urllib.request.build_opener(Plain, Secure, _SafeRedirects)


class _DiskFailed(Exception):
    """Writing failed, so another mirror would not help."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise _DiskFailed(error) from error


@contextlib.contextmanager
def _network_failures(deadline: _Deadline) -> Iterator[None]:
    """Turn network errors into the mirror's failure, and keep them apart from a full disk."""
    try:
        try:
            yield
        except (OSError, http.client.HTTPException):
            deadline.check()  # which then is why
            raise
    except _DiskFailed as failure:
        raise failure.error from None
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorFailed(f"HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _MirrorFailed(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorFailed(str(error) or type(error).__name__) from error


def _check(path: Path, remote: Remote) -> None:
    """Compare the digests."""
    hashes = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in remote.digests}
    try:
        with open(path, "rb") as file:
            stream = _Unpacked(file) if remote.decompressed else file
            while chunk := stream.read(_CHUNK):
                for digest in hashes.values():
                    digest.update(chunk)
    except (EOFError, zlib.error) as error:
        raise _MirrorFailed(f"{path.stat().st_size} bytes that are not a complete gzip file ({error})") from error
    for algorithm, digest in hashes.items():
        if digest.hexdigest() != remote.digests[algorithm]:
            what = "decompressed bytes" if remote.decompressed else "file"
            raise _MirrorFailed(
                f"the {algorithm} of the {what} is {digest.hexdigest()}, the published one is "
                f"{remote.digests[algorithm]} ({path.stat().st_size} bytes were sent)"
            )


class _Report:
    """Prints to standard error what is being fetched, and on a terminal its progress."""

    def __init__(self, dataset: str, url: str, size: int) -> None:
        self._text = f"{dataset}: downloading {url}"
        self._size = size
        self._live = sys.stderr.isatty()
        self._shown = -1

    def __enter__(self) -> _Report:
        print(f"{self._text} ({self._size / 1e6:.1f} MB)", end="" if self._live else "\n", file=sys.stderr, flush=True)
        return self

    def show(self, received: int) -> None:
        percent = min(100, 100 * received // self._size)
        if self._live and percent > self._shown:
            self._shown = percent
            print(f"\r{self._text} ({self._size / 1e6:.1f} MB) {percent:3d} %", end="", file=sys.stderr, flush=True)

    def __exit__(self, *exc: object) -> None:
        if self._live:
            print(file=sys.stderr, flush=True)
