"""Weight files in the safetensors format, and writing files so that a crash leaves none half written.

A file is: the header's length (8 bytes, little-endian), a JSON header (name -> dtype, shape, offsets),
then the arrays' bytes, each in C order. https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._half import noted
from gpunn._layout import physical
from gpunn._safetensors import DTYPES, read_arrays, read_header
from gpunn._tensor import Tensor
from gpunn.errors import DataError, DTypeError, UsageError

# The names of files that are being written, and of the one that shows that a folder can be written to.
_TRIAL = ".gpunn-write-test-"
_TEMPORARY = re.compile(rf"\..+\.[0-9a-f]{{8}}\.tmp|{re.escape(_TRIAL)}.+")


def save_file(
    tensors: Mapping[str, Tensor | np.ndarray],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays to a safetensors file that PyTorch and others can read.

    Arrays are written in logical C order, whatever their memory layout: a Conv2d weight is
    (K, C/groups, R, S) in the file. Equal content gives equal bytes. The file appears whole or not at
    all: it is written beside its destination and moved there, so an existing file survives a failure.

    Parameters
    ----------
    tensors : mapping of str to Tensor or numpy.ndarray
        Such as a ``state_dict()``. bool, integers, float16, bfloat16, float32, float64, complex64; any
        shape, 0-d and empty included.
    path : path-like
        The file; its folder must exist.
    metadata : mapping of str to str, optional
        Kept in the header; ``gpunn.serialize.read_metadata`` returns it.

    Raises
    ------
    DTypeError
        If a value is not an array, or has a dtype the format cannot hold.
    UsageError
        If a name or the metadata are not strings, or a name is reserved.
    DataError
        If the file cannot be written (the message gives the system's reason); nothing is left behind.
    """
    write_atomically(path, *encode(tensors, metadata))


def encode(
    tensors: Mapping[str, Tensor | np.ndarray], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, bytes, memoryview]:
    """What :func:`save_file` writes, as three pieces: the header's length, the header, the arrays.

    Raises
    ------
    DTypeError, UsageError
        As in :func:`save_file`.
    """
    # The package itself would write a transposed view's memory as if it were in C order, without an error.
    from safetensors.numpy import save

    metadata = dict(metadata or {})
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise UsageError(
                f"save_file: expected metadata of strings; got {key!r}: {value!r}. Use json.dumps for others."
            )
    arrays = {_checked_name(name): _host_array(name, tensor) for name, tensor in tensors.items()}
    blob = memoryview(save(arrays))
    # The package orders the arrays, but writes metadata in an order that changes from run to run; so
    # it is put into the header here. Offsets count from the header's end and stay valid.
    end = 8 + int.from_bytes(blob[:8], "little")
    header: dict[str, Any] = json.loads(bytes(blob[8:end]))
    if metadata:
        header = {"__metadata__": dict(sorted(metadata.items())), **header}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # keeps the arrays 8-byte aligned
    return len(text).to_bytes(8, "little"), text, blob[end:]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or name == "__metadata__":
        raise UsageError(f"save_file: expected names to be strings other than '__metadata__'; got {name!r}.")
    return name


def _host_array(name: str, tensor: Any) -> np.ndarray:
    """A value as a C-contiguous host array of a dtype the format knows."""
    array = tensor._numpy_without_tape() if isinstance(tensor, Tensor) else tensor
    if not isinstance(array, np.ndarray):
        raise DTypeError(
            f"save_file: expected Tensors or NumPy arrays; '{name}' is {type(tensor).__name__}. "
            "Wrap it in gpunn.tensor or numpy.asarray."
        )
    if array.dtype.name not in DTYPES:
        known = ", ".join(DTYPES)
        raise DTypeError(f"save_file: expected a dtype out of {known}; '{name}' is {array.dtype}.")
    # Not ascontiguousarray, which makes a 0-d array 1-d.
    return np.asarray(array, order="C")


def load_file(path: str | os.PathLike[str], device: str | Device = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file, written here or by any other program.

    Parameters
    ----------
    path : path-like
        The file.
    device : str or Device
        Where the tensors go.

    Returns
    -------
    dict of str to Tensor
        Sorted by name. Shapes and dtypes are the file's; memory is the caller's own.

    Raises
    ------
    DataError
        If the file is missing, cut short or not safetensors; the message names it. The format has no
        checksum: altered weights of the right length cannot be noticed. Also if it has more and smaller tensors than
        any model: 10,000 and one for each kilobyte are read.
    DTypeError
        If an array has a dtype that NumPy does not have (float8), or that needs ml_dtypes (bfloat16).
    """
    target = get_device(device)
    arrays, _ = read_arrays(path)
    # Complex numbers too, which can be converted and not much else: Tensor() would refuse them.
    return {name: Tensor._of_physical(target.array(physical(noted(array))), target) for name, array in arrays.items()}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings that were given to :func:`save_file` as ``metadata``; empty if none were.

    Raises
    ------
    DataError
        As in :func:`load_file`.
    """
    return read_header(path).metadata


def write_atomically(path: str | os.PathLike[str], *chunks: bytes | memoryview) -> None:
    """Write a file whole or not at all, and onto the disk before returning.

    A temporary file beside it is written, synced and moved over ``path``. On any failure it is removed and
    ``path`` is unchanged.

    Raises
    ------
    DataError
        If it cannot be written; the message names the file and the system's reason.
    """
    write_together({path: chunks})


def write_together(files: Mapping[str | os.PathLike[str], Sequence[bytes | memoryview]]) -> None:
    """As :func:`write_atomically`, for several files of one folder that belong together.

    Everything that takes time or can be refused is done before the first file is moved to its place.
    """
    path = Path()
    temporaries: list[Path] = []
    try:
        for name, chunks in files.items():
            path = Path(name)
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
            with open(temporary, "xb") as file:
                temporaries.append(temporary)
                for chunk in chunks:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
        for name, temporary in zip(files, temporaries, strict=True):
            path = Path(name)
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise DataError(
            f"{path}: could not be written: {error.strerror or error}. "
            "Check that its folder exists, that the path is not a folder, and that the disk is not full."
        ) from error
    finally:  # on an interrupt as well; after the move there is nothing to remove
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def remove_temporaries(folder: str | os.PathLike[str]) -> None:
    """Delete what processes that were killed while writing to ``folder`` left behind; nobody may be writing now."""
    for path in Path(folder).iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power failure. Only POSIX can, and needs to."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable_folder(path: str | os.PathLike[str]) -> Path:
    """Create an output folder and prove that files can be written there, before hours of work depend on it.

    Parameters
    ----------
    path : path-like
        The folder; its parents are created too.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    UsageError
        If it cannot be created or written; the message names it and the reason.
    """
    path = Path(path)
    for parent in (path, *path.parents):
        if os.path.exists(parent) and not os.path.isdir(parent):
            raise UsageError(f"{path}: expected a folder to write to; {parent} is a file. Give another name.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        # A file with content: a full disk still lets an empty one be created.
        with tempfile.NamedTemporaryFile(dir=path, prefix=_TRIAL) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UsageError(
            f"{path}: expected a folder that can be written to; the system says: {error.strerror or error}. "
            "Give another folder, or make this one writable."
        ) from error
    return path
