"""``gpunn.save`` and ``gpunn.load``, as PyTorch programs call them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from gpunn import _torch_file
from gpunn._device import Device
from gpunn._device import device as get_device
from gpunn._files import open_file
from gpunn._half import noted
from gpunn._layout import physical
from gpunn._tensor import Tensor
from gpunn.differences import refuse
from gpunn.errors import DeviceError, UsageError, quoted
from gpunn.serialize import load_file, save_file

Place = str | Device | Mapping[str, str] | Callable[[Any, str], Any] | None
_SAFETENSORS = ".safetensors"


def save(
    obj: Any,
    f: str | os.PathLike[str] | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write tensors and what holds them to a file that :func:`load` and ``torch.load`` read.

    Parameters
    ----------
    obj : Tensor, numpy.ndarray, mapping, list, tuple, str, int, float, bool or None
        Nested as wanted: a ``state_dict()``, or a dictionary with one of the model, one of the optimiser and the
        epoch. A tensor that is there twice is in the file once.
    f : path-like or binary file
        A file whose name ends in ``.safetensors`` is written by :func:`gpunn.save_file`, which takes one dictionary of
        tensors. All others are PyTorch's ``.pt`` files: zip archives with a pickle that names tensors and nothing else.
        A file appears whole or not at all.
    pickle_module, pickle_protocol, _use_new_zipfile_serialization, _disable_byteorder_record
        PyTorch's; there is one way to write a file.

    Raises
    ------
    UsageError
        If it holds anything else, such as a whole module; the message says where.
    DTypeError
        If an array has a dtype that the format does not have.
    DataError
        If the file cannot be written.

    Examples
    --------
    >>> import io
    >>> import gpunn
    >>> file = io.BytesIO()
    >>> gpunn.save({"epoch": 3, "weight": gpunn.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> gpunn.load(file)["epoch"]
    3
    """
    refuse("save", pickle_module=pickle_module)
    if not isinstance(f, str | os.PathLike):
        if not hasattr(f, "write"):
            raise UsageError(f"save: f: expected a path or an open binary file; got {type(f).__name__}.")
        _torch_file.save(obj, f)
    elif os.fspath(f).endswith(_SAFETENSORS):
        if not isinstance(obj, Mapping):
            raise UsageError(
                f"save: {_SAFETENSORS} holds one dictionary of tensors; got {type(obj).__name__}. Name the file *.pt."
            )
        save_file(obj, f)
    else:
        _torch_file.save(obj, f)


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: Place = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
) -> Any:
    """Read what :func:`save`, ``torch.save`` or :func:`gpunn.save_file` wrote; nothing that is in it is run.

    Parameters
    ----------
    f : path-like or binary file
        The file's content says which format it is; an open file holds a ``.pt``.
    map_location : str, Device, mapping or callable, optional
        Where the tensors go. Without it they go where they were when they were saved; a mapping says this of the
        devices that it names; a callable, which in PyTorch moves a storage, means the CPU.
    pickle_module, weights_only, mmap
        PyTorch's; nothing but weights is read in any case.

    Returns
    -------
    As saved, tensors as :class:`Tensor`. None of them requires a gradient. Those that share memory in the file do not
    here.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, or holds more than tensors, numbers, strings and containers of them;
        the message names what.
    DeviceError
        If the tensors were on a device that this machine does not have; map_location="cpu" is the way out.
    DTypeError
        If a tensor has a dtype that NumPy does not have.
    """
    refuse("load", pickle_module=pickle_module)
    homes: dict[str, Device] = {}

    def made(array: np.ndarray, location: str) -> Tensor:
        if location not in homes:
            homes[location] = _home(location, map_location)
        home = homes[location]
        # Complex numbers too, which can be converted and not much else: Tensor() would refuse them.
        return Tensor._of_physical(home.array(np.asarray(physical(noted(array)), order="C")), home)

    if not isinstance(f, str | os.PathLike):
        if not hasattr(f, "read"):
            raise UsageError(f"load: f: expected a path or an open binary file; got {type(f).__name__}.")
        return _torch_file.load(f, made)
    if _is_zip(f):
        return _torch_file.load(f, made)
    return load_file(f, _home("cpu", map_location))


def _is_zip(path: str | os.PathLike[str]) -> bool:
    """Whether it is a zip archive; False where it cannot be read, so that the reader of the other format says why."""
    try:
        with open_file(path) as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _home(location: str, wanted: Place) -> Device:
    """Where tensors go that were at ``location``."""
    if isinstance(wanted, Mapping):
        wanted = wanted.get(location)
    elif callable(wanted):
        wanted = "cpu"
    try:
        return get_device(location if wanted is None else wanted)
    except (DeviceError, UsageError) as error:
        if wanted is not None:
            raise
        raise DeviceError(
            f"load: the file's tensors were saved on {quoted(location, 40)}, which cannot be used here ({error}) Give "
            'map_location="cpu".'
        ) from error
