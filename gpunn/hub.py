"""Weights from an address, under the names of ``torch.hub``; what PyTorch has already fetched is found."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any, NoReturn

from gpunn._calls import explains_all
from gpunn._saving import Place
from gpunn._saving import load as load_weights
from gpunn.errors import DataError, UsageError, quoted

__all__ = ["download_url_to_file", "get_dir", "load", "load_state_dict_from_url", "set_dir"]

_HASH = re.compile(r"-([0-9a-f]{8,64})\.")  # of the file's SHA-256, in names such as resnet18-f37072fd.pth
_CHUNK = 1 << 18
_SECONDS = 30.0  # without a byte
_chosen: str | None = None


def get_dir() -> str:
    """The folder of fetched files.

    It is what :func:`gpunn.hub.set_dir` was given, else ``hub`` in ``$TORCH_HOME``, else PyTorch's, ``torch/hub`` in
    the user's cache.

    Returns
    -------
    str
    """
    if _chosen is not None:
        return _chosen
    home = os.environ.get("TORCH_HOME")
    if not home:
        cache = os.environ.get("XDG_CACHE_HOME", "")
        home = os.path.join(cache if os.path.isabs(cache) else os.path.expanduser("~/.cache"), "torch")
    return os.path.join(os.path.expanduser(home), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Choose the folder of fetched files, for this process.

    Parameters
    ----------
    d : path-like
    """
    global _chosen
    _chosen = os.path.expanduser(os.fspath(d))


def download_url_to_file(
    url: str, dst: str | os.PathLike[str], hash_prefix: str | None = None, progress: bool = True
) -> None:
    """Copy what an address sends to a file, which appears whole or not at all.

    Parameters
    ----------
    url : str
        ``https:``, ``http:`` or ``file:``.
    dst : path-like
        In a folder that exists.
    hash_prefix : str, optional
        What the SHA-256 of the content begins with, in hexadecimal digits.
    progress : bool
        Whether standard error says what is fetched.

    Raises
    ------
    DataError
        If the address does not answer, the content is not the expected one, or the file cannot be written.
    """
    import urllib.error
    import urllib.request

    target = Path(dst)
    if urllib.parse.urlsplit(url).scheme not in ("https", "http", "file"):
        raise UsageError(f"download_url_to_file: url: expected https:, http: or file:; got {quoted(url)}.")
    try:
        handle, path = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise _unwritten(target, error) from error
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            if progress:
                print(f"downloading {url}", file=sys.stderr, flush=True)
            try:
                request = urllib.request.Request(url, headers={"User-Agent": "gpunn"})
                with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
                    expected = reply.headers.get("Content-Length")
                    while chunk := reply.read(_CHUNK):
                        digest.update(chunk)
                        file.write(chunk)
            except (OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                raise DataError(
                    f"{url}: could not be fetched to {target}: {reason}. Check the network connection, or put the "
                    "file there yourself."
                ) from error
            size = file.tell()
            if expected is not None and size != int(expected):
                raise DataError(f"{url}: sent {size} bytes of {expected}. Try again.")
            file.flush()
            os.fsync(file.fileno())
        if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
            raise DataError(
                f"{url}: expected content whose SHA-256 begins with {hash_prefix}; got {digest.hexdigest()}."
            )
        os.chmod(path, 0o644)  # mkstemp's files are private to the owner
        try:
            os.replace(path, target)
        except OSError as error:
            raise _unwritten(target, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):  # if all went well it has been renamed
            os.unlink(path)


def _unwritten(target: Path, error: OSError) -> DataError:
    return DataError(f"{target}: could not be written: {error.strerror or error}. Choose another folder.")


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Place = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """Weights at an address; fetched once, and then read from the folder.

    Parameters
    ----------
    url : str
    model_dir : path-like, optional
        Where the file is kept; ``checkpoints`` in :func:`gpunn.hub.get_dir` if None.
    map_location : str, Device, mapping or callable, optional
        As for :func:`gpunn.load`.
    progress : bool
        Whether standard error says what is fetched.
    check_hash : bool
        Whether the file's name holds the beginning of its SHA-256, such as resnet18-f37072fd.pth, and it has to agree.
    file_name : str, optional
        The file's name in the folder; the last part of the address if None.
    weights_only : bool
        Nothing but weights is read in any case.

    Returns
    -------
    What :func:`gpunn.load` reads.

    Raises
    ------
    DataError
        If the file can be neither fetched nor read.
    UsageError
        If the hash is to be checked, and the name has none.
    """
    name = file_name or os.path.basename(urllib.parse.urlsplit(url).path)
    folder = Path(os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir)
    target = folder / name
    if not target.exists():
        prefix = None
        if check_hash:
            found = _HASH.search(name)
            if found is None:
                raise UsageError(f"load_state_dict_from_url: check_hash: the name {quoted(name)} holds no hash.")
            prefix = found.group(1)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritten(folder, error) from error
        download_url_to_file(url, target, prefix, progress)
    return load_weights(target, map_location)


def load(repo_or_dir: str, model: str, *args: Any, **kwargs: Any) -> NoReturn:
    """Refuse: the repositories of ``torch.hub`` hold programs for PyTorch.

    Parameters
    ----------
    repo_or_dir, model : str
    *args, **kwargs
        Of the model.

    Raises
    ------
    UsageError
        Always.
    """
    raise UsageError(
        f"hub.load: {quoted(repo_or_dir)} is a program for PyTorch, which is not fetched and run. Build the network "
        "from gpunn.vision.models, and load its weights with gpunn.hub.load_state_dict_from_url."
    )


explains_all(globals())
